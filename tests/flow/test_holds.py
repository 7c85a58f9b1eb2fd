"""Stories in which the remediator does not act, and says why."""

from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest

from remediator.core.actions import RestartIntent, Scale, Target
from remediator.core.execution import Delivery
from remediator.core.incidents import BREAKER, AttemptState, Phase
from remediator.core.marks import PAUSED_UNTIL, Mark
from remediator.core.policy import Mode, Step
from remediator.core.reasons import Reason
from remediator.lifecycle.person import NotNow, Person
from tests.builders import (
    APEX,
    NOW,
    RESTART,
    UNDO,
    a_criterion,
    a_playbook,
    a_policy,
    after,
    an_alert,
    an_observation,
    with_limits,
)
from tests.worlds import NOT_FOUND, SICK, WELL


def held(drama):
    """The reasons of all holds, in order."""
    return [reason for kind, reason in drama.told() if kind == "held"]


def pause(drama, scope="all", *, until=None):
    with drama.journal.transaction() as tx:
        tx.engage_pause(scope=scope, by="ada", why="maintenance", until=until, now=drama.now)


def resume(drama):
    return drama.journal.end_pauses(scope=None, by="ada", now=drama.now)


def test_a_mark_holds_until_its_end_by_the_api_servers_clock_too(drama):
    """Right before a write it is read by that one: deciding by ours alone would go round and round."""
    until = NOW + timedelta(minutes=5)
    mark = Mark(where="annotation", key=PAUSED_UNTIL, value=until.isoformat())
    drama.cluster.change(marks=(mark,))
    drama.cluster.clock = lambda: drama.now - timedelta(seconds=90)
    drama.heal_on(RestartIntent)
    drama.receive()
    drama.run(minutes=6)
    assert (drama.incident.hold_reason, drama.story().attempts) == (Reason.PAUSED, ())
    drama.run(minutes=1)
    assert [attempt.intended_at >= until + timedelta(seconds=90) for attempt in drama.story().attempts] == [
        True
    ]


def test_a_cooldown_may_last_for_days(drama):
    policy = a_policy(a_playbook(RESTART))
    drama.policy = with_limits(policy, cooldown=timedelta(days=3), patience=timedelta(days=10))
    drama.heal_on(RestartIntent)
    drama.receive()
    drama.run(minutes=10)
    drama.receive(an_alert(firing=False))
    ended = drama.story().attempts[0].ended_at
    drama.metrics.values[APEX] = SICK
    drama.forward(hours=25)
    drama.receive(an_alert(starts_at=drama.now))
    drama.run(minutes=5)
    assert (drama.incident.hold_reason, drama.done) == (Reason.COOLDOWN, ["restart"])
    drama.now = ended + timedelta(days=3)
    drama.run(minutes=2)
    assert drama.done == ["restart", "restart"]


# Doubt


def test_without_data_nothing_is_done_and_a_person_is_called(drama):
    drama.metrics.values[APEX] = None
    drama.receive()
    drama.run()
    assert drama.cluster.asked == []
    assert drama.told() == [("opened", "incident_opened"), ("held", "no_data"), ("escalated", "no_data")]
    assert drama.incident.phase_since == NOW + drama.policy.limits.patience


def test_data_that_comes_back_ends_the_hold(drama):
    drama.metrics.values[APEX] = None
    drama.heal_on(RestartIntent)
    drama.receive()
    drama.run(minutes=14)
    drama.metrics.values[APEX] = SICK
    drama.run()
    assert drama.done == ["restart"]
    assert drama.incident.reason is Reason.RECOVERED


def test_without_prometheus_nothing_is_done(drama):
    drama.metrics.away = True
    drama.receive()
    drama.run()
    assert drama.cluster.asked == []
    assert drama.incident.reason is Reason.PROMETHEUS_UNREACHABLE


