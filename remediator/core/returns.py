"""Giving a scale-up back: whether it is time, to how many replicas, or why it is kept.

A return is no remedy. It spends no budget and has no cooldown; it is begun only when nothing else is in
flight anywhere, and it waits for everything that would hold a remedy. What somebody else has touched
meanwhile is theirs: then nothing is given back.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from remediator.core import order
from remediator.core.actions import CountIntent, MinimumIntent, Scale, SetMinimum, in_words
from remediator.core.decisions import Act, Escalate, Hold, Ignore, Situation, StepVerdict
from remediator.core.facts import Observation, Unseen
from remediator.core.guardrails import COMES_BACK, Proposal, past, people, present
from remediator.core.incidents import RETURN_STEP, Attempt
from remediator.core.policy import Playbook, Policy
from remediator.core.reasons import Reason
from remediator.core.steps import Refusal, owner_refusal, permission_refusal

HOLDS = (
    past.storm,
    people.paused,
    present.target,
    past.monitoring,
    present.rollout,
    present.deployment_paused,
    people.breaker,
    people.change_window,
    people.mode,
)
"""The guardrails that a return is asked too, in this order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Raised:
    """Replicas, or an autoscaler's `minReplicas`, that are there because of us."""

    last: CountIntent
    """The last change of ours to the count: what it left has to be there still."""
    home: int
    """The count before the first one."""

    @property
    def present(self) -> int:
        return self.last.replicas_to

    @property
    def words(self) -> str:
        return f"{in_words(self.last, self.home)} before our scale-up, {self.present} now"

    def next_count(self, by: int, least: int) -> int:
        return max(self.home, least, self.present - by)

    def taking_over(self, earlier: Raised) -> Raised:
        """With what an earlier incident still had to give back, if that is the same count."""
        if _is_same_count(self.last, earlier.last):
            return replace(self, home=min(self.home, earlier.home))
        return self


def raised_by(attempts: Iterable[Attempt], playbook: Playbook) -> Raised | None:
    """What an incident that ends leaves to be given back. A scale-down is none, nor is what may stay."""
    scales = _counts_set(attempts)
    if not scales or scales[-1].replicas_to <= scales[0].replicas_from:
        return None
    stays = {
        step.action.to
        for step in playbook.steps
        if isinstance(step.action, Scale) and not step.action.returns
    }
    if scales[-1].replicas_to in stays:
        return None
    return Raised(last=scales[-1], home=scales[0].replicas_from)


def still_raised(home: int, attempts: Iterable[Attempt]) -> Raised:
    """The same while it is being given back."""
    return Raised(last=_counts_set(attempts)[-1], home=home)


def _counts_set(attempts: Iterable[Attempt]) -> list[CountIntent]:
    """Our changes to the count set last, oldest first: where an autoscaler came or went, it is another."""
    scales = [a.intent for a in attempts if a.applied_at is not None and isinstance(a.intent, CountIntent)]
    return [scale for scale in scales if _is_same_count(scale, scales[-1])]


def _is_same_count(one: CountIntent, other: CountIntent) -> bool:
    if isinstance(one, MinimumIntent) and isinstance(other, MinimumIntent):
        return one.autoscaler_uid == other.autoscaler_uid
    return type(one) is type(other)


def decide_return(
    situation: Situation, raised: Raised, policy: Policy, now: datetime, *, other_incident: int | None
) -> Act | Hold | Ignore:
    """Give the next replicas back, wait and why, or (Ignore) keep them for good and why."""
    if other_incident is not None:  # which may change what is there: its end says what is left to return
        return Hold(reason=Reason.OPEN_INCIDENT, detail=f"incident {other_incident}")
    if kept := _kept(situation, raised):
        return Ignore(reason=kept[0], detail=kept[1])
    if hold := _not_well(situation) or _not_yet(situation, policy, now):
        return hold
    under_hpa = isinstance(raised.last, MinimumIntent)
    # An autoscaler's least is its owner's: the policy bounds what we add to it, not what it was.
    least = 1 if under_hpa else situation.target_policy.min_replicas
    wanted = raised.next_count(policy.returns.by, least)
    if wanted >= raised.present:
        detail = f"the policy's least is {least}, {raised.present} are wanted"
        return Ignore(reason=Reason.REPLICAS_AT_BOUND, detail=detail)
    action = SetMinimum(wanted, down=True) if under_hpa else Scale(wanted, down=True)
    if lacking := permission_refusal(situation, action) or _out_of_order(situation, action):
        return Hold(reason=lacking[0], detail=lacking[1])
    if objection := _objection(situation, action, policy, now):
        return objection
    detail = f"{situation.playbook.verify.good} held all the time, and {raised.home} were there before"
    intent = lowered(raised.last, wanted, situation.seen)
    return Act(step=RETURN_STEP, action=action, intent=intent, reason=Reason.RETURN_DUE, detail=detail)


def _out_of_order(situation: Situation, action: Scale | SetMinimum) -> Refusal | None:
    seen = situation.seen
    return order.scale_refusal(seen, action) if isinstance(seen, Observation) else None


