"""Receive: in the webhook's request, one transaction, no call to Kubernetes or Prometheus."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime

from remediator.core.alerts import Notification
from remediator.core.intake import OPENS, Admission, KnownEpisode, admit, target_of
from remediator.core.policy import Policy
from remediator.core.reasons import Reason
from remediator.lifecycle.world import World
from remediator.ports import JournalTransaction


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What became of a notification."""

    notification_id: int
    admissions: tuple[tuple[Admission, int | None], ...]
    """Each alert with the incident it belongs to."""
    refused: int

    @property
    def wakes(self) -> bool:
        """Whether there is something for a worker to do."""
        return any(incident is not None for _, incident in self.admissions)


def receive(world: World, notification: Notification, *, body: str, now: datetime) -> Receipt:
    """Journal a notification and what becomes of each alert. Raises JournalUnavailable."""
    policy = world.policy()
    with world.journal.transaction() as tx:
        number = tx.record_notification(notification, body=body, now=now)
        known = tx.known_episodes(notification)
        targets = [target_of(alert) for alert in notification.alerts]
        open_incidents = dict(tx.open_incidents(target for target in targets if target))
        admissions: list[tuple[Admission, int | None]] = []
        for index, (alert, target) in enumerate(zip(notification.alerts, targets, strict=True)):
            incident = open_incidents.get(target) if target else None
            admission = admit(alert, policy, known=known.get(index), open_incident=incident, now=now)
            if target and admission.reason in OPENS:
                incident = open_incidents[target] = open_incident(tx, admission, policy, now=now)
            admissions.append((admission, _incident_of(admission, incident, known.get(index))))
        tx.put_episodes(admissions, known=known, now=now)
        _tell_incidents(tx, admissions, now=now)
        _count(tx, notification, admissions)
    return Receipt(notification_id=number, admissions=tuple(admissions), refused=len(notification.refused))


def _incident_of(admission: Admission, open_incident: int | None, known: KnownEpisode | None) -> int | None:
    """The target's open incident if the alert belongs to it. What resolves belongs where it was firing."""
    if admission.reason in OPENS or admission.reason is Reason.INCIDENT_JOINED:
        return open_incident
    same = known is not None and known.incident_id == open_incident
    return open_incident if same and admission.reason in {Reason.REPEATED, Reason.RESOLVED} else None


def open_incident(tx: JournalTransaction, admission: Admission, policy: Policy, *, now: datetime) -> int:
    """Begin an incident for the alert."""
    incident_id = tx.create_incident(admission, now=now)
    alert = admission.alert
    data = {"labels": dict(alert.labels), "annotations": dict(alert.annotations), "policy": policy.digest}
    detail = f"{alert.name} on {admission.target}, firing since {alert.starts_at:%Y-%m-%d %H:%M:%S} UTC"
    tx.append(incident_id, "opened", admission.reason, detail, now=now, data=data)
    tx.count("incidents", {"reason": admission.reason})
    return incident_id


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
        tx.append(incident_id, kind, reason, detail, now=now, data={"alerts": len(names)})
        tx.wake(incident_id, now=now)


def _count(
    tx: JournalTransaction, notification: Notification, admissions: list[tuple[Admission, int | None]]
) -> None:
    tx.count("notifications", {})
    reasons = Counter(admission.reason for admission, _ in admissions)
    reasons.update(refused.reason for refused in notification.refused)
    for reason, alerts in reasons.items():
        tx.count("alerts", {"reason": reason}, alerts)
    if notification.truncated_alerts:
        tx.count("truncated_alerts", {}, notification.truncated_alerts)
