"""Return: after the recovery, give a scale-up back step by step, each proven by our own query.

The incident is over for everybody else meanwhile and does not own its target; while a return is carried
out, by the very phases that carry out a remedy, it does. What was intended, applied and judged is in the
journal as for any attempt, so a crash leaves nothing behind that is not recognised.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any, assert_never, cast

from remediator.core.actions import CountIntent, describe, in_words
from remediator.core.decisions import A_RETURN, Act, Escalate, Hold, Ignore, Situation
from remediator.core.incidents import RETURN_STEP, Attempt, AttemptState, Phase
from remediator.core.last_look import stop_before
from remediator.core.reasons import Reason
from remediator.core.returns import decide_return, is_way_up, still_raised, took_back
from remediator.core.verification import Judgement, Verdict
from remediator.lifecycle.close import begin_waiting, end_attempt, escalate, feed_breaker
from remediator.lifecycle.decide import hold_back, intend, look, seen_as_values, situation_of
from remediator.lifecycle.world import World
from remediator.ports import Claim, JournalTransaction


def give_back(world: World, claim: Claim, *, now: datetime) -> Claim | None:
    """Look whether it is time for the next return, and record what is decided."""
    policy = world.policy()
    view = look(world, claim.incident, policy, now=now)
    with world.journal.transaction() as tx:
        tx.lock_decisions()
        incident = tx.refresh(claim)
        if view is None:
            keep(tx, claim, Reason.POLICY_CHANGED, f"policy {policy.digest}", now=now)
            return None
        other = tx.open_incidents([incident.target]).get(incident.target)
        situation = situation_of(tx, incident, view, policy, now=now)
        if other is not None or situation.firing:
            situation = replace(situation, incident=replace(situation.incident, well_since=None))
        raised = still_raised(incident.return_to or 1, situation.tried)
        decision = decide_return(situation, raised, policy, now, other_incident=other)
        return _record(world, tx, claim, situation, decision, now=now)


def _record(
    world: World,
    tx: JournalTransaction,
    claim: Claim,
    situation: Situation,
    decision: Act | Hold | Ignore,
    *,
    now: datetime,
) -> Claim | None:
    evidence = seen_as_values(situation)
    match decision:
        case Act():
            return intend(tx, claim, situation, decision, evidence, now=now)
        case Hold():
            incident = situation.incident
            hold_back(
                world,
                tx,
                claim,
                decision,
                incident=incident,
                asks_for=A_RETURN,
                settle=situation.playbook.verify.settle,
                evidence=evidence,
                now=now,
            )
            if decision.reason is Reason.UNWELL and situation.firing:
                begin_waiting(tx, incident, world.policy(), now=now, also_same=True)
        case Ignore():
            keep(tx, claim, decision.reason, decision.detail, now=now)
            begin_waiting(tx, claim.incident, world.policy(), now=now)
        case _ as never:
            assert_never(never)
    return None


def keep(tx: JournalTransaction, claim: Claim, reason: Reason, detail: str, *, now: datetime) -> None:
    """Give nothing more back: the replicas stay as they are."""
    tx.append(claim.incident.id, "kept", reason, detail, now=now)
    _end(tx, claim, reason, now=now)


def borne(world: World, claim: Claim, attempt: Attempt, judgement: Judgement, *, now: datetime) -> None:
    """The service is well after the change: the next one later, or the end."""
    incident, intent = claim.incident, cast("CountIntent", attempt.intent)
    judged = replace(attempt, verdict=judgement.verdict)
    with world.journal.transaction() as tx:
        end_attempt(tx, judged, AttemptState.JUDGED, judgement.reason, judgement.detail, now=now)
        if is_way_up(attempt):
            detail = (
                f"well again with {in_words(intent, intent.replicas_to)}, not with {intent.replicas_from}"
            )
            escalate(tx, claim, Escalate(reason=Reason.RETURN_FAILED, detail=detail), now=now)
            return
        over = intent.replicas_to <= (incident.return_to or 1)
        if over:
            left = in_words(intent, intent.replicas_to)
            tx.append(incident.id, "returned", Reason.RETURNED, left, now=now)
            _end(tx, claim, Reason.RETURNED, now=now)
        else:
            tx.save(claim, phase=Phase.RETURNING, next_at=now, now=now, well_since=now)
        begin_waiting(tx, incident, world.policy(), now=now, also_same=over)


def not_borne(
    world: World, claim: Claim, attempt: Attempt, reason: Reason, detail: str, *, now: datetime
) -> Claim | None:
    """The service is not well after the change: back up, once, and then it is a person's turn."""
    verdict = Verdict.UNKNOWN if reason is Reason.VERDICT_UNKNOWN else Verdict.NOT_RECOVERED
    with world.journal.transaction() as tx:
        tx.lock_decisions()
        end_attempt(tx, replace(attempt, verdict=verdict), AttemptState.JUDGED, reason, detail, now=now)
        if reason in {Reason.CHANGED_BY_OTHERS, Reason.POLICY_CHANGED}:
            keep(tx, claim, reason, detail, now=now)
            begin_waiting(tx, claim.incident, world.policy(), now=now, also_same=True)
            return None
        feed_breaker(world, tx, claim, now=now)
        if is_way_up(attempt):
            escalate(tx, claim, Escalate(reason=Reason.RETURN_FAILED, detail=detail), now=now)
            return None
        up = took_back(cast("CountIntent", attempt.intent), attempt.applied_generation)
        if stop := stop_before(up, RETURN_STEP, claim.incident, world.policy(), tx.pauses(), now=now):
            detail = f"{detail}; not put up again: {stop.detail}"
            escalate(tx, claim, Escalate(reason=Reason.RETURN_FAILED, detail=detail), now=now)
            return None
        back = tx.intend(
            Attempt(
                id=0,
                incident_id=attempt.incident_id,
                target=attempt.target,
                step=RETURN_STEP,
                intent=up,
                state=AttemptState.INTENDED,
                intended_at=now,
                ready_before=attempt.ready_before,
                value_before=attempt.samples[-1].value if attempt.samples else None,
            )
        )
        words = f"attempt {back.id}: {describe(back.intent)}, because of {reason}: {detail}"
        tx.append(claim.incident.id, "decided", Reason.RETURN_FAILED, words, now=now)
        return tx.save(claim, phase=Phase.ACTING, next_at=now, now=now, keep=True)


def _end(tx: JournalTransaction, claim: Claim, reason: Reason, *, now: datetime) -> None:
    changes: dict[str, Any] = {"return_to": None}
    tx.save(claim, phase=Phase.CLOSED, next_at=now, now=now, **changes)
    tx.count("returns", {"reason": reason})
