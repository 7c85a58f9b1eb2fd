"""What to do next about one incident, and why. The same function answers production and `explain`."""

from __future__ import annotations

from datetime import datetime

from remediator.core.decisions import (
    Act,
    Decision,
    Escalate,
    Explanation,
    GuardrailVerdict,
    Hold,
    Ignore,
    Situation,
    StepVerdict,
)
from remediator.core.guardrails import GUARDRAILS, LIMITS, Proposal
from remediator.core.incidents import AttemptState
from remediator.core.policy import Policy
from remediator.core.reasons import Reason
from remediator.core.steps import intent_for, weigh_steps

NEVER_ESCALATE = frozenset({Reason.PAUSED, Reason.OBSERVE_MODE, Reason.STORM})
"""Holds that outlast the policy's patience: a person chose them, or was told of the storm as a whole."""


def decide(situation: Situation, policy: Policy, now: datetime) -> Decision:
    """Say what to do next about one incident, and why."""
    return explain(situation, policy, now).decision


def explain(situation: Situation, policy: Policy, now: datetime) -> Explanation:
    """Decide, and keep what every step and every guardrail had to say."""
    steps = weigh_steps(situation)
    chosen = next((step for step in steps if step.chosen), None)
    proposal = Proposal(situation=situation, step=chosen, policy=policy, now=now)
    guardrails = tuple(
        GuardrailVerdict(guardrail=name, objection=check(proposal)) for name, check in GUARDRAILS
    )
    return Explanation(decision=_decision(proposal, steps, guardrails), steps=steps, guardrails=guardrails)


def _decision(
    proposal: Proposal, steps: tuple[StepVerdict, ...], guardrails: tuple[GuardrailVerdict, ...]
) -> Decision:
    situation, now = proposal.situation, proposal.now
    if well := _well_without_us(situation, now):
        return well
    objections = [
        verdict.objection
        for verdict in guardrails
        if verdict.objection is not None and (proposal.step is not None or verdict.guardrail not in LIMITS)
    ]
    if objections:
        first = objections[0]
        return first if isinstance(first, Escalate) else _patient(first, proposal)
    if proposal.step is None:
        return _nothing_left(situation, steps)
    intent = intent_for(proposal.step.action, situation, now)
    return Act(
        step=proposal.step.step, action=proposal.step.action, intent=intent, detail=proposal.step.detail
    )


def _well_without_us(situation: Situation, now: datetime) -> Ignore | None:
    """Close once our own query has said for the settle time that all is well and nothing of ours is due."""
    well_since = situation.incident.well_since
    value = situation.condition.value
    if value is None or well_since is None or not situation.playbook.verify.good.holds(value):
        return None
    if now < well_since + situation.playbook.verify.settle:
        return None
    reason = Reason.CONDITION_CLEARED if situation.firing else Reason.RESOLVED
    detail = (
        f"our query has been {situation.playbook.verify.good} since {well_since:%H:%M:%S}, now {value:.4g}"
    )
    return Ignore(reason=reason, detail=detail)


def _patient(hold: Hold, proposal: Proposal) -> Hold | Escalate:
    """A hold that outlasts the policy's patience, or is known to, goes to a person."""
    if hold.reason in NEVER_ESCALATE:
        return hold
    gives_up = (proposal.situation.incident.held_since or proposal.now) + proposal.limits.patience
    if proposal.now >= gives_up or (hold.until is not None and hold.until > gives_up):
        return Escalate(reason=hold.reason, detail=f"{hold.detail}; the policy waits no longer than that")
    return hold


def _nothing_left(situation: Situation, steps: tuple[StepVerdict, ...]) -> Escalate:
    tried = any(attempt.state is not AttemptState.WITHDRAWN for attempt in situation.tried)
    reason = Reason.STEPS_EXHAUSTED if tried else Reason.NO_STEP_APPLIES
    return Escalate(reason=reason, detail="; ".join(f"{s.action}: {s.detail}" for s in steps))
