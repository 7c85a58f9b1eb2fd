"""Whatever comes, in whatever order and between whichever moves: the promises hold after every step.

`SOAK=1` plays random cases for SOAK_SECONDS instead of the same few hundred.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from remediator.adapters.journal import SqlJournal
from remediator.core.actions import ACTION_KINDS, Intent, Scale, Target, Workload, kind_of
from remediator.core.alerts import Notification
from remediator.core.execution import Delivery, RolloutState
from remediator.core.facts import Fact, Observation
from remediator.core.policy import Mode, Policy, Step, TargetPolicy
from remediator.core.seen import Autoscaler, NumberedPod, Order, PodSeen
from remediator.lifecycle.person import NotNow, Person
from remediator.ports import JournalUnavailable
from tests.builders import (
    RESTART,
    UNDO,
    a_criterion,
    a_notification,
    a_playbook,
    a_policy,
    an_alert,
    an_observation,
    recently,
    with_limits,
)
from tests.proofs.stage import EDGES, TALLY, Actor, Death, Stage

SOAK = os.environ.get("SOAK") == "1"
CASES = int(os.environ.get("CASES", "40"))
"""For CI, always the same."""
MOVES = 40

LEDGER = Target("bizra-testnet", "ledger", Workload.STATEFUL_SET)
TARGETS = [*(Target("bizra-testnet", f"hive-{number}") for number in range(3)), LEDGER]
ALERTS = ("AhsanScoreLow", "HiveDown")
UP = Step(action=Scale(5, raises_minimum=True), when=(Fact.RESOURCE_PRESSURE,))
DOWN = Step(action=Scale(2, down=True))
MORE = Step(action=Scale(4, raises_minimum=True))
QUICK = a_criterion(
    query='score{namespace="$namespace",workload="$workload"}',
    settle=timedelta(seconds=5),
    samples=2,
    every=timedelta(seconds=5),
    within=timedelta(seconds=30),
)
BASE = with_limits(
    a_policy(
        a_playbook(UNDO, UP, RESTART, DOWN, verify=QUICK),
        a_playbook(MORE, RESTART, DOWN, UNDO, alert="HiveDown", verify=QUICK),
        targets=tuple(TARGETS),
    ),
    target_actions=2,
    target_per=timedelta(minutes=30),
    target_per_day=4,
    cooldown=timedelta(minutes=1),
    overall_actions=6,
    overall_per=timedelta(minutes=30),
    at_once=2,
    storm_targets=4,
    storm_within=timedelta(minutes=1),
    breaker_not_recovered=6,
    patience=timedelta(minutes=5),
    rollout_within=timedelta(minutes=1),
)


def _bounded(policy: Policy, low: int, high: int) -> Policy:
    bounds = {
        target: TargetPolicy(target=target, min_replicas=low, max_replicas=high) for target in policy.targets
    }
    return replace(policy, targets=bounds)


POLICIES = {
    "base": BASE,
    "stricter": with_limits(
        BASE, target_actions=1, overall_actions=3, at_once=1, cooldown=timedelta(minutes=9)
    ),
    "fewer targets": replace(BASE, targets={target: BASE.targets[target] for target in TARGETS[:1]}),
    "fewer playbooks": replace(BASE, playbooks={"HiveDown": BASE.playbooks["HiveDown"]}),
    "narrow bounds": _bounded(BASE, 3, 4),
    "observe": replace(BASE, mode=Mode.OBSERVE),
    "approve": replace(BASE, mode=Mode.APPROVE),
    "steps gone": replace(
        BASE, playbooks={alert: a_playbook(DOWN, alert=alert, verify=QUICK) for alert in ALERTS}
    ),
}


def in_order(seen: Observation, **changes: object) -> Observation:
    """Of a StatefulSet; nothing else has an order."""
    return replace(seen, order=seen.order and replace(seen.order, **changes))  # type: ignore[arg-type]


def a_pod_fails_or_recovers(seen: Observation) -> Observation:
    failing = NumberedPod(number=1, pod=PodSeen(name="ledger-1", ready=False))
    unready = () if seen.order is None or seen.order.unready else (failing,)
    return replace(in_order(seen, unready=unready), ready=seen.replicas - len(unready))


def an_hpa(seen: Observation) -> Autoscaler:
    return Autoscaler(name="hive", uid=f"hpa-{seen.generation}", maximum=9)


CHANGES: dict[str, Callable[[Observation], Observation]] = {
    "usage high": lambda seen: replace(seen, usage=0.95),
    "usage low": lambda seen: replace(seen, usage=0.2),
    "deployed": lambda seen: replace(
        seen,
        generation=seen.generation + 1,
        template_digest=f"v{seen.generation}",
        template_changed=recently(),
    ),
    "annotated": lambda seen: replace(seen, generation=seen.generation + 1),
    "scaled to 0": lambda seen: replace(seen, generation=seen.generation + 1, replicas=0, ready=0),
    "scaled to 5": lambda seen: replace(seen, generation=seen.generation + 1, replicas=5, ready=5),
    "scaled to 12": lambda seen: replace(seen, generation=seen.generation + 1, replicas=12, ready=12),
    "paused": lambda seen: replace(seen, generation=seen.generation + 1, paused=not seen.paused),
    "opted out or in": lambda seen: replace(seen, opted_in=not seen.opted_in),
    "made anew": lambda seen: an_observation(uid="uid-2", generation=1, order=seen.order),
    "an HPA": lambda seen: replace(seen, hpas=() if seen.hpas else (an_hpa(seen),)),
    "its minimum": lambda seen: replace(seen, hpas=tuple(replace(hpa, minimum=2) for hpa in seen.hpas or ())),
    "unreadable": lambda seen: in_order(replace(seen, previous=None, usage=None, hpas=None), unready=None),
    "a pod fails": a_pod_fails_or_recovers,
    "on delete": lambda seen: in_order(seen, on_delete=bool(seen.order and not seen.order.on_delete)),
    "volumes go": lambda seen: in_order(
        seen, drops_volumes=bool(seen.order and not seen.order.drops_volumes)
    ),
}
SENDINGS = [
    "ordinary",
    "answer lost",
    "late",
    *(found for found in Delivery if found is not Delivery.APPLIED),
]

PLAYED = ("effects: raise_min", "effects: on the StatefulSet")
"""What every run has to have had."""

targets = st.sampled_from(TARGETS)
Said = tuple[str, Target, bool, int]
"""Name, target, whether it fires, and since how many minutes from now."""
an_alert_said = st.tuples(
    st.sampled_from(ALERTS), targets, st.sampled_from([True, True, True, False]), st.integers(-4, 0)
)
some_alerts = st.lists(an_alert_said, min_size=1, max_size=4)
edges = st.integers(0, 25) | st.sampled_from(EDGES)
"""So many edges from now, or the next of that name: in the middle of what a worker does."""
when = st.none() | edges
"""At once, or at an edge."""
When = int | str | None


@cache
def migrated() -> Path:
    """An empty journal to copy: migrating takes longer than a case."""
    folder = Path(tempfile.mkdtemp())
    journal = SqlJournal(f"sqlite:///{folder}/journal.db")
    journal.migrate()
    journal.close()  # the last connection to close leaves everything in the one file
    return folder / "journal.db"


class AnyInterleaving(RuleBasedStateMachine):
    @initialize(healing=st.sets(st.sampled_from(ACTION_KINDS)), items=some_alerts)
    def begin(self, healing: set[str], items: list[Said]) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.stage = Stage(Path(self.folder.name), BASE, migrated=migrated(), leases=timedelta(seconds=25))
        self.posted: list[tuple[Notification, str]] = []
        self.unheard: list[tuple[Notification, str]] = []
        for target in TARGETS[:3:2]:
            self.stage.cluster.change(target, hpas=(an_hpa(an_observation()),))
        self.stage.cluster.change(TARGETS[1], template_changed=recently())
        self.stage.cluster.change(LEDGER, order=Order(unready=()))
        judged = self.stage.cluster.on_effect

        def on_effect(target: Target, intent: Intent) -> None:
            judged(target, intent)
            TALLY["effects"] += 1
            TALLY[f"effects: {kind_of(intent)}"] += 1
            TALLY["effects: on the StatefulSet"] += target == LEDGER
            if kind_of(intent) in healing:
                self.stage.metrics.values[target] = 97.0

        self.stage.cluster.on_effect = on_effect
        self.awake = True
        self.notifies(items, None)

    def _do(self, at: When, happening: Callable[[], object]) -> None:
        TALLY["happenings"] += 1
        if at is None:
            happening()
        else:
            self.stage.at_edge(at, happening)
        if self.awake:
            self.stage.work(timedelta(seconds=40))

    # ---------------------------------------------------------------- Alertmanager

    @rule(items=some_alerts, at=when)
    def notifies(self, items: list[Said], at: When) -> None:
        start = self.stage.true_now
        notification = a_notification(
            *(
                an_alert(name, target=target, firing=firing, starts_at=start + timedelta(minutes=minutes))
                for name, target, firing, minutes in items
            )
        )
        self._do(at, lambda: self._post(notification, f"{items} {start}"))

    @rule(number=st.integers(0, 50), at=when)
    def sends_an_old_one_again(self, number: int, at: When) -> None:
        if self.posted:
            again = self.posted[number % len(self.posted)]
            self._do(at, lambda: self._post(*again))

    @rule()
    def retries_what_was_not_acknowledged(self) -> None:
        unheard, self.unheard = self.unheard, []
        for notification, body in unheard:
            self._post(notification, body)

    def _post(self, notification: Notification, body: str) -> None:
        self.posted.append((notification, body))
        if self.stage.receive(notification, body):
            self.stage.judge.accepted(notification)
        else:
            self.unheard.append((notification, body))

    # ---------------------------------------------------------------- workers and time

    @rule(seconds=st.sampled_from([3, 30, 120, 900, 3000]))
    def workers_work(self, seconds: int) -> None:
        self.stage.work(timedelta(seconds=seconds))

    @rule(awake=st.booleans())
    def workers_wake_up_or_fall_asleep(self, awake: bool) -> None:
        """Asleep, much may come in before anything is done about it."""
        self.awake = awake

    @rule(at=edges, stuck=st.sampled_from([0, 10, 30, 400]), seconds=st.sampled_from([1, 40, 300]))
    def one_is_stuck_and_another_works(self, at: int | str, stuck: int, seconds: int) -> None:
        def meanwhile() -> None:
            self.stage.pass_time(timedelta(seconds=stuck))
            self.stage.work(timedelta(seconds=seconds), most=60)

        self._do(at, meanwhile)

    @rule(at=edges)
    def one_is_killed(self, at: int | str) -> None:
        """Twice as likely as anything else."""
        self.one_dies(at)

    @rule(at=edges)
    def one_dies(self, at: int | str) -> None:
        self._do(at, Death())

    @rule(at=edges)
    def all_are_stopped_gracefully(self, at: int | str) -> None:
        def stop() -> None:
            for actor in self.stage.workers:
                actor.worker.drain()
            self.stage.workers = [Actor(self.stage), Actor(self.stage)]

        self._do(at, stop)

    @rule(at=edges)
    def the_journal_fails(self, at: int | str) -> None:
        def fail() -> None:
            raise JournalUnavailable("the database went away")

        self._do(at, fail)

    @rule(seconds=st.sampled_from([1, 10, 60, 600, 2400, 90_000]), at=when)
    def time_passes(self, seconds: int, at: When) -> None:
        self._do(at, lambda: self.stage.pass_time(timedelta(seconds=seconds)))

    @rule(seconds=st.sampled_from([-3600, -600, -5, 5, 600, 3600]), at=when)
    def the_clock_is_set(self, seconds: int, at: When) -> None:
        self._do(at, lambda: self.stage.set_clock(timedelta(seconds=seconds)))

    # ---------------------------------------------------------------- the outside world

    @rule(where=targets, value=st.sampled_from([80.0, 97.0, None, 10.0]), at=when)
    def the_metric_changes(self, where: Target, value: float | None, at: When) -> None:
        def change() -> None:
            self.stage.metrics.thaw(where)
            self.stage.metrics.values[where] = value

        self._do(at, change)

    @rule(where=targets, at=when)
    def scrapes_fail(self, where: Target, at: When) -> None:
        self._do(at, lambda: self.stage.metrics.freeze(where))

    @rule(away=st.booleans(), at=when)
    def prometheus_is_away_or_back(self, away: bool, at: When) -> None:
        self._do(at, lambda: setattr(self.stage.metrics, "away", away))

    @rule(away=st.booleans(), at=when)
    def the_api_server_is_away_or_back(self, away: bool, at: When) -> None:
        self._do(at, lambda: setattr(self.stage.cluster, "away", away))

    @rule(where=targets, change=st.sampled_from(list(CHANGES)), at=when)
    def somebody_changes_the_deployment(self, where: Target, change: str, at: When) -> None:
        def apply() -> None:
            seen = self.stage.cluster.live[where]
            assert isinstance(seen, Observation)
            self.stage.cluster.live[where] = CHANGES[change](seen)
            self.stage.cluster.versions[where] += 1

        self._do(at, apply)

    @rule(sendings=st.lists(st.sampled_from(SENDINGS), min_size=1, max_size=4))
    def the_next_sendings_go(self, sendings: list[str]) -> None:
        cluster = self.stage.cluster
        meant = {"ordinary": None, "answer lost": cluster.lose_the_answer, "late": cluster.hold_on_the_wire}
        cluster.script.extend(meant.get(sending, sending) for sending in sendings)

    @rule(at=when)
    def what_is_on_the_wire_arrives(self, at: When) -> None:
        self._do(at, self.stage.cluster.arrive)

    @rule(states=st.lists(st.sampled_from(list(RolloutState)), min_size=1, max_size=4))
    def the_next_rollouts_go(self, states: list[RolloutState]) -> None:
        self.stage.cluster.rollouts.extend(states)

    # ---------------------------------------------------------------- people

    @rule(
        scope=st.sampled_from(
            ["all", f"target:{TARGETS[0]}", "playbook:HiveDown", "namespace:bizra-testnet"]
        ),
        minutes=st.none() | st.sampled_from([1, 60]),
        at=when,
    )
    def somebody_pauses(self, scope: str, minutes: int | None, at: When) -> None:
        def pause() -> None:
            now = self.stage.now
            until = now + timedelta(minutes=minutes) if minutes else None
            with self.stage.journal.transaction() as tx:
                tx.engage_pause(scope=scope, by="ada", why="", until=until, now=now)

        self._do(at, pause)

    @rule(at=when)
    def somebody_resumes(self, at: When) -> None:
        self._do(at, self._resume)

    def _resume(self) -> None:
        self.stage.journal.end_pauses(scope=None, by="ada", now=self.stage.now)

    @rule(word=st.sampled_from(["acknowledge", "approve", "reject"]), at=when)
    def somebody_says_of_each_incident(self, word: str, at: When) -> None:
        def say() -> None:
            person = Person(self.stage.journal)
            for incident in self.stage.journal.incidents(open_only=True):
                try:
                    getattr(person, word)(incident.id, by="ada", now=self.stage.now)
                except NotNow:
                    continue

        self._do(at, say)

    @rule(at=when)
    def somebody_acknowledges_the_storm(self, at: When) -> None:
        def say() -> None:
            with suppress(NotNow):
                Person(self.stage.journal).acknowledge_storm(by="ada", now=self.stage.now)

        self._do(at, say)

    @rule(name=st.sampled_from(list(POLICIES)), at=when)
    def the_policy_is_reloaded(self, name: str, at: When) -> None:
        self._do(at, lambda: setattr(self.stage, "policy", POLICIES[name]))

    # ---------------------------------------------------------------- the judgement

    @invariant()
    def every_promise_holds(self) -> None:
        if hasattr(self, "stage"):
            TALLY["steps judged"] += 1
            self.stage.judge.whole()

    def teardown(self) -> None:
        if not hasattr(self, "stage"):
            return
        TALLY["cases"] += 1
        try:
            self._let_it_end()
        finally:
            self.stage.journal.close()
            self.folder.cleanup()

    def _let_it_end(self) -> None:
        """Nothing is in the way any more: everything accepted has to come to its end."""
        stage = self.stage
        stage.schedule.clear()
        self.retries_what_was_not_acknowledged()
        stage.cluster.away = stage.metrics.away = False
        stage.cluster.script.clear()
        stage.cluster.rollouts.clear()
        stage.policy = BASE
        self._resume()
        stage.work(timedelta(hours=2), most=3000)
        with suppress(NotNow):  # of the storm, if there was one, a person was told
            Person(stage.journal).acknowledge_storm(by="ada", now=stage.now)
        stage.work(timedelta(hours=2), most=3000)
        stage.cluster.arrive()
        stage.judge.all_ended()


def _settings(cases: int) -> settings:
    return settings(
        max_examples=cases,
        stateful_step_count=MOVES,
        deadline=None,
        derandomize=not SOAK,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )


@pytest.mark.timeout(3600 if SOAK else 300)
def test_every_promise_holds_whatever_comes(record_property: Callable[[str, object], None]) -> None:
    TALLY.clear()
    end = time.monotonic() + float(os.environ.get("SOAK_SECONDS", "600"))
    run_state_machine_as_test(AnyInterleaving, settings=_settings(CASES))
    while SOAK and time.monotonic() < end:
        run_state_machine_as_test(AnyInterleaving, settings=_settings(CASES))
    names = (
        "cases",
        "steps judged",
        "happenings",
        "worker steps",
        "edges",
        "crashes",
        "leases lost",
        "effects",
        *PLAYED,
    )
    assert all(TALLY[name] for name in PLAYED), TALLY
    record_property(
        "proof",
        "any interleaving: " + ", ".join(f"{TALLY[name]} {name}" for name in names) + ", violations 0",
    )
