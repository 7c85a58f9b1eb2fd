"""One decision: which, and why."""

from dataclasses import replace
from datetime import timedelta

import pytest

from remediator.core.actions import RollingRestart
from remediator.core.decide import decide, explain
from remediator.core.decisions import Act, Escalate, History, Hold, Ignore
from remediator.core.facts import Unseen
from remediator.core.guardrails import GUARDRAILS
from remediator.core.incidents import AttemptState
from remediator.core.policy import Mode, query_for
from remediator.core.reasons import Reason
from tests.builders import (
    APEX,
    NOW,
    QUERY,
    UNDO,
    a_criterion,
    a_pause,
    a_playbook,
    a_policy,
    a_restart_intent,
    a_sample,
    a_situation,
    ago,
    an_attempt,
    an_incident,
    an_observation,
    recently,
    with_limits,
)

POLICY = a_policy()
PAUSED = History(pauses=(a_pause(),))


def the_decision(policy=POLICY, **situation):
    return decide(a_situation(**situation), policy, NOW)


def test_the_step_that_applies_is_taken_when_nothing_objects():
    decision = the_decision()
    assert isinstance(decision, Act)
    assert (decision.step, decision.action) == (2, RollingRestart())
    assert decision.intent == a_restart_intent()
    assert decision.reason is Reason.STEP_APPLIES


def test_a_hold_keeps_its_reason_and_its_time():
    spent = History(attempts=(an_attempt(intended_at=ago(minutes=4), ended_at=ago(minutes=2)),))
    decision = the_decision(history=spent)
    assert isinstance(decision, Hold)
    assert (decision.reason, decision.until) == (Reason.COOLDOWN, NOW + timedelta(minutes=3))


def test_the_first_objection_in_the_order_of_the_guardrails_is_the_reason():
    decision = the_decision(history=PAUSED, firing=False, condition=a_sample(None))
    assert decision.reason is Reason.PAUSED


def held(minutes):
    return an_incident(held_since=ago(minutes=minutes))


PATIENCE = [
    pytest.param({"condition": a_sample(None)}, Hold, Reason.NO_DATA, id="just held"),
    pytest.param({"condition": a_sample(None), "incident": held(14)}, Hold, Reason.NO_DATA, id="held 14 min"),
    pytest.param(
        {"condition": a_sample(None), "incident": held(15)}, Escalate, Reason.NO_DATA, id="held 15 min"
    ),
    pytest.param({"history": PAUSED, "incident": held(999)}, Hold, Reason.PAUSED, id="a person's pause"),
    pytest.param(
        {"history": History(attempts=tuple(an_attempt(intended_at=ago(minutes=m)) for m in (10, 11, 12)))},
        Escalate,
        Reason.TARGET_BUDGET,
        id="a budget that opens too late to wait for",
    ),
    pytest.param(
        {"history": History(attempts=tuple(an_attempt(intended_at=ago(minutes=m)) for m in (50, 51, 52)))},
        Hold,
        Reason.TARGET_BUDGET,
        id="a budget that opens soon",
    ),
    pytest.param(
        {"seen": Unseen(reason=Reason.TARGET_NOT_FOUND, detail="404")},
        Escalate,
        Reason.TARGET_NOT_FOUND,
        id="nothing to wait for",
    ),
]


@pytest.mark.parametrize(("situation", "kind", "reason"), PATIENCE)
def test_what_outlasts_the_policys_patience_goes_to_a_person(situation, kind, reason):
    decision = the_decision(**situation)
    assert isinstance(decision, kind)
    assert decision.reason is reason


def test_observing_is_patient_for_ever():
    decision = the_decision(a_policy(mode=Mode.OBSERVE), incident=held(999))
    assert isinstance(decision, Hold)
    assert decision.detail == "would have been: rolling restart"


def test_an_approval_that_nobody_gives_goes_to_a_person():
    assert isinstance(the_decision(a_policy(mode=Mode.APPROVE), incident=held(15)), Escalate)


def test_the_patience_is_the_policys():
    impatient = with_limits(POLICY, patience=timedelta(minutes=1))
    assert isinstance(the_decision(impatient, condition=a_sample(None), incident=held(1)), Escalate)


