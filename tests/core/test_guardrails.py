"""Each named check: that it lets pass, that it holds, and its reason."""

from dataclasses import replace
from datetime import time, timedelta
from zoneinfo import ZoneInfo

import pytest

from remediator.core.actions import RollingRestart, RolloutUndo, Scale, Target
from remediator.core.decisions import Escalate, History, Hold, Opening, StepVerdict
from remediator.core.facts import Autoscaler, PodSeen, Unseen
from remediator.core.guardrails import GUARDRAILS, Proposal, breaker_trips
from remediator.core.incidents import BREAKER, AttemptState
from remediator.core.marks import Mark
from remediator.core.policy import ChangeWindow, Limits, Mode
from remediator.core.reasons import Reason
from remediator.core.verification import Verdict
from tests.builders import (
    NOW,
    a_pause,
    a_playbook,
    a_policy,
    a_restart_intent,
    a_sample,
    a_situation,
    after,
    ago,
    an_attempt,
    an_incident,
    an_observation,
    with_limits,
)

CHECKS = dict(GUARDRAILS)
OTHER = Target("bizra-testnet", "other")


def ask(name, *, action=None, step=0, policy=None, now=NOW, no_step=False, **situation):
    chosen = StepVerdict(step=step, action=action or RollingRestart(), reason=Reason.STEP_APPLIES, detail="")
    proposal = Proposal(
        situation=a_situation(**situation),
        step=None if no_step else chosen,
        policy=policy or a_policy(),
        now=now,
    )
    return CHECKS[name](proposal)


def seen(**overrides):
    return {"seen": an_observation(**overrides)}


def past(*attempts, **overrides):
    return {"history": History(attempts=attempts, **overrides)}


def at(minutes, **overrides):
    """An attempt intended that long ago, ended a minute later."""
    given = {"intended_at": ago(minutes=minutes), "ended_at": ago(minutes=minutes - 1), **overrides}
    return an_attempt(**given)


def test_the_order_is_the_order_of_the_docs():
    assert [name for name, _ in GUARDRAILS] == [
        "storm",
        "paused",
        "target",
        "still_firing",
        "condition",
        "monitoring",
        "rollout",
        "deployment_paused",
        "scaled_to_zero",
        "autoscaler",
        "one_action_per_target",
        "cooldown",
        "target_budget",
        "overall_budget",
        "at_once",
        "breaker",
        "change_window",
        "mode",
    ]


@pytest.mark.parametrize("name", list(CHECKS))
def test_each_lets_an_ordinary_action_pass(name):
    assert ask(name) is None


IN_FLIGHT = an_attempt(id=4, state=AttemptState.APPLIED, ended_at=None)
ELSEWHERE = replace(IN_FLIGHT, target=OTHER)
STUCK = {
    "rolled_out": False,
    "rollout_detail": "1 of 3 updated",
    "pods": (PodSeen(name="a", ready=False, waiting=("CrashLoopBackOff",)),),
}
HOMELESS = {**STUCK, "pods": (PodSeen(name="a", ready=False, unschedulable="no node"),)}
GROWING = (Autoscaler(name="h", maximum=9, current=3, desired=5),)
OURS = an_attempt(applied_generation=7, intent=a_restart_intent(generation=6))


def openings(*minutes):
    targets = [Target("n", f"d{number}") for number in range(len(minutes))]
    return past(
        openings=tuple(Opening(target=t, at=ago(minutes=m)) for t, m in zip(targets, minutes, strict=True))
    )


def approved(step, action):
    return an_incident(approved_by="ada", approved_step=step, approved_action=action)


def a_mark(key, value):
    return Mark(where="annotation", key=key, value=value)


