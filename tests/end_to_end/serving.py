"""`remediator serve` as a process, a Prometheus that says what it is told, and notifications."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote_plus

import requests
import yaml
from prometheus_client.parser import text_string_to_metric_families

from remediator.lab.stage import free_port
from tests.end_to_end.programs import Program, Programs
from tests.waiting import PATIENCE, eventually

TOKEN = "end-to-end-token"
SICK, WELL = 0.0, 1.0
Json = dict[str, Any]


class SaidMetrics:
    """Answers every query with one series of the present value, and every scrape; a context manager."""

    def __init__(self) -> None:
        self.value = SICK
        self.on_ask: Callable[[], None] | None = None
        said = self

        class Requests(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                query = unquote_plus(self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode())
                if said.on_ask is not None:
                    said.on_ask()
                value = str(said.value_for(query))
                result = [{"metric": {}, "value": [datetime.now(UTC).timestamp(), value]}]
                data = {"resultType": "vector", "result": result}
                self._answer(json.dumps({"status": "success", "data": data}))

            def do_GET(self) -> None:
                self._answer(f"hive_up {said.value}\n")

            def _answer(self, text: str) -> None:
                content = text.encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False

            def handle_error(self, *_: object) -> None:
                """A client that was killed is no news."""

        self._server = Server(("127.0.0.1", 0), Requests)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def value_for(self, _query: str) -> float:
        return self.value

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def a_policy(namespace: str, playbooks: Mapping[str, Json], *deployments: str, **limits: Any) -> Json:
    """A policy of seconds: each alert has one step."""
    verify = {
        "query": 'min(hive_up{namespace="$namespace",deployment="$deployment"})',
        "good": ">= 1",
        "settle": "300ms",
        "samples": 2,
        "every": "300ms",
        "within": "20s",
    }
    return {
        "version": 1,
        "mode": "auto",
        "targets": [
            {"namespace": namespace, "deployment": name, "replicas": {"min": 1, "max": 10}}
            for name in deployments
        ],
        "limits": {
            "per_target": {"actions": 3, "per": "1h", "per_day": 8, "cooldown": "1s"},
            "in_all": {"actions": 10, "per": "1h", "at_once": 3},
            "storm": {"targets": 10, "within": "10m"},
            "patience": "40s",
            "rollout": "30s",
            **limits,
        },
        "playbooks": [
            {"alert": alert, "steps": [step], "verify": verify} for alert, step in playbooks.items()
        ],
    }


def a_notification(namespace: str, deployment: str, alert: str) -> Json:
    """A firing alert as Alertmanager posts it."""
    labels = {
        "alertname": alert,
        "namespace": namespace,
        "deployment": deployment,
        "remediation": "auto",
        "severity": "critical",
    }
    return {
        "version": "4",
        "groupKey": f'{{}}:{{alertname="{alert}", deployment="{deployment}", namespace="{namespace}"}}',
        "status": "firing",
        "receiver": "remediator",
        "truncatedAlerts": 0,
        "groupLabels": labels,
        "commonLabels": labels,
        "commonAnnotations": {},
        "externalURL": "http://alertmanager:9093",
        "alerts": [
            {
                "status": "firing",
                "labels": labels,
                "annotations": {"summary": f"{namespace}/{deployment} is down"},
                "startsAt": datetime.now(UTC).isoformat(),
                "endsAt": "0001-01-01T00:00:00Z",
                "generatorURL": "http://prometheus:9090/graph",
                "fingerprint": sha256(json.dumps(labels).encode()).hexdigest()[:16],
            }
        ],
    }


class Remediator:
    """`remediator serve`: one journal, started as often as it takes."""

    def __init__(
        self,
        programs: Programs,
        *,
        kubeconfig: Path,
        prometheus: str,
        policy: Json,
        name: str = "remediator",
        url: str = "",
        **environ: str,
    ) -> None:
        self._programs, self._name = programs, name
        directory = programs.directory
        self.url = url or f"http://127.0.0.1:{free_port()}"
        self.journal = directory / "journal.db"
        self.token_file = directory / "token"
        self.token_file.write_text(f"{TOKEN}\n", encoding="utf-8")
        policy_file = directory / "policy.yaml"
        policy_file.write_text(yaml.safe_dump(policy, sort_keys=False, width=4096), encoding="utf-8")
        self._environ = {
            "REMEDIATOR_POLICY": str(policy_file),
            "REMEDIATOR_DATABASE": f"sqlite:///{self.journal}",
            "REMEDIATOR_PROMETHEUS": prometheus,
            "REMEDIATOR_KUBECONFIG": str(kubeconfig),
            "REMEDIATOR_LISTEN": self.url.removeprefix("http://"),
            "REMEDIATOR_TOKEN_FILE": str(self.token_file),
            "REMEDIATOR_RECHECK": "500ms",
            "REMEDIATOR_POLL": "300ms",
            "REMEDIATOR_IDLE": "200ms",
            "REMEDIATOR_LEASE": "2s",
            "REMEDIATOR_LOG": "json",
            **environ,
        }
        self.process = self.start()

    def start(self, **environ: str) -> Program:
        """Start it, again after a kill, and wait until it is ready."""
        self._environ |= environ
        command = (sys.executable, "-m", "remediator", "serve")
        self.process = self._programs.start(self._name, *command, environ=self._environ)
        self._programs.answers(self.process, f"{self.url}/readyz")
        return self.process

    def kill(self) -> None:
        self.process.kill()

    def post(self, notification: Json) -> requests.Response:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        return requests.post(f"{self.url}/webhook", json=notification, headers=headers, timeout=30)

    def accepts(self, notification: Json) -> None:
        answer = self.post(notification)
        assert answer.status_code == 202, answer.text

    def incidents(self) -> list[Json]:
        found: list[Json] = self._ask("/api/v1/incidents")["incidents"]
        return found

    def counted(self, name: str, **labels: str) -> float:
        """The sum of one of its own metrics over the series with these labels."""
        return sum_of(requests.get(f"{self.url}/metrics", timeout=30).text, name, **labels)

    def answered(self, status: int, endpoint: str) -> float:
        """How many requests it has answered so. For one worker process."""
        return self.counted("remediator_http_requests_total", code=str(status), endpoint=endpoint)

    def story(self, number: int = 1) -> Json:
        """One incident with its timeline."""
        told: Json = self._ask(f"/api/v1/incidents/{number}")
        return told

    def comes_to(self, phase: str, number: int = 1, *, within: float = PATIENCE) -> Json:
        """Wait until an incident is in that phase; returns its story."""

        def look() -> Json | None:
            story = self.story(number)
            # A scale-up that helped is closed, and then waits to be given back.
            now = "closed" if story["phase"] == "returning" else story["phase"]
            assert now not in ("closed", "escalated") or now == phase, _told(story)
            return story if now == phase else None

        return eventually(look, f"incident {number} is {phase}", within=within)

    def _ask(self, path: str) -> Any:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        answer = requests.get(f"{self.url}{path}", headers=headers, timeout=30)
        assert answer.status_code == 200, answer.text
        return answer.json()


def sum_of(page: str, name: str, **labels: str) -> float:
    """Of a metrics page: the series of that name with these labels, added up."""
    samples = [sample for family in text_string_to_metric_families(page) for sample in family.samples]
    return sum(one.value for one in samples if one.name == name and labels.items() <= one.labels.items())


def kinds_and_reasons(story: Json) -> list[tuple[str, str]]:
    """What happened up to the close, in order. When `resolved` comes in is Alertmanager's affair: left out.

    What a scale-up is waiting for after the close, to be given back, is another test's.
    """
    told = [(one["kind"], one["reason"]) for one in story["events"] if one["kind"] != "resolved"]
    closed = next((index for index, (kind, _) in enumerate(told) if kind == "closed"), len(told))
    return told[: closed + 1]


WELL_TOLD = [
    ("opened", "incident_opened"),
    ("decided", "step_applies"),
    ("applied", "applied"),
    ("rolled_out", "rolled_out"),
    ("judged", "recovered"),
    ("closed", "recovered"),
]
"""The timeline of an incident in which nothing went wrong."""


def _told(story: Json) -> str:
    return "\n".join(f"{e['seq']} {e['kind']} {e['reason']} {e['detail']}" for e in story["events"])