def test_without_the_api_server_nothing_is_done(drama):
    drama.cluster.away = True
    drama.receive()
    drama.run()
    assert drama.cluster.asked == []
    assert drama.incident.reason is Reason.CLUSTER_UNREACHABLE


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        pytest.param(NOT_FOUND, Reason.TARGET_NOT_FOUND, id="gone"),
        pytest.param(an_observation(opted_in=False), Reason.NOT_OPTED_IN, id="not opted in"),
        pytest.param(an_observation(ourselves=True), Reason.FORBIDDEN_TARGET, id="ourselves"),
    ],
)
def test_a_target_that_must_not_be_touched_goes_to_a_person_at_once(drama, seen, reason):
    drama.cluster.live[APEX] = seen
    drama.receive()
    drama.run()
    assert drama.cluster.asked == []
    assert (drama.incident.phase, drama.incident.reason) == (Phase.ESCALATED, reason)
    assert drama.incident.phase_since == NOW


def test_when_no_step_applies_a_person_gets_the_evidence(drama):
    drama.policy = a_policy(a_playbook(UNDO))
    drama.receive()
    drama.run()
    event = drama.story().events[-1]
    assert (event["kind"], event["reason"]) == ("escalated", "no_step_applies")
    assert event["data"]["facts"]["recent_rollout"]["truth"] is False
    assert event["data"]["steps"][0]["reason"] == "fact_false"
    assert event["data"]["guardrails"][0] == {
        "guardrail": "storm",
        "passes": True,
        "reason": None,
        "detail": "",
    }


# Well without us


def test_what_recovers_by_itself_is_closed_after_the_settle_time(drama):
    drama.metrics.values[APEX] = WELL
    drama.receive()
    drama.run()
    assert drama.cluster.asked == []
    assert drama.told()[1:] == [("held", "condition_cleared"), ("closed", "condition_cleared")]
    assert drama.incident.closed_at == NOW + timedelta(seconds=30)


def test_resolved_while_held_is_closed_only_when_our_own_query_agrees(drama):
    drama.cluster.change(rolled_out=False, rollout_detail="1 of 3")
    drama.receive()
    drama.run(minutes=1)
    drama.receive(an_alert(firing=False))
    drama.cluster.change(rolled_out=True)
    drama.run(minutes=1)
    assert held(drama) == ["rollout_in_progress", "not_firing"]
    drama.metrics.values[APEX] = WELL
    drama.run()
    assert drama.incident.reason is Reason.RESOLVED
    assert drama.cluster.asked == []


def test_resolved_without_recovery_goes_to_a_person(drama):
    drama.metrics.values[APEX] = None
    drama.receive()
    drama.receive(an_alert(firing=False))
    drama.run()
    assert drama.cluster.asked == []
    assert (drama.incident.phase, drama.incident.reason) == (Phase.ESCALATED, Reason.NOT_FIRING)


def test_a_short_recovery_does_not_close(drama):
    values = iter([WELL, SICK])
    drama.metrics.on_ask = lambda _query: next(values, SICK)
    drama.receive()
    drama.run(seconds=20)
    assert drama.done == ["restart"]


# The kill switch


@pytest.mark.parametrize(
    "scope", ["all", "namespace:bizra-testnet", f"target:{APEX}", "playbook:AhsanScoreLow"]
)
def test_a_pause_holds_for_as_long_as_it_lasts_and_calls_nobody(drama, scope):
    pause(drama, scope)
    drama.receive()
    drama.run(minutes=40)
    assert drama.cluster.asked == []
    assert drama.told() == [("opened", "incident_opened"), ("held", "paused")]


def test_resuming_lets_the_work_go_on(drama):
    drama.heal_on(RestartIntent)
    pause(drama)
    drama.receive()
    drama.run(hours=1)
    assert resume(drama) == 1
    drama.run()
    assert drama.incident.reason is Reason.RECOVERED


def test_a_pause_with_an_end_ends_by_itself(drama):
    drama.heal_on(RestartIntent)
    pause(drama, until=after(minutes=30))
    drama.receive()
    drama.run()
    assert drama.story().attempts[0].intended_at == after(minutes=30)


def test_the_time_of_a_pause_is_not_held_against_the_incident(drama):
    """After a long pause, another short hold is no reason to call a person at once."""
    drama.heal_on(RestartIntent)
    pause(drama)
    drama.receive()
    drama.run(hours=1)
    drama.metrics.values[APEX] = None
    resume(drama)
    drama.run(minutes=1)
    assert drama.incident.phase is Phase.DECIDING
    drama.metrics.values[APEX] = SICK
    drama.run()
    assert drama.incident.reason is Reason.RECOVERED