HOLDS = [
    pytest.param(
        "paused", {"history": History(pauses=(a_pause(),))}, Reason.PAUSED, "all by ada", id="paused"
    ),
    pytest.param(
        "paused",
        {"seen": an_observation(marks=(a_mark("remediator/paused", "true"),))},
        Reason.PAUSED,
        "annotation remediator/paused='true'",
        id="paused on the Deployment",
    ),
    pytest.param(
        "paused",
        {"seen": an_observation(marks=(a_mark("remediator/paused-until", "noon"),))},
        Reason.PAUSE_UNREADABLE,
        "a time with its zone",
        id="a pause on the Deployment that cannot be read",
    ),
    pytest.param(
        "breaker",
        {"history": History(pauses=(a_pause(by=BREAKER, why="3 failed"),))},
        Reason.BREAKER_OPEN,
        "3 failed",
        id="breaker",
    ),
    pytest.param(
        "target",
        {"seen": Unseen(reason=Reason.CLUSTER_UNREACHABLE, detail="timed out")},
        Reason.CLUSTER_UNREACHABLE,
        "timed out",
        id="API server away",
    ),
    pytest.param(
        "target",
        {"seen": Unseen(reason=Reason.UNAUTHENTICATED, detail="HTTP 401")},
        Reason.UNAUTHENTICATED,
        "HTTP 401",
        id="credentials refused",
    ),
    pytest.param(
        "still_firing", {"firing": False}, Reason.NOT_FIRING, "says 80, good is >= 95", id="resolved"
    ),
    pytest.param(
        "still_firing",
        {"firing": False, "condition": a_sample(None)},
        Reason.NOT_FIRING,
        "no series",
        id="resolved without data",
    ),
    pytest.param("condition", {"condition": a_sample(None)}, Reason.NO_DATA, "no series", id="no data"),
    pytest.param("condition", {"condition": a_sample(float("nan"))}, Reason.NO_DATA, "NaN", id="NaN"),
    pytest.param(
        "condition",
        {"condition": a_sample(None, reason=Reason.PROMETHEUS_UNREACHABLE, detail="refused")},
        Reason.PROMETHEUS_UNREACHABLE,
        "refused",
        id="Prometheus away",
    ),
    pytest.param(
        "condition",
        {"condition": a_sample(None, reason=None, detail="odd")},
        Reason.NO_DATA,
        "odd",
        id="no data, no reason",
    ),
    pytest.param(
        "autoscaler",
        {"seen": an_observation(hpas=GROWING)},
        Reason.AUTOSCALER_GROWING,
        "h (1 to 9 replicas, wants 5 of now 3)",
        id="an autoscaler adds pods",
    ),
    pytest.param("condition", {"condition": a_sample(95)}, Reason.CONDITION_CLEARED, "says 95", id="well"),
    pytest.param(
        "rollout",
        seen(rolled_out=False, rollout_detail="1 of 3 updated"),
        Reason.ROLLOUT_IN_PROGRESS,
        "1 of 3 updated",
        id="somebody's rollout",
    ),
    pytest.param(
        "rollout", seen(**STUCK), Reason.ROLLOUT_IN_PROGRESS, "1 of 3", id="restart into a failing rollout"
    ),
    pytest.param(
        "rollout",
        {**seen(**STUCK), "action": Scale(5)},
        Reason.ROLLOUT_IN_PROGRESS,
        "",
        id="scale up into a failing rollout",
    ),
    pytest.param(
        "rollout",
        {**seen(**STUCK), "action": Scale(1, down=True)},
        Reason.ROLLOUT_IN_PROGRESS,
        "",
        id="scale down a crashing rollout",
    ),
    pytest.param(
        "rollout",
        {**seen(**HOMELESS), "action": Scale(5)},
        Reason.ROLLOUT_IN_PROGRESS,
        "",
        id="scale up what finds no node",
    ),
    pytest.param(
        "rollout",
        {**seen(rolled_out=False), "action": RolloutUndo()},
        Reason.ROLLOUT_IN_PROGRESS,
        "",
        id="undo of a rollout that may finish",
    ),
    pytest.param(
        "rollout", {**seen(**STUCK), "no_step": True}, Reason.ROLLOUT_IN_PROGRESS, "", id="no step, failing"
    ),
    pytest.param(
        "rollout",
        {**seen(**STUCK, generation=8), "tried": (OURS,)},
        Reason.ROLLOUT_IN_PROGRESS,
        "",
        id="changed after our attempt",
    ),
    pytest.param(
        "rollout",
        {**seen(rolled_out=False), "tried": (OURS,)},
        Reason.ROLLOUT_IN_PROGRESS,
        "",
        id="ours and may finish",
    ),
    pytest.param(
        "rollout",
        seen(rolled_out_at=ago(seconds=10)),
        Reason.ROLLOUT_IN_PROGRESS,
        "ended 10 s ago",
        id="somebody's rollout just ended",
    ),
    pytest.param(
        "deployment_paused",
        seen(paused=True),
        Reason.DEPLOYMENT_PAUSED,
        "rollout resume",
        id="Deployment paused",
    ),
    pytest.param(
        "scaled_to_zero", seen(replicas=0, ready=0), Reason.SCALED_TO_ZERO, "0 replicas", id="at zero"
    ),
    pytest.param(
        "one_action_per_target",
        past(IN_FLIGHT),
        Reason.ACTION_IN_FLIGHT,
        "attempt 4 is applied",
        id="in flight",
    ),
    pytest.param(
        "at_once",
        past(replace(ELSEWHERE, id=5), ELSEWHERE),
        Reason.TOO_MANY_AT_ONCE,
        "2 of 2 in flight",
        id="two elsewhere",
    ),
    pytest.param(
        "storm",
        openings(1, 2, 9.9),
        Reason.STORM,
        "3 targets or more began to alert within 10m, or the storm still holds them",
        id="storm",
    ),
    pytest.param(
        "mode", {"policy": a_policy(mode=Mode.OBSERVE)}, Reason.OBSERVE_MODE, "rolling restart", id="observe"
    ),
    pytest.param(
        "mode",
        {"playbook": a_playbook(mode=Mode.OBSERVE)},
        Reason.OBSERVE_MODE,
        "would have been",
        id="observe this playbook",
    ),
    pytest.param(
        "mode",
        {"policy": a_policy(mode=Mode.OBSERVE), "playbook": a_playbook(mode=Mode.AUTO)},
        Reason.OBSERVE_MODE,
        "",
        id="a playbook is never laxer",
    ),
    pytest.param(
        "mode",
        {"policy": a_policy(mode=Mode.APPROVE)},
        Reason.AWAITING_APPROVAL,
        'rolling restart: remediator approve 1 --action "rolling restart"',
        id="approve",
    ),
    pytest.param(
        "mode",
        {"policy": a_policy(mode=Mode.APPROVE), "incident": approved(1, "rolling restart")},
        Reason.AWAITING_APPROVAL,
        "",
        id="another step was approved",
    ),
    pytest.param(
        "mode",
        {"policy": a_policy(mode=Mode.APPROVE), "incident": approved(0, "rollout undo")},
        Reason.AWAITING_APPROVAL,
        "rolling restart",
        id="something else was approved",
    ),
]


