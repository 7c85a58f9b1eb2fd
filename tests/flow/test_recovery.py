"""Stories in which the remediator acts."""

from datetime import timedelta
from itertools import pairwise

import pytest

from remediator.core.actions import RestartIntent, ScaleIntent, Target, UndoIntent
from remediator.core.execution import RolloutState
from remediator.core.facts import FactRules
from remediator.core.incidents import AttemptState, Phase
from remediator.core.reasons import Reason
from remediator.core.seen import EventSeen, LogSeen
from remediator.core.verification import Verdict
from remediator.views import story_record
from tests.builders import (
    APEX,
    NOW,
    RESTART,
    SCALE,
    a_criterion,
    a_notification,
    a_playbook,
    a_policy,
    an_alert,
    recently,
    with_limits,
)
from tests.worlds import NOT_FOUND, SICK, WELL


def test_a_bad_rollout_is_undone_and_the_recovery_is_verified(drama):
    drama.cluster.change(template_changed=recently())
    drama.heal_on(UndoIntent)
    drama.receive()
    drama.run()
    assert drama.done == ["undo"]
    assert drama.incident.reason is Reason.RECOVERED
    assert drama.told() == [
        ("opened", "incident_opened"),
        ("decided", "step_applies"),
        ("applied", "applied"),
        ("rolled_out", "rolled_out"),
        ("judged", "recovered"),
        ("closed", "recovered"),
    ]
    (attempt,) = drama.story().attempts
    assert (attempt.state, attempt.verdict, attempt.tries) == (AttemptState.JUDGED, Verdict.RECOVERED, 1)
    assert (attempt.value_before, attempt.ready_before) == (SICK, 3)


NAMES = ("AhsanScoreLow", "HiveErrorRateHigh", "HiveLatencyP99High")


@pytest.mark.parametrize("seconds", [38, 43], ids=["before the first sample", "after it"])
def test_alerts_that_resolve_at_the_same_moment_do_not_make_samples_of_it(drama, seconds):
    drama.policy = a_policy(*(a_playbook(RESTART, alert=name) for name in NAMES))
    drama.receive(*(an_alert(name) for name in NAMES))
    drama.run(seconds=4 + seconds)
    assert drama.incident.phase is Phase.VERIFYING
    drama.metrics.values[APEX] = WELL
    for name in NAMES:
        drama.receive(an_alert(name, firing=False), body=name)
        drama.step()
        drama.forward(milliseconds=5)
    assert drama.incident.phase is Phase.VERIFYING
    drama.run(minutes=1)
    (attempt,) = drama.story().attempts
    good = [sample.at for sample in attempt.samples if sample.value == WELL]
    every = drama.policy.playbooks[NAMES[0]].verify.every
    assert [after - before >= every for before, after in pairwise(good)] == [True, True]
    assert attempt.verdict is Verdict.RECOVERED


def test_what_was_seen_just_before_acting_is_kept_with_the_attempt(drama):
    drama.cluster.change(
        budgets=("apex allows 0 evictions now",),
        events=(EventSeen(at=NOW, about="Pod/a", kind="Warning", reason="BackOff", message="back-off"),),
        logs=(LogSeen(pod="a", container="app", lines=("boom",)),),
    )
    drama.receive()
    drama.run(seconds=1)
    (attempt,) = story_record(drama.story())["attempts"]
    observed = attempt["evidence"]["observed"]
    assert attempt["evidence"]["condition"]["value"] == SICK
    assert (observed["template_digest"], observed["replicas"], observed["images"]) == ("new", 3, ["hive:7"])
    assert [one["reason"] for one in observed["events"]] == ["BackOff"]
    assert [one["lines"] for one in observed["logs"]] == [["boom"]]
    assert observed["budgets"] == ["apex allows 0 evictions now"]
    assert attempt["evidence"]["facts"]["previous_revision"]["truth"] is True


def test_logs_are_read_where_the_policy_wants_them(drama):
    for wanted in (False, True):
        drama.policy = a_policy(logs=wanted)
        foresee_one(drama)
    assert drama.cluster.logs_wanted == [False, True]


