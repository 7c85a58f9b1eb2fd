"""Decide: look at the world, then weigh it in one serialised transaction that records the outcome.

Two replicas cannot overspend a budget: the history is read and the attempt written under one lock.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, assert_never

from remediator.core.actions import describe
from remediator.core.decide import NEVER_ESCALATE, explain
from remediator.core.decisions import Act, Escalate, Explanation, Hold, Ignore, Situation
from remediator.core.facts import Facts, Observation, Unseen, facts_from
from remediator.core.incidents import Attempt, AttemptState, Incident, Phase
from remediator.core.policy import Playbook, Policy, TargetPolicy, query_for
from remediator.core.reasons import Reason
from remediator.core.verification import Sample
from remediator.lifecycle.close import close, escalate
from remediator.lifecycle.world import World
from remediator.ports import Claim, JournalTransaction


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What was observed for one decision."""

    playbook: Playbook
    target_policy: TargetPolicy
    seen: Observation | Unseen
    facts: Facts
    condition: Sample


def decide(world: World, claim: Claim, *, now: datetime) -> Claim | None:
    """Decide what to do next, and record it with its reason."""
    policy = world.policy()
    view = look(world, claim.incident, policy, now=now)
    with world.journal.transaction() as tx:
        tx.lock_decisions()
        incident = tx.refresh(claim)
        if view is None:
            detail = f"{incident.alert} on {incident.target}, policy {policy.digest}"
            escalate(tx, claim, Escalate(reason=Reason.POLICY_CHANGED, detail=detail), now=now)
            return None
        situation = situation_of(tx, incident, view, policy, now=now)
        explanation = explain(situation, policy, now)
        return _record(world, tx, claim, situation, explanation, now=now)


def look(world: World, incident: Incident, policy: Policy, *, now: datetime) -> View | None:
    """Observe the target and ask our own query. None when the policy no longer knows the incident."""
    playbook = policy.playbooks.get(incident.alert)
    target_policy = policy.targets.get(incident.target)
    if playbook is None or target_policy is None:
        return None
    condition = world.metrics.ask(query_for(playbook.verify, incident.target), now=now)
    seen = world.cluster.observe(incident.target)
    facts: Facts = {}
    if isinstance(seen, Observation):
        facts = facts_from(seen, alert_started_at=incident.alert_started_at, rules=policy.facts)
    return View(playbook=playbook, target_policy=target_policy, seen=seen, facts=facts, condition=condition)


def situation_of(
    tx: JournalTransaction,
    incident: Incident,
    view: View,
    policy: Policy,
    *,
    now: datetime,
    firing: bool | None = None,
) -> Situation:
    """Everything the decision may look at, the history read in this transaction."""
    value = view.condition.value
    well = value is not None and view.playbook.verify.good.holds(value)
    return Situation(
        incident=replace(
            incident,
            # Not in the future, also when the clock was set back.
            held_since=min(incident.held_since, now) if incident.held_since else None,
            well_since=min(incident.well_since or now, now) if well else None,
        ),
        firing=tx.firing(incident.id) if firing is None else firing,
        playbook=view.playbook,
        target_policy=view.target_policy,
        seen=view.seen,
        facts=view.facts,
        condition=view.condition,
        tried=tx.attempts_of(incident.id),
        history=tx.history(policy.limits, now=now),
    )


def _record(
    world: World,
    tx: JournalTransaction,
    claim: Claim,
    situation: Situation,
    explanation: Explanation,
    *,
    now: datetime,
) -> Claim | None:
    decision = explanation.decision
    evidence = _evidence(situation, explanation)
    match decision:
        case Act():
            _count(tx, "act", decision.reason)
            return _intend(tx, claim, situation, decision, evidence, now=now)
        case Hold():
            incident, step = situation.incident, explanation.chosen
            _hold(world, tx, claim, decision, incident=incident, step=step, evidence=evidence, now=now)
        case Escalate():
            _count(tx, "escalate", decision.reason)
            escalate(tx, claim, decision, now=now, data=evidence)
        case Ignore():
            _count(tx, "ignore", decision.reason)
            close(world, tx, claim, decision.reason, decision.detail, now=now)
        case _ as never:
            assert_never(never)
    return None


def _intend(
    tx: JournalTransaction,
    claim: Claim,
    situation: Situation,
    decision: Act,
    evidence: dict[str, Any],
    *,
    now: datetime,
) -> Claim:
    """Write the intent before anything is sent: after a crash it says what may have happened."""
    attempt = tx.intend(
        Attempt(
            id=0,
            incident_id=claim.incident.id,
            target=claim.incident.target,
            step=decision.step,
            intent=decision.intent,
            state=AttemptState.INTENDED,
            intended_at=now,
            ready_before=situation.seen.ready if isinstance(situation.seen, Observation) else 0,
            value_before=situation.condition.value,
        )
    )
    detail = f"attempt {attempt.id}: {describe(decision.intent)}, because {decision.detail}"
    tx.append(claim.incident.id, "decided", decision.reason, detail, now=now, data=evidence)
    return tx.save(claim, phase=Phase.ACTING, next_at=now, now=now, keep=True)


def _hold(
    world: World,
    tx: JournalTransaction,
    claim: Claim,
    hold: Hold,
    *,
    incident: Incident,
    step: int | None,
    evidence: dict[str, Any],
    now: datetime,
) -> None:
    """Record why not, once for each reason, and look again."""
    changes: dict[str, Any] = {}
    if hold.reason is Reason.AWAITING_APPROVAL and step != incident.approved_step:
        changes = {"approved_step": step, "approved_by": None}  # what was said was about another step
    if hold.reason is not incident.hold_reason or changes:
        _count(tx, "hold", hold.reason)
        data = {"until": hold.until, **evidence}
        tx.append(incident.id, "held", hold.reason, hold.detail, now=now, data=data)
    look_again = now + world.pace.recheck
    tx.save(
        claim,
        phase=Phase.DECIDING,
        next_at=min(hold.until, look_again) if hold.until and hold.until > now else look_again,
        now=now,
        hold_reason=hold.reason.value,
        held_since=None if hold.reason in NEVER_ESCALATE else incident.held_since or now,
        well_since=incident.well_since,
        **changes,
    )


def _count(tx: JournalTransaction, decision: str, reason: Reason) -> None:
    tx.count("decisions", {"decision": decision, "reason": reason})


def _evidence(situation: Situation, explanation: Explanation) -> dict[str, Any]:
    """What was seen and weighed, as JSON values, for the timeline."""
    return {
        "condition": asdict(situation.condition),
        "observed": asdict(situation.seen),
        "facts": {
            fact.value: {"truth": finding.truth, "because": finding.because}
            for fact, finding in situation.facts.items()
        },
        **weighed(explanation),
    }


def weighed(explanation: Explanation) -> dict[str, Any]:
    """What every step and every guardrail had to say, as JSON values."""
    return {
        "steps": [
            {"step": s.step + 1, "action": str(s.action), "reason": s.reason.value, "detail": s.detail}
            for s in explanation.steps
        ],
        "guardrails": [
            {
                "guardrail": verdict.guardrail,
                "passes": verdict.objection is None,
                "reason": verdict.objection.reason.value if verdict.objection else None,
                "detail": verdict.objection.detail if verdict.objection else "",
            }
            for verdict in explanation.guardrails
        ],
    }
