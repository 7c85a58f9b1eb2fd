"""Which step of the playbook is next: the first untried one whose facts all hold and that may be done.

A step that is refused (an HPA owns the replicas, nothing to go back to) is passed over with its
reason, and the next one is looked at.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import assert_never

from remediator.core import order
from remediator.core.actions import (
    Action,
    Intent,
    MinimumIntent,
    RestartIntent,
    RollingRestart,
    RolloutUndo,
    Scale,
    ScaleIntent,
    SetMinimum,
    UndoIntent,
    Workload,
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
        action = as_it_stands(step.action, situation)
        refusal = _refusal(situation, index, step, action)
        if refusal is None:
            because, to = _because(situation, step), _whereto(situation, action)
            chosen = StepVerdict(step=index, action=action, reason=Reason.STEP_APPLIES, detail=because, to=to)
            verdicts.append(chosen)
            break
        reason, detail = refusal
        verdicts.append(StepVerdict(step=index, action=action, reason=reason, detail=detail))
    return tuple(verdicts)


def as_it_stands(action: Action, situation: Situation) -> Action:
    """What a step's action comes to here: under an autoscaler a scale-up may be one of its `minReplicas`."""
    hpa = situation.facts.get(Fact.HPA)
    under_hpa = hpa is not None and hpa.truth is True
    if not isinstance(action, Scale) or not action.raises_minimum:
        return action
    return SetMinimum(action.to) if under_hpa else replace(action, raises_minimum=False)


def intent_for(action: Action, situation: Situation, now: datetime) -> Intent:
    """Exactly what to send for an action that `weigh_steps` chose."""
    seen = situation.seen
    if not isinstance(seen, Observation):
        raise TypeError("an action needs an observed target")
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
        case SetMinimum(to=least):
            (hpa,) = seen.hpas or ()
            return MinimumIntent(
                uid=seen.uid,
                generation=seen.generation,
                autoscaler=hpa.name,
                autoscaler_uid=hpa.uid,
                replicas_from=hpa.minimum,
                replicas_to=least,
            )
        case _ as never:
            assert_never(never)


def _whereto(situation: Situation, action: Action) -> str:
    """Where an undo that was chosen goes to, as far as the action itself does not say so."""
    if not isinstance(action, RolloutUndo) or not isinstance(situation.seen, Observation):
        return ""
    return f" to revision {_undo_candidates(situation, situation.seen)[0].number}"


def _because(situation: Situation, step: Step) -> str:
    if not step.when:
        return "no earlier step applies, and this one asks for no fact"
    return "; ".join(f"{fact}: {situation.facts[fact].because}" for fact in step.when)


def _refusal(situation: Situation, index: int, step: Step, action: Action) -> Refusal | None:
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
    return _action_refusal(situation, seen, action) or permission_refusal(situation, action)


def _action_refusal(situation: Situation, seen: Observation, action: Action) -> Refusal | None:
    match action:
        case RollingRestart():
            return order.restart_refusal(seen) or _interruption(situation, seen)
        case RolloutUndo() if situation.incident.target.kind is Workload.STATEFUL_SET:
            return order.undo_refusal(seen)
        case RolloutUndo():
            return _undo_refusal(situation, seen) or _interruption(situation, seen)
        case Scale():
            return _scale_refusal(situation, seen, action) or order.scale_refusal(seen, action)
        case SetMinimum():
            return _minimum_refusal(situation, seen, action) or order.scale_refusal(seen, action)
        case _ as never:
            assert_never(never)


def permission_refusal(situation: Situation, action: Action) -> Refusal | None:
    """Asked last: a missing permission is news only for a step that would be taken."""
    lacking = situation.seen.missing_permissions if isinstance(situation.seen, Observation) else ()
    needed = needed_by(action, situation.incident.target.kind)
    missing = [str(permission) for permission in needed if permission in lacking]
    if not missing:
        return None
    return Reason.FORBIDDEN, f"we lack {', '.join(missing)} on {situation.incident.target}: remediator rbac"


def _interruption(situation: Situation, seen: Observation) -> Refusal | None:
    """A rollout that takes the last serving pod away first is an outage; the alert is not always one."""
    # A Deployment's controller takes away first what does not serve, a StatefulSet's what comes last.
    serving = seen.replicas if seen.order is None else seen.ready
    if situation.target_policy.accept_outage or not seen.ready or seen.strategy.missing < serving:
        return None
    return (
        Reason.WOULD_INTERRUPT,
        f"{seen.strategy.words}, and {seen.ready} of {seen.replicas} are ready: accept_outage on the target",
    )


