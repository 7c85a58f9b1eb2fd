"""What we need is away, stuck or dead: held with a reason, then mended, or a person called. Never twice."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests

from remediator.lab.stage import free_port
from tests.end_to_end.clusters import Cluster
from tests.end_to_end.conftest import Stack
from tests.end_to_end.programs import Programs
from tests.end_to_end.proxy import Moment, Proxy
from tests.end_to_end.serving import (
    WELL,
    WELL_TOLD,
    Remediator,
    SaidMetrics,
    a_notification,
    a_policy,
    kinds_and_reasons,
)
from tests.end_to_end.test_duplicates import start_alertmanager
from tests.waiting import eventually

APEX, ALERT = "bizra-apex", "HiveDown"
LEASE = 2.0
GRACE = 25.0


@pytest.fixture
def cluster(simulated_cluster: Cluster) -> Cluster:
    return simulated_cluster


@dataclass
class Scene:
    """One sick Deployment, that a restart cures."""

    cluster: Cluster
    namespace: str
    proxy: Proxy
    metrics: SaidMetrics
    programs: Programs

    def __post_init__(self) -> None:
        self.cluster.create(self.namespace, APEX, "ghcr.io/bizra/node:v1")
        eventually(lambda: self.cluster.all_ready(self.namespace, APEX), f"{APEX} is ready")
        self._kubeconfig = self.proxy.kubeconfig(self.programs.directory / "kubeconfig")

    def start(self, name: str = "remediator", *, prometheus: str = "", **limits: str) -> Remediator:
        return Remediator(
            self.programs,
            name=name,
            kubeconfig=self._kubeconfig,
            prometheus=prometheus or self.metrics.url,
            policy=a_policy(self.namespace, {ALERT: {"restart": {}}}, APEX, **limits),
        )

    def notification(self) -> Any:
        return a_notification(self.namespace, APEX, ALERT)

    def restarted(self) -> bool:
        return bool(self.cluster.effects(self.namespace, APEX))

    def recovers(self, remediator: Remediator) -> Any:
        eventually(self.restarted, "restarted")
        self.metrics.value = WELL
        story = remediator.comes_to("closed")
        assert len(self.cluster.effects(self.namespace, APEX)) == 1
        return story


@pytest.fixture
def scene(cluster: Cluster, namespace: str, proxy: Proxy, metrics: SaidMetrics, programs: Programs) -> Scene:
    return Scene(cluster, namespace, proxy, metrics, programs)


def held(remediator: Remediator, reason: str) -> None:
    def look() -> bool:
        return ("held", reason) in kinds_and_reasons(remediator.story())

    eventually(look, f"held: {reason}")


# ------------------------------------------------------------ what we ask is away


def test_without_prometheus_nothing_is_done_and_a_person_is_called(scene: Scene) -> None:
    remediator = scene.start(prometheus=f"http://127.0.0.1:{free_port()}", patience="2s")
    remediator.accepts(scene.notification())
    held(remediator, "prometheus_unreachable")
    story = remediator.comes_to("escalated")
    assert kinds_and_reasons(story) == [
        ("opened", "incident_opened"),
        ("held", "prometheus_unreachable"),
        ("escalated", "prometheus_unreachable"),
    ]
    assert scene.cluster.writes(scene.namespace) == []


def test_an_api_server_that_was_away_is_worked_with_when_it_is_back(scene: Scene) -> None:
    remediator = scene.start()
    with scene.proxy.away():
        remediator.accepts(scene.notification())
        held(remediator, "cluster_unreachable")
    story = scene.recovers(remediator)
    assert kinds_and_reasons(story) == [WELL_TOLD[0], ("held", "cluster_unreachable"), *WELL_TOLD[1:]]


def test_an_api_server_that_goes_away_in_the_middle_of_a_write(scene: Scene) -> None:
    remediator = scene.start()
    caught = scene.proxy.catch(Moment.AFTER)
    remediator.accepts(scene.notification())
    caught.wait()
    with scene.proxy.away():
        caught.drop()
        eventually(
            lambda: remediator.counted("remediator_unclear_answers_total") >= 2,
            "asked again without an answer",
        )
    story = scene.recovers(remediator)
    assert kinds_and_reasons(story) == WELL_TOLD


# ------------------------------------------------------------ the journal


@contextmanager
def locked(journal: Path) -> Iterator[None]:
    """Another process writes and does not finish."""
    with closing(sqlite3.connect(journal, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.execute("ROLLBACK")


@pytest.mark.real
def test_a_locked_journal_is_503_and_alertmanager_tries_again(scene: Scene, newest_stack: Stack) -> None:
    remediator = scene.start()
    alertmanager = start_alertmanager(scene.programs, newest_stack[1], remediator)
    alert = scene.notification()["alerts"][0]
    with locked(remediator.journal):
        told = [{"labels": alert["labels"], "startsAt": datetime.now(UTC).isoformat()}]
        requests.post(f"http://{alertmanager}/api/v2/alerts", json=told, timeout=5).raise_for_status()
        eventually(
            lambda: remediator.answered(503, "webhook"), "Alertmanager's notification was answered with 503"
        )
    story = scene.recovers(remediator)
    assert kinds_and_reasons(story) == WELL_TOLD


# ------------------------------------------------------------ our own processes


def test_sigterm_during_a_write_finishes_it(scene: Scene) -> None:
    remediator = scene.start()
    caught = scene.proxy.catch(Moment.AFTER)
    remediator.accepts(scene.notification())
    caught.wait()
    asked = time.monotonic()
    remediator.process.terminate()
    eventually(lambda: refuses(remediator, scene.notification()), "takes no new notification")
    assert remediator.process.running, "it has a step in hand"
    caught.pass_on()
    assert remediator.process.ended(within=GRACE) == 0
    assert time.monotonic() - asked < GRACE
    with closing(sqlite3.connect(remediator.journal)) as journal:
        phases = journal.execute("SELECT phase FROM incidents").fetchall()
    assert phases == [("rolling_out",)], "the step in hand was recorded, and no new one begun"

    remediator.start()
    story = scene.recovers(remediator)
    assert kinds_and_reasons(story) == WELL_TOLD
    assert not next(event for event in story["events"] if event["kind"] == "applied")["data"]["recognised"]


def refuses(remediator: Remediator, notification: Any) -> bool:
    """Whether a notification is not accepted, in a way that Alertmanager repeats."""
    try:
        answer = remediator.post(notification)
    except (requests.ConnectionError, requests.ReadTimeout):
        return True
    assert answer.status_code in (202, 503), answer.text
    return answer.status_code == 503


def test_a_dead_process_is_replaced_within_its_lease(scene: Scene) -> None:
    first = scene.start("first")
    caught = scene.proxy.catch(Moment.BEFORE)
    first.accepts(scene.notification())
    caught.wait()
    second = scene.start("second")
    first.kill()
    died = time.monotonic()
    caught.drop()
    eventually(scene.restarted, "taken over")
    assert time.monotonic() - died < LEASE + 20, "within the lease and a poll, on a very busy machine"
    assert kinds_and_reasons(scene.recovers(second)) == WELL_TOLD


def test_a_process_that_lost_its_lease_changes_nothing_more(scene: Scene) -> None:
    first = scene.start("first")
    caught = scene.proxy.catch(Moment.BEFORE)
    first.accepts(scene.notification())
    caught.wait()
    second = scene.start("second")
    eventually(scene.restarted, "taken over from the living")
    caught.pass_on()
    assert kinds_and_reasons(scene.recovers(second)) == WELL_TOLD
    assert [write["code"] for write in scene.cluster.writes(scene.namespace)] == [200, 422]
    assert first.process.running
