"""A proxy breaks writes on their way to a real API server: at most one effect, and the incident always ends.

All incidents run at once, in one process with several workers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import yaml

from remediator.adapters.journal import SqlJournal
from remediator.adapters.journal.journal import Story
from remediator.adapters.kubernetes import KubernetesCluster
from remediator.core.alerts import parse_notification
from remediator.core.incidents import AttemptState
from remediator.core.verification import Sample
from remediator.lifecycle import Lifecycle, Pace, World
from remediator.policy_file import parse_policy
from remediator.worker import Worker
from tests.end_to_end.clusters import Cluster
from tests.end_to_end.proxy import Fault, Proxy
from tests.end_to_end.serving import SICK, WELL, a_notification, a_policy
from tests.waiting import eventually

pytestmark = pytest.mark.real

ACTIONS: dict[str, Any] = {
    "restart": {"restart": {}},
    "undo": {"undo": {}},
    "scale": {"scale": {"to": 2}},
    "raise": {"scale": {"to": 2, "under_hpa": "raise_min"}},
}
ALWAYS = 99
WORKERS = 6
ENDED = ("closed", "escalated", "returning")


@dataclass(frozen=True)
class Case:
    """What befalls the writes of one target, how the incident ends, and what that left behind."""

    fault: Fault
    action: str
    times: int
    reason: str
    state: AttemptState
    effects: int

    @property
    def name(self) -> str:
        often = "always" if self.times == ALWAYS else "once"
        return f"{self.fault.name.lower().replace('_', '-')}-{often}-{self.action}"


def cases() -> Iterator[Case]:
    for action in ACTIONS:
        for fault in Fault:
            yield Case(fault, action, 1, "recovered", AttemptState.JUDGED, 1)
    unknown = ("outcome_unknown", AttemptState.ABANDONED)
    yield Case(Fault.HANG_BEFORE, "scale", ALWAYS, *unknown, 0)
    yield Case(Fault.UNAVAILABLE, "undo", ALWAYS, *unknown, 0)
    yield Case(Fault.THROTTLED, "restart", ALWAYS, "cluster_unreachable", AttemptState.WITHDRAWN, 0)


CASES = list(cases())


class Recovering:
    """A service that is well as soon as its Deployment was changed."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._before: dict[str, int] = {}

    def ask(self, query: str, *, now: datetime, lookback: timedelta | None = None) -> Sample:
        found = re.search(r'deployment="([^"]+)"', query)
        assert found
        generation = self._cluster.deployment(self._namespace, found[1])["metadata"]["generation"]
        before = self._before.setdefault(found[1], generation)
        return Sample(at=now, value=WELL if generation > before else SICK)


@pytest.fixture(scope="module")
def stories(real_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stories]:
    folder = tmp_path_factory.mktemp("faults")
    namespace = f"e2e-faults-{datetime.now(UTC):%H%M%S%f}"
    real_cluster.create_namespace(namespace)
    with ExitStack() as ending:
        ending.callback(real_cluster.delete_namespace, namespace)
        deploy(real_cluster, namespace)
        proxy = ending.enter_context(Proxy(real_cluster.upstream))
        for case in CASES:
            proxy.befall(case.name, case.fault, times=case.times)
        kubeconfig = str(proxy.kubeconfig(folder / "kubeconfig"))
        adapter = KubernetesCluster.from_environment(kubeconfig, connect_timeout=0.5, read_timeout=1.0)
        ending.callback(adapter.close)
        journal = SqlJournal(f"sqlite:///{folder}/journal.db")
        ending.callback(journal.close)
        journal.migrate()
        policy = policy_for(namespace)
        lifecycle = Lifecycle(
            World(
                journal=journal,
                cluster=adapter,
                metrics=Recovering(real_cluster, namespace),
                policy=lambda: policy,
                pace=Pace(recheck=timedelta(seconds=1), poll=timedelta(milliseconds=300)),
            )
        )
        yield run(lifecycle, journal, real_cluster, namespace)


def deploy(cluster: Cluster, namespace: str) -> None:
    """One pod each; those to be undone have something to go back to."""
    for case in CASES:
        cluster.create(namespace, case.name, "node:v1", replicas=1)
    for case in CASES:
        eventually(lambda name=case.name: cluster.all_ready(namespace, name), "deployed")  # type: ignore[misc]
    for case in CASES:
        if case.action == "undo":
            cluster.set_image(namespace, case.name, "node:v2")
        if case.action == "raise":
            cluster.create_autoscaler(namespace, case.name, 1, 3)
    for case in CASES:
        eventually(lambda name=case.name: cluster.all_ready(namespace, name), "deployed again")  # type: ignore[misc]


def policy_for(namespace: str) -> Any:
    many: dict[str, Any] = {
        "per_target": {"actions": 5, "per": "1h", "per_day": 8, "cooldown": "0s"},
        "in_all": {"actions": 999, "per": "1h", "at_once": 99},
        "storm": {"targets": 99, "within": "1m"},
        "breaker": {"not_recovered": 99, "within": "1h"},
    }
    return parse_policy(yaml.safe_dump(a_policy(namespace, ACTIONS, *(case.name for case in CASES), **many)))


@dataclass
class Stories:
    told: dict[str, Story]
    effects: dict[str, list[Any]]


def run(lifecycle: Lifecycle, journal: SqlJournal, cluster: Cluster, namespace: str) -> Stories:
    for case in CASES:
        notification = parse_notification(a_notification(namespace, case.name, case.action))
        lifecycle.receive(notification, body="{}", now=datetime.now(UTC))
    workers = [Worker(lifecycle, journal, idle=timedelta(milliseconds=100)) for _ in range(WORKERS)]
    for worker in workers:
        worker.start()

    def unfinished() -> list[str]:
        found = journal.incidents(limit=len(CASES))
        return [f"{one.target.name} {one.phase} {one.hold_reason}" for one in found if one.phase not in ENDED]

    try:
        eventually(lambda: not unfinished(), "every incident has ended")
    except AssertionError as error:
        raise AssertionError(f"{error}: {unfinished()}") from None
    finally:
        for worker in workers:
            assert worker.stop(within=timedelta(seconds=20))
    told = {}
    for incident in journal.incidents(limit=len(CASES)):
        story = journal.story(incident.id)
        assert story
        told[incident.target.name] = story
    return Stories(told, {case.name: cluster.effects(namespace, case.name) for case in CASES})


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_at_most_one_effect_and_an_end(stories: Stories, case: Case) -> None:
    story = stories.told[case.name]
    (attempt,) = story.attempts
    assert (story.incident.reason, attempt.state) == (case.reason, case.state), story.events
    assert len(stories.effects[case.name]) == case.effects
