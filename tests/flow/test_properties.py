"""Whatever comes, in whatever order: the bounds hold."""

import tempfile
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from remediator.core.actions import RestartIntent, Scale, ScaleIntent, Target, UndoIntent
from remediator.core.execution import Delivery, RolloutState, Sent
from remediator.core.facts import Fact
from remediator.core.policy import Step
from remediator.lifecycle.person import NotNow, Person
from tests.builders import (
    RESTART,
    UNDO,
    a_criterion,
    a_playbook,
    a_policy,
    an_alert,
    an_observation,
    recently,
    with_limits,
)
from tests.worlds import SICK, WELL, Crash, Drama

TARGETS = [Target("bizra-testnet", f"hive-{number}") for number in range(3)]
UP = Step(action=Scale(5), when=(Fact.RESOURCE_PRESSURE,))
DOWN = Step(action=Scale(2, down=True))
MORE = Step(action=Scale(4))
QUICK = a_criterion(
    settle=timedelta(seconds=5), samples=2, every=timedelta(seconds=5), within=timedelta(seconds=30)
)
POLICY = with_limits(
    a_policy(
        a_playbook(UNDO, UP, RESTART, DOWN, verify=QUICK),
        a_playbook(RESTART, DOWN, MORE, UNDO, alert="HiveDown", verify=QUICK),
        targets=tuple(TARGETS),
    ),
    target_actions=2,
    target_per=timedelta(minutes=30),
    target_per_day=4,
    cooldown=timedelta(minutes=1),
    overall_actions=5,
    overall_per=timedelta(minutes=30),
    at_once=2,
    storm_targets=4,
    breaker_not_recovered=6,
    patience=timedelta(minutes=5),
    rollout_within=timedelta(minutes=1),
)

target = st.sampled_from(TARGETS)
notification = st.tuples(
    st.just("receive"),
    st.lists(
        st.tuples(target, st.sampled_from(["AhsanScoreLow", "HiveDown"]), st.booleans(), st.integers(-3, 0)),
        min_size=1,
        max_size=4,
    ),
)
deliveries = st.sampled_from([None, *Delivery, "lost", "crash before", "crash after", "somebody else"])
event = st.one_of(
    notification,
    st.just(("receive", [(where, "HiveDown", True, 0) for where in TARGETS])),
    st.tuples(st.just("pass"), st.sampled_from([1, 10, 60, 600, 2400, -600])),
    st.tuples(st.just("run"), st.sampled_from([10, 120, 900])),
    st.tuples(st.just("metric"), target, st.sampled_from([SICK, WELL, None, 10.0])),
    st.tuples(st.just("cluster"), target, st.sampled_from(["pressure", "calm", "rollout", "away", "back"])),
    st.tuples(st.just("script"), st.lists(deliveries, max_size=4)),
    st.tuples(st.just("rollouts"), st.lists(st.sampled_from(list(RolloutState)), max_size=4)),
    st.tuples(st.just("person"), st.sampled_from(["pause", "resume", "acknowledge"])),
)


def scripted(drama, what):
    def send(where, intent):
        match what:
            case "lost":
                drama.cluster.apply(where, intent)
                return Sent(delivery=Delivery.UNCLEAR, detail="timed out")
            case "crash before":
                raise Crash
            case "crash after":
                drama.cluster.apply(where, intent)
                raise Crash
            case _:
                seen = drama.cluster.live[where]
                drama.cluster.change(where, generation=seen.generation + 1)
                return drama.cluster.apply(where, intent)

    # REFUSED and the like have no effect; APPLIED has to have one.
    ordinary = what is None or what is Delivery.APPLIED
    return None if ordinary else what if isinstance(what, Delivery) else send


def run(drama, seconds):
    end = drama.now + timedelta(seconds=seconds)
    for number in range(50):
        try:
            drama.run(f"owner-{number}", seconds=max((end - drama.now).total_seconds(), 0.001))
        except Crash:
            drama.restart()
        else:
            return


