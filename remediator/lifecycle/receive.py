"""Receive: in the webhook's request, one transaction, no call to Kubernetes or Prometheus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from remediator.core.actions import Target
from remediator.core.alerts import Notification
from remediator.core.intake import OPENS, Admission, KnownEpisode, admit, target_of
from remediator.core.policy import Policy
from remediator.core.reasons import Reason
from remediator.core.telling import LONG, retold
from remediator.lifecycle.world import World
from remediator.ports import JournalTransaction, Overtaken

MOST_TRIES = 5
"""Of one notification, each time overtaken by another that begins an incident on one of its targets."""
_NOT_YET = 0
"""For the number of an incident that this notification begins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What became of a notification."""

    notification_id: int
    admissions: tuple[tuple[Admission, int | None], ...]
    """Each alert with the incident it belongs to."""
    refused: int
    unknown_rules: tuple[str, ...] = ()
    """Versions of rules that the policy does not know. Their alerts are taken in like any other."""

    @property
    def wakes(self) -> bool:
        """Whether there is something for a worker to do."""
        return any(incident is not None for _, incident in self.admissions)


def receive(world: World, notification: Notification, *, body: str, now: datetime) -> Receipt:
    """Journal a notification and what becomes of each alert. Raises JournalUnavailable."""
    for _ in range(MOST_TRIES - 1):
        try:
            return _receive(world, notification, body=body, now=now)
        except Overtaken:
            continue  # nothing was recorded: what the other one has begun is joined
    return _receive(world, notification, body=body, now=now)


def _receive(world: World, notification: Notification, *, body: str, now: datetime) -> Receipt:
    """All transactions that receive wait in one order: for the body, open incidents, new ones, episodes."""
    policy = world.policy()
    with world.journal.transaction() as tx:
        number = tx.record_notification(notification, body=body, now=now)
        admissions = _admitted(tx, notification, policy, now=now)
        if any(said.reason is Reason.WATCHDOG and said.alert.firing for said, _ in admissions):
            tx.hear_watchdog(now=now)
        _tell_incidents(tx, admissions, now=now)
        unknown = [a.rules_version for a in notification.alerts if not policy.knows_rules(a.rules_version)]
        _count(tx, notification, admissions, unknown_rules=len(unknown))
    return Receipt(
        notification_id=number,
        admissions=tuple(admissions),
        refused=len(notification.refused),
        unknown_rules=tuple(sorted(set(unknown))),
    )


def _admitted(
    tx: JournalTransaction, notification: Notification, policy: Policy, *, now: datetime
) -> list[tuple[Admission, int | None]]:
    """Each alert with the incident it belongs to, written as its episode."""
    targets = [target_of(alert) for alert in notification.alerts]
    incidents = dict(tx.lock_open_incidents(target for target in targets if target))
    known = tx.known_episodes(notification)
    said: list[Admission] = []
    begins: dict[Target, Admission] = {}
    for index, (alert, target) in enumerate(zip(notification.alerts, targets, strict=True)):
        incident = incidents.get(target) if target else None
        admission = admit(alert, policy, known=known.get(index), open_incident=incident, now=now)
        if target and admission.reason in OPENS:
            begins[target], incidents[target] = admission, _NOT_YET
        said.append(admission)
    incidents |= tx.create_incidents(begins.values(), now=now)
    for target, admission in begins.items():
        _tell_opened(tx, incidents[target], admission, policy, now=now)
    admissions = [
        (admission, _incident_of(admission, incidents, known.get(index)))
        for index, admission in enumerate(said)
    ]
    tx.put_episodes(admissions, known=known, now=now)
    return admissions


def _incident_of(
    admission: Admission, incidents: Mapping[Target, int], known: KnownEpisode | None
) -> int | None:
    """The target's open incident if the alert belongs to it. What resolves belongs where it was firing."""
    incident = incidents.get(admission.target) if admission.target else None
    if admission.reason in OPENS or admission.reason is Reason.INCIDENT_JOINED:
        return incident
    same = known is not None and known.incident_id == incident
    return incident if same and admission.reason in {Reason.REPEATED, Reason.RESOLVED} else None


def open_incident(tx: JournalTransaction, admission: Admission, policy: Policy, *, now: datetime) -> int:
    """Begin an incident for the alert. Raises Overtaken."""
    number = tx.create_incident(admission, now=now)
    _tell_opened(tx, number, admission, policy, now=now)
    return number


def _tell_opened(
    tx: JournalTransaction, number: int, admission: Admission, policy: Policy, *, now: datetime
) -> None:
    alert = admission.alert
    data = {"labels": dict(alert.labels), "annotations": dict(alert.annotations), "policy": policy.digest}
    detail = f"{alert.name} on {admission.target}, firing since {alert.starts_at:%Y-%m-%d %H:%M:%S} UTC"
    if not policy.knows_rules(alert.rules_version):
        detail += f"; the policy does not know its rules, version {alert.rules_version}"
    tx.append(number, "opened", admission.reason, detail, now=now, data=data)
    tx.count("incidents", {"reason": admission.reason})


def _tell_incidents(
    tx: JournalTransaction, admissions: list[tuple[Admission, int | None]], *, now: datetime
) -> None:
    """Put what joined or resolved into the timelines, one event each, and wake the workers."""
    told: dict[tuple[int, Reason], list[str]] = {}
    for admission, incident_id in admissions:
        if incident_id is not None and admission.reason in (Reason.INCIDENT_JOINED, Reason.RESOLVED):
            told.setdefault((incident_id, admission.reason), []).append(admission.alert.name)
    for (incident_id, reason), names in told.items():
        kind = "joined" if reason is Reason.INCIDENT_JOINED else "resolved"
        detail = ", ".join(sorted(set(names)))
        added = _retold(tx, incident_id, kind, reason, now=now)
        if added is not None:
            tx.append(incident_id, kind, reason, f"{detail}{added}", now=now, data={"alerts": len(names)})
        tx.wake(incident_id)


def _retold(
    tx: JournalTransaction, incident_id: int, kind: str, reason: Reason, *, now: datetime
) -> str | None:
    """An incident may wait for a person for weeks while its alert flaps. The episodes have each time."""
    if tx.told_so_far(incident_id) < LONG:
        return ""
    return retold(tx.last_told(incident_id, kind, reason, since=now - timedelta(days=1)), now=now)


def _count(
    tx: JournalTransaction,
    notification: Notification,
    admissions: list[tuple[Admission, int | None]],
    *,
    unknown_rules: int,
) -> None:
    tx.count("notifications", {})
    reasons = Counter(admission.reason for admission, _ in admissions)
    reasons.update(refused.reason for refused in notification.refused)
    for reason, alerts in reasons.items():
        tx.count("alerts", {"reason": reason}, alerts)
    if notification.truncated_alerts:
        tx.count("truncated_alerts", {}, notification.truncated_alerts)
    if unknown_rules:
        tx.count("unknown_rules_alerts", {}, unknown_rules)
