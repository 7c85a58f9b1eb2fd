"""The named checks that may say "not now, because ...".

`GUARDRAILS` is the order of evaluation and of the docs. Each guardrail looks at one thing and answers
None to let the action pass, a Hold with its reason, or an Escalate when waiting cannot help.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from remediator.core.actions import RolloutUndo, Scale, Target
from remediator.core.decisions import Escalate, Hold, Situation, StepVerdict
from remediator.core.durations import format_duration
from remediator.core.facts import Fact, Observation, Unseen
from remediator.core.incidents import BREAKER, Attempt, AttemptState, Pause
from remediator.core.policy import Limits, Mode, Policy
from remediator.core.reasons import Reason
from remediator.core.verification import Verdict

Objection = Hold | Escalate | None

HOPELESS = (Fact.CRASH_LOOPING, Fact.IMAGE_PULL_FAILING, Fact.ROLLOUT_STUCK, Fact.UNSCHEDULABLE)
"""Facts that say a rollout in progress will not finish by waiting."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """What a guardrail judges: the situation and the step that would be taken, if any applies."""

    situation: Situation
    step: StepVerdict | None
    policy: Policy
    now: datetime

    @property
    def limits(self) -> Limits:
        return self.policy.limits


def paused(p: Proposal) -> Objection:
    """A person stopped us here: everything, the namespace, the target or the playbook."""
    for pause in _pauses(p):
        if pause.by != BREAKER:
            return Hold(
                reason=Reason.PAUSED, detail=f"{pause.scope} by {pause.by}: {pause.why}", until=pause.until
            )
    return None


def breaker(p: Proposal) -> Objection:
    """Too many actions did not help; only a person closes the breaker again."""
    for pause in _pauses(p):
        if pause.by == BREAKER:
            return Hold(reason=Reason.BREAKER_OPEN, detail=pause.why, until=pause.until)
    return None


def target(p: Proposal) -> Objection:
    """The target is there, is not ourselves, and opted in."""
    seen = p.situation.seen
    if isinstance(seen, Unseen):
        if seen.reason is Reason.CLUSTER_UNREACHABLE:
            return Hold(reason=seen.reason, detail=seen.detail)
        return Escalate(reason=seen.reason, detail=seen.detail)
    if seen.ourselves:
        return Escalate(reason=Reason.FORBIDDEN_TARGET, detail=str(p.situation.incident.target))
    if not seen.opted_in:
        return Escalate(
            reason=Reason.NOT_OPTED_IN, detail='kubectl label deployment NAME remediator/enabled="true"'
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


def one_action_per_target(p: Proposal) -> Objection:
    """No other action on this target is in flight."""
    for attempt in _on_target(p):
        if attempt.state.in_flight:
            return Hold(reason=Reason.ACTION_IN_FLIGHT, detail=f"attempt {attempt.id} is {attempt.state}")
    return None


def cooldown(p: Proposal) -> Objection:
    """The last action on this target was long enough ago."""
    latest = max((a.ended_at or a.intended_at for a in _on_target(p)), default=None)
    if latest is None or p.now >= latest + p.limits.cooldown:
        return None
    until = latest + p.limits.cooldown
    return Hold(reason=Reason.COOLDOWN, detail=f"the last action ended at {latest:%H:%M:%S}", until=until)


def target_budget(p: Proposal) -> Objection:
    """The target has actions left in its window and for the day."""
    limits = p.limits
    times = [a.intended_at for a in _on_target(p)]
    return _over(times, limits.target_actions, limits.target_per, Reason.TARGET_BUDGET, p.now) or _over(
        times, limits.target_per_day, limits.day, Reason.TARGET_DAILY_BUDGET, p.now
    )


def overall_budget(p: Proposal) -> Objection:
    """All targets together have actions left."""
    times = [a.intended_at for a in _spent(p.situation.history.attempts)]
    return _over(times, p.limits.overall_actions, p.limits.overall_per, Reason.OVERALL_BUDGET, p.now)


def at_once(p: Proposal) -> Objection:
    """No more than so many actions are in flight, all targets together."""
    in_flight = sum(attempt.state.in_flight for attempt in p.situation.history.attempts)
    if in_flight < p.limits.at_once:
        return None
    return Hold(reason=Reason.TOO_MANY_AT_ONCE, detail=f"{in_flight} of {p.limits.at_once} in flight")


def storm(p: Proposal) -> Objection:
    """When many targets begin to alert at once, the cause is elsewhere."""
    since = p.now - p.limits.storm_within
    alerting = {opening.target for opening in p.situation.history.openings if opening.at > since}
    if len(alerting) < p.limits.storm_targets:
        return None
    return Hold(
        reason=Reason.STORM,
        detail=f"{len(alerting)} targets began to alert within {format_duration(p.limits.storm_within)}",
    )


def change_window(p: Proposal) -> Objection:
    """The policy's change windows, if it has any, are open."""
    windows = p.policy.change_windows
    if not windows or any(window.contains(p.now) for window in windows):
        return None
    return Hold(reason=Reason.OUTSIDE_CHANGE_WINDOW, detail=f"none of {len(windows)} windows is open")


