"""The policy's bounds hold over all processes that share a journal."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.end_to_end.clusters import Cluster
from tests.end_to_end.programs import Programs
from tests.end_to_end.replicas import ALERT, Start, deploy
from tests.end_to_end.serving import SICK, WELL, Remediator, SaidMetrics, a_notification
from tests.waiting import eventually

MANY = [f"hive-{number}" for number in range(6)]
Several = Callable[..., list[Remediator]]


@pytest.fixture
def cluster(simulated_cluster: Cluster) -> Cluster:
    return simulated_cluster


@pytest.fixture(params=["workers on SQLite", pytest.param("replicas on PostgreSQL", marks=pytest.mark.real)])
def several(
    request: pytest.FixtureRequest, start: Start, programs: Programs
) -> Callable[..., list[Remediator]]:
    """Several processes on one journal, in both ways."""

    def started(limits: Any, verify: Any = None) -> list[Remediator]:
        if request.param == "workers on SQLite":
            sqlite = f"sqlite:///{programs.directory}/journal.db"
            return [start("one", sqlite, MANY, limits, verify, REMEDIATOR_WORKERS="3")]
        database = request.getfixturevalue("database")
        return [start(name, database, MANY, limits, verify) for name in ("one", "two")]

    return started


def tell_all(replicas: list[Remediator], namespace: str, *, since: datetime | None = None) -> None:
    """Every process hears that all of them fire, at once."""
    bodies = [a_notification(namespace, name, ALERT) for name in MANY]
    for body in bodies:
        body["alerts"][0]["startsAt"] = since.isoformat() if since else body["alerts"][0]["startsAt"]
    with ThreadPoolExecutor(6) as crowd:
        list(
            crowd.map(
                lambda pair: pair[0].accepts(pair[1]), [(one, body) for body in bodies for one in replicas]
            )
        )


BUDGET = {
    "in_all": {"actions": 2, "per": "1h", "at_once": 3},
    "storm": {"targets": 99, "within": "10m"},
    "patience": "1s",
}
CALM = {"storm": {"targets": 99, "within": "10m"}, "in_all": {"actions": 99, "per": "1h", "at_once": 6}}
COOLDOWN = {**CALM, "per_target": {"actions": 3, "per": "1h", "per_day": 8, "cooldown": "1h"}}
BREAKER = {
    **CALM,
    "in_all": {"actions": 99, "per": "1h", "at_once": 1},
    "breaker": {"not_recovered": 2, "within": "1h"},
}
STORM = {"storm": {"targets": 3, "within": "10m"}, "patience": "1s"}


def test_a_budget_holds_over_all_processes(
    cluster: Cluster, namespace: str, several: Several, metrics: SaidMetrics
) -> None:
    deploy(cluster, namespace, MANY)
    replicas = several(BUDGET)
    tell_all(replicas, namespace)
    spent = {"decision": "escalate", "reason": "overall_budget"}
    eventually(lambda: replicas[0].counted("remediator_decisions_total", **spent) == 4, "four handed over")
    eventually(lambda: len(cluster.writes(namespace)) == 2, "two restarted")
    metrics.value = WELL
    closed = {"reason": "recovered"}
    eventually(lambda: replicas[0].counted("remediator_closed_total", **closed) == 2, "two recovered")
    assert len(cluster.writes(namespace)) == 2


def test_a_storm_is_one_over_all_processes(cluster: Cluster, namespace: str, several: Several) -> None:
    deploy(cluster, namespace, MANY)
    replicas = several(STORM)
    tell_all(replicas, namespace)
    held = {"decision": "hold", "reason": "storm"}
    eventually(lambda: replicas[-1].counted("remediator_decisions_total", **held) >= 4, "held")
    assert {one.counted("remediator_escalations_total") for one in replicas} == {1}
    assert len(cluster.writes(namespace)) <= 2, "those that began before it was a storm"


def test_a_cooldown_holds_whichever_process_decides_next(
    cluster: Cluster, namespace: str, several: Several, metrics: SaidMetrics
) -> None:
    deploy(cluster, namespace, MANY)
    replicas = several(COOLDOWN)
    tell_all(replicas, namespace)
    eventually(lambda: len(cluster.writes(namespace)) == len(MANY), "all restarted")
    metrics.value = WELL
    closed = {"reason": "recovered"}
    eventually(lambda: replicas[0].counted("remediator_closed_total", **closed) == len(MANY), "recovered")
    metrics.value = SICK
    tell_all(replicas, namespace, since=datetime.now(UTC))
    cooling = {"decision": "escalate", "reason": "cooldown"}  # an hour is longer than the patience
    eventually(lambda: replicas[-1].counted("remediator_decisions_total", **cooling) == len(MANY), "refused")
    assert len(cluster.writes(namespace)) == len(MANY)


def test_an_open_breaker_is_open_for_all_processes(
    cluster: Cluster, namespace: str, several: Several
) -> None:
    deploy(cluster, namespace, MANY)
    replicas = several(BREAKER, verify={"within": "1s"})
    tell_all(replicas, namespace)
    held = {"decision": "hold", "reason": "breaker_open"}
    eventually(lambda: replicas[0].counted("remediator_decisions_total", **held) == len(MANY) - 2, "held")
    assert {one.counted("remediator_breaker_open") for one in replicas} == {1}
    assert replicas[-1].counted("remediator_breaker_opened_total") == 1
    assert len(cluster.writes(namespace)) == 2