def test_a_pause_between_deciding_and_acting_withdraws_the_attempt(drama):
    drama.receive()
    drama.advance_once()
    assert drama.incident.phase is Phase.ACTING
    pause(drama)
    drama.run(minutes=20)
    assert drama.cluster.asked == []
    (attempt,) = drama.story().attempts
    assert (attempt.state, attempt.reason) == (AttemptState.WITHDRAWN, Reason.PAUSED)
    assert held(drama) == ["paused"]
    drama.heal_on(RestartIntent)
    resume(drama)
    drama.run()
    assert drama.done == ["restart"]


def mark(drama, value, key="remediator/paused"):
    drama.cluster.change(marks=(Mark(where="annotation", key=key, value=value),))


def test_a_mark_on_the_deployment_holds_as_a_pause_does_and_calls_nobody(drama):
    mark(drama, "true")
    drama.receive()
    drama.run(hours=3)
    assert drama.told() == [("opened", "incident_opened"), ("held", "paused")]
    drama.cluster.change(marks=())
    drama.heal_on(RestartIntent)
    drama.run()
    assert drama.incident.reason is Reason.RECOVERED


def test_a_mark_that_cannot_be_read_holds_and_then_goes_to_a_person(drama):
    mark(drama, "till the release", key="remediator/paused-until")
    drama.receive()
    drama.run(hours=3)
    assert drama.cluster.asked == []
    assert (drama.incident.phase, drama.incident.reason) == (Phase.ESCALATED, Reason.PAUSE_UNREADABLE)
    assert "till the release" in drama.story().events[-1]["detail"]


def test_a_mark_that_comes_after_the_decision_withdraws_the_attempt(drama):
    drama.receive()
    drama.advance_once()
    mark(drama, (drama.now + timedelta(minutes=9)).isoformat(), key="remediator/paused-until")
    drama.heal_on(RestartIntent)
    drama.run(minutes=8)
    assert drama.cluster.asked == []
    (attempt,) = drama.story().attempts
    assert (attempt.state, attempt.reason) == (AttemptState.WITHDRAWN, Reason.PAUSED)
    drama.run()
    assert drama.done == ["restart"]


def test_a_pause_never_withdraws_what_may_have_been_sent(drama):
    """No answer came, the object looks as before, a person pauses: nobody knows what is under way."""
    drama.cluster.script.append(Delivery.UNCLEAR)
    drama.receive()
    drama.step()
    pause(drama)
    drama.run()
    (attempt,) = drama.story().attempts
    assert len(drama.cluster.asked) == 1
    assert attempt.state is AttemptState.ABANDONED
    assert drama.incident.reason is Reason.OUTCOME_UNKNOWN


def test_a_pause_does_not_stop_the_verification_of_what_was_done(drama):
    drama.heal_on(RestartIntent)
    drama.receive()
    drama.run(seconds=10)
    pause(drama)
    drama.run()
    assert drama.incident.reason is Reason.RECOVERED


# Bounds


def test_the_budget_of_a_target_holds_and_calls_a_person_when_it_opens_too_late(drama):
    drama.policy = with_limits(a_policy(), target_actions=1)
    drama.cluster.change(usage=0.95)
    drama.receive()
    drama.run()
    assert drama.done == ["scale"]
    assert drama.incident.reason is Reason.TARGET_BUDGET


def test_the_cooldown_is_kept_between_incidents(drama):
    drama.heal_on(RestartIntent)
    drama.receive()
    drama.run()
    closed = drama.incident.closed_at
    drama.metrics.values[APEX] = SICK
    drama.forward(seconds=10)
    drama.receive(an_alert(starts_at=drama.now))
    drama.run()
    second, first = drama.journal.incidents()
    assert (first.reason, second.reason) == (Reason.RECOVERED, Reason.RECOVERED)
    assert held(drama) == ["cooldown"]
    assert drama.story().attempts[0].intended_at == closed + drama.policy.limits.cooldown


OTHERS = tuple(Target("bizra-testnet", f"hive-{number}") for number in range(4))


