"""Close: the ends of attempts and incidents. Every end has a reason and leaves an event."""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import datetime
from typing import Any

from remediator.core.decisions import Escalate
from remediator.core.durations import format_duration
from remediator.core.guardrails import breaker_trips
from remediator.core.incidents import BREAKER, Attempt, AttemptState, Incident, Phase
from remediator.core.policy import Policy
from remediator.core.reasons import Reason
from remediator.core.returns import raised_by, still_raised
from remediator.lifecycle.receive import open_incident
from remediator.lifecycle.world import World
from remediator.ports import Claim, JournalTransaction


def end_attempt(
    tx: JournalTransaction,
    attempt: Attempt,
    state: AttemptState,
    reason: Reason,
    detail: str,
    *,
    now: datetime,
) -> None:
    """Record what became of an attempt."""
    tx.update_attempt(replace(attempt, state=state, ended_at=now, reason=reason))
    data = {"verdict": attempt.verdict, "samples": [asdict(sample) for sample in attempt.samples]}
    tx.append(attempt.incident_id, state.value, reason, f"attempt {attempt.id}: {detail}", now=now, data=data)
    outcome = attempt.verdict.value if attempt.verdict else state.value
    tx.count("attempts", {"action": attempt.kind, "outcome": outcome})


def escalate(
    tx: JournalTransaction, claim: Claim, decision: Escalate, *, now: datetime, data: Any = None
) -> None:
    """Hand the incident to a person, and leave the target alone until they acknowledge."""
    tx.append(claim.incident.id, "escalated", decision.reason, decision.detail, now=now, data=data)
    tx.count("escalations", {"reason": decision.reason})
    if claim.incident.return_to is not None:
        tx.count("returns", {"reason": decision.reason})
    ended: dict[str, Any] = {"reason": decision.reason.value, "return_to": None}
    tx.save(claim, phase=Phase.ESCALATED, next_at=now, now=now, **ended)


def close(
    world: World, tx: JournalTransaction, claim: Claim, reason: Reason, detail: str, *, now: datetime
) -> None:
    """End the incident, but for a scale-up that is to be given back.

    Another alert that waited its turn on the target begins the next one.
    """
    incident = claim.incident
    tx.append(incident.id, "closed", reason, detail, now=now)
    ended: dict[str, Any] = {"reason": reason.value, "closed_at": now}
    home = _to_be_returned(world, tx, incident, now=now)
    if home is None:
        tx.save(claim, phase=Phase.CLOSED, next_at=now, now=now, **ended)
    else:
        tx.save(claim, phase=Phase.RETURNING, next_at=now, now=now, well_since=now, return_to=home, **ended)
    tx.count("closed", {"reason": reason})
    tx.count("closed_seconds", {"reason": reason}, (now - incident.opened_at).total_seconds())
    begin_waiting(tx, incident, world.policy(), now=now)


def begin_waiting(
    tx: JournalTransaction, closed: Incident, policy: Policy, *, now: datetime, also_same: bool = False
) -> int | None:
    """Begin the next incident on the target of a closed one, if an alert has been waiting for it.

    `also_same`: its own alert may be the one that waits, firing anew.
    """
    other_than = "" if also_same else closed.alert
    playbooks = [alert for alert in policy.playbooks if policy.playbook_for(alert, closed.target)]
    waiting = tx.unattended_alert(closed.id, closed.target, other_than=other_than, playbooks=playbooks)
    if waiting is None or closed.target not in policy.targets:
        return None
    number = open_incident(tx, waiting, policy, now=now)
    tx.adopt_episodes(number, waiting)
    return number


def _to_be_returned(world: World, tx: JournalTransaction, incident: Incident, *, now: datetime) -> int | None:
    """The replica count to return to, if this incident scaled up. An earlier such incident passes it on."""
    policy = world.policy()
    playbook = policy.playbook_for(incident.alert, incident.target)
    raised = raised_by(tx.attempts_of(incident.id), playbook) if playbook else None
    if raised is None:
        return None
    earlier = tx.returning_on(incident.target)
    if earlier is not None:
        before = still_raised(earlier.return_to or raised.home, tx.attempts_of(earlier.id))
        raised = raised.taking_over(before)
        keep_replicas(tx, earlier, Reason.TAKEN_OVER, f"incident {incident.id}", now=now)
    rule = policy.returns
    detail = (
        f"{raised.words}: {rule.by} given back every "
        f"{format_duration(rule.every)} once it has stayed well for {format_duration(rule.after)}"
    )
    tx.append(incident.id, "returning", Reason.RETURN_WAITING, detail, now=now)
    return raised.home


def keep_replicas(
    tx: JournalTransaction, incident: Incident, reason: Reason, detail: str, *, now: datetime
) -> None:
    """End a return from outside of its worker: the replicas stay as they are."""
    tx.append(incident.id, "kept", reason, detail, now=now)
    tx.count("returns", {"reason": reason})
    tx.end_return(incident.id)


def feed_breaker(world: World, tx: JournalTransaction, claim: Claim, *, now: datetime) -> None:
    """Open the breaker when too many actions did not help: a pause that only a person ends."""
    limits = world.policy().limits
    history = tx.history(limits, now=now)
    if any(pause.by == BREAKER for pause in history.pauses):
        return
    trips = breaker_trips(history.attempts, limits, reset_at=history.breaker_reset_at, now=now)
    if trips is not None:
        tx.engage_pause(scope="all", by=BREAKER, why=trips, until=None, now=now)
        tx.count("breaker_opened", {})
        tx.append(claim.incident.id, "breaker", Reason.BREAKER_OPEN, trips, now=now)