WELL = [
    pytest.param(
        {"incident": an_incident(well_since=ago(seconds=30))}, Reason.CONDITION_CLEARED, id="firing"
    ),
    pytest.param(
        {"incident": an_incident(well_since=ago(seconds=30)), "firing": False}, Reason.RESOLVED, id="resolved"
    ),
    pytest.param(
        {"incident": an_incident(well_since=ago(seconds=30)), "history": PAUSED},
        Reason.CONDITION_CLEARED,
        id="paused",
    ),
]


@pytest.mark.parametrize(("situation", "reason"), WELL)
def test_an_incident_that_is_well_for_the_settle_time_is_closed_without_acting(situation, reason):
    decision = the_decision(condition=a_sample(96), **situation)
    assert isinstance(decision, Ignore)
    assert decision.reason is reason
    assert "11:59:30, now 96" in decision.detail


NOT_YET = [
    pytest.param(ago(seconds=29), 96, Reason.CONDITION_CLEARED, id="not long enough"),
    pytest.param(None, 96, Reason.CONDITION_CLEARED, id="never before"),
    pytest.param(ago(minutes=9), None, Reason.NO_DATA, id="no data now"),
]


@pytest.mark.parametrize(("since", "value", "reason"), NOT_YET)
def test_an_incident_is_held_until_it_is_well_for_long_enough(since, value, reason):
    decision = the_decision(condition=a_sample(value), incident=an_incident(well_since=since))
    assert isinstance(decision, Hold)
    assert decision.reason is reason


def test_what_was_well_and_is_sick_again_is_acted_upon():
    assert isinstance(the_decision(incident=an_incident(well_since=ago(minutes=9))), Act)


def test_when_no_step_applies_a_person_gets_the_evidence():
    decision = the_decision(playbook=a_playbook(UNDO))
    assert isinstance(decision, Escalate)
    assert decision.reason is Reason.NO_STEP_APPLIES
    assert "rollout undo: recent_rollout is false" in decision.detail


def test_when_every_step_was_tried_a_person_gets_the_evidence():
    tried = tuple(an_attempt(step=step) for step in range(3))
    decision = the_decision(tried=tried)
    assert isinstance(decision, Escalate)
    assert decision.reason is Reason.STEPS_EXHAUSTED
    assert decision.detail.count("was tried in this incident") == 3


def test_withdrawn_attempts_alone_exhaust_nothing():
    withdrawn = an_attempt(step=0, state=AttemptState.WITHDRAWN)
    decision = the_decision(playbook=a_playbook(UNDO), tried=(withdrawn,))
    assert decision.reason is Reason.NO_STEP_APPLIES


def test_an_explanation_has_every_step_up_to_the_chosen_one_and_every_guardrail():
    explanation = explain(a_situation(seen=an_observation(template_changed=recently())), POLICY, NOW)
    assert [step.chosen for step in explanation.steps] == [True]
    assert [verdict.guardrail for verdict in explanation.guardrails] == [name for name, _ in GUARDRAILS]
    assert all(verdict.objection is None for verdict in explanation.guardrails)


def test_an_explanation_of_what_could_not_be_seen_still_names_every_guardrail():
    blind = a_situation(seen=Unseen(reason=Reason.CLUSTER_UNREACHABLE, detail="timed out"))
    explanation = explain(blind, POLICY, NOW)
    assert len(explanation.guardrails) == len(GUARDRAILS)
    assert explanation.decision.reason is Reason.CLUSTER_UNREACHABLE


def test_a_query_is_about_one_target_and_nothing_else_is_substituted():
    criterion = a_criterion(query=QUERY + " > $value")
    assert query_for(criterion, APEX) == 'score{namespace="bizra-testnet",deployment="bizra-apex"} > $value'


def test_the_same_situation_always_gives_the_same_decision():
    situation = a_situation()
    assert explain(situation, POLICY, NOW) == explain(replace(situation), POLICY, NOW)


def test_where_no_step_is_left_no_limit_delays_the_person():
    tried = tuple(an_attempt(step=step, state=AttemptState.JUDGED, ended_at=NOW) for step in range(3))
    decision = the_decision(tried=tried, history=History(attempts=tried))
    assert isinstance(decision, Escalate)
    assert decision.reason is Reason.STEPS_EXHAUSTED