def many(drama, **limits):
    """Four more targets, as sick as the first."""
    drama.policy = with_limits(a_policy(targets=(APEX, *OTHERS)), **limits)
    for target in OTHERS:
        drama.cluster.live[target] = an_observation()
        drama.metrics.values[target] = SICK


def test_a_storm_stops_everything(drama):
    many(drama)
    drama.receive(*(an_alert(target=target) for target in OTHERS))
    drama.run(minutes=5)
    assert drama.cluster.asked == []
    assert held(drama) == ["storm"]


def test_at_most_so_many_actions_are_in_flight_at_once(drama):
    many(drama, storm_targets=99, at_once=2, breaker_not_recovered=99)
    drama.receive(*(an_alert(target=target) for target in OTHERS))
    drama.run(minutes=1)
    assert len(drama.cluster.effects) == 2
    assert drama.counted("decisions", decision="hold", reason="too_many_at_once") == 2


def test_the_overall_budget_holds_for_all_targets_together(drama):
    many(drama, storm_targets=99, at_once=99, overall_actions=3)
    drama.receive(*(an_alert(target=target) for target in OTHERS))
    drama.run(minutes=1)
    assert len(drama.cluster.effects) == 3
    assert drama.counted("escalations", reason="overall_budget") == 1


def test_the_breaker_opens_after_three_failures_and_closes_only_when_a_person_resumes(drama):
    many(drama, storm_targets=99, at_once=99)
    drama.policy = replace(drama.policy, playbooks={"AhsanScoreLow": a_playbook(RESTART)})
    drama.receive(*(an_alert(target=target) for target in OTHERS[:3]))
    drama.run()
    (opened,) = drama.journal.pauses(now=drama.now)
    assert (opened.by, opened.scope) == (BREAKER, "all")
    assert drama.counted("breaker_opened") == 1
    drama.receive()
    drama.run(minutes=10)
    assert held(drama) == ["breaker_open"]
    assert len(drama.cluster.effects) == 3
    drama.heal_on(RestartIntent)
    resume(drama)
    drama.run()
    assert drama.incident.reason is Reason.RECOVERED
    assert drama.journal.pauses(now=drama.now) == []


def test_the_breaker_counts_what_was_given_up_too(drama):
    many(drama, storm_targets=99, at_once=99)

    def unclear(target, intent):
        drama.cluster.change(target, generation=99)  # somebody else changed it meanwhile
        return drama.cluster.send(target, intent)

    drama.receive(*(an_alert(target=target) for target in OTHERS[:3]))
    drama.cluster.script.extend([unclear, Delivery.UNCLEAR] * 3)
    drama.run(minutes=1)
    states = [attempt.state for number in (1, 2, 3) for attempt in drama.story(number).attempts]
    assert states == [AttemptState.ABANDONED] * 3
    assert [engaged.by for engaged in drama.journal.pauses(now=drama.now)] == [BREAKER]


def test_an_open_breaker_is_not_opened_twice(drama):
    many(drama, storm_targets=99, at_once=99)
    drama.policy = replace(drama.policy, playbooks={"AhsanScoreLow": a_playbook(RESTART)})
    drama.receive(*(an_alert(target=target) for target in OTHERS))
    drama.run()
    assert len(drama.journal.pauses(now=drama.now)) == 1


def test_somebody_elses_rollout_is_waited_for(drama):
    drama.heal_on(RestartIntent)
    drama.cluster.change(rolled_out=False, rollout_detail="1 of 3")
    drama.receive()
    drama.run(minutes=2)
    assert drama.cluster.asked == []
    drama.cluster.change(rolled_out=True)
    drama.run()
    assert drama.done == ["restart"]


# Modes


def test_observing_says_what_would_have_been_done_and_does_nothing(drama):
    drama.policy = a_policy(mode=Mode.OBSERVE)
    drama.receive()
    drama.run(minutes=40)
    assert drama.cluster.asked == []
    assert drama.told() == [("opened", "incident_opened"), ("held", "observe_mode")]
    assert drama.story().events[-1]["detail"] == "would have been: rolling restart"


