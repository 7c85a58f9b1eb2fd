"""Explain: what would happen to a notification now. Observes, decides, writes nothing, does nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from remediator.core.alerts import Notification
from remediator.core.decide import explain
from remediator.core.decisions import Explanation, Opening
from remediator.core.facts import Facts
from remediator.core.incidents import Incident, Phase
from remediator.core.intake import OPENS, Admission, admit, target_of
from remediator.core.policy import Policy
from remediator.core.reasons import Reason
from remediator.core.verification import Sample
from remediator.lifecycle.decide import look, situation_of
from remediator.lifecycle.world import World

HYPOTHETICAL = 0
"""Number of an incident that does not exist."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Foresight:
    """What would become of one alert, and, if its incident is to be decided about, what would be decided."""

    admission: Admission
    incident_id: int | None
    """The open incident it would join."""
    explanation: Explanation | None = None
    facts: Facts | None = None
    condition: Sample | None = None


def foresee(world: World, notification: Notification, *, now: datetime) -> list[Foresight]:
    """Say what would happen to each alert."""
    policy = world.policy()
    with world.journal.reading() as tx:
        known = tx.known_episodes(notification)
        targets = [target_of(alert) for alert in notification.alerts]
        open_incidents = dict(tx.open_incidents(target for target in targets if target))
    foresights: list[Foresight] = []
    for index, (alert, target) in enumerate(zip(notification.alerts, targets, strict=True)):
        incident = open_incidents.get(target) if target else None
        admission = admit(alert, policy, known=known.get(index), open_incident=incident, now=now)
        foresights.append(_foresee(world, admission, incident, policy, now=now))
        if target and admission.reason in OPENS:  # the next alert on this target would join
            open_incidents[target] = HYPOTHETICAL
    return foresights


def _foresee(
    world: World, admission: Admission, incident_id: int | None, policy: Policy, *, now: datetime
) -> Foresight:
    incident = _hypothetical(admission, now) or _undecided(world, admission, incident_id)
    view = look(world, incident, policy, now=now) if incident else None
    if incident is None or view is None:
        return Foresight(admission=admission, incident_id=incident_id)
    with world.journal.reading() as tx:
        situation = situation_of(tx, incident, view, policy, now=now, firing=True)
    if incident.id == HYPOTHETICAL:
        history = situation.history
        openings = (*history.openings, Opening(target=incident.target, at=now))
        situation = replace(situation, history=replace(history, openings=openings))
    return Foresight(
        admission=admission,
        incident_id=incident_id,
        explanation=explain(situation, policy, now),
        facts=view.facts,
        condition=view.condition,
    )


def _undecided(world: World, admission: Admission, incident_id: int | None) -> Incident | None:
    """The open incident that a firing alert would find, if it is to be decided about."""
    if not incident_id or admission.reason not in (Reason.INCIDENT_JOINED, Reason.REPEATED):
        return None
    with world.journal.reading() as tx:
        incident = tx.incident(incident_id)
    return incident if incident and incident.phase is Phase.DECIDING else None


def _hypothetical(admission: Admission, now: datetime) -> Incident | None:
    """The incident that the alert would begin, if it would begin one."""
    if admission.target is None or admission.reason not in OPENS:
        return None
    return Incident(
        id=HYPOTHETICAL,
        target=admission.target,
        alert=admission.alert.name,
        phase=Phase.DECIDING,
        opened_at=now,
        alert_started_at=admission.alert.starts_at,
        phase_since=now,
    )
