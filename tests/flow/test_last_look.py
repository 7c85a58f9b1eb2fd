"""Between the decision and the sending anything may change: whatever would stop it now stops it still."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, time, timedelta

import pytest

from remediator.core.actions import Scale, SetMinimum
from remediator.core.execution import Delivery
from remediator.core.facts import Fact
from remediator.core.incidents import RETURN_STEP, AttemptState, Phase
from remediator.core.last_look import stop_before
from remediator.core.marks import Stop
from remediator.core.policy import ChangeWindow, Mode, Step
from remediator.core.reasons import Reason
from remediator.lifecycle.person import Person
from tests.builders import (
    APEX,
    NOW,
    RESTART,
    SCALE,
    UNDO,
    a_minimum_intent,
    a_playbook,
    a_policy,
    a_restart_intent,
    a_scale_intent,
    an_incident,
    an_undo_intent,
)

STEPS = {"AhsanScoreLow": a_playbook(UNDO, SCALE, RESTART)}


def observed_only(policy):
    return replace(policy, mode=Mode.OBSERVE)


def asks_first(policy):
    return replace(policy, mode=Mode.APPROVE)


def without_the_target(policy):
    return replace(policy, targets={})


def without_the_playbook(policy):
    return replace(policy, playbooks={})


def with_fewer_steps(policy):
    return replace(policy, playbooks={"AhsanScoreLow": a_playbook(UNDO)})


def with_other_steps(policy):
    never = Step(action=Scale(5), when=(Fact.OOM_KILLED,))
    return replace(policy, playbooks={"AhsanScoreLow": a_playbook(UNDO, UNDO, never)})


CHANGED = [
    pytest.param(observed_only, Reason.OBSERVE_MODE, Phase.DECIDING, id="observe"),
    pytest.param(asks_first, Reason.AWAITING_APPROVAL, Phase.DECIDING, id="approve"),
    pytest.param(without_the_target, Reason.POLICY_CHANGED, Phase.ESCALATED, id="no target"),
    pytest.param(without_the_playbook, Reason.POLICY_CHANGED, Phase.ESCALATED, id="no playbook"),
    pytest.param(with_fewer_steps, Reason.POLICY_CHANGED, Phase.ESCALATED, id="fewer steps"),
    pytest.param(with_other_steps, Reason.POLICY_CHANGED, Phase.ESCALATED, id="other steps"),
]


@pytest.mark.parametrize(("change", "reason", "phase"), CHANGED)
def test_a_policy_that_changed_after_the_decision_stops_what_was_not_sent_yet(drama, change, reason, phase):
    drama.receive()
    drama.advance_once()
    drama.policy = change(drama.policy)
    drama.run(minutes=5)
    assert drama.cluster.asked == []
    (attempt,) = drama.story().attempts
    assert (attempt.state, attempt.reason) == (AttemptState.WITHDRAWN, reason)
    assert drama.incident.phase is phase


def test_a_policy_that_changed_while_the_outcome_is_unknown_does_not_hide_the_doubt(drama):
    drama.cluster.script.append(Delivery.UNCLEAR)
    drama.receive()
    drama.step()
    drama.policy = observed_only(drama.policy)
    drama.run()
    (attempt,) = drama.story().attempts
    assert (attempt.state, attempt.reason) == (AttemptState.ABANDONED, Reason.OUTCOME_UNKNOWN)
    assert len(drama.cluster.asked) == 1


def test_an_opt_in_taken_off_after_the_decision_stops_what_was_not_sent_yet(drama):
    drama.receive()
    drama.advance_once()
    drama.cluster.change(opted_in=False)
    drama.run(minutes=5)
    assert drama.done == []
    (attempt,) = drama.story().attempts
    assert (attempt.state, attempt.reason) == (AttemptState.WITHDRAWN, Reason.NOT_OPTED_IN)
    assert (drama.incident.phase, drama.incident.reason) == (Phase.ESCALATED, Reason.NOT_OPTED_IN)


def closes_at(moment):
    every_day = frozenset(range(7))
    return ChangeWindow(days=every_day, opens=time(0), closes=moment.time(), zone=UTC)


def test_a_change_window_that_closes_before_a_late_write_stops_it(drama):
    """The API server was away when it was decided, and comes back when no window is open any more."""
    drama.policy = replace(drama.policy, change_windows=(closes_at(NOW + timedelta(minutes=2)),))
    drama.cluster.script.extend([Delivery.NOT_SENT] * 2)
    drama.receive()
    drama.step()
    drama.cluster.away = True
    drama.run(minutes=3)
    drama.cluster.away = False
    drama.run(minutes=1)
    assert drama.done == []
    (attempt,) = drama.story().attempts
    assert (attempt.state, attempt.reason) == (AttemptState.WITHDRAWN, Reason.OUTSIDE_CHANGE_WINDOW)
    assert (drama.incident.phase, drama.incident.hold_reason) == (
        Phase.DECIDING,
        Reason.OUTSIDE_CHANGE_WINDOW,
    )


@pytest.mark.parametrize(
    ("intent", "stops"),
    [
        pytest.param(a_scale_intent(3, 2), True, id="a return"),
        pytest.param(a_scale_intent(2, 3), False, id="the way up again"),
    ],
)
def test_outside_of_the_change_windows_only_what_takes_a_return_back_is_sent(intent, stops):
    policy = replace(BOUNDED, change_windows=(closes_at(NOW - timedelta(minutes=1)),))
    stop = stop_before(intent, RETURN_STEP, an_incident(), policy, (), now=NOW)
    expected = Stop(reason=Reason.OUTSIDE_CHANGE_WINDOW, detail="none of 1 windows is open")
    assert stop == (expected if stops else None)


def test_what_a_person_approved_is_sent(drama):
    drama.policy = replace(asks_first(drama.policy), playbooks={"AhsanScoreLow": a_playbook(RESTART)})
    drama.receive()
    drama.step()
    Person(drama.journal, drama.policy).approve(drama.incident.id, by="ada", now=drama.now)
    drama.run(minutes=1)
    assert drama.done == ["restart"]


BOUNDED = a_policy(
    a_playbook(
        Step(action=Scale(5)),
        Step(action=Scale(5, raises_minimum=True)),
        Step(action=Scale(1, down=True)),
        RESTART,
        UNDO,
    )
)
UP, MINIMUM, DOWN = (
    a_scale_intent(3, 5),
    a_minimum_intent(3, 5),
    a_scale_intent(3, 1),
)
LOOKS = [
    (UP, 0, (1, 10), None),
    (UP, 1, (1, 10), None),
    (UP, 0, (1, 4), "5 is above the policy's 4"),
    (MINIMUM, 1, (1, 10), None),
    (MINIMUM, 1, (1, 4), "5 is above the policy's 4"),
    (MINIMUM, 0, (1, 10), "step 1 is another one now"),
    (a_scale_intent(3, 4), 0, (1, 10), "step 1 is another one now"),
    (DOWN, 2, (1, 10), None),
    (DOWN, 2, (2, 10), "1 is below the policy's 2"),
    (a_restart_intent(), 3, (1, 10), None),
    (a_restart_intent(), 4, (1, 10), "step 5 is another one now"),
    (an_undo_intent(), 4, (1, 10), None),
    (an_undo_intent(), 3, (1, 10), "step 4 is another one now"),
    (a_scale_intent(5, 4), RETURN_STEP, (1, 3), None),  # on its way down it may still be above the most
    (a_scale_intent(5, 2), RETURN_STEP, (3, 10), "2 is below the policy's 3"),
    (a_minimum_intent(5, 2), RETURN_STEP, (3, 10), None),  # that least is its owner's
]


@pytest.mark.parametrize(("intent", "step", "bounds", "words"), LOOKS)
def test_the_bounds_and_the_steps_in_force_are_looked_at_again(intent, step, bounds, words):
    low, high = bounds
    within = {APEX: replace(BOUNDED.targets[APEX], min_replicas=low, max_replicas=high)}
    policy = replace(BOUNDED, targets=within)
    stop = stop_before(intent, step, an_incident(), policy, (), now=NOW)
    assert (stop is None) if words is None else (stop is not None and words in stop.detail)


def test_a_step_that_sets_an_autoscalers_minimum_is_recognised_too():
    policy = replace(BOUNDED, playbooks={"AhsanScoreLow": a_playbook(Step(action=SetMinimum(5)))})
    assert stop_before(MINIMUM, 0, an_incident(), policy, (), now=NOW) is None
    assert stop_before(UP, 0, an_incident(), policy, (), now=NOW) is not None