@pytest.mark.parametrize(("name", "given", "reason", "says"), HOLDS)
def test_each_holds_with_its_reason(name, given, reason, says):
    objection = ask(name, **given)
    assert isinstance(objection, Hold)
    assert objection.reason is reason
    assert says in objection.detail


ESCALATES = [
    pytest.param(
        "target",
        {"seen": Unseen(reason=Reason.TARGET_NOT_FOUND, detail="404")},
        Reason.TARGET_NOT_FOUND,
        id="gone",
    ),
    pytest.param(
        "target", {"seen": Unseen(reason=Reason.FORBIDDEN, detail="403")}, Reason.FORBIDDEN, id="forbidden"
    ),
    pytest.param("target", seen(ourselves=True), Reason.FORBIDDEN_TARGET, id="ourselves"),
    pytest.param("target", seen(opted_in=False), Reason.NOT_OPTED_IN, id="not opted in"),
    pytest.param(
        "mode",
        {"policy": a_policy(mode=Mode.APPROVE), "incident": an_incident(approval_refused_by="ada")},
        Reason.APPROVAL_REFUSED,
        id="refused by a person",
    ),
]


@pytest.mark.parametrize(("name", "given", "reason"), ESCALATES)
def test_what_waiting_cannot_help_goes_to_a_person(name, given, reason):
    objection = ask(name, **given)
    assert isinstance(objection, Escalate)
    assert objection.reason is reason


