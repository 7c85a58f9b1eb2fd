"""minReplicas is raised, proven and lowered again by the flow that carries out everything else."""

from dataclasses import replace
from datetime import timedelta

import pytest

from remediator.core.actions import MinimumIntent, Scale
from remediator.core.execution import Delivery, Sent
from remediator.core.facts import Autoscaler
from remediator.core.incidents import AttemptState, Phase
from remediator.core.policy import Mode, Step
from remediator.core.reasons import Reason
from remediator.lifecycle.person import Person
from tests.builders import APEX, a_playbook, a_policy, an_alert
from tests.worlds import SICK, WELL, Crash

RAISE = Step(action=Scale(5, raises_minimum=True))
UNCLEAR = Sent(delivery=Delivery.UNCLEAR, detail="timed out")
WEB = Autoscaler(name="web", uid="hpa-1", minimum=3, maximum=9, current=3)


@pytest.fixture
def raising(drama):
    drama.policy = a_policy(a_playbook(RAISE))
    drama.cluster.change(hpas=(WEB,))
    drama.heal_on(MinimumIntent)
    return drama


def minima(drama):
    """The values that were set, in their order."""
    return [intent.replicas_to for _, intent in drama.cluster.effects if isinstance(intent, MinimumIntent)]


def recovered(drama):
    drama.receive()
    drama.run(minutes=2)
    drama.receive(an_alert(firing=False))
    return drama


def test_the_story_says_what_was_raised_why_and_what_came_of_it(raising):
    recovered(raising)
    assert raising.done == ["raise_min"]
    assert (raising.incident.phase, raising.incident.reason) == (Phase.RETURNING, Reason.RECOVERED)
    said = {event["kind"]: event["detail"] for event in raising.story().events}
    assert said["decided"].startswith("attempt 1: raise minReplicas of autoscaler web from 3 to 5, because")
    assert said["closed"].startswith("raise minReplicas of autoscaler web from 3 to 5 helped: ")
    assert said["returning"].startswith("minReplicas 3 before our scale-up, 5 now: 1 given back every 5m")
    (decided,) = [event for event in raising.story().events if event["kind"] == "decided"]
    assert decided["data"]["observed"]["hpas"][0]["minimum"] == 3
    assert raising.counted("actions", action="raise_min") == 1


def test_it_is_lowered_to_what_it_was_each_step_proven(raising):
    recovered(raising)
    raising.run(hours=2)
    assert minima(raising) == [5, 4, 3]
    assert [attempt.kind for attempt in raising.story().attempts] == ["raise_min", "return", "return"]
    assert raising.told()[-1] == ("returned", "returned")
    assert raising.story().events[-1]["detail"] == "minReplicas 3"
    assert raising.incident.phase is Phase.CLOSED


def test_what_somebody_set_meanwhile_is_theirs(raising):
    recovered(raising)
    raising.run(minutes=10)
    raising.cluster.change(hpas=(replace(WEB, minimum=6),))
    raising.run(hours=2)
    assert (minima(raising), raising.told()[-1]) == ([5], ("kept", "changed_by_others"))
    assert "minReplicas is 6, we left 5" in raising.story().events[-1]["detail"]


def test_a_service_that_does_not_bear_it_gets_its_minimum_back_and_a_person(raising):
    recovered(raising)
    raising.metrics.on_ask = lambda _query: WELL if minima(raising)[-1] >= 5 else SICK
    raising.run(hours=2)
    assert minima(raising) == [5, 4, 5]
    assert raising.incident.reason is Reason.RETURN_FAILED
    assert "well again with minReplicas 5, not with 4" in raising.story().events[-1]["detail"]


def test_another_incident_that_raises_it_again_takes_the_return_over(raising):
    recovered(raising)
    raising.run(minutes=33)
    raising.cluster.change(replicas=4, ready=4)
    raising.metrics.values[APEX] = SICK
    raising.receive(an_alert(starts_at=raising.now))
    raising.run(minutes=3)
    raising.receive(an_alert(firing=False, starts_at=raising.incident.alert_started_at))
    raising.run(hours=3)
    assert minima(raising) == [5, 4, 5, 4, 3]
    assert raising.told(1)[-1] == ("kept", "taken_over")
    assert raising.told(2)[-1] == ("returned", "returned")


def test_a_pause_at_the_last_moment_stops_it(raising):
    raising.receive()
    raising.advance_once()
    assert raising.incident.phase is Phase.ACTING
    with raising.journal.transaction() as tx:
        tx.engage_pause(scope="all", by="ada", why="lunch", until=None, now=raising.now)
    raising.run(minutes=5)
    assert minima(raising) == []
    (withdrawn,) = raising.story().attempts
    assert (withdrawn.state, withdrawn.reason) == (AttemptState.WITHDRAWN, Reason.PAUSED)


def test_observing_and_approval_name_what_it_would_come_to(raising):
    raising.policy = a_policy(a_playbook(RAISE), mode=Mode.OBSERVE)
    raising.receive()
    raising.run(minutes=1)
    words = "raise the autoscaler's minReplicas to 5"
    assert raising.story().events[-1]["detail"] == f"would have been: {words}"
    raising.policy = a_policy(a_playbook(RAISE), mode=Mode.APPROVE)
    raising.run(minutes=1)
    assert words in raising.story().events[-1]["detail"]
    Person(raising.journal, raising.policy).approve(raising.incident.id, by="ada", now=raising.now)
    raising.run(minutes=2)
    assert minima(raising) == [5]


@pytest.mark.parametrize("committed", [True, False])
@pytest.mark.parametrize("at", range(1, 12))
def test_a_crash_anywhere_leaves_one_effect_that_is_recognised(raising, at, committed):
    raising.receive()
    raising.crash_at(at, committed=committed)
    try:
        raising.run(minutes=3)
    except Crash:
        raising.restart()
        raising.run(minutes=3)
    assert minima(raising) == [5]
    assert raising.incident.phase is Phase.RETURNING


def test_an_answer_that_never_came_is_looked_up(raising):
    def applied_silently(target, intent):
        raising.cluster.apply(target, intent)
        return UNCLEAR

    raising.cluster.script.append(applied_silently)
    recovered(raising)
    assert minima(raising) == [5]
    applied = next(event for event in raising.story().events if event["kind"] == "applied")
    assert applied["data"]["recognised"]


def test_applied_and_then_changed_by_somebody_is_a_persons(raising):
    def applied_and_overwritten(target, intent):
        raising.cluster.apply(target, intent)
        raising.cluster.change(hpas=(replace(WEB, minimum=7),))
        return UNCLEAR

    raising.cluster.script.append(applied_and_overwritten)
    raising.receive()
    raising.run(minutes=5)
    assert (raising.incident.phase, raising.incident.reason) == (Phase.ESCALATED, Reason.OUTCOME_UNKNOWN)


def test_it_spends_budget_and_starts_a_cooldown_as_every_action(raising):
    recovered(raising)
    assert len(raising.journal.spent(since=raising.now - timedelta(hours=1))) == 1
