"""Act: send the intended change once. The live object, not our memory, says whether it happened.

Before every sending the journal, the policy and the object are asked once more: a pause, also one that is
marked on the object, an opt-in that was taken off, and a policy that no longer lets us act take effect up to
the last moment, and a lease that was lost stops us. `maybe_sent` is written
first, so that a crash leaves the doubt on record.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import assert_never

from remediator.core.actions import CountIntent, change_cause, describe
from remediator.core.decisions import Escalate
from remediator.core.execution import Delivery, Recognition, Sent, Standing
from remediator.core.incidents import Attempt, AttemptState, Phase
from remediator.core.last_look import stop_before
from remediator.core.marks import Stop
from remediator.core.reasons import Reason
from remediator.core.returns import is_way_up
from remediator.lifecycle.close import begin_waiting, end_attempt, escalate, feed_breaker
from remediator.lifecycle.world import World, attempt_in_flight, soon
from remediator.ports import Claim, JournalTransaction

MOST_TRIES = 5
"""Sendings of one attempt, each of them certainly or recognisably without effect."""
MOST_OUTRUN = 5
"""Attempts of one incident that somebody else's changes overtook."""


def act(world: World, claim: Claim, *, now: datetime) -> Claim | None:
    """Recognise whether the intent has been applied, and send it if not."""
    if claim.intended is not None:  # just now, by us: there is nothing to recognise, and `send` looks first
        return _send(world, claim, claim.intended, None, now=now)
    attempt = attempt_in_flight(world, claim)
    found = world.cluster.recognise(claim.incident.target, attempt.intent)
    match found.standing:
        case Standing.APPLIED if _is_a_persons_count(attempt):
            detail = f"{found.detail}, and not by us"
            return _withdraw(world, claim, attempt, Reason.CHANGED_BY_OTHERS, detail, now=now)
        case Standing.APPLIED:
            how = found if attempt.maybe_sent else replace(found, detail=f"{found.detail}, and not by us")
            return _applied(world, claim, attempt, how, now=now)
        case Standing.CHANGED:
            if attempt.maybe_sent:
                return _hand_over(world, claim, attempt, Reason.OUTCOME_UNKNOWN, found.detail, now=now)
            return _withdraw(world, claim, attempt, Reason.CHANGED_BY_OTHERS, found.detail, now=now)
        case Standing.UNREACHABLE:
            return _ask_again(world, claim, attempt, found.detail, after=found.again_after, now=now)
        case Standing.SENDABLE if attempt.tries >= MOST_TRIES:
            reason = Reason.OUTCOME_UNKNOWN if attempt.maybe_sent else Reason.CLUSTER_UNREACHABLE
            return _hand_over(world, claim, attempt, reason, f"{attempt.tries} tries without effect", now=now)
        case Standing.SENDABLE:
            return _send(world, claim, attempt, found.stop, now=now)
        case _ as never:
            assert_never(never)


def _is_a_persons_count(attempt: Attempt) -> bool:
    """Whether somebody set what we meant to set, and never sent: then it is not ours to give back.

    A restart or an undo by somebody else is given its time and verified as ours would have been.
    """
    return isinstance(attempt.intent, CountIntent) and not attempt.maybe_sent and not is_way_up(attempt)


def _send(world: World, claim: Claim, attempt: Attempt, mark: Stop | None, *, now: datetime) -> Claim | None:
    doubted = attempt.maybe_sent  # what an earlier sending may still do, no answer to this one rules out
    with world.journal.transaction() as tx:
        incident, policy = tx.refresh(claim), world.policy()
        stop = stop_before(attempt.intent, attempt.step, incident, policy, tx.pauses(), now=now) or mark
        if stop is None:
            attempt = replace(attempt, tries=attempt.tries + 1, maybe_sent=True)
            tx.update_attempt(attempt)
    if stop is not None:
        if doubted:
            return _ask_again(world, claim, attempt, stop.detail, now=now)
        return _withdraw(world, claim, attempt, stop.reason, stop.detail, now=now)
    cause = change_cause(attempt.intent, alert=incident.alert, incident=incident.id, at=attempt.intended_at)
    sent = world.cluster.send(incident.target, attempt.intent, cause=cause)
    certain = replace(attempt, maybe_sent=doubted)
    match sent.delivery:
        case Delivery.APPLIED:
            return _applied(world, claim, attempt, sent, now=now)
        case Delivery.UNCLEAR:
            return _ask_again(world, claim, attempt, sent.detail, after=sent.again_after, now=now)
        case Delivery.CONFLICT if attempt.tries == 1:
            return _look_again(world, claim, certain, now=now)
        case Delivery.CONFLICT | Delivery.NOT_SENT:
            return _ask_again(world, claim, certain, sent.detail, after=sent.again_after, now=now)
        case Delivery.REFUSED:
            reason = sent.reason or Reason.REFUSED_BY_CLUSTER  # and it will say so again
            return _hand_over(world, claim, certain, reason, sent.detail, now=now)
        case _ as never:
            assert_never(never)


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
        if attempt.maybe_sent:
            tx.count("actions", {"action": attempt.kind})
        if not attempt.returning:
            tx.count("act_seconds", {}, (now - claim.incident.opened_at).total_seconds())
        tx.save(claim, phase=Phase.ROLLING_OUT, next_at=now + world.pace.poll, now=now)


