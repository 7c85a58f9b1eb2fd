"""The world around a real process: a simulated API server, a Prometheus that says one number, a folder."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from datetime import datetime
from email.utils import parsedate_to_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import click.testing
import pytest
import requests
from click.testing import CliRunner

from remediator.cli import main
from remediator.lab.cluster import LabCluster
from tests.waiting import eventually

ROOT = Path(__file__).parent.parent.parent
TOKEN = "s3cret"
NOBODY = "http://127.0.0.1:1"
"""Where nothing listens."""
_STYLE = re.compile(r"\x1b\[[0-9;]*m")


class Prometheus:
    """Answers every query of the shipped policy with one number that says: sick."""

    def __init__(self) -> None:
        class Answering(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                query = self.rfile.read(int(self.headers["Content-Length"])).decode()
                value = "80" if "ahsan_score" in query else "0" if "hive_up" in query else "9"
                result = [{"value": [0, value]}]
                self._say({"status": "success", "data": {"resultType": "vector", "result": result}})

            def do_GET(self) -> None:
                self._say("ready")

            def _say(self, answer: Any) -> None:
                body = json.dumps(answer).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="session")
def prometheus():
    running = Prometheus()
    yield running
    running.close()


def deploy(cluster: LabCluster, name: str = "bizra-apex") -> None:
    """A Deployment that opted in, ready."""
    labels = {"app": name}
    body = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": {**labels, "remediator/enabled": "true"}},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "app", "image": "app:1"}]},
            },
        },
    }
    path = f"{cluster.url}/apis/apps/v1/namespaces/bizra-testnet/deployments"
    requests.post(f"{cluster.url}/api/v1/namespaces", json={"metadata": {"name": "bizra-testnet"}}, timeout=5)
    requests.post(path, json=body, timeout=5).raise_for_status()
    eventually(lambda: rolled_out_before_this_second(f"{path}/{name}"), "a rollout that ended a while ago")


def rolled_out_before_this_second(deployment):
    """Times are whole seconds there: a rollout that ended in this one still holds every action back."""
    answer = requests.get(deployment, timeout=5)
    status = answer.json().get("status", {})
    ended = [one["lastUpdateTime"] for one in status.get("conditions", []) if one["type"] == "Progressing"]
    now = parsedate_to_datetime(answer.headers["Date"])
    return status.get("readyReplicas") == 2 and bool(ended) and datetime.fromisoformat(ended[0]) < now


@pytest.fixture(scope="session")
def cluster():
    """A simulated API server, the same for all: nothing here acts on it except where a test says so."""
    with LabCluster(speed=50) as running:
        deploy(running)
        yield running


@pytest.fixture
def home(tmp_path, monkeypatch, cluster):
    """A folder of its own, with nothing of the environment: settings are what a test gives."""
    for name in [name for name in os.environ if name.startswith(("REMEDIATOR_", "KUBE"))]:
        monkeypatch.delenv(name)
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    shipped = (ROOT / "policy.yaml").read_text()
    (tmp_path / "policy.yaml").write_text(re.sub(r"settle: \w+", "settle: 100ms", shipped))
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    cluster.kubeconfig(tmp_path / "kubeconfig")
    return tmp_path


class Run:
    """What a command said."""

    def __init__(self, result: click.testing.Result) -> None:
        self.code = result.exit_code
        self.out = _STYLE.sub("", result.stdout)
        self.err = result.stderr
        self.crashed = result.exc_info is not None and not isinstance(result.exception, SystemExit | None)

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def cli(home, monkeypatch):
    """Run a command in the folder, in a pipe or on a terminal."""

    def run(*args: object, tty: bool = False, stdin: str | bytes | None = None, **environ: str) -> Run:
        with monkeypatch.context() as patch:
            if tty:
                patch.setattr(click.testing._NamedTextIOWrapper, "isatty", lambda _: True)
                patch.setenv("COLUMNS", "150")
                patch.setenv("TERM", "xterm")
            result = CliRunner().invoke(main, [str(arg) for arg in args], input=stdin, env=environ)
        ran = Run(result)
        assert not ran.crashed, result.exception
        assert "Traceback" not in ran.out + ran.err
        return ran

    return run


class Served:
    """One `remediator serve`."""

    def __init__(self, folder: Path, environ: dict[str, str]) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{probe.getsockname()[1]}"
        self.url = f"http://{address}"
        self.log = folder / "serve.log"
        given = {
            "REMEDIATOR_LISTEN": address,
            "REMEDIATOR_TOKEN_FILE": str(folder / "token"),
            "REMEDIATOR_KUBECONFIG": str(folder / "kubeconfig"),
            "REMEDIATOR_PROMETHEUS": NOBODY,
            "REMEDIATOR_IDLE": "50ms",
        }
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "remediator", "serve"],
                cwd=folder,
                env={**os.environ, **given, **environ},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def ready(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            return requests.get(f"{self.url}/readyz", timeout=2).ok
        except requests.ConnectionError:
            return False

    def ask(self, path: str, body: Any = None, **options: Any) -> requests.Response:
        """GET, or POST when there is a body."""
        headers = {"Authorization": f"Bearer {TOKEN}", **options.pop("headers", {})}
        method = "GET" if body is None else "POST"
        data = body if body is None or isinstance(body, bytes) else json.dumps(body)
        return requests.request(
            method, f"{self.url}{path}", data=data, headers=headers, timeout=15, allow_redirects=False
        )

    def metric(self, name: str) -> float:
        for line in self.ask("/metrics").text.splitlines():
            if line.startswith(f"remediator_{name} "):
                return float(line.split()[-1])
        raise AssertionError(f"no metric {name}")

    def events(self) -> list[dict[str, Any]]:
        """The log: every line has to be one JSON object."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def said(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.events() if line["event"] == event]

    def terminate(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=20)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


@pytest.fixture
def serve(home):
    running: list[Served] = []

    def start(**environ: str) -> Served:
        served = Served(home, environ)
        running.append(served)
        eventually(served.ready, "readiness")
        return served

    yield start
    for served in running:
        served.kill()
