"""Wait: until the rollout of our write is complete, as `kubectl rollout status` would say, or too late."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import assert_never

from remediator.core.execution import Rollout, RolloutState
from remediator.core.incidents import Attempt, AttemptState, Phase
from remediator.core.reasons import Reason
from remediator.lifecycle.verify import not_recovered
from remediator.lifecycle.world import World, attempt_in_flight
from remediator.ports import Claim


def wait(world: World, claim: Claim, *, now: datetime) -> Claim | None:
    """Look once how far the rollout is."""
    attempt = attempt_in_flight(world, claim)
    rollout = world.cluster.rollout(
        claim.incident.target,
        attempt.intent,
        generation=attempt.applied_generation or 0,
        since=attempt.applied_at or attempt.intended_at,
    )
    match rollout.state:
        case RolloutState.COMPLETE:
            return _complete(world, claim, attempt, rollout, now=now)
        case RolloutState.FAILED:
            return not_recovered(world, claim, attempt, Reason.ROLLOUT_FAILED, rollout.detail, now=now)
        case RolloutState.OVERRIDDEN:
            return not_recovered(world, claim, attempt, Reason.CHANGED_BY_OTHERS, rollout.detail, now=now)
        case RolloutState.WAITING | RolloutState.UNREACHABLE:
            # The distance, either way: a clock that was set back must not make it wait for days.
            if abs(now - claim.incident.phase_since) >= world.policy().limits.rollout_within:
                return not_recovered(world, claim, attempt, Reason.ROLLOUT_TIMED_OUT, rollout.detail, now=now)
            with world.journal.transaction() as tx:
                tx.save(claim, phase=Phase.ROLLING_OUT, next_at=now + world.pace.poll, now=now)
            return None
        case _ as never:
            assert_never(never)


def _complete(
    world: World, claim: Claim, attempt: Attempt, rollout: Rollout, *, now: datetime
) -> Claim | None:
    with world.journal.transaction() as tx:
        tx.update_attempt(replace(attempt, state=AttemptState.ROLLED_OUT, rolled_out_at=now))
        tx.append(claim.incident.id, "rolled_out", Reason.ROLLED_OUT, rollout.detail, now=now)
        return tx.save(claim, phase=Phase.VERIFYING, next_at=now, now=now, keep=True)