def test_reasons_that_take_turns_for_days_are_told_once_an_hour_each(drama):
    drama.policy = a_policy(mode=Mode.OBSERVE)
    drama.receive()
    for turn in range(3 * 12 + 1):
        drama.cluster.change(rolled_out=turn % 2 == 0)
        drama.step()
        now_held = Reason.OBSERVE_MODE if turn % 2 == 0 else Reason.ROLLOUT_IN_PROGRESS
        assert drama.incident.hold_reason is now_held
        drama.forward(minutes=5)
    assert Counter(held(drama)) == {"observe_mode": 4, "rollout_in_progress": 3}
    first, *_, last = (e for e in drama.story().events if e["reason"] == "observe_mode")
    assert first["detail"] == "would have been: rolling restart"
    told = f"{last['at'] - timedelta(hours=1):%Y-%m-%d %H:%M:%S} UTC"
    assert last["detail"] == f"{first['detail']}; told at {told} too: what takes turns is told once an hour"


def test_a_hold_after_an_attempt_is_told_however_short_the_time(drama):
    drama.receive()
    pause(drama)
    drama.step()
    resume(drama)
    drama.forward(seconds=15)
    drama.step()
    assert drama.done == ["restart"]
    pause(drama)
    drama.run(minutes=20)
    assert held(drama).count("paused") == 2


def test_observing_ends_when_the_service_is_well(drama):
    drama.policy = a_policy(mode=Mode.OBSERVE)
    drama.receive()
    drama.run(minutes=30)
    drama.metrics.values[APEX] = WELL
    drama.run()
    assert drama.incident.phase is Phase.CLOSED


def test_an_approved_step_is_taken(drama):
    drama.policy = a_policy(mode=Mode.APPROVE)
    drama.heal_on(RestartIntent)
    drama.receive()
    drama.run(minutes=1)
    assert held(drama) == ["awaiting_approval"]
    assert drama.cluster.asked == []
    Person(drama.journal).approve(drama.incident.id, by="ada", now=drama.now)
    drama.run()
    assert drama.done == ["restart"]
    assert drama.incident.reason is Reason.RECOVERED


def test_an_approval_is_for_one_step_only(drama):
    drama.policy = a_policy(mode=Mode.APPROVE)
    drama.cluster.change(usage=0.95)
    drama.receive()
    drama.run(minutes=1)
    Person(drama.journal).approve(drama.incident.id, by="ada", now=drama.now)
    drama.run(minutes=13)
    assert drama.done == ["scale"]
    assert held(drama)[-1] == "awaiting_approval"


def test_what_was_approved_is_not_another_step_that_has_become_the_next_meanwhile(drama):
    drama.policy = a_policy(mode=Mode.APPROVE)
    drama.receive()
    drama.run(minutes=1)  # the restart waits for approval
    drama.cluster.change(usage=0.95)  # now the scaling would be next
    Person(drama.journal).approve(drama.incident.id, by="ada", now=drama.now)
    drama.run(minutes=1)
    assert drama.cluster.asked == []


def test_what_was_approved_is_not_another_step_of_the_same_number_in_a_policy_reloaded_meanwhile(drama):
    drama.policy = a_policy(a_playbook(RESTART), mode=Mode.APPROVE)
    drama.receive()
    drama.run(minutes=1)  # the first step, the restart, waits for approval
    drama.policy = a_policy(a_playbook(Step(action=Scale(5))), mode=Mode.APPROVE)
    Person(drama.journal).approve(drama.incident.id, by="ada", now=drama.now)
    drama.run(minutes=1)
    assert drama.cluster.asked == []
    command = 'remediator approve 1 --action "scale up to 5"'
    assert drama.story().events[-1]["detail"] == f"scale up to 5: {command}"
    Person(drama.journal).approve(drama.incident.id, by="ada", now=drama.now)
    drama.run(minutes=1)
    assert drama.done == ["scale"]


def test_a_refused_step_goes_to_a_person(drama):
    drama.policy = a_policy(mode=Mode.APPROVE)
    drama.receive()
    drama.run(minutes=1)
    Person(drama.journal).reject(drama.incident.id, by="ada", now=drama.now)
    drama.run()
    assert drama.cluster.asked == []
    assert drama.incident.reason is Reason.APPROVAL_REFUSED


WORDS = ["approve", "reject", "acknowledge"]


@pytest.mark.parametrize("word", WORDS)
def test_a_person_cannot_speak_about_an_incident_that_is_not_there(drama, word):
    with pytest.raises(NotNow, match="there is no incident 7"):
        getattr(Person(drama.journal), word)(7, by="ada", now=NOW)


