"""Every alert of the rules on a real Prometheus and two real Alertmanagers, 60 times faster than life.

It fires when it should, resolves when it should, and reaches exactly whom it should. Rules, routing and the
configuration of Prometheus are shipped; addresses are replaced, and each receiver by one that records.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from remediator.lab.prometheus.compress import compress, compress_alertmanager, compress_prometheus
from remediator.lab.prometheus.durations import divide
from remediator.lab.stage import free_port
from tests.end_to_end.acting import Pod, World, whole_path
from tests.end_to_end.conftest import Stack
from tests.end_to_end.programs import Programs
from tests.end_to_end.test_duplicates import gossip_of_two, peers_of, written
from tests.routing.delivery import shipped
from tests.rules.structure import SHIPPED
from tests.rules.test_rules import ALERTS, PROMETHEUS, RULE_FILES, told
from tests.waiting import eventually

SPEED = 60
VERSION = SHIPPED.records["remediator_rules_info"]["labels"]["version"]

ABSENT = {("HiveAbsent", ""), ("RemediatorDown", ""), ("PrometheusAbsent", ""), ("AlertmanagerAbsent", "")}
"""What fires when nothing can be seen, with the Deployment it is about."""

SICK = {
    ("AhsanScoreLow", "low"),
    ("AhsanScoreLow", "breach"),
    ("AhsanScoreBreach", "breach"),
    ("AhsanScoreBreach", "down-and-low"),
    ("AhsanScoreAbsent", "scoreless"),
    ("AhsanScoreAbsent", "down"),
    ("AhsanCoveragePartial", "covered"),
    ("HiveDown", "down"),
    ("HiveDown", "down-and-low"),
    ("HiveAvailabilityBurnFast", "down"),
    ("HiveAvailabilityBurnSlow", "down"),
    ("HiveErrorRateHigh", "failing"),
    ("HiveErrorBudgetBurnFast", "failing"),
    ("HiveErrorBudgetBurnSlow", "failing"),
    ("HiveLatencyP99High", "slow"),
    ("RemediatorIncidentEscalated", "escalated"),
    ("RemediatorBudgetExhausted", "escalated"),
    *(
        (alert, "")
        for alert in (
            "RemediatorWorkerDead",
            "RemediatorJournalUnavailable",
            "RemediatorNotificationsFailing",
            "RemediatorOverallBudgetExhausted",
            "RemediatorBreakerOpen",
            "RemediatorStorm",
            "RemediatorBlind",
            "RemediatorPaused",
            "RemediatorPolicyRejected",
            "RemediatorRulesUnknown",
            "PrometheusNotConnectedToAlertmanager",
            "PrometheusRuleFailures",
            "PrometheusReloadFailed",
            "AlertmanagerNotificationsFailing",
            "AlertmanagerReloadFailed",
        )
    ),
}
WATCHDOG = ("Watchdog", "")
HELD_BY, HELD_BACK = ("HiveDown", "down-and-low"), ("AhsanScoreLow", "down-and-low")
"""The second fires, too, but is not sent to the machine while the first does."""

Heard = tuple[str, str, str]
"""Receiver, alert, Deployment."""


def test_every_alert_is_provoked() -> None:
    assert {alert for alert, _ in (*ABSENT, *SICK, WATCHDOG)} == ALERTS.keys()


def ways(alerts: set[tuple[str, str]]) -> set[Heard]:
    """Who is to hear of these alerts."""
    return {(to, alert, of) for alert, of in alerts for to in told(alert).split(",")}


@dataclass
class Ears:
    """Every receiver, each on a path of its own."""

    firing: set[Heard] = field(default_factory=set)
    resolved: set[Heard] = field(default_factory=set)

    def __post_init__(self) -> None:
        ears = self

        class Listening(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                notification = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                for alert in notification["alerts"]:
                    labels = alert["labels"]
                    heard = (self.path.strip("/"), labels["alertname"], labels.get("deployment", ""))
                    (ears.firing if alert["status"] == "firing" else ears.resolved).add(heard)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Listening)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@dataclass
class Stage:
    """World, Prometheus, Alertmanagers and ears."""

    world: World
    ears: Ears
    prometheus: str = ""

    def ask(self, query: str) -> list[dict[str, Any]]:
        answer = requests.get(f"http://{self.prometheus}/api/v1/query", params={"query": query}, timeout=5)
        found: list[dict[str, Any]] = answer.json()["data"]["result"]
        return found

    def firing(self) -> set[tuple[str, str]]:
        """What fires now, as Prometheus says."""
        found = self.ask('ALERTS{alertstate="firing"}')
        return {(one["metric"]["alertname"], one["metric"].get("deployment", "")) for one in found}

    def unanswered(self, *, but: set[str]) -> set[str]:
        """Deployments of which a pod that was alive missed a scrape.

        On a busy machine a second without an answer is a minute here: an outage like any other.
        """
        found = self.ask('min_over_time(up{job="hive"}[1h]) == 0')
        return {one["metric"]["deployment"] for one in found if one["metric"]["pod"] not in but}

    def hears(self, alerts: set[tuple[str, str]]) -> None:
        """Wait until everybody who is to hear of these alerts has."""

        def missing() -> set[Heard]:
            return ways(alerts) - self.ears.firing

        def silence() -> str:
            return f"never told: {sorted(missing())}\nfiring: {sorted(self.firing())}"

        eventually(lambda: not missing(), silence, within=150, every=0.2)

    def calms_down(self) -> None:
        """Wait until nothing fires but the Watchdog, and everybody who heard the one heard the other."""
        told_again = {one["name"] for one in shipped()["receivers"] if one["name"] != "heartbeat"}

        def look() -> bool:
            over = {one for one in self.ears.firing if one[0] in told_again and one[1] != WATCHDOG[0]}
            return self.firing() == {WATCHDOG} and over <= self.ears.resolved

        eventually(look, "everything is resolved", within=120, every=0.2)


@pytest.fixture
def stage(programs: Programs, newest_stack: Stack) -> Iterator[Stage]:
    running = programs
    prometheus, alertmanager = newest_stack
    world, ears = World(), Ears()
    config = written(running.directory / "alertmanager.yml", alertmanager_config(ears.url))
    peers = [
        start_alertmanager(running, alertmanager, config, number, flags)
        for number, flags in enumerate(gossip_of_two())
    ]
    eventually(lambda: peers_of(peers[0]) == 2, "the peers found each other")
    stage = Stage(world=world, ears=ears)
    stage.prometheus = start_prometheus(running, prometheus, world, peers)
    yield stage
    world.close()
    ears.close()


def alertmanager_config(ears: str) -> dict[str, Any]:
    """The shipped one at our speed, each receiver replaced by one that records."""
    config: dict[str, Any] = yaml.safe_load(compress_alertmanager(yaml.safe_dump(shipped()), SPEED))
    config["global"] = {}
    for receiver in config["receivers"]:
        name = receiver["name"]
        ways_of_it = [one for key, value in receiver.items() if key.endswith("_configs") for one in value]
        again = ways_of_it[0]["send_resolved"]
        receiver.clear()
        receiver |= {"name": name, "webhook_configs": [{"url": f"{ears}/{name}", "send_resolved": again}]}
    return config


def start_alertmanager(running: Programs, program: str, config: Path, number: int, gossip: list[str]) -> str:
    address = f"127.0.0.1:{free_port()}"
    started = running.start(
        f"alertmanager-{number}",
        program,
        f"--config.file={config}",
        f"--storage.path={running.directory / f'alertmanager-{number}'}",
        f"--web.listen-address={address}",
        *gossip,
    )
    running.answers(started, f"http://{address}/-/ready")
    return address


def start_prometheus(running: Programs, program: str, world: World, alertmanagers: list[str]) -> str:
    address = f"127.0.0.1:{free_port()}"
    config: dict[str, Any] = yaml.safe_load(compress_prometheus(PROMETHEUS.read_text(), SPEED))
    config["alerting"]["alertmanagers"] = [{"static_configs": [{"targets": alertmanagers}]}]
    # No network is faster for our clock, and a scrape that is missed twice is an outage for the SLA's alerts.
    config["global"]["scrape_timeout"] = config["global"]["scrape_interval"]
    for job in config["scrape_configs"]:
        if job["job_name"] == "hive":
            job["http_sd_configs"][0]["url"] = f"http://{world.address}/sd"
            continue
        job["static_configs"][0]["targets"] = [world.address]
        job["metrics_path"] = f"/programs/{job['job_name']}"
    for path in RULE_FILES:
        (running.directory / path.name).write_text(compress(shortened(path), SPEED))
    started = running.start(
        "prometheus",
        program,
        f"--config.file={written(running.directory / 'prometheus.yml', config)}",
        f"--storage.tsdb.path={running.directory / 'tsdb'}",
        f"--web.listen-address={address}",
        f"--query.lookback-delta={divide('5m', SPEED)}",
        f"--rules.alert.resend-delay={divide('1m', SPEED)}",
        "--rules.alert.for-grace-period=1s",
    )
    running.answers(started, f"http://{address}/-/ready")
    return address


def shortened(rules: Path) -> str:
    """Hours and days an eighth as long: a burn rate over three days would take an hour to calm down even so.

    `4h`, of a forgotten pause, becomes a minute for the same reason.
    """
    text = rules.read_text()
    if rules.name == "path.yml":
        return text.replace("for: 4h", "for: 1m")
    if rules.name != "sla.yml":
        return text
    return re.sub(r"\[(30m|\d+[hd])\]", lambda span: f"[{divide(span[1], 8)}]", text)


def pods() -> list[Pod]:
    """One Deployment for each thing that can be wrong with one."""
    return [
        Pod("low", "low-1", score=93),
        Pod("breach", "breach-1", score=50),
        Pod("scoreless", "scoreless-1", score=None),
        Pod("covered", "covered-1"),
        Pod("covered", "covered-2", score=None),
        Pod("down", "down-1"),
        Pod("down-and-low", "down-and-low-1"),
        Pod("down-and-low", "down-and-low-2"),
        Pod("failing", "failing-1", errors=0.5),
        Pod("slow", "slow-1", seconds=2),
        Pod("well", "well-1"),
    ]


def heal(pod: Pod) -> None:
    pod.alive, pod.score, pod.errors, pod.seconds = True, 99, 0, 0.02


@pytest.mark.real
@pytest.mark.timeout(400)
def test_each_alert_fires_resolves_and_reaches_exactly_its_receivers(stage: Stage) -> None:
    world = stage.world

    stage.hears(ABSENT | {WATCHDOG})

    world.pods, world.programs = pods(), whole_path(VERSION, sick=True)
    killed = [pod for pod in world.pods if pod.name in ("down-1", "down-and-low-1")]
    eventually(lambda: len(stage.ask('hive_up{deployment=~"down.*"} == 1')) == 3, "they were up")
    recorded = 'namespace_deployment:hive_available:max{deployment="down"} == 1'
    eventually(lambda: stage.ask(recorded), "what was never recorded as up has no availability to lose")
    for pod in killed:
        pod.alive = False
    eventually(lambda: not stage.ask('hive_up{pod="down-1"}'), "the dead pod's hive_up went stale")
    # One cause: down before the score is low, and for longer. The machine is told of the one alert only.
    eventually(lambda: HELD_BY in stage.firing(), "a pod is down")
    other = next(pod for pod in world.pods if pod.name == "down-and-low-2")
    other.score = 50
    stage.hears(SICK)
    assert HELD_BACK in stage.firing()

    heal(other)
    eventually(lambda: HELD_BACK not in stage.firing(), "the score is well again")
    for pod in world.pods:
        heal(pod)
    world.programs = whole_path(VERSION, sick=False)
    stage.calms_down()

    wanted = ways(ABSENT | SICK | {WATCHDOG})
    starved = stage.unanswered(but={pod.name for pod in killed})
    assert {one for one in stage.ears.firing if one in wanted or one[2] not in starved} == wanted
    assert not [one for one in stage.ears.resolved if one[1] == WATCHDOG[0] or one[0] == "heartbeat"]