def foresee_one(drama):
    return drama.lifecycle.foresee(a_notification(an_alert()), now=drama.now)


def test_recovery_takes_the_settle_time_and_three_samples(drama):
    drama.heal_on(RestartIntent)
    drama.receive()
    drama.run()
    (attempt,) = drama.story().attempts
    assert drama.done == ["restart"]
    assert attempt.rolled_out_at == NOW + timedelta(seconds=2)
    taken = [sample.at - attempt.rolled_out_at for sample in attempt.samples]
    assert [span.total_seconds() for span in taken] == [40, 50, 60]
    assert drama.incident.closed_at == attempt.ended_at == attempt.samples[-1].at


def test_data_from_before_the_settle_point_is_never_asked_for(drama):
    drama.heal_on(RestartIntent)
    drama.receive()
    drama.run()
    lookbacks = [lookback for _, lookback in drama.metrics.asked]
    assert lookbacks == [None, timedelta(seconds=10), timedelta(seconds=20), timedelta(seconds=30)]


@pytest.mark.parametrize(("usage", "expected"), [(0.95, "scale"), (0.2, "restart"), (None, "restart")])
def test_without_pod_metrics_prometheus_is_asked_for_the_usage(drama, usage, expected):
    query = 'usage{namespace="$namespace",deployment="$deployment"}'
    drama.policy = a_policy(a_playbook(SCALE, RESTART), facts=FactRules(usage_query=query))
    drama.cluster.change(usage=None, unreadable={"usage": "no pod metrics"})
    drama.metrics.on_ask = lambda asked: usage if asked.startswith("usage{") else SICK
    drama.receive()
    drama.run(seconds=1)
    assert drama.done == [expected]
    observed = drama.story().events[1]["data"]["observed"]
    assert observed["usage"] == usage
    said = "no pod metrics; Prometheus: the query returned no series"
    assert observed["unreadable"] == ({} if usage else {"usage": said})


def test_pod_metrics_are_believed_before_prometheus(drama):
    query = 'usage{namespace="$namespace",deployment="$deployment"}'
    drama.policy = a_policy(a_playbook(SCALE, RESTART), facts=FactRules(usage_query=query))
    drama.receive()
    drama.run(seconds=1)
    assert not any(asked.startswith("usage{") for asked, _ in drama.metrics.asked)


def test_a_service_short_of_resources_is_scaled(drama):
    drama.cluster.change(usage=0.95)
    drama.heal_on(ScaleIntent)
    drama.receive()
    drama.run()
    assert drama.done == ["scale"]
    assert drama.cluster.observe(APEX).replicas == 5
    assert drama.incident.reason is Reason.RECOVERED


def test_the_next_step_is_taken_when_the_first_did_not_help(drama):
    drama.cluster.change(template_changed=recently())
    drama.heal_on(RestartIntent)
    drama.receive()
    drama.run()
    assert drama.done == ["undo", "restart"]
    assert drama.incident.reason is Reason.RECOVERED
    first, second = drama.story().attempts
    assert (first.verdict, second.verdict) == (Verdict.NOT_RECOVERED, Verdict.RECOVERED)
    assert second.intended_at >= first.ended_at + drama.policy.limits.cooldown


def test_a_person_takes_over_when_every_step_was_tried(drama):
    drama.cluster.change(template_changed=recently(), usage=0.95)
    drama.receive()
    drama.run()
    assert drama.done == ["undo", "scale", "restart"]
    assert drama.incident.phase is Phase.ESCALATED
    assert drama.incident.reason is Reason.STEPS_EXHAUSTED


def test_steps_are_exhausted_without_any_limit_in_the_way(drama):
    drama.policy = a_policy(a_playbook(RESTART))
    drama.receive()
    drama.run()
    assert drama.done == ["restart"]
    assert (drama.incident.phase, drama.incident.reason) == (Phase.ESCALATED, Reason.STEPS_EXHAUSTED)
    assert drama.counted("escalations", reason="steps_exhausted") == 1


