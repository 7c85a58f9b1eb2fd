"""Verify: our own query, after the settle time, until it proves recovery or the time is over."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import assert_never

from remediator.core.actions import describe
from remediator.core.decisions import Escalate
from remediator.core.facts import Observation
from remediator.core.incidents import Attempt, AttemptState, Phase
from remediator.core.policy import Playbook, query_for
from remediator.core.reasons import Reason
from remediator.core.returns import is_way_up
from remediator.core.verification import Criterion, Judgement, Verdict, judge
from remediator.lifecycle.close import close, end_attempt, escalate, feed_breaker
from remediator.lifecycle.returning import borne, not_borne
from remediator.lifecycle.world import World, attempt_in_flight, soon
from remediator.ports import Claim


def verify(world: World, claim: Claim, *, now: datetime) -> Claim | None:
    """Take one sample when it is time, and judge."""
    attempt = attempt_in_flight(world, claim)
    playbook = world.policy().playbook_for(claim.incident.alert, claim.incident.target)
    if playbook is None:
        return not_recovered(world, claim, attempt, Reason.POLICY_CHANGED, claim.incident.alert, now=now)
    criterion, since = playbook.verify, min(attempt.rolled_out_at or attempt.intended_at, now)
    attempt = replace(attempt, rolled_out_at=since)  # not in the future, also when the clock was set back
    settled = since + criterion.settle
    if now < settled + criterion.every:  # a sample taken earlier could show what was before it settled
        return _later(world, claim, attempt, settled + criterion.every, now=now)
    if (last := _too_soon_after(attempt, criterion, since, now)) is not None:
        return _later(world, claim, attempt, _next_sample(criterion, since, last), now=now)
    query = query_for(criterion, claim.incident.target)
    sample = world.metrics.ask(query, now=now, lookback=now - settled)
    attempt = replace(attempt, samples=(*attempt.samples, sample))
    hurry = attempt.returning and not is_way_up(attempt)  # what took a replica away is soon made good
    judgement = judge(attempt.samples, criterion, since=since, now=now, impatient=hurry)
    match judgement.verdict:
        case Verdict.PENDING:
            return _later(world, claim, attempt, _next_sample(criterion, since, now), now=now)
        case Verdict.RECOVERED:
            if attempt.returning:
                return borne(world, claim, attempt, judgement, now=now)
            return _recovered(world, claim, attempt, judgement, now=now)
        case Verdict.NOT_RECOVERED | Verdict.UNKNOWN:
            if not attempt.returning and (worse := _worse(world, claim, attempt, playbook)):
                return not_recovered(world, claim, attempt, Reason.WORSE_AFTER_ACTION, worse, now=now)
            return not_recovered(world, claim, attempt, judgement.reason, judgement.detail, now=now)
        case _ as never:
            assert_never(never)


def not_recovered(
    world: World, claim: Claim, attempt: Attempt, reason: Reason, detail: str, *, now: datetime
) -> Claim | None:
    """Anything but recovery: count it for the breaker, then decide about the next step."""
    if attempt.returning:
        return not_borne(world, claim, attempt, reason, detail, now=now)
    verdict = Verdict.UNKNOWN if reason is Reason.VERDICT_UNKNOWN else Verdict.NOT_RECOVERED
    with world.journal.transaction() as tx:
        tx.lock_decisions()
        end_attempt(tx, replace(attempt, verdict=verdict), AttemptState.JUDGED, reason, detail, now=now)
        feed_breaker(world, tx, claim, now=now)
        if reason is Reason.WORSE_AFTER_ACTION:
            escalate(tx, claim, Escalate(reason=reason, detail=detail), now=now)
            return None
        return tx.save(claim, phase=Phase.DECIDING, next_at=now, now=now, keep=True)


def _too_soon_after(
    attempt: Attempt, criterion: Criterion, since: datetime, now: datetime
) -> datetime | None:
    """When the last sample was taken, if it is too soon for the next: another alert can wake the incident.

    Good samples of one moment would prove nothing.
    """
    last = attempt.samples[-1].at if attempt.samples else None
    if last is None or not last <= now < min(last + criterion.every, since + criterion.within):
        return None  # also when the clock was set back to before it
    return last


def _next_sample(criterion: Criterion, since: datetime, now: datetime) -> datetime:
    return min(now + criterion.every, since + criterion.within)


def _later(world: World, claim: Claim, attempt: Attempt, at: datetime, *, now: datetime) -> None:
    with world.journal.transaction() as tx:
        tx.update_attempt(attempt)
        tx.save(claim, phase=Phase.VERIFYING, next_at=soon(at, now), now=now)


def _recovered(world: World, claim: Claim, attempt: Attempt, judgement: Judgement, *, now: datetime) -> None:
    judged = replace(attempt, verdict=judgement.verdict)
    with world.journal.transaction() as tx:
        end_attempt(tx, judged, AttemptState.JUDGED, judgement.reason, judgement.detail, now=now)
        detail = f"{describe(attempt.intent)} helped: {judgement.detail}"
        close(world, tx, claim, Reason.RECOVERED, detail, now=now)


def _worse(world: World, claim: Claim, attempt: Attempt, playbook: Playbook) -> str | None:
    """In what the service is clearly worse than before the action: then no next step, but a person."""
    last = next((sample.value for sample in reversed(attempt.samples)), None)
    before = attempt.value_before
    if last is not None and before is not None and playbook.verify.good.worse(before, last):
        return f"the query went from {before:.4g} to {last:.4g}, good is {playbook.verify.good}"
    seen = world.cluster.observe(claim.incident.target)
    if not isinstance(seen, Observation):
        return None
    # A scale-down, an autoscaler or a person takes some away on purpose.
    if seen.ready < min(attempt.ready_before, seen.replicas):
        return f"{seen.ready} replicas are ready, {attempt.ready_before} were before the action"
    return None
