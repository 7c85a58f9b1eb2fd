"""Close: the ends of attempts and incidents. Every end has a reason and leaves an event."""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import datetime
from typing import Any

from remediator.core.actions import kind_of
from remediator.core.decisions import Escalate
from remediator.core.guardrails import breaker_trips
from remediator.core.incidents import BREAKER, Attempt, AttemptState, Phase
from remediator.core.reasons import Reason
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
    tx.count("attempts", {"action": kind_of(attempt.intent), "outcome": outcome})


def escalate(
    tx: JournalTransaction, claim: Claim, decision: Escalate, *, now: datetime, data: Any = None
) -> None:
    """Hand the incident to a person, and leave the target alone until they acknowledge."""
    tx.append(claim.incident.id, "escalated", decision.reason, decision.detail, now=now, data=data)
    tx.count("escalations", {"reason": decision.reason})
    tx.save(claim, phase=Phase.ESCALATED, next_at=now, now=now, reason=decision.reason.value)


def close(
    world: World, tx: JournalTransaction, claim: Claim, reason: Reason, detail: str, *, now: datetime
) -> None:
    """End the incident. Another alert that waited its turn on the target begins the next one."""
    incident, policy = claim.incident, world.policy()
    tx.append(incident.id, "closed", reason, detail, now=now)
    tx.save(claim, phase=Phase.CLOSED, next_at=now, now=now, reason=reason.value, closed_at=now)
    tx.count("closed", {"reason": reason})
    tx.count("closed_seconds", {"reason": reason}, (now - incident.opened_at).total_seconds())
    waiting = tx.unattended_alert(
        incident.id, incident.target, other_than=incident.alert, playbooks=policy.playbooks
    )
    if waiting is not None and incident.target in policy.targets:
        tx.adopt_episodes(open_incident(tx, waiting, policy, now=now), waiting)


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