def lowered(last: CountIntent, wanted: int, seen: Observation | Unseen) -> CountIntent:
    """From where the last change left it to `wanted`."""
    generation = seen.generation if isinstance(seen, Observation) else last.generation
    return replace(last, generation=generation, replicas_from=last.replicas_to, replicas_to=wanted)


def took_back(failed: CountIntent, generation: int | None) -> CountIntent:
    """The way up again after a return that the service did not bear."""
    return replace(
        failed,
        generation=generation or failed.generation,
        replicas_from=failed.replicas_to,
        replicas_to=failed.replicas_from,
    )


def is_way_up(attempt: Attempt) -> bool:
    """Whether the attempt takes a return back."""
    intent = attempt.intent
    return attempt.returning and isinstance(intent, CountIntent) and intent.replicas_to > intent.replicas_from


def _kept(situation: Situation, raised: Raised) -> Refusal | None:
    """Why nothing will ever be given back: it is no longer ours to decide."""
    seen = situation.seen
    if isinstance(seen, Unseen):
        return None if seen.reason in COMES_BACK else (seen.reason, seen.detail)
    if seen.uid != raised.last.uid:
        kind = situation.incident.target.kind
        return Reason.CHANGED_BY_OTHERS, f"the {kind} was deleted and made anew"
    mine = raised.last
    if isinstance(mine, MinimumIntent):
        return _minimum_kept(seen, mine) or owner_refusal(situation) or order.volumes_refusal(seen)
    if seen.replicas != raised.present:
        return Reason.CHANGED_BY_OTHERS, f"{seen.replicas} replicas are wanted, we left {raised.present}"
    if seen.hpas:
        return Reason.HPA_OWNS_REPLICAS, ", ".join(map(str, seen.hpas))
    return owner_refusal(situation) or order.volumes_refusal(seen)


def _minimum_kept(seen: Observation, mine: MinimumIntent) -> Refusal | None:
    """Only the very autoscaler that was raised, alone and as we left it, is lowered again."""
    if seen.hpas is None:
        return None
    said = ", ".join(map(str, seen.hpas)) or "no autoscaler"
    if [hpa.uid for hpa in seen.hpas] != [mine.autoscaler_uid]:
        return Reason.CHANGED_BY_OTHERS, f"we raised autoscaler {mine.autoscaler}, now there is: {said}"
    (hpa,) = seen.hpas
    if hpa.minimum != mine.replicas_to:
        return Reason.CHANGED_BY_OTHERS, f"minReplicas is {hpa.minimum}, we left {mine.replicas_to}"
    return (Reason.OWNED_ELSEWHERE, f"autoscaler {said}") if hpa.owner else None


def _not_well(situation: Situation) -> Hold | None:
    """Only a service that is well, as far as anybody can tell, gives anything back."""
    sample = situation.condition
    if sample.value is None:
        return Hold(reason=sample.reason or Reason.NO_DATA, detail=sample.detail)
    good = situation.playbook.verify.good
    if not good.holds(sample.value):
        return Hold(reason=Reason.UNWELL, detail=f"our query says {sample.value:.4g}, good is {good}")
    if situation.firing:
        return Hold(reason=Reason.STILL_FIRING, detail=f"our query says {sample.value:.4g}")
    seen = situation.seen
    if isinstance(seen, Unseen):
        return Hold(reason=seen.reason, detail=seen.detail)
    if seen.hpas is None:
        why = seen.unreadable.get("hpas", "not observed")
        return Hold(reason=Reason.FACT_UNKNOWN, detail=f"whether an autoscaler owns the replicas: {why}")
    return None


def _not_yet(situation: Situation, policy: Policy, now: datetime) -> Hold | None:
    since = situation.incident.well_since or now
    last = next((a for a in reversed(situation.tried) if a.returning and a.verdict is not None), None)
    unbroken = last is not None and last.ended_at is not None and since <= last.ended_at
    due = since + (policy.returns.every if unbroken else policy.returns.after)
    if now >= due:
        return None
    return Hold(reason=Reason.RETURN_WAITING, detail=f"well since {since:%H:%M:%S}", until=due)


def _objection(
    situation: Situation, action: Scale | SetMinimum, policy: Policy, now: datetime
) -> Hold | Ignore | None:
    step = StepVerdict(step=RETURN_STEP, action=action, reason=Reason.STEP_APPLIES, detail="")
    proposal = Proposal(situation=situation, step=step, policy=policy, now=now)
    in_flight = [a for a in situation.history.attempts if a.state.in_flight]
    if in_flight:  # of any target: a return leaves the room to the remedies
        return Hold(
            reason=Reason.ACTION_IN_FLIGHT, detail=f"attempt {in_flight[0].id} on {in_flight[0].target}"
        )
    for guardrail in HOLDS:
        objection = guardrail(proposal)
        if isinstance(objection, Escalate):  # nothing is wrong that a person would have to mend
            return Ignore(reason=objection.reason, detail=objection.detail)
        if objection is not None:
            return objection
    return None
