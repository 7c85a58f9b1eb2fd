"""The flow from an alert to the end of its incident, with a token of the service account and nothing else.

The API server and its controllers are real, and so is the journal; what Prometheus says is scripted.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from remediator.adapters.journal import SqlJournal
from remediator.adapters.journal.journal import Story
from remediator.adapters.kubernetes import KubernetesCluster
from remediator.core.actions import Scale, kind_of
from remediator.core.facts import Observation
from remediator.core.incidents import Phase
from remediator.core.policy import Mode, Policy, Step
from remediator.core.reasons import Reason
from remediator.lifecycle import Lifecycle, Pace, World
from remediator.preflight import Preflight
from tests.builders import RESTART, UNDO, a_criterion, a_notification, a_playbook, a_policy, an_alert
from tests.worlds import SICK, WELL, ScriptedMetrics

from .acting import eventually, seen
from .real import Realm, await_review

pytestmark = [pytest.mark.real, pytest.mark.timeout(120)]

QUICK = a_criterion(
    settle=timedelta(seconds=1), samples=1, every=timedelta(seconds=0.2), within=timedelta(seconds=3)
)
BACK = Step(action=UNDO.action)


class Loop:
    """One process' worth of the remediator."""

    def __init__(
        self, folder: Path, realm: Realm, cluster: KubernetesCluster, *steps: Step, mode: Mode = Mode.AUTO
    ) -> None:
        playbook = a_playbook(*steps, verify=QUICK)
        self.policy: Policy = a_policy(playbook, targets=(realm.target,), mode=mode)
        self.realm, self.cluster = realm, cluster
        self.journal = SqlJournal(f"sqlite:///{folder}/journal.db")
        self.journal.migrate()
        self.metrics = ScriptedMetrics()
        pace = Pace(recheck=timedelta(seconds=0.5), poll=timedelta(seconds=0.2))
        self.lifecycle = Lifecycle(
            World(
                journal=self.journal,
                cluster=cluster,
                metrics=self.metrics,
                policy=lambda: self.policy,
                pace=pace,
            )
        )

    def heals_when(self, condition: Callable[[Observation, Observation], bool]) -> None:
        """The service is well as soon as the Deployment, then and now, is so."""
        then = seen(self.cluster, self.realm.target)
        self.metrics.on_ask = lambda _: (
            WELL if condition(then, seen(self.cluster, self.realm.target)) else SICK
        )

    def runs(self, until: Callable[[Story], bool]) -> Story:
        """Let an alert come in, and work until the story is as it should be."""
        eventually(lambda: seen(self.cluster, self.realm.target).rolled_out)
        Preflight(self.cluster, lambda: self.policy).look()
        now = datetime.now(UTC)
        alert = replace(an_alert(target=self.realm.target), starts_at=now)
        self.lifecycle.receive(a_notification(alert), body="{}", now=now)
        deadline = time.monotonic() + 60
        while not until(story := self._story()):
            assert time.monotonic() < deadline, story.events
            self._step()
            time.sleep(0.05)
        self.journal.close()
        return story

    def _step(self) -> None:
        now = datetime.now(UTC)
        claim = self.journal.claim("one", lease=timedelta(seconds=25), now=now)
        while claim is not None:
            claim = self.lifecycle.advance(claim, now=datetime.now(UTC))

    def _story(self) -> Story:
        story = self.journal.story(1)
        assert story is not None
        return story


def over(story: Story) -> bool:
    return story.incident.phase in {Phase.CLOSED, Phase.ESCALATED}


def kinds(story: Story) -> list[str]:
    return [kind_of(attempt.intent) for attempt in story.attempts]


def test_observing_tells_what_it_would_do_and_leaves_everything_as_it_is(realm: Realm, tmp_path: Path):
    cluster = realm.account("loop-observing", realm.shipped("observe"))
    loop = Loop(tmp_path, realm, cluster, RESTART, mode=Mode.OBSERVE)
    await_review(cluster, realm, loop.policy)
    eventually(lambda: seen(cluster, realm.target).rolled_out)
    before = seen(cluster, realm.target).generation
    loop.metrics.on_ask = lambda _: SICK

    story = loop.runs(lambda story: story.incident.hold_reason is Reason.OBSERVE_MODE)

    assert "rolling restart" in str(story.events[-1])
    assert seen(cluster, realm.target).generation == before


def test_scaling_recovers_with_the_permissions_for_scaling(realm: Realm, tmp_path: Path):
    now = seen(realm.account("loop-looking", realm.shipped("observe")), realm.target)
    wanted = Scale(now.replicas + 1)
    policy = a_policy(a_playbook(Step(action=wanted)))
    cluster = realm.account("loop-scaling", realm.printed(policy))
    loop = Loop(tmp_path, realm, cluster, Step(action=wanted))
    await_review(cluster, realm, loop.policy)
    loop.heals_when(lambda then, now: now.ready > then.ready)

    story = loop.runs(over)

    assert (story.incident.phase, kinds(story)) == (Phase.CLOSED, ["scale"]), story.events
    assert seen(cluster, realm.target).replicas == wanted.to


def test_a_restart_without_the_permission_goes_to_a_person_before_it_is_tried(realm: Realm, tmp_path: Path):
    policy = a_policy(a_playbook(Step(action=Scale(5))))
    cluster = realm.account("loop-short", realm.printed(policy))
    await_review(cluster, realm, policy)
    loop = Loop(tmp_path, realm, cluster, RESTART, BACK)
    loop.metrics.on_ask = lambda _: SICK

    story = loop.runs(over)

    assert (story.incident.phase, kinds(story)) == (Phase.ESCALATED, []), story.events
    assert f"we lack patch deployments (apps) on {realm.target}" in str(story.events[-1])


def test_a_restart_that_does_not_help_and_the_undo_that_does(realm: Realm, tmp_path: Path):
    cluster = realm.account("loop-changing", realm.shipped("auto"))
    loop = Loop(tmp_path, realm, cluster, RESTART, BACK)
    loop.policy = replace(loop.policy, limits=replace(loop.policy.limits, cooldown=timedelta()))
    await_review(cluster, realm, loop.policy)
    loop.heals_when(lambda then, now: now.template_digest != then.template_digest)

    story = loop.runs(over)

    assert (story.incident.phase, kinds(story)) == (Phase.CLOSED, ["restart", "undo"]), story.events
