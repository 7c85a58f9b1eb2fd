"""However often the same alert is told: one incident, one action."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from remediator.lab.stage import free_port
from tests.end_to_end.clusters import Cluster
from tests.end_to_end.conftest import Stack
from tests.end_to_end.programs import Programs
from tests.end_to_end.serving import (
    WELL,
    WELL_TOLD,
    Remediator,
    SaidMetrics,
    a_notification,
    a_policy,
    kinds_and_reasons,
    sum_of,
)
from tests.waiting import eventually

APEX, ALERT = "bizra-apex", "HiveDown"
TIMES = 50


@pytest.fixture
def cluster(simulated_cluster: Cluster) -> Cluster:
    return simulated_cluster


@dataclass
class Scene:
    """One Deployment, sick until it is restarted, and its remediator."""

    cluster: Cluster
    namespace: str
    metrics: SaidMetrics
    programs: Programs

    def __post_init__(self) -> None:
        self.cluster.create(self.namespace, APEX, "ghcr.io/bizra/node:v1")
        eventually(lambda: self.cluster.all_ready(self.namespace, APEX), f"{APEX} is ready")

    def start(self, **environ: str) -> Remediator:
        return Remediator(
            self.programs,
            kubeconfig=self.cluster.kubeconfig,
            prometheus=self.metrics.url,
            policy=a_policy(self.namespace, {ALERT: {"restart": {}}}, APEX),
            **environ,
        )

    def ends_with_one_action(self, remediator: Remediator) -> None:
        eventually(lambda: self.cluster.effects(self.namespace, APEX), "restarted")
        self.metrics.value = WELL
        story = remediator.comes_to("closed")
        assert kinds_and_reasons(story) == WELL_TOLD
        assert [one["id"] for one in remediator.incidents()] == [1]
        assert len(story["attempts"]) == 1
        assert len(self.cluster.writes(self.namespace)) == 1


@pytest.fixture
def scene(cluster: Cluster, namespace: str, metrics: SaidMetrics, programs: Programs) -> Scene:
    return Scene(cluster, namespace, metrics, programs)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_same_notification_many_times_at_once(scene: Scene, workers: str) -> None:
    remediator = scene.start(REMEDIATOR_WORKERS=workers)
    notification = a_notification(scene.namespace, APEX, ALERT)
    with ThreadPoolExecutor(TIMES) as crowd:
        answers = [*crowd.map(lambda _: remediator.post(notification), range(TIMES))]

    assert [answer.status_code for answer in answers] == [202] * TIMES
    told = [alert for answer in answers for alert in answer.json()["alerts"]]
    assert sorted(alert["reason"] for alert in told) == ["incident_opened"] + ["repeated"] * (TIMES - 1)
    scene.ends_with_one_action(remediator)


# ------------------------------------------------------------ two Alertmanagers


def alertmanager_config(remediator: Remediator) -> Any:
    hook = {
        "url": f"{remediator.url}/webhook",
        "send_resolved": True,
        "http_config": {"authorization": {"credentials_file": str(remediator.token_file)}},
    }
    return {
        "route": {
            "receiver": "remediator",
            "group_by": ["alertname", "namespace", "deployment"],
            "group_wait": "200ms",
            "group_interval": "1s",
            "repeat_interval": "1s",
        },
        "receivers": [{"name": "remediator", "webhook_configs": [hook]}],
    }


def prometheus_config(rules: Path, scraped: str, alertmanagers: list[str], labels: dict[str, str]) -> Any:
    targets = {"targets": [scraped.removeprefix("http://")], "labels": labels}
    return {
        "global": {"scrape_interval": "500ms", "scrape_timeout": "500ms", "evaluation_interval": "500ms"},
        "rule_files": [str(rules)],
        "scrape_configs": [{"job_name": "hive", "static_configs": [targets]}],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": alertmanagers}]}]},
    }


def written(path: Path, document: Any) -> Path:
    path.write_text(yaml.safe_dump(document, width=4096), encoding="utf-8")
    return path


def start_alertmanager(
    programs: Programs,
    program: str,
    remediator: Remediator,
    *gossip: str,
    name: str = "alertmanager",
    config: Any = None,
) -> str:
    """Returns its address."""
    address = f"127.0.0.1:{free_port()}"
    file = written(programs.directory / f"{name}.yml", config or alertmanager_config(remediator))
    started = programs.start(
        name,
        program,
        f"--config.file={file}",
        f"--storage.path={programs.directory / name}",
        f"--web.listen-address={address}",
        *(gossip or ["--cluster.listen-address="]),
    )
    programs.answers(started, f"http://{address}/-/ready")
    return address


def gossip_of_two() -> list[list[str]]:
    peers = [f"127.0.0.1:{free_port()}" for _ in range(2)]
    return [
        [
            f"--cluster.listen-address={peer}",
            f"--cluster.advertise-address={peer}",
            f"--cluster.peer={peers[1 - number]}",
            "--cluster.settle-timeout=2s",
            "--cluster.peer-timeout=1s",
        ]
        for number, peer in enumerate(peers)
    ]


def start_prometheus(programs: Programs, program: str, config: Any) -> str:
    address = f"127.0.0.1:{free_port()}"
    prometheus = programs.start(
        "prometheus",
        program,
        f"--config.file={written(programs.directory / 'prometheus.yml', config)}",
        f"--storage.tsdb.path={programs.directory / 'tsdb'}",
        f"--web.listen-address={address}",
    )
    programs.answers(prometheus, f"http://{address}/-/ready")
    return address


@pytest.mark.real
@pytest.mark.parametrize(
    "clustered", [True, False], ids=["a cluster of two", "two that know nothing of each other"]
)
def test_two_alertmanagers(scene: Scene, newest_stack: Stack, clustered: bool) -> None:
    prometheus, alertmanager = newest_stack
    remediator = scene.start()
    gossip: list[list[str]] = gossip_of_two() if clustered else [[], []]
    addresses = [
        start_alertmanager(scene.programs, alertmanager, remediator, *flags, name=f"alertmanager-{number}")
        for number, flags in enumerate(gossip)
    ]
    if clustered:
        eventually(lambda: peers_of(addresses[0]) == 2, "the peers found each other")
    rule = {"alert": ALERT, "expr": "hive_up == 0", "labels": {"remediation": "auto", "severity": "critical"}}
    rules = written(scene.programs.directory / "rules.yml", {"groups": [{"name": "hive", "rules": [rule]}]})
    labels = {"namespace": scene.namespace, "deployment": APEX}
    config = prometheus_config(rules, scene.metrics.url, addresses, labels)
    start_prometheus(scene.programs, prometheus, config)

    def both_told() -> bool:
        told = [notifications_of(address) for address in addresses]
        return sum(told) >= 3 if clustered else min(told) >= 2  # peers of a cluster spare each other's work

    eventually(both_told, "the alert was told again and again")
    scene.ends_with_one_action(remediator)


def notifications_of(alertmanager: str) -> float:
    page = requests.get(f"http://{alertmanager}/metrics", timeout=5).text
    return sum_of(page, "alertmanager_notifications_total", integration="webhook")


def peers_of(alertmanager: str) -> int:
    status = requests.get(f"http://{alertmanager}/api/v2/status", timeout=5).json()
    return len(status["cluster"]["peers"])