BLIND = {"seen": Unseen(reason=Reason.CLUSTER_UNREACHABLE, detail="")}

PASSES = [
    pytest.param("autoscaler", {"seen": an_observation(hpas=GROWING), "no_step": True}, id="nothing to do"),
    pytest.param(
        "autoscaler",
        {"seen": an_observation(hpas=(Autoscaler(name="h", maximum=9, current=3, desired=3),))},
        id="an autoscaler that is content",
    ),
    pytest.param("autoscaler", {"seen": an_observation(hpas=None)}, id="autoscalers unknown"),
    pytest.param(
        "autoscaler", {"seen": Unseen(reason=Reason.CLUSTER_UNREACHABLE, detail="")}, id="autoscalers unseen"
    ),
    pytest.param("paused", {"history": History(pauses=(a_pause("playbook:Other"),))}, id="another playbook"),
    pytest.param("paused", {"history": History(pauses=(a_pause(until=ago(minutes=1)),))}, id="pause is over"),
    pytest.param("paused", {"history": History(pauses=(a_pause(by=BREAKER),))}, id="the breaker's own pause"),
    pytest.param("breaker", {"history": History(pauses=(a_pause(),))}, id="a person's pause"),
    pytest.param("paused", BLIND, id="paused: nothing seen"),
    pytest.param(
        "paused",
        {"seen": an_observation(marks=(a_mark("remediator/paused", "false"),))},
        id="a mark that says no",
    ),
    pytest.param("rollout", BLIND, id="rollout: nothing seen"),
    pytest.param("deployment_paused", BLIND, id="deployment_paused: nothing seen"),
    pytest.param("scaled_to_zero", BLIND, id="scaled_to_zero: nothing seen"),
    pytest.param("rollout", {**seen(**STUCK), "action": RolloutUndo()}, id="undo of a failing rollout"),
    pytest.param("rollout", {**seen(**HOMELESS), "action": Scale(1, down=True)}, id="make room"),
    pytest.param("rollout", {**seen(**STUCK), "tried": (OURS,)}, id="our own failed rollout"),
    pytest.param("rollout", seen(rolled_out_at=ago(seconds=30)), id="a rollout that has settled"),
    pytest.param("rollout", {**seen(rolled_out_at=ago(seconds=9)), "tried": (OURS,)}, id="ours just ended"),
    pytest.param("one_action_per_target", past(ELSEWHERE), id="in flight elsewhere"),
    pytest.param("at_once", past(ELSEWHERE), id="one at once"),
    pytest.param("storm", openings(1, 2), id="two targets"),
    pytest.param("storm", openings(1, 2, 10), id="the third long ago"),
    pytest.param(
        "storm",
        past(
            openings=(
                Opening(target=OTHER, at=NOW),
                Opening(target=OTHER, at=NOW),
                Opening(target=OTHER, at=NOW),
            )
        ),
        id="one target thrice",
    ),
    pytest.param(
        "mode",
        {"policy": a_policy(mode=Mode.APPROVE), "incident": approved(0, "rolling restart")},
        id="approved",
    ),
    pytest.param("mode", {"policy": a_policy(mode=Mode.OBSERVE), "no_step": True}, id="nothing to observe"),
]


@pytest.mark.parametrize(("name", "given"), PASSES)
def test_each_lets_pass_what_is_not_its_business(name, given):
    assert ask(name, **given) is None