def test_an_escalated_incident_keeps_automation_off_the_target(drama):
    drama.policy = a_policy(a_playbook(RESTART))
    drama.receive()
    drama.run()
    drama.receive(an_alert(starts_at=drama.now))
    drama.run()
    assert drama.done == ["restart"]
    assert len(drama.journal.incidents()) == 1


def test_what_got_clearly_worse_goes_to_a_person_at_once(drama):
    drama.cluster.change(template_changed=recently())
    drama.heal_on(UndoIntent, to=50.0)
    drama.receive()
    drama.run()
    assert drama.done == ["undo"]
    assert (drama.incident.phase, drama.incident.reason) == (Phase.ESCALATED, Reason.WORSE_AFTER_ACTION)
    assert "from 80 to 50" in drama.story().events[-1]["detail"]


def test_fewer_ready_replicas_than_before_is_worse(drama):
    drama.cluster.on_effect = lambda target, _: drama.cluster.change(target, ready=1)
    drama.receive()
    drama.run()
    assert drama.incident.reason is Reason.WORSE_AFTER_ACTION
    assert "1 replicas are ready, 3 were" in drama.story().events[-1]["detail"]


def test_a_scale_down_takes_replicas_away_on_purpose(drama):
    from remediator.core.actions import Scale  # noqa: PLC0415
    from remediator.core.policy import Step  # noqa: PLC0415

    drama.policy = a_policy(a_playbook(Step(action=Scale(1, down=True))))
    drama.receive()
    drama.run()
    assert drama.done == ["scale"]
    assert drama.incident.reason is Reason.STEPS_EXHAUSTED


def test_what_somebody_else_scaled_down_meanwhile_is_not_worse(drama):
    drama.receive()
    drama.step()
    drama.cluster.change(replicas=2, ready=2)
    drama.run()
    (attempt,) = drama.story().attempts
    assert (attempt.kind, attempt.reason) == ("restart", Reason.NOT_RECOVERED)


def test_whether_it_got_worse_cannot_be_said_while_the_api_server_is_away(drama):
    drama.receive()
    drama.run(seconds=30)
    drama.cluster.away = True
    drama.run(minutes=6)
    (attempt,) = drama.story().attempts
    assert attempt.reason is Reason.NOT_RECOVERED


def test_no_data_up_to_the_deadline_is_no_recovery(drama):
    drama.policy = a_policy(a_playbook(RESTART))
    drama.cluster.on_effect = lambda target, _: drama.metrics.values.update({target: None})
    drama.receive()
    drama.run()
    (attempt,) = drama.story().attempts
    assert (attempt.verdict, attempt.reason) == (Verdict.UNKNOWN, Reason.VERDICT_UNKNOWN)
    assert drama.incident.phase is Phase.ESCALATED


ROLLOUTS = [
    pytest.param([RolloutState.FAILED], Reason.ROLLOUT_FAILED, id="failed"),
    pytest.param([RolloutState.OVERRIDDEN], Reason.CHANGED_BY_OTHERS, id="overridden"),
    pytest.param([RolloutState.WAITING] * 400, Reason.ROLLOUT_TIMED_OUT, id="too slow"),
    pytest.param([RolloutState.UNREACHABLE] * 400, Reason.ROLLOUT_TIMED_OUT, id="nobody can tell"),
]


@pytest.mark.parametrize(("states", "reason"), ROLLOUTS)
def test_a_rollout_that_does_not_finish_is_no_recovery(drama, states, reason):
    drama.policy = a_policy(a_playbook(RESTART))
    drama.cluster.rollouts.extend(states)
    drama.receive()
    drama.run()
    (attempt,) = drama.story().attempts
    assert (attempt.verdict, attempt.reason) == (Verdict.NOT_RECOVERED, reason)
    assert drama.incident.reason is Reason.STEPS_EXHAUSTED


