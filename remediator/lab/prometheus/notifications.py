"""The part of Alertmanager that the remediator sees: which webhook body is to be sent when.

Pure: alerts and `now` (seconds since the epoch) go in, deliveries come out, the outcome is told afterwards.
Timing follows Alertmanager: a new group waits `group_wait`, then it is looked at every `group_interval`,
and sent when something changed or `repeat_interval` has passed. What failed with 5xx is retried with
growing pauses until the next look; what was refused otherwise waits for that look. Bodies are those of
webhook version 4.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from remediator.lab.prometheus.routing import Routing

_FNV_OFFSET, _FNV_PRIME = 14695981039346656037, 1099511628211
_FIRST_PAUSE, _PAUSE_GROWTH = 0.5, 1.5
_FIRING_END = "0001-01-01T00:00:00Z"  # Go's zero time


def fingerprint(labels: dict[str, str]) -> str:
    """Hash a label set as Prometheus' common library does: 64-bit FNV-1a over the sorted pairs."""
    digest = _FNV_OFFSET
    for name in sorted(labels):
        for byte in name.encode() + b"\xff" + labels[name].encode() + b"\xff":
            digest = ((digest ^ byte) * _FNV_PRIME) & 0xFFFFFFFFFFFFFFFF
    return f"{digest:016x}"


@dataclass(frozen=True)
class AlertNow:
    """An alert as the rules report it: `ends_at` is set once it is resolved."""

    labels: dict[str, str]
    annotations: dict[str, str]
    starts_at: float
    ends_at: float | None = None
    generator_url: str = ""

    @property
    def firing(self) -> bool:
        return self.ends_at is None


class Outcome(Enum):
    SENT = "2xx"
    RETRY = "5xx, or no answer"
    REFUSED = "any other answer"


@dataclass
class Delivery:
    """One webhook body to be posted."""

    group_key: str
    body: dict[str, Any]
    alerts: dict[str, AlertNow]


@dataclass
class _Group:
    labels: dict[str, str]
    look_at: float
    alerts: dict[str, AlertNow] = field(default_factory=dict)
    pending: Delivery | None = None  # handed out, or waiting for its retry
    retry_at: float | None = None
    pause: float = _FIRST_PAUSE


@dataclass(frozen=True)
class _Sent:
    """What a receiver was last told about a group."""

    firing: frozenset[str]
    resolved: frozenset[str]
    at: float


