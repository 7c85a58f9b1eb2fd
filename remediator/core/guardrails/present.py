"""The guardrails that look at how it is now: the target as it was seen, the alert, our own query."""

from __future__ import annotations

from remediator.core.actions import RollingRestart, RolloutUndo, Scale
from remediator.core.decisions import Escalate, Hold, Situation
from remediator.core.durations import format_duration
from remediator.core.facts import Fact, Observation, Unseen
from remediator.core.guardrails.proposal import Objection, Proposal
from remediator.core.reasons import Reason

HOPELESS = (Fact.CRASH_LOOPING, Fact.IMAGE_PULL_FAILING, Fact.ROLLOUT_STUCK, Fact.UNSCHEDULABLE)
"""Facts that say a rollout in progress will not finish by waiting."""

COMES_BACK = frozenset({Reason.CLUSTER_UNREACHABLE, Reason.UNAUTHENTICATED})
"""Why a target cannot be seen for a while: an API server that is away, a token that is being rotated."""


def target(p: Proposal) -> Objection:
    """The target is there, is not ourselves, and opted in."""
    seen = p.situation.seen
    if isinstance(seen, Unseen):
        if seen.reason in COMES_BACK:
            return Hold(reason=seen.reason, detail=seen.detail)
        return Escalate(reason=seen.reason, detail=seen.detail)
    if seen.ourselves:
        return Escalate(reason=Reason.FORBIDDEN_TARGET, detail=str(p.situation.incident.target))
    kind = p.situation.incident.target.kind
    if not seen.opted_in:
        return Escalate(
            reason=Reason.NOT_OPTED_IN, detail=f'kubectl label {kind.label} NAME remediator/enabled="true"'
        )
    return None


def still_firing(p: Proposal) -> Objection:
    """`resolved` may mean recovered, or that the data vanished; either way it is no time to act."""
    if p.situation.firing:
        return None
    return Hold(reason=Reason.NOT_FIRING, detail=_condition_words(p.situation))


def condition(p: Proposal) -> Objection:
    """Our own query has to answer, and has to say that the service is still sick."""
    sample = p.situation.condition
    if sample.value is None:
        return Hold(reason=sample.reason or Reason.NO_DATA, detail=sample.detail)
    if p.situation.playbook.verify.good.holds(sample.value):
        return Hold(reason=Reason.CONDITION_CLEARED, detail=_condition_words(p.situation))
    return None


def rollout(p: Proposal) -> Objection:
    """Never into somebody's rollout, except to undo one that cannot finish, or to make room for it."""
    seen, facts = p.situation.seen, p.situation.facts
    if not isinstance(seen, Observation):
        return None
    if not facts[Fact.ROLLOUT_IN_PROGRESS].truth:
        return _just_rolled_out(p, seen)
    failing = [fact for fact in HOPELESS if facts[fact].truth]
    action = p.step.action if p.step else None
    if failing and isinstance(action, RolloutUndo):
        return None
    if Fact.UNSCHEDULABLE in failing and isinstance(action, Scale) and action.down:
        return None
    if failing and _ours_rolled_it(p.situation):
        return None
    if seen.order is not None and facts[Fact.ROLLOUT_STUCK].truth and p.step is None:
        return None  # it waits for a pod for ever, and no step would change that: a person's turn at once
    return Hold(reason=Reason.ROLLOUT_IN_PROGRESS, detail=seen.rollout_detail)


def _just_rolled_out(p: Proposal, seen: Observation) -> Objection:
    """What our query says now may still be from before the rollout ended."""
    if seen.rolled_out_at is None:
        return None
    settle = p.situation.playbook.verify.settle
    ago = seen.at - seen.rolled_out_at
    if ago >= settle or _ours_rolled_it(p.situation):
        return None
    detail = (
        f"the rollout ended {ago.total_seconds():.0f} s ago; its effect shows after {format_duration(settle)}"
    )
    return Hold(reason=Reason.ROLLOUT_IN_PROGRESS, detail=detail, until=p.now + (settle - ago))


def deployment_paused(p: Proposal) -> Objection:
    """The Deployment's own rollouts are paused: a change would wait unseen."""
    seen = p.situation.seen
    if isinstance(seen, Observation) and seen.paused:
        return Hold(reason=Reason.DEPLOYMENT_PAUSED, detail=f"kubectl rollout resume, {seen.uid}")
    return None


def scaled_to_zero(p: Proposal) -> Objection:
    """Somebody scaled it to 0; that is theirs to undo."""
    seen = p.situation.seen
    if isinstance(seen, Observation) and seen.replicas == 0:
        return Hold(reason=Reason.SCALED_TO_ZERO, detail="0 replicas wanted")
    return None


def autoscaler(p: Proposal) -> Objection:
    """No restart while an autoscaler is adding pods: it measures the rollout too, and asks for ever more."""
    seen = p.situation.seen
    if not isinstance(seen, Observation) or not (p.step and isinstance(p.step.action, RollingRestart)):
        return None
    growing = [str(hpa) for hpa in seen.hpas or () if hpa.growing]
    return Hold(reason=Reason.AUTOSCALER_GROWING, detail=", ".join(growing)) if growing else None


def _ours_rolled_it(situation: Situation) -> bool:
    """Whether the rollout in progress is what our own last, failed attempt of this incident left behind."""
    applied = [attempt for attempt in situation.tried if attempt.applied_generation is not None]
    seen = situation.seen
    return (
        bool(applied) and isinstance(seen, Observation) and applied[-1].applied_generation == seen.generation
    )


def _condition_words(situation: Situation) -> str:
    sample = situation.condition
    if sample.value is None:
        return sample.detail
    return f"our query says {sample.value:.4g}, good is {situation.playbook.verify.good}"
