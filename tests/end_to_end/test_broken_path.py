"""The programs of the path, really broken: path.yml reads what each version of them says of itself.

A Prometheus, two Alertmanagers that know each other and a remediator watch each other by the shipped files,
60 times faster than life, with nothing else to watch.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import requests
import yaml

from remediator.lab.prometheus.compress import compress, compress_prometheus
from remediator.lab.prometheus.durations import divide
from remediator.lab.stage import free_port
from tests.end_to_end.clusters import Cluster
from tests.end_to_end.conftest import Stack
from tests.end_to_end.programs import Program, Programs
from tests.end_to_end.serving import Remediator, SaidMetrics, a_policy
from tests.end_to_end.test_duplicates import gossip_of_two, peers_of, written
from tests.end_to_end.test_every_alert import Ears, alertmanager_config
from tests.rules.structure import RECEIVERS
from tests.rules.test_rules import PROMETHEUS, RULE_FILES
from tests.waiting import eventually

SPEED = 60
ALWAYS = {"Watchdog", "HiveAbsent"}
"""There is no hive here."""
ONE_PEER_LEFT = {
    "PrometheusRuleFailures",
    "PrometheusReloadFailed",
    "AlertmanagerReloadFailed",
    "AlertmanagerNotificationsFailing",
}
MISTAKEN = {"RemediatorNotificationsFailing"}
"""It is the heartbeat that fails, and an Alertmanager before 0.27 does not say so."""
NO_PEER_LEFT = {"AlertmanagerAbsent", "PrometheusNotConnectedToAlertmanager"}
"""Of these nobody can be told: dashboards show them, and the Watchdog is silent."""
SAID_BY_ALERTMANAGER = {"AlertmanagerReloadFailed", "AlertmanagerNotificationsFailing"}
NAMES_RECEIVERS = "--enable-feature=receiver-name-in-metrics"
NO_RULES: dict[str, Any] = {"groups": []}
FAILING_RULES = {"groups": [{"name": "failing", "rules": [{"record": "many", "expr": "up * on () up"}]}]}


@dataclass
class Whole:
    """Everything between a rule and a person. What is broken here is mended by `mend`."""

    running: Programs
    binaries: Stack
    remediator: Remediator
    ears: Ears

    def __post_init__(self) -> None:
        asked = subprocess.run([self.binaries[1], "--help"], capture_output=True, text=True, check=False)
        self.names_receivers = "receiver-name-in-metrics" in asked.stdout + asked.stderr
        self.prometheus = f"127.0.0.1:{free_port()}"
        self.peers = [f"127.0.0.1:{free_port()}" for _ in range(2)]
        self._gossip = gossip_of_two()
        self._settings = self.running.directory
        self._alertmanagers: dict[str, Program] = {}
        self._configure()
        for peer in self.peers:
            self._start_alertmanager(peer)
        eventually(lambda: peers_of(self.peers[0]) == 2, "the peers found each other")
        self._watching = self._start_prometheus()

    def firing(self) -> set[str]:
        """What fires now, as Prometheus says."""
        asked = {"query": 'ALERTS{alertstate="firing"}'}
        answer = requests.get(f"http://{self.prometheus}/api/v1/query", params=asked, timeout=5).json()
        return {one["metric"]["alertname"] for one in answer["data"]["result"]}

    def comes_to(self, firing: set[str]) -> None:
        """Wait until this fires and nothing else of what this test is about."""
        about = ALWAYS | ONE_PEER_LEFT | MISTAKEN | NO_PEER_LEFT | {"RemediatorDown"}
        now: set[str] = set()

        def look() -> bool:
            nonlocal now
            now = self.firing() & about
            return now == firing

        try:
            eventually(look, "the alerts", within=90, every=0.2)
        except AssertionError:
            pytest.fail(f"missing: {sorted(firing - now)}, too much: {sorted(now - firing)}")

    def tells(self, alerts: set[str]) -> None:
        """Wait until the first contact of each alert has heard of it."""
        wanted = {(to, alert, "") for alert in alerts for to in RECEIVERS[alert].split(",")}
        eventually(lambda: wanted <= self.ears.firing, f"{sorted(wanted)} are told", every=0.2)

    def hears_the_watchdog(self) -> None:
        """Wait until the remediator does, from now on."""
        name, since = "remediator_watchdog_timestamp_seconds", time.time()
        eventually(lambda: self.remediator.counted(name) > since, "the Watchdog is heard")

    def break_everything(self) -> None:
        """One Alertmanager dies, the other cannot reach the heartbeat, and no configuration can be read."""
        self.stop_alertmanager(self.peers[1])
        self._configure(heartbeat=f"http://{self.prometheus}/nowhere", extra=FAILING_RULES)
        self._reload()
        eventually(self._rules_fail, "an evaluation failed")
        self._configure(spoilt="no: such: thing")
        self._reload()

    def mend(self) -> None:
        self._configure()
        for peer in self.peers:
            self._start_alertmanager(peer)
        self._reload()
        self.remediator.start()

    def stop_alertmanager(self, peer: str) -> None:
        self._alertmanagers[peer].terminate()
        self._alertmanagers[peer].ended(within=20)
        del self._alertmanagers[peer]

    def _rules_fail(self) -> bool:
        page = requests.get(f"http://{self.prometheus}/metrics", timeout=5).text
        lines = [line for line in page.splitlines() if "failing.yml" in line]
        return any(
            line.startswith("prometheus_rule_evaluation_failures_total") and not line.endswith(" 0")
            for line in lines
        )

    def _configure(self, *, heartbeat: str = "", extra: Any = NO_RULES, spoilt: str = "") -> None:
        """Write what both read; `spoilt` is what neither can."""
        written(self._settings / "failing.yml", extra)
        for path in RULE_FILES:
            (self._settings / path.name).write_text(compress(path.read_text(), SPEED))
        for name, config in (
            ("prometheus.yml", self._of_prometheus()),
            ("alertmanager.yml", self._of_alertmanager(heartbeat)),
        ):
            (self._settings / name).write_text(spoilt or yaml.safe_dump(config, width=4096))

    def _of_prometheus(self) -> dict[str, Any]:
        config: dict[str, Any] = yaml.safe_load(compress_prometheus(PROMETHEUS.read_text(), SPEED))
        config["rule_files"].append("failing.yml")
        config["alerting"]["alertmanagers"] = [{"static_configs": [{"targets": self.peers}]}]
        config["scrape_configs"] = [job for job in config["scrape_configs"] if job["job_name"] != "hive"]
        at = {
            "remediator": [self.remediator.url.removeprefix("http://")],
            "prometheus": [self.prometheus],
            "alertmanager": self.peers,
        }
        for job in config["scrape_configs"]:
            job["static_configs"][0]["targets"] = at[job["job_name"]]
        return config

    def _of_alertmanager(self, heartbeat: str) -> dict[str, Any]:
        config = alertmanager_config(self.ears.url)
        hooks = {one["name"]: one["webhook_configs"][0] for one in config["receivers"]}
        hooks["remediator"]["url"] = f"{self.remediator.url}/webhook"
        token = {"credentials_file": str(self.remediator.token_file)}
        hooks["remediator"]["http_config"] = {"authorization": token}
        hooks["heartbeat"]["url"] = heartbeat or hooks["heartbeat"]["url"]
        return config

    def _start_alertmanager(self, peer: str) -> None:
        if peer in self._alertmanagers:
            return
        number = self.peers.index(peer)
        started = self.running.start(
            f"alertmanager-{number}",
            self.binaries[1],
            f"--config.file={self._settings / 'alertmanager.yml'}",
            f"--storage.path={self._settings / f'alertmanager-{number}'}",
            f"--web.listen-address={peer}",
            *self._gossip[number],
            *([NAMES_RECEIVERS] if self.names_receivers else []),
        )
        self.running.answers(started, f"http://{peer}/-/ready")
        self._alertmanagers[peer] = started

    def _start_prometheus(self) -> Program:
        started = self.running.start(
            "prometheus",
            self.binaries[0],
            f"--config.file={self._settings / 'prometheus.yml'}",
            f"--storage.tsdb.path={self._settings / 'tsdb'}",
            f"--web.listen-address={self.prometheus}",
            f"--query.lookback-delta={divide('5m', SPEED)}",
            f"--rules.alert.resend-delay={divide('1m', SPEED)}",
            "--rules.alert.for-grace-period=1s",
        )
        self.running.answers(started, f"http://{self.prometheus}/-/ready")
        return started

    def _reload(self) -> None:
        for program in (self._watching, *self._alertmanagers.values()):
            os.kill(program.pid, signal.SIGHUP)


@pytest.fixture
def whole(
    programs: Programs, stack: Stack, simulated_cluster: Cluster, metrics: SaidMetrics
) -> Iterator[Whole]:
    ears = Ears()
    policy = a_policy("nowhere", {"HiveDown": {"restart": {}}}, "nothing")
    remediator = Remediator(
        programs, kubeconfig=simulated_cluster.kubeconfig, prometheus=metrics.url, policy=policy
    )
    yield Whole(programs, stack, remediator, ears)
    ears.close()


@pytest.mark.real
@pytest.mark.timeout(400)
def test_a_broken_path_is_seen_and_told_as_far_as_it_reaches(whole: Whole) -> None:
    whole.comes_to(ALWAYS)
    whole.hears_the_watchdog()
    whole.tells(ALWAYS - {"Watchdog"})

    whole.break_everything()
    mistaken: set[str] = set() if whole.names_receivers else MISTAKEN
    whole.comes_to(ALWAYS | ONE_PEER_LEFT | mistaken)  # and not what says that no peer is left
    whole.tells(ONE_PEER_LEFT | mistaken)
    whole.remediator.kill()
    whole.tells({"RemediatorDown"})

    whole.stop_alertmanager(whole.peers[0])
    whole.comes_to(ALWAYS | ONE_PEER_LEFT - SAID_BY_ALERTMANAGER | NO_PEER_LEFT | {"RemediatorDown"})

    whole.mend()
    whole.comes_to(ALWAYS)
    whole.hears_the_watchdog()
