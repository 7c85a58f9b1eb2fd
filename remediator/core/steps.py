"""Which step of the playbook is next: the first untried one whose facts all hold and that may be done.

A step that is refused (an HPA owns the replicas, nothing to go back to) is passed over with its
reason, and the next one is looked at.
"""

from __future__ import annotations

from datetime import datetime
from typing import assert_never

from remediator.core.actions import (
    Action,
    Intent,
    RestartIntent,
    RollingRestart,
    RolloutUndo,
    Scale,
    ScaleIntent,
    UndoIntent,
    restart_timestamp,
)
from remediator.core.decisions import Situation, StepVerdict
from remediator.core.facts import Fact, Observation, Revision
from remediator.core.incidents import Attempt, AttemptState
from remediator.core.permissions import needed_by
from remediator.core.policy import Step
from remediator.core.reasons import Reason

Refusal = tuple[Reason, str]


def weigh_steps(situation: Situation) -> tuple[StepVerdict, ...]:
    """Say of each step why it is or is not the one to take. At most one is chosen."""
    verdicts: list[StepVerdict] = []
    for index, step in enumerate(situation.playbook.steps):
        refusal = _refusal(situation, index, step)
        reason, detail = refusal or (Reason.STEP_APPLIES, _because(situation, step))
        verdicts.append(StepVerdict(step=index, action=step.action, reason=reason, detail=detail))
        if refusal is None:
            break
    return tuple(verdicts)


def intent_for(action: Action, situation: Situation, now: datetime) -> Intent:
    """Exactly what to send for an action that `weigh_steps` chose."""
    seen = situation.seen
    if not isinstance(seen, Observation):
        raise TypeError("an action needs an observed Deployment")
    match action:
        case RollingRestart():
            return RestartIntent(
                uid=seen.uid,
                generation=seen.generation,
                template_digest=seen.template_digest,
                restarted_at=restart_timestamp(now),
            )
        case RolloutUndo():
            revision = _undo_candidates(situation, seen)[0]
            return UndoIntent(
                uid=seen.uid,
                generation=seen.generation,
                template_digest=seen.template_digest,
                replica_set_uid=revision.replica_set_uid,
                revision=revision.number,
                target_digest=revision.digest,
            )
        case Scale(to=replicas):
            return ScaleIntent(
                uid=seen.uid, generation=seen.generation, replicas_from=seen.replicas, replicas_to=replicas
            )
        case _ as never:
            assert_never(never)


def _because(situation: Situation, step: Step) -> str:
    if not step.when:
        return "no earlier step applies, and this one asks for no fact"
    return "; ".join(f"{fact}: {situation.facts[fact].because}" for fact in step.when)


def _refusal(situation: Situation, index: int, step: Step) -> Refusal | None:
    if any(attempt.step == index and _counts(attempt) for attempt in situation.tried):
        return Reason.ALREADY_TRIED, f"step {index + 1} was tried in this incident"
    seen = situation.seen
    if not isinstance(seen, Observation):
        return Reason.FACT_UNKNOWN, seen.detail
    for fact in step.when:
        finding = situation.facts[fact]
        if finding.truth is None:
            return Reason.FACT_UNKNOWN, f"{fact} is unknown: {finding.because}"
        if not finding.truth:
            return Reason.FACT_FALSE, f"{fact} is false: {finding.because}"
    return _action_refusal(situation, seen, step.action) or _permission_refusal(situation, seen, step.action)


def _action_refusal(situation: Situation, seen: Observation, action: Action) -> Refusal | None:
    match action:
        case RollingRestart():
            return None
        case RolloutUndo():
            return _undo_refusal(situation, seen)
        case Scale():
            return _scale_refusal(situation, seen, action)
        case _ as never:
            assert_never(never)


def _permission_refusal(situation: Situation, seen: Observation, action: Action) -> Refusal | None:
    """Asked last: a missing permission is news only for a step that would be taken."""
    missing = [str(permission) for permission in needed_by(action) if permission in seen.missing_permissions]
    if not missing:
        return None
    return Reason.FORBIDDEN, f"we lack {', '.join(missing)} on {situation.incident.target}: remediator rbac"


def _undo_refusal(situation: Situation, seen: Observation) -> Refusal | None:
    if owner := _owner(situation):
        return owner
    if any(isinstance(attempt.intent, UndoIntent) and _counts(attempt) for attempt in situation.tried):
        return Reason.ALREADY_UNDONE, "this incident has had its one undo"
    if any(undo.target_digest == seen.template_digest for undo in _our_undos(situation)):
        return Reason.ALREADY_UNDONE, "the present template is itself the result of our undo"
    if seen.previous is None:
        return Reason.FACT_UNKNOWN, situation.facts[Fact.PREVIOUS_REVISION].because
    if not _undo_candidates(situation, seen):
        return Reason.NO_PREVIOUS_REVISION, situation.facts[Fact.PREVIOUS_REVISION].because
    return None


def _undo_candidates(situation: Situation, seen: Observation) -> list[Revision]:
    """Older revisions, newest first, without those an undo of ours has already fled from."""
    fled = {undo.template_digest for undo in _our_undos(situation)}
    return [revision for revision in seen.previous or () if revision.digest not in fled]


def _our_undos(situation: Situation) -> list[UndoIntent]:
    """The undos of this target that may have happened, in this incident and in the known past."""
    target = situation.incident.target
    return [
        attempt.intent
        for attempt in (*situation.history.attempts, *situation.tried)
        if attempt.target == target and isinstance(attempt.intent, UndoIntent) and _counts(attempt)
    ]


def _scale_refusal(situation: Situation, seen: Observation, action: Scale) -> Refusal | None:
    if owner := _owner(situation):
        return owner
    hpa = situation.facts[Fact.HPA]
    if hpa.truth is None:
        return Reason.FACT_UNKNOWN, f"whether an autoscaler owns the replicas is unknown: {hpa.because}"
    if hpa.truth:
        return Reason.HPA_OWNS_REPLICAS, hpa.because
    bounds = situation.target_policy
    if not bounds.min_replicas <= action.to <= bounds.max_replicas:
        return (
            Reason.REPLICAS_AT_BOUND,
            f"{action.to} is outside {bounds.min_replicas} to {bounds.max_replicas}",
        )
    if (action.to >= seen.replicas) if action.down else (action.to <= seen.replicas):
        return Reason.REPLICAS_AT_BOUND, f"{action} would not change {seen.replicas} replicas that way"
    return None


def _owner(situation: Situation) -> Refusal | None:
    for fact in (Fact.GITOPS_OWNED, Fact.OPERATOR_OWNED):
        if situation.facts[fact].truth:
            return Reason.OWNED_ELSEWHERE, situation.facts[fact].because
    return None


def _counts(attempt: Attempt) -> bool:
    return attempt.state is not AttemptState.WITHDRAWN