def test_a_rollout_of_ours_that_just_goes_on_is_a_persons_when_the_patience_is_over(drama):
    drama.policy = with_limits(
        a_policy(a_playbook(RESTART)), rollout_within=timedelta(minutes=2), patience=timedelta(minutes=3)
    )
    drama.cluster.on_effect = lambda _target, _intent: drama.cluster.change(rolled_out=False)
    drama.cluster.rollouts.extend([RolloutState.WAITING] * 400)
    drama.receive()
    drama.run(minutes=1)
    assert drama.incident.phase is Phase.ROLLING_OUT
    drama.run(minutes=2)
    assert drama.told()[-2:] == [("judged", "rollout_timed_out"), ("held", "rollout_in_progress")]
    drama.run(minutes=4)
    assert (drama.incident.phase, drama.incident.reason) == (Phase.ESCALATED, Reason.ROLLOUT_IN_PROGRESS)
    assert drama.done == ["restart"]


def test_a_slow_rollout_is_waited_for(drama):
    drama.cluster.rollouts.extend([RolloutState.WAITING] * 100)
    drama.heal_on(RestartIntent)
    drama.receive()
    drama.run()
    assert drama.incident.reason is Reason.RECOVERED
    assert drama.story().attempts[0].rolled_out_at - NOW > timedelta(minutes=3)


def test_a_deployment_deleted_under_us_goes_to_a_person(drama):
    drama.receive()
    drama.step()
    drama.cluster.rollouts.append(RolloutState.FAILED)
    drama.cluster.live[APEX] = NOT_FOUND
    drama.run()
    assert drama.incident.reason is Reason.TARGET_NOT_FOUND


def test_a_recovery_seen_only_late_is_a_recovery(drama):
    calls = []

    def worse_at_first(_query):
        calls.append(1)
        return SICK if len(calls) < 20 else WELL

    drama.metrics.on_ask = worse_at_first
    drama.receive()
    drama.run()
    assert drama.incident.reason is Reason.RECOVERED


def test_a_worker_that_was_away_past_the_deadline_does_not_act_on_a_service_that_is_well(drama):
    drama.heal_on(UndoIntent)
    drama.cluster.change(template_changed=recently())
    drama.receive()
    drama.run(seconds=10)
    drama.forward(hours=1)
    drama.run()
    assert drama.done == ["undo"]
    assert (drama.incident.phase, drama.incident.reason) == (Phase.CLOSED, Reason.CONDITION_CLEARED)


def test_another_alert_that_waited_begins_the_next_incident(drama):
    down = a_playbook(RESTART, alert="HiveDown", verify=a_criterion(query=a_criterion().query + " + 0"))
    drama.policy = a_policy(a_playbook(SCALE), down)
    drama.cluster.change(usage=0.95)
    drama.metrics.on_ask = lambda query: (
        SICK if query.endswith("+ 0") and "restart" not in drama.done else (WELL if drama.done else SICK)
    )
    drama.receive(an_alert(), an_alert("HiveDown"))
    drama.run()
    second, first = drama.journal.incidents()
    assert (first.alert, first.reason) == ("AhsanScoreLow", Reason.RECOVERED)
    assert (second.alert, second.reason) == ("HiveDown", Reason.RECOVERED)
    assert drama.done == ["scale", "restart"]
    assert drama.told(second.id)[0] == ("opened", "still_firing")


def test_two_alerts_that_nobody_resolves_do_not_take_turns_for_ever(drama):
    drama.policy = a_policy(a_playbook(RESTART), a_playbook(RESTART, alert="HiveDown"))
    drama.heal_on(RestartIntent)
    drama.receive(an_alert(), an_alert("HiveDown"))
    drama.run()
    assert len(drama.journal.incidents()) == 2
    assert {incident.phase for incident in drama.journal.incidents()} == {Phase.CLOSED}


def test_targets_do_not_wait_for_each_other(drama):
    other = Target("bizra-testnet", "other")
    drama.policy = a_policy(targets=(APEX, other))
    drama.cluster.live[other] = drama.cluster.live[APEX]
    drama.metrics.values[other] = SICK
    drama.heal_on(RestartIntent)
    drama.receive(an_alert(), an_alert(target=other))
    drama.run(seconds=3)
    assert {target for target, _ in drama.cluster.effects} == {APEX, other}
    drama.run()
    assert [incident.reason for incident in drama.journal.incidents()] == [Reason.RECOVERED] * 2
