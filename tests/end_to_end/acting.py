"""The four jobs that the rules read, acted by one server: a test sets what pods and programs say."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

NAMESPACE = "live"
BUCKETS = (0.05, 0.5, 1.0, 5.0)


@dataclass
class Pod:
    """One pod of a hive node. Counters grow with time, at 100 operations a second."""

    deployment: str
    name: str
    alive: bool = True
    score: float | None = 99
    errors: float = 0
    """Share of the operations that fail."""
    seconds: float = 0.02
    """How long an operation takes."""
    _at: float = field(default_factory=time.monotonic)
    _operations: float = 0
    _errors: float = 0
    _slow: float = 0

    def page(self) -> str | None:
        """What it exports; None: it does not answer."""
        if not self.alive:
            return None
        now = time.monotonic()
        done, self._at = 100 * (now - self._at), now
        self._operations += done
        self._errors += done * self.errors
        self._slow += done if self.seconds > 0.5 else 0
        lines = [
            "hive_up 1",
            f"hive_errors_total {self._errors}",
            f"hive_operation_duration_seconds_count {self._operations}",
            *(
                f'hive_operation_duration_seconds_bucket{{le="{bound}"}} '
                f"{self._operations - (self._slow if bound <= 0.5 else 0)}"
                for bound in BUCKETS
            ),
            f'hive_operation_duration_seconds_bucket{{le="+Inf"}} {self._operations}',
        ]
        if self.score is not None:
            lines.append(f"ahsan_score {self.score}")
        return "\n".join(lines) + "\n"


Program = dict[str, float | Callable[[], float]]
"""Its series, each a number or what counts it."""


def counting(since: float | None = None) -> Callable[[], float]:
    """A counter that grows by ten a second."""
    began = since or time.monotonic()
    return lambda: 10 * (time.monotonic() - began)


class World:
    """Serves /sd, /pods/NAME and /programs/JOB. A program that is None does not answer."""

    def __init__(self) -> None:
        self.pods: list[Pod] = []
        self.programs: dict[str, Program | None] = {}
        world = self

        class Answering(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = world.answer(self.path)
                self.send_response(200 if body is not None else 503)
                self.send_header(
                    "Content-Type", "application/json" if self.path == "/sd" else "text/plain; version=0.0.4"
                )
                self.send_header("Content-Length", str(len(body or "")))
                self.end_headers()
                self.wfile.write((body or "").encode())

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
        self.address = f"127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, path: str) -> str | None:
        _, kind, *name = path.split("/")
        if kind == "sd":
            return json.dumps([self._discovered(pod) for pod in self.pods])
        if kind == "pods":
            return next((pod.page() for pod in self.pods if pod.name == name[0]), None)
        program = self.programs.get(name[0])
        if program is None:
            return None
        return "".join(
            f"{series} {value() if callable(value) else value}\n" for series, value in program.items()
        )

    def _discovered(self, pod: Pod) -> dict[str, object]:
        labels = {"namespace": NAMESPACE, "deployment": pod.deployment, "pod": pod.name, "instance": pod.name}
        return {"targets": [self.address], "labels": {**labels, "__metrics_path__": f"/pods/{pod.name}"}}


def whole_path(version: str, *, sick: bool) -> dict[str, Program | None]:
    """The three programs of the path, sound, or with everything wrong that they can say of themselves."""
    bad, good = (1.0, 0.0) if sick else (0.0, 1.0)
    failing: float | Callable[[], float] = counting() if sick else 0.0
    target = f'target="{NAMESPACE}/escalated"'
    return {
        "remediator": {
            "remediator_worker_alive": good,
            "remediator_journal_available": good,
            'remediator_http_requests_total{endpoint="webhook",code="503"}': failing,
            f'remediator_target_phase{{{target},phase="escalated"}}': bad,
            f'remediator_budget_left{{{target},budget="target_budget"}}': good,
            "remediator_overall_budget_left": good,
            "remediator_breaker_open": bad,
            "remediator_storm_open": bad,
            "remediator_blind": bad,
            "remediator_pauses": bad,
            "remediator_policy_rejected": bad,
            f'remediator_policy_rules_info{{version="{"0.0.1" if sick else version}"}}': 1,
        },
        "prometheus": {
            "prometheus_notifications_alertmanagers_discovered": good,
            'prometheus_rule_evaluation_failures_total{rule_group="live"}': failing,
            "prometheus_config_last_reload_successful": good,
        },
        "alertmanager": {
            'alertmanager_notifications_failed_total{integration="webhook"}': failing,
            'alertmanager_notifications_total{integration="webhook"}': counting(),
            "alertmanager_config_last_reload_successful": good,
        },
    }
