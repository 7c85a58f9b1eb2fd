"""Writing an Event on the target. The core API's own kind: every kubectl since 1.20 shows it whole."""

from __future__ import annotations

from urllib.parse import quote

from remediator.adapters.kubernetes.answers import Answer, NoAnswer
from remediator.adapters.kubernetes.connection import FIELD_MANAGER, Connection
from remediator.adapters.kubernetes.objects import Json, name_of, text, uid_of
from remediator.adapters.kubernetes.patches import workload_path
from remediator.core.announcements import Announcement, Told

_FORBIDDEN = 403
_NOT_FOUND = 404
_CONFLICT = 409
_ASK_AGAIN = frozenset({401, 408, 429})
_SERVER_ERROR = 500


def announce(connection: Connection, one: Announcement) -> Told:
    """Write it, once. That it is there already is as good."""
    try:
        live = connection.get(workload_path(one.target))
        if not live.ok:
            return _trouble(live)
        written = connection.create(_events_path(one), event_of(one, live.body))
    except NoAnswer:
        return Told.AGAIN
    return Told.WRITTEN if written.ok or written.status == _CONFLICT else _trouble(written)


def event_of(one: Announcement, about: Json) -> Json:
    """Kubernetes' form of an announcement about an object."""
    at = f"{one.at:%Y-%m-%dT%H:%M:%SZ}"
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": one.name, "namespace": one.target.namespace},
        "involvedObject": {
            "apiVersion": text(about, "apiVersion"),
            "kind": text(about, "kind"),
            "namespace": one.target.namespace,
            "name": name_of(about),
            "uid": uid_of(about),
        },
        "type": one.type,
        "reason": one.event_reason,
        "message": one.message,
        "source": {"component": FIELD_MANAGER},
        "reportingComponent": FIELD_MANAGER,
        "firstTimestamp": at,
        "lastTimestamp": at,
        "count": 1,
    }


def is_ours(event: Json) -> bool:
    """Whether an Event only says what we said."""
    return text(event, "source", "component") == FIELD_MANAGER


def _events_path(one: Announcement) -> str:
    return f"/api/v1/namespaces/{quote(one.target.namespace)}/events"


def _trouble(answer: Answer) -> Told:
    if answer.status == _FORBIDDEN:
        return Told.FORBIDDEN
    if answer.status == _NOT_FOUND:
        return Told.GONE
    if answer.status in _ASK_AGAIN or answer.status >= _SERVER_ERROR:
        return Told.AGAIN
    return Told.REFUSED
