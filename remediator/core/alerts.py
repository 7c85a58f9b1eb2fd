"""What Alertmanager posts: one notification for one group, holding alerts.

Reads webhook payload version 4 as Alertmanager 0.25 to 0.34 send it. Unknown keys are accepted, since
new ones came without a new version. Only each alert's own status counts: the group's status is
computed from a possibly truncated list.
Source: Alertmanager `template/template.go` and `notify/webhook/webhook.go`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from remediator.core.reasons import Reason

CLOCK_SKEW = timedelta(hours=1)
"""How far in the future an alert may start: Prometheus' clock is not ours."""

_MAX_TEXT = 4096
_MAX_VERSION = 40
_MAX_COUNT = 2**31 - 1
_ZERO_TIME_YEAR = 1
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


class MalformedNotification(ValueError):
    """The body is not a version 4 notification. The message says what is wrong with it."""


class AlertStatus(StrEnum):
    FIRING = "firing"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One alert. `starts_at` is aware UTC; `ends_at` is None while it fires."""

    fingerprint: str
    status: AlertStatus
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    starts_at: datetime
    ends_at: datetime | None = None
    generator_url: str = ""

    @property
    def name(self) -> str:
        return self.labels["alertname"]

    @property
    def firing(self) -> bool:
        return self.status is AlertStatus.FIRING

    @property
    def rules_version(self) -> str:
        """The version of the rules that raised it, as far as it says; "" if it does not."""
        return self.annotations.get("rules_version", "")[:_MAX_VERSION]


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedAlert:
    """One alert of a good notification that could not be read. It must not block its neighbours."""

    index: int
    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    group_key: str
    receiver: str
    alerts: tuple[Alert, ...]
    refused: tuple[RefusedAlert, ...] = ()
    truncated_alerts: int = 0
    """How many alerts of the group Alertmanager left out. We do not see the whole group then."""


def parse_notification(body: object) -> Notification:
    """Read the decoded JSON body of one POST.

    Raises MalformedNotification when the envelope is not version 4. An alert that cannot be read
    becomes a RefusedAlert.
    """
    if not isinstance(body, dict):
        raise MalformedNotification(f"the body is a JSON {_kind(body)}, not an object")
    if body.get("version") != "4":
        raise MalformedNotification(f'"version" is {_short(body.get("version"))}, not "4"')
    alerts = body.get("alerts")
    if not isinstance(alerts, list):
        raise MalformedNotification(f'"alerts" is {_kind(alerts)}, not a list')
    good: list[Alert] = []
    refused: list[RefusedAlert] = []
    for index, item in enumerate(alerts):
        try:
            good.append(_parse_alert(item))
        except _Unreadable as error:
            refused.append(RefusedAlert(index=index, reason=error.reason, detail=str(error)))
    truncated = body.get("truncatedAlerts", 0)
    return Notification(
        group_key=_text(body.get("groupKey", ""), "groupKey"),
        receiver=_text(body.get("receiver", ""), "receiver"),
        alerts=tuple(good),
        refused=tuple(refused),
        truncated_alerts=min(truncated, _MAX_COUNT) if isinstance(truncated, int) and truncated > 0 else 0,
    )


def plausible(alert: Alert, now: datetime) -> bool:
    """Whether the alert started at a time that can be believed."""
    return alert.starts_at.year > _ZERO_TIME_YEAR and alert.starts_at <= now + CLOCK_SKEW


class _Unreadable(ValueError):
    def __init__(self, detail: str, reason: Reason = Reason.MALFORMED_ALERT) -> None:
        super().__init__(detail)
        self.reason = reason


def _parse_alert(item: object) -> Alert:
    if not isinstance(item, dict):
        raise _Unreadable(f"an alert is {_kind(item)}, not an object")
    try:
        status = AlertStatus(item.get("status", ""))
    except ValueError:
        raise _Unreadable(f'"status" is {_short(item.get("status"))}, not "firing" or "resolved"') from None
    labels = _strings(item.get("labels"), "labels")
    if not labels.get("alertname"):
        raise _Unreadable('the label "alertname" is missing or empty')
    ends_at = _time(item["endsAt"], "endsAt") if item.get("endsAt") else None
    return Alert(
        fingerprint=_fingerprint(item, labels),
        status=status,
        labels=MappingProxyType(labels),
        annotations=MappingProxyType(_strings(item.get("annotations") or {}, "annotations")),
        starts_at=_time(item.get("startsAt"), "startsAt"),
        ends_at=None if ends_at is None or ends_at.year == _ZERO_TIME_YEAR else ends_at,
        generator_url=str(item.get("generatorURL", ""))[:_MAX_TEXT],
    )


def _fingerprint(item: dict[str, Any], labels: dict[str, str]) -> str:
    """Alertmanager's own, or one of ours from the labels: versions before 0.21 send none."""
    given = item.get("fingerprint")
    if given is None or given == "":
        return hashlib.sha256(json.dumps(sorted(labels.items())).encode()).hexdigest()[:16]
    if not isinstance(given, str) or not given.isalnum() or len(given) > 64:  # noqa: PLR2004
        raise _Unreadable('"fingerprint" is not a short hexadecimal text')
    return given


def _strings(value: object, key: str) -> dict[str, str]:
    if not isinstance(value, dict):
        raise _Unreadable(f'"{key}" is {_kind(value)}, not an object')
    for name, text in value.items():
        if not _storable(name) or (isinstance(text, str) and not _storable(text)):
            raise _Unreadable(f'"{key}" holds a NUL or half a surrogate pair')
        if not isinstance(text, str):
            raise _Unreadable(f'"{key}.{name[:40]}" is {_kind(text)}, not a text')
        if len(name) > _MAX_TEXT or len(text) > _MAX_TEXT:
            raise _Unreadable(f'"{key}.{name[:40]}" is longer than {_MAX_TEXT} characters')
    return value


def _time(value: object, key: str) -> datetime:
    if not isinstance(value, str):
        raise _Unreadable(f'"{key}" is {_kind(value)}, not an RFC 3339 time')
    try:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:
            raise _Unreadable(f'"{key}" {value!r} has no time zone')
        return moment.astimezone(UTC)
    except OverflowError:
        raise _Unreadable(f'"{key}" {value!r} is out of range', Reason.IMPLAUSIBLE_TIME) from None
    except ValueError as error:
        if isinstance(error, _Unreadable):
            raise
        raise _Unreadable(f'"{key}" {value[:40]!r} is not an RFC 3339 time') from None


def _text(value: object, key: str) -> str:
    if not isinstance(value, str):
        raise MalformedNotification(f'"{key}" is {_kind(value)}, not a text')
    if not _storable(value):
        raise MalformedNotification(f'"{key}" holds a NUL or half a surrogate pair')
    return value[:_MAX_TEXT]


def _storable(text: str) -> bool:
    """Whether every database can keep the text: JSON may carry what UTF-8 cannot."""
    return _UNSTORABLE.search(text) is None


def _short(value: object) -> str:
    return repr(value)[:80]


def _kind(value: object) -> str:
    names = {dict: "object", list: "list", str: "text", bool: "boolean", int: "number", float: "number"}
    return "null" if value is None else names.get(type(value), type(value).__name__)
