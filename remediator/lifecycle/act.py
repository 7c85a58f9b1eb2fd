"""Act: send the intended change once. The live object, not our memory, says whether it happened.

Before every sending the journal is asked once more: a pause takes effect up to the last moment, and a
lease that was lost stops us. `maybe_sent` is written first, so that a crash leaves the doubt on record.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import assert_never

from remediator.core.actions import describe, kind_of
from remediator.core.decisions import Escalate
from remediator.core.execution import Delivery, Recognition, Sent, Standing
from remediator.core.incidents import Attempt, AttemptState, Incident, Pause, Phase
from remediator.core.reasons import Reason
from remediator.lifecycle.close import end_attempt, escalate, feed_breaker
from remediator.lifecycle.world import World, attempt_in_flight
from remediator.ports import Claim, JournalTransaction

MOST_TRIES = 5
"""Sendings of one attempt, each of them certainly or recognisably without effect."""


def act(world: World, claim: Claim, *, now: datetime) -> Claim | None:
    """Recognise whether the intent has been applied, and send it if not."""
    attempt = attempt_in_flight(world, claim)
    found = world.cluster.recognise(claim.incident.target, attempt.intent)
    match found.standing:
        case Standing.APPLIED:
            return _applied(world, claim, attempt, found, now=now)
        case Standing.CHANGED:
            if attempt.maybe_sent:
                return _hand_over(world, claim, attempt, Reason.OUTCOME_UNKNOWN, found.detail, now=now)
            return _withdraw(world, claim, attempt, Reason.CHANGED_BY_OTHERS, found.detail, now=now)
        case Standing.UNREACHABLE:
            return _ask_again(world, claim, attempt, found.detail, now=now)
        case Standing.SENDABLE if attempt.tries >= MOST_TRIES:
            reason = Reason.OUTCOME_UNKNOWN if attempt.maybe_sent else Reason.CLUSTER_UNREACHABLE
            return _hand_over(world, claim, attempt, reason, f"{attempt.tries} tries without effect", now=now)
        case Standing.SENDABLE:
            return _send(world, claim, attempt, now=now)
        case _ as never:
            assert_never(never)


def _send(world: World, claim: Claim, attempt: Attempt, *, now: datetime) -> Claim | None:
    doubted = attempt.maybe_sent  # what an earlier sending may still do, no answer to this one rules out
    with world.journal.transaction() as tx:
        pause = _pause_over(tx, tx.refresh(claim), now)
        if pause is None:
            attempt = replace(attempt, tries=attempt.tries + 1, maybe_sent=True)
            tx.update_attempt(attempt)
    if pause is not None:
        detail = f"{pause.scope} by {pause.by}: {pause.why}"
        if doubted:
            return _ask_again(world, claim, attempt, detail, now=now)
        return _withdraw(world, claim, attempt, Reason.PAUSED, detail, now=now)
    sent = world.cluster.send(claim.incident.target, attempt.intent)
    certain = replace(attempt, maybe_sent=doubted)
    match sent.delivery:
        case Delivery.APPLIED:
            return _applied(world, claim, attempt, sent, now=now)
        case Delivery.UNCLEAR:
            return _ask_again(world, claim, attempt, sent.detail, now=now)
        case Delivery.CONFLICT | Delivery.NOT_SENT:
            return _ask_again(world, claim, certain, sent.detail, now=now)
        case Delivery.REFUSED:
            reason = sent.reason or Reason.REFUSED_BY_CLUSTER  # and it will say so again
            return _hand_over(world, claim, certain, reason, sent.detail, now=now)
        case _ as never:
            assert_never(never)


def _pause_over(tx: JournalTransaction, incident: Incident, now: datetime) -> Pause | None:
    return next((pause for pause in tx.pauses() if pause.covers(incident.target, incident.alert, now)), None)


def _applied(world: World, claim: Claim, attempt: Attempt, how: Recognition | Sent, *, now: datetime) -> None:
    done = replace(
        attempt,
        state=AttemptState.APPLIED,
        applied_at=how.at or now,
        applied_generation=how.generation,
        reason=Reason.APPLIED,
    )
    detail = f"attempt {attempt.id}: {describe(attempt.intent)}; {how.detail}"
    data = {"generation": how.generation, "recognised": isinstance(how, Recognition)}
    with world.journal.transaction() as tx:
        tx.update_attempt(done)
        tx.append(claim.incident.id, "applied", Reason.APPLIED, detail, now=now, data=data)
        tx.count("actions", {"action": kind_of(attempt.intent)})
        tx.count("act_seconds", {}, (now - claim.incident.opened_at).total_seconds())
        tx.save(claim, phase=Phase.ROLLING_OUT, next_at=now + world.pace.poll, now=now)


def _ask_again(world: World, claim: Claim, attempt: Attempt, detail: str, *, now: datetime) -> Claim | None:
    """The answer was none, or no yes: ask the object again soon, for as long as the policy is patient."""
    if now >= attempt.intended_at + world.policy().limits.patience:
        if attempt.maybe_sent:
            return _hand_over(world, claim, attempt, Reason.OUTCOME_UNKNOWN, detail, now=now)
        return _withdraw(world, claim, attempt, Reason.CLUSTER_UNREACHABLE, detail, now=now)
    with world.journal.transaction() as tx:
        tx.update_attempt(attempt)
        tx.count("unclear_answers", {"action": kind_of(attempt.intent)})
        tx.save(claim, phase=Phase.ACTING, next_at=now + world.pace.poll, now=now)
    return None


def _withdraw(
    world: World, claim: Claim, attempt: Attempt, reason: Reason, detail: str, *, now: datetime
) -> Claim | None:
    """Nothing was sent, for certain: decide anew."""
    with world.journal.transaction() as tx:
        end_attempt(tx, attempt, AttemptState.WITHDRAWN, reason, detail, now=now)
        return tx.save(claim, phase=Phase.DECIDING, next_at=now, now=now, keep=True)


def _hand_over(
    world: World, claim: Claim, attempt: Attempt, reason: Reason, detail: str, *, now: datetime
) -> None:
    """A person's turn. What may have been sent and cannot be told any more is abandoned: it spends budget."""
    state = AttemptState.ABANDONED if attempt.maybe_sent else AttemptState.WITHDRAWN
    with world.journal.transaction() as tx:
        tx.lock_decisions()
        end_attempt(tx, attempt, state, reason, detail, now=now)
        feed_breaker(world, tx, claim, now=now)
        escalate(tx, claim, Escalate(reason=reason, detail=detail), now=now)
