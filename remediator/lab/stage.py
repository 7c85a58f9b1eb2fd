"""The whole stage on loopback: simulated cluster and node, Prometheus and Alertmanager, the remediator.

Real `prometheus` and `alertmanager` are used when they are on PATH, else the lab's stand-in that reads
the same rules and sends the same notifications. The shipped rules, routing and policy are used as they
are, with every duration divided by the speed.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests
import yaml

from remediator.lab.cluster import LabCluster
from remediator.lab.node import LabNode
from remediator.lab.prometheus import LabPrometheus, compress, compress_alertmanager, compress_prometheus
from remediator.lab.prometheus.compress import compress_expression
from remediator.lab.prometheus.durations import divide
from remediator.lab.prometheus.routing import read_routing

NAMESPACE = "bizra-testnet"
TOKEN = "demo-token"  # noqa: S105 - of a server on loopback that lives for two minutes
IMAGE = "ghcr.io/bizra/node:v2.1.0"
_PATIENCE = 30.0
_DURATIONS = (
    "per",
    "within",
    "cooldown",
    "patience",
    "rollout",
    "recent_rollout",
    "settle",
    "every",
    "after",
)


class NotStarted(Exception):
    """A part of the stage did not come up. The message quotes what it said."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def eventually(condition: Callable[[], bool], what: str, *, within: float = _PATIENCE) -> None:
    """Wait until the condition holds. Raises NotStarted."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        try:
            if condition():
                return
        except requests.RequestException:
            pass
        time.sleep(0.05)
    raise NotStarted(f"{what} within {within:g} s")


class Stage:
    """Everything that the demo needs, started and stopped together."""

    def __init__(
        self, home: Path, directory: Path, *, speed: float, deployments: Sequence[str], stand_in: bool
    ) -> None:
        self.home = home
        self.directory = directory
        self.speed = speed
        self.deployments = deployments
        self._prometheus = shutil.which("prometheus")
        self._alertmanager = shutil.which("alertmanager") or shutil.which("prometheus-alertmanager")
        self._stand_in = stand_in or not (self._prometheus and self._alertmanager)
        self._closing = ExitStack()
        self.remediator_url = f"http://127.0.0.1:{free_port()}"
        self.token_file = directory / "token"
        self.kubeconfig = directory / "kubeconfig"

    def __enter__(self) -> Self:
        try:
            self._raise()
        except BaseException:
            self._closing.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.close()

    def _raise(self) -> None:
        self.token_file.write_text(TOKEN + "\n")
        self.cluster = self._closing.enter_context(LabCluster(speed=self.speed, ready_seconds=20))
        self.cluster.kubeconfig(self.kubeconfig)
        self._deploy()
        followed = [(NAMESPACE, name) for name in self.deployments]
        self.node = self._closing.enter_context(
            LabNode(
                kubeconfig=self.kubeconfig,
                deployments=followed,
                speed=self.speed,
                data=self.directory / ".hive-mind",
            )
        )
        self.prometheus_url = self._start_stand_in() if self._stand_in else self._start_prometheus()
        self._start_remediator()

    @property
    def cast(self) -> str:
        """Who plays Prometheus and Alertmanager."""
        if self._stand_in:
            return "the lab's stand-in (prometheus and alertmanager are not on PATH, or were not wanted)"
        return f"{_version(self._prometheus)} and {_version(self._alertmanager)}, from PATH"

    # ------------------------------------------------------------ the cluster

    def _deploy(self) -> None:
        self._kube("POST", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
        for name in self.deployments:
            self._kube("POST", f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments", deployment_manifest(name))
        eventually(self._all_ready, "the simulated Deployments were not ready")

    def _all_ready(self) -> bool:
        found = self._kube("GET", f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments")["items"]
        return all((item.get("status") or {}).get("readyReplicas") == 3 for item in found)  # noqa: PLR2004 - as deployed

    def set_image(self, name: str, image: str) -> None:
        """Deploy another image, as `kubectl set image` would."""
        body = {"spec": {"template": {"spec": {"containers": [{"name": "bizra-node", "image": image}]}}}}
        path = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{name}"
        self._kube("PATCH", path, body, "application/strategic-merge-patch+json")

    def writes(self, name: str) -> int:
        """How many changes the API server has taken from the remediator for this Deployment."""
        return sum(
            one["user_agent"].startswith("remediator") and f"/deployments/{name}" in one["path"]
            for one in self.cluster.requests(mutating=True)
        )

    def _kube(self, method: str, path: str, body: Any = None, kind: str = "application/json") -> Any:
        data = None if body is None else json.dumps(body)
        url = f"{self.cluster.url}{path}"
        answer = requests.request(method, url, data=data, headers={"Content-Type": kind}, timeout=10)
        answer.raise_for_status()
        return answer.json()

    # ------------------------------------------------------------ Prometheus and Alertmanager

    def _start_stand_in(self) -> str:
        routing = read_routing((self.home / "alertmanager/alertmanager.yml").read_text(), self.speed)
        stand_in = LabPrometheus(
            rules=[self.home / "prometheus-rules/hive.yml"],  # it scrapes the node alone
            sd_url=self.node.sd_url,
            speed=self.speed,
            webhook=f"{self.remediator_url}/webhook",
            token_file=self.token_file,
            routing=routing,
        )
        return self._closing.enter_context(stand_in).url

    def _start_prometheus(self) -> str:
        alertmanager = self._start_alertmanager()
        address = f"127.0.0.1:{free_port()}"
        self._start(
            self._prometheus or "prometheus",
            f"--config.file={self._prometheus_configuration(address, alertmanager)}",
            f"--web.listen-address={address}",
            f"--storage.tsdb.path={self.directory / 'tsdb'}",
            f"--query.lookback-delta={divide('5m', self.speed)}",
            f"--rules.alert.resend-delay={divide('1m', self.speed)}",
            f"--rules.alert.for-grace-period={divide('1m', self.speed)}",
        )
        _answers(f"http://{address}/-/ready", "prometheus was not ready")
        return f"http://{address}"

    def _prometheus_configuration(self, prometheus: str, alertmanager: str) -> Path:
        """The shipped one and its rule files at our speed, with our addresses."""
        shipped = self.home / "prometheus-rules"
        config = yaml.safe_load(compress_prometheus((shipped / "prometheus.yml").read_text(), self.speed))
        for name in config["rule_files"]:
            (self.directory / name).write_text(compress((shipped / name).read_text(), self.speed))
        config["alerting"]["alertmanagers"] = [{"static_configs": [{"targets": [alertmanager]}]}]
        scraped = {job["job_name"]: job for job in config["scrape_configs"]}
        scraped["hive"]["http_sd_configs"][0]["url"] = self.node.sd_url
        for name, at in (
            ("remediator", self.remediator_url.removeprefix("http://")),
            ("prometheus", prometheus),
            ("alertmanager", alertmanager),
        ):
            scraped[name]["static_configs"][0]["targets"] = [at]
            # A program with work to do does not become faster with the lab's clock.
            scraped[name]["scrape_timeout"] = scraped[name]["scrape_interval"] = divide("60s", self.speed)
        return _written(self.directory / "prometheus.yml", config)

    def _start_alertmanager(self) -> str:
        shipped = (self.home / "alertmanager/alertmanager.yml").read_text()
        config = yaml.safe_load(compress_alertmanager(shipped, self.speed))
        config["global"] = {}
        for receiver in config["receivers"]:
            if receiver["name"] != "remediator":  # nobody is to be called from a demo
                for way in [key for key in receiver if key.endswith("_configs")]:
                    del receiver[way]
                continue
            receiver["webhook_configs"][0]["url"] = f"{self.remediator_url}/webhook"
            authorization = receiver["webhook_configs"][0]["http_config"]["authorization"]
            authorization["credentials_file"] = str(self.token_file)
        address = f"127.0.0.1:{free_port()}"
        self._start(
            self._alertmanager or "alertmanager",
            f"--config.file={_written(self.directory / 'alertmanager.yml', config)}",
            f"--web.listen-address={address}",
            f"--storage.path={self.directory / 'alertmanager'}",
            "--cluster.listen-address=",
        )
        _answers(f"http://{address}/-/ready", "alertmanager was not ready")
        return address

    # ------------------------------------------------------------ the remediator

    def _start_remediator(self) -> None:
        policy = compressed_policy((self.home / "policy.yaml").read_text(), self.speed, self.deployments)
        environ = {
            "REMEDIATOR_POLICY": str(_written(self.directory / "policy.yaml", policy)),
            "REMEDIATOR_DATABASE": f"sqlite:///{self.directory / 'remediator.db'}",
            "REMEDIATOR_PROMETHEUS": self.prometheus_url,
            "REMEDIATOR_KUBECONFIG": str(self.kubeconfig),
            "REMEDIATOR_LISTEN": self.remediator_url.removeprefix("http://"),
            "REMEDIATOR_TOKEN_FILE": str(self.token_file),
            "REMEDIATOR_RECHECK": divide("15s", self.speed),
            "REMEDIATOR_POLL": divide("6s", self.speed),
            "REMEDIATOR_IDLE": "100ms",
            "REMEDIATOR_LOG": "json",
        }
        self._start(sys.executable, "-m", "remediator", "serve", environ=environ, name="remediator")
        _answers(f"{self.remediator_url}/readyz", "the remediator was not ready")

    def incidents(self) -> list[dict[str, Any]]:
        """The incidents, newest first."""
        found: list[dict[str, Any]] = self._ask("/api/v1/incidents")["incidents"]
        return found

    def story(self, number: int) -> dict[str, Any]:
        """One incident with its timeline."""
        told: dict[str, Any] = self._ask(f"/api/v1/incidents/{number}")
        return told

    def _ask(self, path: str) -> Any:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        answer = requests.get(f"{self.remediator_url}{path}", headers=headers, timeout=10)
        answer.raise_for_status()
        return answer.json()

    # ------------------------------------------------------------ processes

    def _start(
        self, program: str, *arguments: str, environ: Mapping[str, str] | None = None, name: str = ""
    ) -> None:
        log = self._closing.enter_context((self.directory / f"{name or Path(program).name}.log").open("wb"))
        process = subprocess.Popen(
            [program, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, **(environ or {})},
            cwd=self.directory,
        )
        self._closing.callback(_end, process)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _answers(url: str, complaint: str) -> None:
    eventually(lambda: requests.get(url, timeout=2).ok, complaint)


def _version(program: str | None) -> str:
    if program is None:
        return "nothing"
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False, timeout=10)
    words = (said.stdout or said.stderr).split()
    name = Path(program).name
    return f"{name} {words[2]}" if len(words) > 2 else name  # noqa: PLR2004 - "NAME, version X"


def _written(path: Path, document: Any) -> Path:
    path.write_text(yaml.safe_dump(document, sort_keys=False, width=4096))
    return path


def compressed_policy(text: str, speed: float, deployments: Sequence[str]) -> Any:
    """The shipped policy for these Deployments, with every duration divided by the speed."""
    policy = _faster(yaml.safe_load(text), speed)
    shipped = policy["targets"][0]
    policy["targets"] = [{**shipped, "namespace": NAMESPACE, "deployment": name} for name in deployments]
    return policy


def _faster(node: Any, speed: float, key: str = "") -> Any:
    if isinstance(node, dict):
        return {name: _faster(value, speed, name) for name, value in node.items()}
    if isinstance(node, list):
        return [_faster(item, speed) for item in node]
    if key == "query":
        return compress_expression(node, speed)
    return divide(node, speed) if key in _DURATIONS and isinstance(node, str) else node


def deployment_manifest(name: str) -> dict[str, Any]:
    container = {
        "name": "bizra-node",
        "image": IMAGE,
        "ports": [{"name": "http", "containerPort": 8080}, {"name": "metrics", "containerPort": 9464}],
        "resources": {
            "requests": {"cpu": "500m", "memory": "512Mi"},
            "limits": {"cpu": "1", "memory": "1Gi"},
        },
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": {"app": name, "remediator/enabled": "true"}},
        "spec": {
            "replicas": 3,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}},
        },
    }