@pytest.mark.parametrize("word", WORDS)
def test_a_person_cannot_say_what_does_not_fit_and_learns_why(drama, word):
    drama.metrics.values[APEX] = None
    drama.receive()
    with pytest.raises(NotNow, match=r"incident 1 is deciding$"):
        getattr(Person(drama.journal), word)(1, by="ada", now=NOW)
    drama.step()
    with pytest.raises(NotNow, match="is deciding, held: our own query returned no usable data"):
        getattr(Person(drama.journal), word)(1, by="ada", now=NOW)
    assert len(drama.told()) == 2


# The policy is reloaded


def test_a_policy_without_the_playbook_goes_to_a_person(drama):
    drama.metrics.values[APEX] = None
    drama.receive()
    drama.run(minutes=1)
    drama.policy = a_policy(a_playbook(alert="Other"))
    drama.run()
    assert (drama.incident.phase, drama.incident.reason) == (Phase.ESCALATED, Reason.POLICY_CHANGED)


def test_a_policy_without_the_target_goes_to_a_person(drama):
    drama.metrics.values[APEX] = None
    drama.receive()
    drama.policy = a_policy(targets=())
    drama.run()
    assert drama.incident.reason is Reason.POLICY_CHANGED


def test_a_policy_that_loses_the_playbook_while_we_verify_ends_the_attempt(drama):
    drama.receive()
    drama.run(seconds=10)
    drama.policy = a_policy(a_playbook(alert="Other"))
    drama.run()
    (attempt,) = drama.story().attempts
    assert (attempt.state, attempt.reason) == (AttemptState.JUDGED, Reason.POLICY_CHANGED)
    assert drama.incident.reason is Reason.POLICY_CHANGED


def test_a_policy_that_forgets_the_target_begins_no_next_incident_on_it(drama):
    down = a_playbook(RESTART, alert="HiveDown", verify=a_criterion())
    drama.policy = a_policy(a_playbook(RESTART), down)
    drama.heal_on(RestartIntent)
    drama.receive(an_alert(), an_alert("HiveDown"))
    drama.run(seconds=10)
    drama.policy = replace(drama.policy, targets={})
    drama.run()
    assert len(drama.journal.incidents()) == 1
    assert drama.incident.reason is Reason.RECOVERED


# The clock


def test_a_clock_set_far_ahead_and_back_while_held_puts_nothing_to_sleep(drama):
    drama.metrics.values[APEX] = None
    drama.receive()
    drama.run(seconds=1)
    drama.forward(days=30)
    drama.cluster.away = True
    drama.metrics.values[APEX] = WELL
    drama.run(seconds=1)  # recorded with a time far ahead
    drama.now = after(seconds=30)
    drama.cluster.away = False
    drama.run(minutes=20)
    assert drama.incident.phase in {Phase.CLOSED, Phase.ESCALATED}


def test_a_clock_set_far_ahead_and_back_while_verifying_puts_nothing_to_sleep(drama):
    drama.receive()
    drama.step()
    drama.forward(days=30)
    drama.step()  # rolled out, in the future
    drama.heal_on(RestartIntent)
    drama.metrics.values[APEX] = WELL
    drama.now = after(seconds=10)
    drama.run(minutes=20)
    assert drama.incident.reason is Reason.RECOVERED


def test_a_clock_set_far_ahead_and_back_while_rolling_out_puts_nothing_to_sleep(drama):
    from remediator.core.execution import RolloutState  # noqa: PLC0415

    drama.forward(days=30)
    drama.receive()
    drama.step()  # applied, in the future
    drama.now = NOW
    drama.cluster.rollouts.extend([RolloutState.WAITING] * 999)
    drama.run(minutes=20)
    assert drama.incident.phase is not Phase.ROLLING_OUT


def test_a_clock_set_back_an_hour_only_delays(drama):
    drama.heal_on(RestartIntent)
    drama.receive()
    drama.run(seconds=50)
    drama.forward(hours=-1)
    drama.run(hours=2)
    assert drama.done == ["restart"]
    assert drama.incident.phase is Phase.CLOSED