def test_a_pause_says_until_when():
    pauses = (a_pause("playbook:Other"), a_pause("namespace:bizra-testnet", until=after(hours=1)))
    objection = ask("paused", history=History(pauses=pauses))
    assert objection.until == after(hours=1)
    assert objection.detail == "namespace:bizra-testnet by ada: maintenance"


COOLDOWNS = [
    pytest.param((at(5.5),), NOW + timedelta(seconds=30), id="ended 4.5 min ago"),
    pytest.param((at(6),), None, id="ended 5 min ago"),
    pytest.param((at(30), at(5.5), at(60)), NOW + timedelta(seconds=30), id="the latest counts"),
    pytest.param((at(4, ended_at=None, state=AttemptState.APPLIED),), after(minutes=1), id="not ended yet"),
    pytest.param((at(2, state=AttemptState.WITHDRAWN),), None, id="withdrawn"),
    pytest.param((at(2, state=AttemptState.ABANDONED),), after(minutes=4), id="abandoned"),
    pytest.param((at(2, verdict=Verdict.RECOVERED),), after(minutes=4), id="also after success"),
    pytest.param((at(2, target=OTHER),), None, id="another target"),
]


@pytest.mark.parametrize(("attempts", "until"), COOLDOWNS)
def test_the_cooldown_runs_from_the_end_of_the_last_action(attempts, until):
    objection = ask("cooldown", **past(*attempts))
    if until is None:
        assert objection is None
    else:
        assert (objection.reason, objection.until) == (Reason.COOLDOWN, until)


PER_TARGET = [
    pytest.param((10, 20), None, None, id="two of three"),
    pytest.param((10, 20, 50), Reason.TARGET_BUDGET, 10, id="three of three"),
    pytest.param((10, 20, 30, 50), Reason.TARGET_BUDGET, 30, id="more than allowed"),
    pytest.param((10, 20, 60), None, None, id="the third an hour ago"),
    pytest.param((100, 200, 300, 400, 500, 600, 700), None, None, id="seven today"),
    pytest.param(
        (100, 200, 300, 400, 500, 600, 700, 800), Reason.TARGET_DAILY_BUDGET, 1440 - 800, id="eight today"
    ),
    pytest.param((100, 200, 300, 400, 500, 600, 700, 1440), None, None, id="the eighth yesterday"),
]


@pytest.mark.parametrize(("minutes", "reason", "opens"), PER_TARGET)
def test_a_target_has_a_budget_per_window_and_per_day(minutes, reason, opens):
    objection = ask("target_budget", **past(*(at(m) for m in minutes)))
    if reason is None:
        assert objection is None
    else:
        assert (objection.reason, objection.until) == (reason, after(minutes=opens))


def test_withdrawn_attempts_and_other_targets_spend_no_target_budget():
    free = [at(m, state=AttemptState.WITHDRAWN) for m in (5, 6, 7)] + [at(m, target=OTHER) for m in (5, 6, 7)]
    assert ask("target_budget", **past(*free)) is None


def test_all_targets_share_the_overall_budget():
    spent = [at(m, target=Target("n", f"d{m}")) for m in range(10, 20)]
    objection = ask("overall_budget", **past(*spent))
    assert objection.reason is Reason.OVERALL_BUDGET
    assert objection.until == ago(minutes=19) + timedelta(hours=1)
    assert ask("overall_budget", **past(*spent[1:])) is None
    withdrawn = replace(spent[0], state=AttemptState.WITHDRAWN)
    assert ask("overall_budget", **past(withdrawn, *spent[1:])) is None


def window(days, opens, closes, zone="UTC"):
    return ChangeWindow(
        days=frozenset(days),
        opens=time.fromisoformat(opens),
        closes=time.fromisoformat(closes),
        zone=ZoneInfo(zone),
    )