class Notifications:
    """All groups of the one route that leads to the remediator."""

    def __init__(self, routing: Routing, *, speed: float = 1.0, external_url: str = "") -> None:
        self.routing = routing
        self.speed = speed
        self.external_url = external_url
        self._groups: dict[str, _Group] = {}
        self._log: dict[str, _Sent] = {}
        self._muting: list[dict[str, str]] = []

    def offer(self, alerts: Iterable[AlertNow], now: float) -> None:
        """Take the present state of the alerts; those of other routes are not ours."""
        known = list(alerts)
        self._muting = [alert.labels for alert in known if alert.firing]
        for alert in known:
            if not self.routing.takes(alert.labels):
                continue
            labels = {name: alert.labels[name] for name in self.routing.group_by if name in alert.labels}
            key, identity = self.routing.group_key(labels), fingerprint(alert.labels)
            group = self._groups.get(key)
            if not alert.firing:
                if group is not None and identity in group.alerts:
                    group.alerts[identity] = alert
                continue
            if group is None:
                old = alert.starts_at + self.routing.group_wait < now  # it has waited elsewhere
                group = self._groups[key] = _Group(labels, now if old else now + self.routing.group_wait)
            group.alerts[identity] = alert

    def due(self, now: float) -> list[Delivery]:
        """Bodies to post now; each has to be settled before its group is looked at again."""
        found = []
        for key, group in list(self._groups.items()):
            if group.pending is not None:
                if group.retry_at is not None and group.retry_at <= now:
                    group.retry_at = None
                    found.append(group.pending)
                continue
            if group.look_at > now:
                continue
            group.look_at = now + self.routing.group_interval
            delivery = self._look(key, group, now)
            if delivery is None:
                self._forget_resolved(key, group, group.alerts)
            else:
                group.pending, group.pause = delivery, _FIRST_PAUSE / self.speed
                found.append(delivery)
        return found

    def settle(self, delivery: Delivery, outcome: Outcome, now: float) -> None:
        group = self._groups[delivery.group_key]
        if outcome is Outcome.RETRY and now + group.pause < group.look_at:
            group.retry_at = now + group.pause
            group.pause *= _PAUSE_GROWTH
            return
        group.pending = None
        if outcome is Outcome.SENT:
            self._log[delivery.group_key] = _Sent(*_split(delivery.alerts), now)
            self._forget_resolved(delivery.group_key, group, delivery.alerts)

    def _look(self, key: str, group: _Group, now: float) -> Delivery | None:
        alerts = {
            identity: alert
            for identity, alert in group.alerts.items()
            if not self.routing.muted(alert.labels, self._muting)
        }
        reason = self._reason(self._log.get(key), *_split(alerts), now)
        if reason is None:
            return None
        body = _body(self.routing, key, group.labels, list(alerts.values()))
        return Delivery(
            key, {**body, "externalURL": self.external_url, "notification_reason": reason}, alerts
        )

    def _reason(
        self, sent: _Sent | None, firing: frozenset[str], resolved: frozenset[str], now: float
    ) -> str | None:
        """Why a group is to be sent now, in Alertmanager's words, or None."""
        if sent is None:
            return "first notification" if firing else None
        if not firing <= sent.firing:
            return "new alerts added"
        if not firing:
            return "all alerts resolved" if sent.firing else None
        if self.routing.send_resolved and not resolved <= sent.resolved:
            return "some alerts resolved"
        return "repeat interval elapsed" if sent.at < now - self.routing.repeat_interval else None

    def _forget_resolved(self, key: str, group: _Group, told: dict[str, AlertNow]) -> None:
        for identity, alert in told.copy().items():
            if not alert.firing and group.alerts.get(identity) == alert:
                del group.alerts[identity]
        if not group.alerts:
            del self._groups[key]


def _split(alerts: dict[str, AlertNow]) -> tuple[frozenset[str], frozenset[str]]:
    firing = frozenset(identity for identity, alert in alerts.items() if alert.firing)
    return firing, frozenset(alerts) - firing


def _body(routing: Routing, key: str, labels: dict[str, str], alerts: list[AlertNow]) -> dict[str, Any]:
    told = alerts if routing.send_resolved else [alert for alert in alerts if alert.firing]
    return {
        "receiver": routing.receiver,
        "status": "firing" if any(alert.firing for alert in told) else "resolved",
        "alerts": [
            _alert(alert)
            for alert in sorted(told, key=lambda one: (one.starts_at, sorted(one.labels.items())))
        ],
        "groupLabels": labels,
        "commonLabels": _common([alert.labels for alert in told]),
        "commonAnnotations": _common([alert.annotations for alert in told]),
        "externalURL": "",
        "version": "4",
        "groupKey": key,
        "truncatedAlerts": 0,
    }


def _alert(alert: AlertNow) -> dict[str, Any]:
    return {
        "status": "firing" if alert.firing else "resolved",
        "labels": alert.labels,
        "annotations": alert.annotations,
        "startsAt": rfc3339(alert.starts_at),
        "endsAt": _FIRING_END if alert.ends_at is None else rfc3339(alert.ends_at),
        "generatorURL": alert.generator_url,
        "fingerprint": fingerprint(alert.labels),
    }


def rfc3339(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _common(mappings: list[dict[str, str]]) -> dict[str, str]:
    if not mappings:
        return {}
    shared = set.intersection(*(set(mapping.items()) for mapping in mappings))
    return dict(sorted(shared))