def mode(p: Proposal) -> Objection:
    """Last, so that observe says what would really have been done, and nobody approves in vain."""
    wanted = p.policy.mode_for(p.situation.playbook)
    if wanted is Mode.AUTO or p.step is None:
        return None
    if wanted is Mode.OBSERVE:
        return Hold(reason=Reason.OBSERVE_MODE, detail=f"would have been: {p.step.action}")
    incident = p.situation.incident
    if incident.approval_refused_by is not None:
        return Escalate(reason=Reason.APPROVAL_REFUSED, detail=f"by {incident.approval_refused_by}")
    if incident.approved_by is not None and incident.approved_step == p.step.step:
        return None
    detail = f"{p.step.action}: remediator approve {incident.id}"
    return Hold(reason=Reason.AWAITING_APPROVAL, detail=detail)


GUARDRAILS: tuple[tuple[str, Callable[[Proposal], Objection]], ...] = (
    ("paused", paused),
    ("target", target),
    ("still_firing", still_firing),
    ("condition", condition),
    ("rollout", rollout),
    ("deployment_paused", deployment_paused),
    ("scaled_to_zero", scaled_to_zero),
    ("one_action_per_target", one_action_per_target),
    ("cooldown", cooldown),
    ("target_budget", target_budget),
    ("overall_budget", overall_budget),
    ("at_once", at_once),
    ("storm", storm),
    ("breaker", breaker),
    ("change_window", change_window),
    ("mode", mode),
)


LIMITS = frozenset(
    {
        "one_action_per_target",
        "cooldown",
        "target_budget",
        "overall_budget",
        "at_once",
        "storm",
        "breaker",
        "change_window",
        "mode",
    }
)
"""Guardrails that bound an action. Where no step is left to take, they have nothing to say."""


def breaker_trips(
    attempts: Iterable[Attempt], limits: Limits, *, reset_at: datetime | None, now: datetime
) -> str | None:
    """Why the breaker has to open now, or None. Unknown counts as not recovered."""
    since = max(now - limits.breaker_within, reset_at or now - limits.breaker_within)
    failures = [
        attempt
        for attempt in attempts
        if attempt.ended_at is not None
        and attempt.ended_at > since
        and attempt.state is not AttemptState.WITHDRAWN
        and attempt.verdict is not Verdict.RECOVERED
    ]
    if len(failures) < limits.breaker_not_recovered:
        return None
    return f"{len(failures)} actions did not bring recovery within {format_duration(limits.breaker_within)}"


def _pauses(p: Proposal) -> list[Pause]:
    incident = p.situation.incident
    return [
        pause for pause in p.situation.history.pauses if pause.covers(incident.target, incident.alert, p.now)
    ]


def _spent(attempts: Iterable[Attempt]) -> list[Attempt]:
    return [attempt for attempt in attempts if attempt.state is not AttemptState.WITHDRAWN]


def _on_target(p: Proposal) -> list[Attempt]:
    wanted: Target = p.situation.incident.target
    return [attempt for attempt in _spent(p.situation.history.attempts) if attempt.target == wanted]


def _over(times: list[datetime], most: int, per: timedelta, reason: Reason, now: datetime) -> Hold | None:
    """A hold until enough of the `times` have left the window of length `per`."""
    inside = sorted(moment for moment in times if moment > now - per)
    if len(inside) < most:
        return None
    until = inside[len(inside) - most] + per
    return Hold(
        reason=reason, detail=f"{len(inside)} of {most} actions in {format_duration(per)}", until=until
    )


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
