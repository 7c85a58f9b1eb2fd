"""Alertmanager's API: what fires now, and what the way to us lets pass. Reads only.

Source: Alertmanager `api/v2/openapi.yaml`. `/alerts` knows silences and inhibitions, but not time intervals,
which belong to a route; `/alerts/groups` names those in `mutedBy` since 0.28. An older one that has any
cannot say whether an alert is muted: then it counts as muted.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import requests

from remediator.core.alerts import Alert, MalformedNotification, parse_notification
from remediator.core.reconcile import Listed, Look

CONNECT_SECONDS = 2.0
READ_SECONDS = 5.0
LARGEST_ANSWER = 32 * 1024 * 1024
"""Some 40,000 alerts."""
_CHUNK = 64 * 1024
_INTERVALS = ("mute_time_intervals:", "active_time_intervals:")


class AlertmanagerPeers:
    """Alertmanagers by their base URLs, each of which Prometheus tells everything."""

    def __init__(
        self,
        urls: Sequence[str],
        *,
        connect_timeout: float = CONNECT_SECONDS,
        read_timeout: float = READ_SECONDS,
    ) -> None:
        self._urls = [url.rstrip("/") for url in urls]
        self._timeout = (connect_timeout, read_timeout)
        self._session = requests.Session()
        self._session.headers["User-Agent"] = "remediator"

    def look(self) -> Sequence[Look]:
        """What each of them lists. Never raises: silence and nonsense are looks with a trouble."""
        return [self._look(url) for url in self._urls]

    def sendable(self, receiver: str) -> frozenset[str]:
        """Fingerprints of what one of them would send to the receiver now."""
        found: set[str] = set()
        for url in self._urls:
            try:
                found |= self._sendable(url, receiver)
            except (requests.RequestException, _Nonsense):
                continue  # an answer that is missing lets nothing pass
        return frozenset(found)

    def _look(self, url: str) -> Look:
        name = _without_password(url)
        try:
            status, alerts = self._get(f"{url}/api/v2/status"), self._get(f"{url}/api/v2/alerts")
            up_since = _time(status.get("uptime")) if isinstance(status, dict) else None
            return Look(name=name, up_since=up_since, listed=tuple(_listed(alerts)))
        except requests.RequestException as error:
            return Look(name=name, trouble=f"{name}: {type(error).__name__}")
        except _Nonsense as error:
            return Look(name=name, trouble=f"{name}: {error}")

    def _sendable(self, url: str, receiver: str) -> set[str]:
        groups = self._get(f"{url}/api/v2/alerts/groups", receiver=f"^{re.escape(receiver)}$")
        if not isinstance(groups, list):
            raise _Nonsense("groups are not a list")
        unlimited = not self._has_intervals(url)
        found = set()
        try:
            for alert in (one for group in groups for one in group["alerts"]):
                state = alert["status"]
                says = "mutedBy" in state or unlimited
                if says and state["state"] == "active" and not state.get("mutedBy"):
                    found.add(str(alert["fingerprint"]))
        except (KeyError, TypeError, AttributeError):
            raise _Nonsense("a group without alerts or their status") from None
        return found

    def _has_intervals(self, url: str) -> bool:
        """Whether any route has time intervals, as far as its configuration can be read."""
        status = self._get(f"{url}/api/v2/status")
        try:
            original = status["config"]["original"]
            return any(key in original for key in _INTERVALS)
        except (KeyError, TypeError):
            return True

    def _get(self, url: str, **parameters: str) -> Any:
        """One answer, bounded in time and size also when it trickles in."""
        deadline = time.monotonic() + sum(self._timeout)
        with self._session.get(
            url, params=parameters, timeout=self._timeout, allow_redirects=False, stream=True
        ) as response:
            if response.status_code != requests.codes.ok:
                raise _Nonsense(f"HTTP {response.status_code}")
            body = bytearray()
            for chunk in response.iter_content(_CHUNK):
                body += chunk
                if len(body) > LARGEST_ANSWER or time.monotonic() > deadline:
                    raise _Nonsense("too long an answer")
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            raise _Nonsense("not JSON") from None


class _Nonsense(Exception):
    """An answer that cannot be used."""


def _listed(alerts: Any) -> Iterator[Listed]:
    if not isinstance(alerts, list):
        raise _Nonsense("alerts are not a list")
    for item in alerts:
        try:
            state, receivers = item["status"]["state"], item["receivers"]
            names = frozenset(str(receiver["name"]) for receiver in receivers)
            alert = _alert(item)
        except (KeyError, TypeError, MalformedNotification):
            raise _Nonsense("an alert without status or receivers") from None
        if alert is not None:
            yield Listed(alert=alert, active=state == "active", receivers=names)


def _alert(item: dict[str, Any]) -> Alert | None:
    """The alert, read as strictly as one of a notification; None if that would refuse it."""
    firing = {**item, "status": "firing", "endsAt": None}
    return next(iter(parse_notification({"version": "4", "alerts": [firing]}).alerts), None)


def _time(text: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return moment.astimezone(UTC) if moment.tzinfo else None


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
