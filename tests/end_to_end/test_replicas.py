"""Several processes on one journal: one effect, the policy's bounds, and a quick succession."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.end_to_end.clusters import Cluster
from tests.end_to_end.conftest import Stack
from tests.end_to_end.programs import Programs
from tests.end_to_end.proxy import Moment, Proxy
from tests.end_to_end.replicas import ALERT, APEX, Start, deploy, holder
from tests.end_to_end.serving import (
    WELL,
    Remediator,
    SaidMetrics,
    a_notification,
    a_policy,
    kinds_and_reasons,
)
from tests.end_to_end.test_duplicates import (
    alertmanager_config,
    gossip_of_two,
    notifications_of,
    peers_of,
    prometheus_config,
    start_alertmanager,
    start_prometheus,
    written,
)
from tests.waiting import eventually

LEASE = "25s" if os.environ.get("SOAK") else "8s"
"""As shipped, when there is the time to wait for it."""


def both_hooks(replicas: list[Remediator]) -> Any:
    """Every peer tells both replicas."""
    config = alertmanager_config(replicas[0])
    (receiver,) = config["receivers"]
    receiver["webhook_configs"] = [
        hook for one in replicas for hook in alertmanager_config(one)["receivers"][0]["webhook_configs"]
    ]
    return config


@pytest.mark.real
def test_two_replicas_two_alertmanagers_and_a_kill_in_mid_action(  # noqa: PLR0917 - fixtures
    real_cluster: Cluster,
    real_namespace: str,
    metrics: SaidMetrics,
    programs: Programs,
    database: str,
    newest_stack: Stack,
    capsys: Any,
) -> None:
    deploy(real_cluster, real_namespace, [APEX])
    with Proxy(real_cluster.upstream) as proxy:
        replicas = [
            Remediator(
                programs,
                name=name,
                kubeconfig=proxy.kubeconfig(programs.directory / "kubeconfig"),
                prometheus=metrics.url,
                policy=a_policy(real_namespace, {ALERT: {"restart": {}}}, APEX, patience="5m"),
                REMEDIATOR_DATABASE=database,
                REMEDIATOR_LEASE=LEASE,
            )
            for name in ("one", "two")
        ]
        caught = proxy.catch(Moment.AFTER)
        addresses = start_peers(programs, newest_stack, replicas, metrics, real_namespace)
        caught.wait(60)
        dead = holder(database, replicas)
        (alive,) = [one for one in replicas if one is not dead]
        dead.kill()
        died = time.monotonic()
        caught.drop()
        applied = [("opened", "incident_opened"), ("decided", "step_applies"), ("applied", "applied")]
        eventually(lambda: kinds_and_reasons(alive.story())[:3] == applied, "taken over")
        took = time.monotonic() - died
        metrics.value = WELL
        story = alive.comes_to("closed")
    told = [notifications_of(address) for address in addresses]
    effects = real_cluster.effects(real_namespace, APEX)
    with capsys.disabled():
        print(  # noqa: T201
            f"\nreplicas: {len(effects)} effect in the audit log, {sum(told):.0f} notifications "
            f"sent by two peers, taken over {took:.1f} s after kill -9, lease {LEASE}"
        )
    assert len(effects) == 1
    assert sum(told) >= 2
    assert took <= 30
    assert next(event for event in story["events"] if event["kind"] == "applied")["data"]["recognised"]
    assert [one["id"] for one in alive.incidents()] == [1]


def start_peers(
    programs: Programs, stack: Stack, replicas: list[Remediator], metrics: SaidMetrics, namespace: str
) -> list[str]:
    addresses = [
        start_alertmanager(
            programs,
            stack[1],
            replicas[0],
            *flags,
            name=f"alertmanager-{number}",
            config=both_hooks(replicas),
        )
        for number, flags in enumerate(gossip_of_two())
    ]
    eventually(lambda: peers_of(addresses[0]) == 2, "the peers found each other")
    rule = {"alert": ALERT, "expr": "hive_up == 0", "labels": {"remediation": "auto", "severity": "critical"}}
    rules = written(programs.directory / "rules.yml", {"groups": [{"name": "hive", "rules": [rule]}]})
    labels = {"namespace": namespace, "deployment": APEX}
    start_prometheus(programs, stack[0], prometheus_config(rules, metrics.url, addresses, labels))
    return addresses


@pytest.fixture
def real_namespace(real_cluster: Cluster) -> Iterator[str]:
    name = f"e2e-replicas-{os.getpid()}"
    real_cluster.create_namespace(name)
    yield name
    real_cluster.delete_namespace(name)


@pytest.fixture
def cluster(simulated_cluster: Cluster) -> Cluster:
    return simulated_cluster


@pytest.mark.real
def test_after_a_graceful_stop_the_other_goes_on_at_once(  # noqa: PLR0917 - fixtures
    cluster: Cluster, namespace: str, start: Start, database: str, proxy: Proxy, capsys: Any
) -> None:
    deploy(cluster, namespace, [APEX])
    replicas = [start(name, database, [APEX], REMEDIATOR_LEASE="25s") for name in ("one", "two")]
    caught = proxy.catch(Moment.AFTER)
    for one in replicas:
        one.accepts(a_notification(namespace, APEX, ALERT))
    caught.wait()
    leaving = holder(database, replicas)
    (staying,) = [one for one in replicas if one is not leaving]
    asked = time.monotonic()
    leaving.process.terminate()
    caught.pass_on()
    eventually(lambda: "rolled_out" in dict(kinds_and_reasons(staying.story())), "gone on")
    went_on = time.monotonic() - asked
    assert leaving.process.ended(within=20) == 0
    ended = time.monotonic() - asked
    with capsys.disabled():
        print(f"\nreplicas: graceful stop: gone on after {went_on:.1f} s, ended after {ended:.1f} s")  # noqa: T201
    assert went_on < 5, "2 s, and time for a rollout on a busy machine"
    assert ended < 5