def play(drama, happening):  # noqa: C901 - one case for each kind of event
    match happening:
        case ("receive", items):
            alerts = [
                an_alert(name, target=where, firing=firing, starts_at=drama.now + timedelta(minutes=start))
                for where, name, firing, start in items
            ]
            drama.receive(*alerts, body=repr(happening))
        case ("pass", seconds):
            drama.forward(seconds=seconds)
        case ("run", seconds):
            run(drama, seconds)
        case ("metric", where, value):
            drama.metrics.values[where] = value
        case ("cluster", where, what):
            changes: dict[str, dict[str, Any]] = {
                "pressure": {"usage": 0.95},
                "calm": {"usage": 0.2},
                "rollout": {"template_changed": recently()},
            }
            drama.cluster.away = what == "away"
            drama.cluster.change(where, **changes.get(what, {}))
        case ("script", items):
            drama.cluster.script.extend(scripted(drama, item) for item in items)
        case ("rollouts", states):
            drama.cluster.rollouts.extend(states)
        case ("person", "pause"):
            with drama.journal.transaction() as tx:
                tx.engage_pause(scope="all", by="ada", why="", until=None, now=drama.now)
        case ("person", "resume"):
            drama.journal.end_pauses(scope=None, by="ada", now=drama.now)
        case ("person", "acknowledge"):
            for incident in drama.journal.incidents(open_only=True):
                try:
                    Person(drama.journal).acknowledge(incident.id, by="ada", now=drama.now)
                except NotNow:
                    continue


def within(times, span):
    """The most of the times that lie within one window of that length."""
    ordered = sorted(times)
    return max(
        (sum(1 for other in ordered if 0 <= (other - first) / span < 1) for first in ordered), default=0
    )


def check(drama, clock_went_back):
    stories = [drama.story(incident.id) for incident in drama.journal.incidents(limit=1000)]
    attempts = [attempt for story in stories for attempt in story.attempts]
    spent = [attempt for attempt in attempts if attempt.state != "withdrawn"]
    limits = POLICY.limits
    assert all(story.broken_at is None for story in stories)
    open_on = Counter(story.incident.target for story in stories if story.incident.phase != "closed")
    assert all(count == 1 for count in open_on.values())
    in_flight = Counter(attempt.target for attempt in attempts if attempt.state.in_flight)
    assert all(count == 1 for count in in_flight.values())
    assert in_flight.total() <= limits.at_once
    # Never more effects than attempts that own up to one, and none for what was withdrawn.
    effects = Counter((where, intent) for where, intent in drama.cluster.effects)
    owned = Counter((attempt.target, attempt.intent) for attempt in spent)
    assert all(count <= owned[effect] for effect, count in effects.items())
    for where in TARGETS:
        times = [attempt.intended_at for attempt in spent if attempt.target == where]
        if not clock_went_back:
            assert within(times, limits.target_per) <= limits.target_actions
            assert within(times, limits.day) <= limits.target_per_day
        seen = drama.cluster.live[where]
        bounds = POLICY.targets[where]
        assert bounds.min_replicas <= seen.replicas <= bounds.max_replicas
    if not clock_went_back:
        assert (
            within([attempt.intended_at for attempt in spent], limits.overall_per) <= limits.overall_actions
        )


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(st.lists(event, max_size=20), st.sets(st.sampled_from([RestartIntent, UndoIntent, ScaleIntent])))
def test_no_sequence_of_events_breaks_a_bound(happenings, healing):
    with tempfile.TemporaryDirectory() as folder:
        drama = Drama(Path(folder), POLICY)
        drama.cluster.live = {where: an_observation() for where in TARGETS}
        drama.metrics.values = dict.fromkeys(TARGETS, SICK)
        drama.heal_on(*healing)
        back = False
        for happening in happenings:
            play(drama, happening)
            back = back or happening == ("pass", -600)
            check(drama, back)
        drama.cluster.away = False
        drama.cluster.script.clear()
        drama.cluster.rollouts.clear()
        drama.journal.end_pauses(scope=None, by="ada", now=drama.now)
        run(drama, 3600)
        check(drama, back)
        resting = {"closed", "escalated"}
        assert {incident.phase.value for incident in drama.journal.incidents(limit=1000)} <= resting
        drama.close()