def _ask_again(
    world: World,
    claim: Claim,
    attempt: Attempt,
    detail: str,
    *,
    after: timedelta | None = None,
    now: datetime,
) -> Claim | None:
    """The answer was none, or no yes: ask the object again soon, for as long as the policy is patient."""
    if now >= attempt.intended_at + world.policy().limits.patience:
        if attempt.maybe_sent:
            return _hand_over(world, claim, attempt, Reason.OUTCOME_UNKNOWN, detail, now=now)
        return _withdraw(world, claim, attempt, Reason.CLUSTER_UNREACHABLE, detail, now=now)
    with world.journal.transaction() as tx:
        tx.update_attempt(attempt)
        tx.count("unclear_answers", {"action": attempt.kind})
        again = soon(now + max(after or world.pace.poll, world.pace.poll), now)
        tx.save(claim, phase=Phase.ACTING, next_at=again, now=now)
    return None


def _look_again(world: World, claim: Claim, attempt: Attempt, *, now: datetime) -> Claim:
    """It is not as it was when we decided: recognise at once how it is."""
    with world.journal.transaction() as tx:
        tx.update_attempt(attempt)
        return tx.save(claim, phase=Phase.ACTING, next_at=now, now=now, keep=True)


def _withdraw(
    world: World, claim: Claim, attempt: Attempt, reason: Reason, detail: str, *, now: datetime
) -> Claim | None:
    """Nothing was sent, for certain: decide anew, unless somebody is faster again and again."""
    if is_way_up(attempt):
        return _hand_over(world, claim, attempt, reason, detail, now=now)
    with world.journal.transaction() as tx:
        end_attempt(tx, attempt, AttemptState.WITHDRAWN, reason, detail, now=now)
        if attempt.returning:
            returning = tx.save(claim, phase=Phase.RETURNING, next_at=now, now=now, keep=True)
            begin_waiting(tx, claim.incident, world.policy(), now=now)
            return returning
        if (outrun := _outrun(tx, claim)) >= MOST_OUTRUN:
            detail = f"{outrun} times somebody was faster, the last time: {detail}"
            escalate(tx, claim, Escalate(reason=Reason.CHANGED_BY_OTHERS, detail=detail), now=now)
            return None
        if reason is Reason.CHANGED_BY_OTHERS:
            return tx.save(claim, phase=Phase.DECIDING, next_at=now, now=now, keep=True)
        # What stopped us should hold the decision too. Where it does not, we are not to go round and round.
        tx.save(claim, phase=Phase.DECIDING, next_at=now + world.pace.poll, now=now)
        return None


def _outrun(tx: JournalTransaction, claim: Claim) -> int:
    ended = [(one.state, one.reason) for one in tx.attempts_of(claim.incident.id)]
    return ended.count((AttemptState.WITHDRAWN, Reason.CHANGED_BY_OTHERS))


def _hand_over(
    world: World, claim: Claim, attempt: Attempt, reason: Reason, detail: str, *, now: datetime
) -> None:
    """A person's turn. What may have been sent and cannot be told any more is abandoned: it spends budget."""
    state = AttemptState.ABANDONED if attempt.maybe_sent else AttemptState.WITHDRAWN
    with world.journal.transaction() as tx:
        tx.lock_decisions()
        end_attempt(tx, attempt, state, reason, detail, now=now)
        feed_breaker(world, tx, claim, now=now)
        if is_way_up(attempt):
            reason, detail = Reason.RETURN_FAILED, f"not put up again: {reason.sentence}, {detail}"
        escalate(tx, claim, Escalate(reason=reason, detail=detail), now=now)