def _undo_refusal(situation: Situation, seen: Observation) -> Refusal | None:
    if owner := owner_refusal(situation):
        return owner
    if any(isinstance(attempt.intent, UndoIntent) and _counts(attempt) for attempt in situation.tried):
        return Reason.ALREADY_UNDONE, "this incident has had its one undo"
    if any(undo.target_digest == seen.template_digest for undo in _our_undos(situation)):
        return Reason.ALREADY_UNDONE, "the present template is itself the result of our undo"
    if seen.previous is None:
        return Reason.FACT_UNKNOWN, situation.facts[Fact.PREVIOUS_REVISION].because
    if not _undo_candidates(situation, seen):
        return Reason.NO_PREVIOUS_REVISION, situation.facts[Fact.PREVIOUS_REVISION].because
    if seen.template_changed and seen.template_changed.latest > situation.incident.alert_started_at:
        # Roughly known is a revision that came back: somebody's undo, which ours would take back.
        return Reason.DEPLOYED_SINCE, "the template changed, or may have changed, after the alert started"
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
    if owner := owner_refusal(situation):
        return owner
    hpa = situation.facts[Fact.HPA]
    if hpa.truth is None:
        return Reason.FACT_UNKNOWN, f"whether an autoscaler owns the replicas is unknown: {hpa.because}"
    if hpa.truth:
        return Reason.HPA_OWNS_REPLICAS, hpa.because
    if bounded := _bounds_refusal(situation, action):
        return bounded
    if (action.to >= seen.replicas) if action.down else (action.to <= seen.replicas):
        return Reason.REPLICAS_AT_BOUND, f"{action} would not change {seen.replicas} replicas that way"
    return None


def _minimum_refusal(situation: Situation, seen: Observation, action: SetMinimum) -> Refusal | None:
    """Raised is only what one autoscaler, which nobody would write back, then really asks for."""
    if owner := owner_refusal(situation):
        return owner
    if seen.hpas is None or len(seen.hpas) != 1:
        return Reason.HPA_OWNS_REPLICAS, situation.facts[Fact.HPA].because
    (hpa,) = seen.hpas
    if hpa.owner:
        return Reason.OWNED_ELSEWHERE, f"autoscaler {hpa}"
    if hpa.minimum < 1:
        return Reason.HPA_OWNS_REPLICAS, f"{hpa} may take the last replica away, and is to stay able to"
    if bounded := _bounds_refusal(situation, action):
        return bounded
    if action.to > hpa.maximum:
        return Reason.REPLICAS_AT_BOUND, f"{action.to} is above maxReplicas of {hpa}"
    if action.to <= hpa.minimum:
        return Reason.REPLICAS_AT_BOUND, f"minReplicas of {hpa} is not below {action.to}"
    if action.to <= seen.replicas:
        full = "its maximum" if seen.replicas >= hpa.maximum else f"{seen.replicas} replicas"
        return Reason.REPLICAS_AT_BOUND, f"{hpa} runs {full} already: minReplicas {action.to} adds nothing"
    return None


def _bounds_refusal(situation: Situation, action: Scale | SetMinimum) -> Refusal | None:
    if not action.down and situation.facts[Fact.UNSCHEDULABLE].truth:
        return Reason.NO_ROOM, situation.facts[Fact.UNSCHEDULABLE].because
    bounds = situation.target_policy
    if bounds.min_replicas <= action.to <= bounds.max_replicas:
        return None
    detail = f"{action.to} is outside {bounds.min_replicas} to {bounds.max_replicas}"
    return Reason.REPLICAS_AT_BOUND, detail


def owner_refusal(situation: Situation) -> Refusal | None:
    """Whoever owns the target would revert an undo or a scale."""
    for fact in (Fact.GITOPS_OWNED, Fact.OPERATOR_OWNED):
        if situation.facts[fact].truth:
            return Reason.OWNED_ELSEWHERE, situation.facts[fact].because
    return None


def _counts(attempt: Attempt) -> bool:
    return attempt.state is not AttemptState.WITHDRAWN
