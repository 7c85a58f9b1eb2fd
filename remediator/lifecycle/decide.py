"""Decide: look at the world, then weigh it in one serialised transaction that records the outcome.

Two replicas cannot overspend a budget: the history is read and the attempt written under one lock.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any, assert_never

from remediator.core.actions import Target, describe
from remediator.core.decide import NEVER_ESCALATE, explain
from remediator.core.decisions import Act, Escalate, Explanation, Hold, Ignore, Situation
from remediator.core.evidence import snapshot
from remediator.core.facts import Facts, Observation, Unseen, facts_from, with_usage
from remediator.core.incidents import Attempt, AttemptState, Incident, Phase
from remediator.core.policy import Playbook, Policy, TargetPolicy, for_target, query_for, selects
from remediator.core.reasons import Reason
from remediator.core.telling import retold
from remediator.core.verification import Sample
from remediator.lifecycle.close import close, escalate
from remediator.lifecycle.storm import in_storm, join_storm
from remediator.lifecycle.world import LONGEST_WAIT, World, soonest
from remediator.ports import Claim, JournalTransaction

NOT_ASKED = Unseen(reason=Reason.CLUSTER_UNREACHABLE, detail="in a storm the API server is spared")


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
    view = look(world, claim.incident, policy, now=now, briefly=in_storm(world, claim.incident, now=now))
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


def look(
    world: World, incident: Incident, policy: Policy, *, now: datetime, briefly: bool = False
) -> View | None:
    """Observe the target and ask our own query. None when the policy no longer knows the incident.

    `briefly` asks the query only: whether it is well by now.
    """
    playbook = policy.playbook_for(incident.alert, incident.target)
    target_policy = policy.targets.get(incident.target)
    if playbook is None or target_policy is None:
        return None
    condition = world.metrics.ask(query_for(playbook.verify, incident.target), now=now)
    seen = NOT_ASKED if briefly else world.cluster.observe(incident.target, logs=policy.logs)
    facts: Facts = {}
    if isinstance(seen, Observation):
        if seen.usage is None and policy.facts.usage_query is not None:
            seen = _with_usage(world, seen, policy.facts.usage_query, incident.target, now=now)
        facts = facts_from(seen, alert_started_at=incident.alert_started_at, rules=policy.facts)
    return View(playbook=playbook, target_policy=target_policy, seen=seen, facts=facts, condition=condition)


def _with_usage(world: World, seen: Observation, query: str, target: Target, *, now: datetime) -> Observation:
    if not selects(query, target.kind):
        return with_usage(seen, None, f"the policy's usage_query cannot select a {target.kind}")
    sample = world.metrics.ask(for_target(query, target), now=now)
    return with_usage(seen, sample.value, sample.detail)


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
            return intend(tx, claim, situation, decision, evidence, now=now)
        case Hold():
            chosen, settle = explanation.chosen, situation.playbook.verify.settle
            hold_back(
                world,
                tx,
                claim,
                decision,
                incident=situation.incident,
                asks_for=chosen.asks_for if chosen else None,
                settle=settle,
                evidence=evidence,
                now=now,
            )
        case Escalate():
            _count(tx, "escalate", decision.reason)
            escalate(tx, claim, decision, now=now, data=evidence)
        case Ignore():
            _count(tx, "ignore", decision.reason)
            close(world, tx, claim, decision.reason, decision.detail, now=now)
        case _ as never:
            assert_never(never)
    return None


def intend(
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
    data = {"attempt": attempt.id, **evidence}
    tx.append(claim.incident.id, "decided", decision.reason, detail, now=now, data=data)
    acting = tx.save(claim, phase=Phase.ACTING, next_at=now, now=now, keep=True)
    return replace(acting, intended=attempt)


def hold_back(
    world: World,
    tx: JournalTransaction,
    claim: Claim,
    hold: Hold,
    *,
    incident: Incident,
    asks_for: tuple[int, str] | None,
    settle: timedelta,
    evidence: dict[str, Any],
    now: datetime,
) -> None:
    """Record why not, each reason at most once an hour, and look again. `asks_for` is what to approve."""
    changes: dict[str, Any] = {}
    asked = (incident.approved_step, incident.approved_action)
    if hold.reason is Reason.AWAITING_APPROVAL and asks_for is not None and asks_for != asked:
        # What was said was about something else.
        changes = {"approved_step": asks_for[0], "approved_action": asks_for[1], "approved_by": None}
    deciding = claim.incident.phase is Phase.DECIDING  # and not returning, which is nobody's trouble
    if hold.reason is Reason.STORM and deciding:
        changes["storm_id"] = join_storm(tx, incident.id, hold.detail, now=now)
    if hold.reason is not incident.hold_reason or "approved_step" in changes:
        if deciding:
            _count(tx, "hold", hold.reason)
        _tell(tx, incident, hold, evidence, anew="approved_step" in changes, now=now)
    # In a storm there are many to look at, and nothing to be done about any of them.
    patiently = world.pace.recheck * (4 if hold.reason is Reason.STORM else 1)
    look_again = now + (patiently if deciding else LONGEST_WAIT)
    if incident.well_since is not None and deciding:  # then it closes, once well for the settle time
        look_again = min(look_again, soonest(incident.well_since + settle, now))
    tx.save(
        claim,
        phase=claim.incident.phase,
        next_at=min(hold.until, look_again) if hold.until and hold.until > now else look_again,
        now=now,
        hold_reason=hold.reason.value,
        held_since=None if hold.reason in NEVER_ESCALATE else incident.held_since or now,
        well_since=incident.well_since,
        **changes,
    )


def _tell(
    tx: JournalTransaction,
    incident: Incident,
    hold: Hold,
    evidence: dict[str, Any],
    *,
    anew: bool,
    now: datetime,
) -> None:
    last = tx.last_told(incident.id, "held", hold.reason, since=incident.phase_since)
    added = "" if anew else retold(last, now=now)
    if added is not None:
        data = {"until": hold.until, **evidence}
        tx.append(incident.id, "held", hold.reason, f"{hold.detail}{added}", now=now, data=data)


def _count(tx: JournalTransaction, decision: str, reason: Reason) -> None:
    tx.count("decisions", {"decision": decision, "reason": reason})


def _evidence(situation: Situation, explanation: Explanation) -> dict[str, Any]:
    """What was seen and weighed, as JSON values, for the timeline."""
    return {**seen_as_values(situation), **weighed(explanation)}


def seen_as_values(situation: Situation) -> dict[str, Any]:
    """What was seen, as JSON values."""
    return {
        "condition": asdict(situation.condition),
        "observed": snapshot(situation.seen),
        "facts": {
            fact.value: {"truth": finding.truth, "because": finding.because}
            for fact, finding in situation.facts.items()
        },
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