WINDOWS = [  # now is Monday 12:00 UTC
    pytest.param([window({0}, "12:00", "13:00")], True, id="just opened"),
    pytest.param([window({0}, "11:00", "12:00")], False, id="just closed"),
    pytest.param([window({1}, "11:00", "13:00")], False, id="another day"),
    pytest.param([window({1}, "11:00", "13:00"), window({0}, "11:00", "13:00")], True, id="one of two"),
    pytest.param([window({0}, "13:00", "14:00", "Europe/Berlin")], True, id="local time"),
    pytest.param([window({0}, "12:00", "13:00", "Europe/Berlin")], False, id="not UTC"),
    pytest.param([window({1}, "00:00", "03:00", "Pacific/Kiritimati")], True, id="already tomorrow there"),
]


@pytest.mark.parametrize(("windows", "is_open"), WINDOWS)
def test_changes_are_made_within_the_change_windows(windows, is_open):
    objection = ask("change_window", policy=a_policy(change_windows=tuple(windows)))
    if is_open:
        assert objection is None
    else:
        assert objection.reason is Reason.OUTSIDE_CHANGE_WINDOW


def test_a_change_window_follows_summer_time():
    berlin = window(range(7), "09:00", "10:00", "Europe/Berlin")
    winter, summer = NOW.replace(hour=8, minute=30), NOW.replace(month=7, hour=7, minute=30)
    assert berlin.contains(winter)
    assert berlin.contains(summer)
    assert not berlin.contains(summer.replace(hour=8))


def failed(minutes, **overrides):
    return at(minutes, **{"verdict": Verdict.NOT_RECOVERED, **overrides})


THREE = (failed(10), failed(20), failed(30))
TRIPS = [
    pytest.param(THREE, None, True, id="three failures"),
    pytest.param(THREE[1:], None, False, id="two failures"),
    pytest.param((*THREE[1:], failed(61)), None, False, id="the third an hour ago"),
    pytest.param((*THREE[1:], failed(5, verdict=Verdict.RECOVERED)), None, False, id="the third helped"),
    pytest.param((*THREE[1:], failed(5, verdict=Verdict.UNKNOWN)), None, True, id="unknown is no recovery"),
    pytest.param((*THREE[1:], at(5, state=AttemptState.ABANDONED)), None, True, id="nor is abandoned"),
    pytest.param((*THREE[1:], at(5, state=AttemptState.WITHDRAWN)), None, False, id="withdrawn did nothing"),
    pytest.param((*THREE[1:], at(5, ended_at=None, state=AttemptState.APPLIED)), None, False, id="in flight"),
    pytest.param(THREE, ago(minutes=9), False, id="reset after all of them"),
    pytest.param(THREE, ago(minutes=25), False, id="reset after the first"),
    pytest.param(THREE, ago(hours=3), True, id="reset long before"),
    pytest.param((failed(10, target=OTHER), *THREE[1:]), None, True, id="on any target"),
]


@pytest.mark.parametrize(("attempts", "reset_at", "trips"), TRIPS)
def test_the_breaker_trips_on_failures_since_its_reset(attempts, reset_at, trips):
    why = breaker_trips(attempts, Limits(), reset_at=reset_at, now=NOW)
    assert (why is not None) is trips
    assert why is None or "3 actions did not bring recovery within 1h" in why


def test_the_limits_are_the_policys():
    strict = with_limits(a_policy(), cooldown=timedelta(hours=3), at_once=1)
    assert ask("cooldown", policy=strict, **past(at(120))).reason is Reason.COOLDOWN
    assert ask("at_once", policy=strict, **past(ELSEWHERE)).reason is Reason.TOO_MANY_AT_ONCE


def test_the_history_has_to_reach_as_far_as_the_longest_limit():
    assert Limits().longest == timedelta(days=1, minutes=5), "a cooldown begins when the attempt ended"
    assert Limits(breaker_within=timedelta(days=2)).longest == timedelta(days=2)
    assert Limits(cooldown=timedelta(days=3)).longest == timedelta(days=4)


def test_the_hold_after_somebodys_rollout_ends_when_it_has_settled():
    assert ask("rollout", **seen(rolled_out_at=ago(seconds=10))).until == after(seconds=20)
