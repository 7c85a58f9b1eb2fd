"""One process' worth of the remediator on a real API server: real journal, scripted Prometheus."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from remediator.adapters.journal import SqlJournal
from remediator.adapters.journal.journal import Story
from remediator.adapters.kubernetes import KubernetesCluster
from remediator.core.facts import Observation
from remediator.core.incidents import OVER, Phase
from remediator.core.permissions import CREATE_EVENTS
from remediator.core.policy import Mode, Policy, Returns, Step
from remediator.lifecycle import Lifecycle, Pace, World
from remediator.lifecycle.announce import announce
from remediator.permissions import needed_on_each
from remediator.preflight import Preflight
from tests.builders import UNDO, a_criterion, a_notification, a_playbook, a_policy, an_alert
from tests.waiting import eventually
from tests.worlds import SICK, WELL, ScriptedMetrics

from .acting import seen
from .real import Realm

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
        soon = timedelta(seconds=1)
        self.policy: Policy = replace(
            a_policy(playbook, targets=(realm.target,), mode=mode), returns=Returns(after=soon, every=soon)
        )
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
        return self.hears(until)

    def hears(self, until: Callable[[Story], bool]) -> Story:
        """The same, however its rollout is."""
        Preflight(self.cluster, lambda: self.policy).look()
        now = datetime.now(UTC)
        alert = replace(an_alert(target=self.realm.target), starts_at=now)
        self.lifecycle.receive(a_notification(alert), body="{}", now=now)
        return self.works(until)

    def works(self, until: Callable[[Story], bool]) -> Story:
        def look() -> Story | None:
            story = self._story()
            if until(story):
                return story
            self._step()
            return None

        story = eventually(look, lambda: self._story().events, within=60)
        while announce(self.lifecycle.world, wanted=self.tells, now=datetime.now(UTC)).told:
            pass
        return story

    @property
    def tells(self) -> bool:
        return any(CREATE_EVENTS in found for found in needed_on_each(self.policy).values())

    def resolves(self) -> None:
        """Alertmanager says that the alert is over."""
        now = datetime.now(UTC)
        alert = an_alert(
            target=self.realm.target, firing=False, starts_at=self._story().alerts[0]["starts_at"]
        )
        self.lifecycle.receive(a_notification(alert), body="resolved", now=now)

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
    return story.incident.phase in {*OVER, Phase.ESCALATED}


def kinds(story: Story) -> list[str]:
    return [attempt.kind for attempt in story.attempts]
