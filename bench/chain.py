"""From a threshold crossed to the PATCH, with the real Prometheus and Alertmanager, in the parts it takes."""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import requests

from bench.figures import Figure, NotMeasured, Result
from bench.product import ALERT, TOKEN, Product, World, eventually, free_port, running, stop

GROUP = "From a threshold crossed to the PATCH, with Prometheus and Alertmanager"
TIMES = 4
FOR = 2.0
_PARTS = (
    "crossed until Prometheus evaluated it (scraped and evaluated each second)",
    f"pending (`for: {FOR:g}s`) until firing",
    "firing until the notification was received (`group_wait: 0s`)",
    "received until the PATCH was sent: remediator",
)


class Node:
    """What is scraped: the score of each Deployment."""

    def __init__(self) -> None:
        self.scores: dict[str, float] = {}
        node = self

        class Answering(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                text = "".join(
                    f'bench_score{{namespace="bench",deployment="{name}"}} {score}\n'
                    for name, score in list(node.scores.items())
                ).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()


def measure(folder: Path) -> list[Result]:
    alertmanager = shutil.which("alertmanager") or shutil.which("prometheus-alertmanager")
    prometheus = shutil.which("prometheus")
    if alertmanager is None or prometheus is None:
        return [NotMeasured(group=GROUP, why="prometheus and alertmanager are not on PATH")]
    names = [f"app-{n}" for n in range(TIMES + 1)]
    with ExitStack() as stack:
        world, node = World(), Node()
        stack.callback(world.close)
        stack.callback(node.server.shutdown)
        node.scores = dict.fromkeys(names, 100.0)
        product = stack.enter_context(running(folder / "chain", world, [f"bench/{name}" for name in names]))
        eventually(product.permitted, "answer to what we may do")
        at = stack.enter_context(_alertmanager(alertmanager, folder, product))
        url = stack.enter_context(_prometheus(prometheus, folder, at, node.server.server_port))
        parts = [_once(name, node, url, world, product) for name in names][1:]
    medians = [statistics.median(part) for part in zip(*parts, strict=True)]
    total = statistics.median(sum(part) for part in parts)
    return [
        Figure(group=GROUP, name="crossed to PATCH", value=total, unit="s"),
        *(
            Figure(group=GROUP, name=name, value=value, unit="s")
            for name, value in zip(_PARTS, medians, strict=True)
        ),
    ]


def _once(name: str, node: Node, url: str, world: World, product: Product) -> tuple[float, ...]:
    crossed = time.time()
    node.scores[name] = 50.0
    _, patched_at = world.next_patch()
    patched = time.time() - (time.monotonic_ns() - patched_at) / 1e9
    active = _active_at(url, name)
    received = _received_at(product, name)
    return active - crossed, FOR, received - active - FOR, patched - received


def _active_at(url: str, name: str) -> float:
    alerts = requests.get(f"{url}/api/v1/alerts", timeout=5).json()["data"]["alerts"]
    at = next(alert["activeAt"] for alert in alerts if alert["labels"]["deployment"] == name)
    return datetime.fromisoformat(f"{at[:26].rstrip('Z')}+00:00").timestamp()


def _received_at(product: Product, name: str) -> float:
    incidents = json.loads(product.get("/api/v1/incidents")[1])["incidents"]
    at = next(one["opened_at"] for one in incidents if one["target"].endswith(f"/{name}"))
    return datetime.fromisoformat(at).timestamp()


@contextmanager
def _alertmanager(binary: str, folder: Path, product: Product) -> Iterator[int]:
    port = free_port()
    sent_to = {
        "url": f"http://127.0.0.1:{product.port}/webhook",
        "http_config": {"authorization": {"credentials": TOKEN}},
    }
    route = {"receiver": "remediator", "group_by": ["deployment"], "group_wait": "0s", "group_interval": "1s"}
    config = {"route": route, "receivers": [{"name": "remediator", "webhook_configs": [sent_to]}]}
    arguments = [f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address="]
    with _program(
        binary, folder / "alertmanager", config, f"--storage.path={folder}/alertmanager", *arguments
    ):
        eventually(lambda: _ready(port), "readiness of Alertmanager")
        yield port


@contextmanager
def _prometheus(binary: str, folder: Path, alertmanager: int, node: int) -> Iterator[str]:
    port, home = free_port(), folder / "prometheus"
    home.mkdir()
    labels = {"severity": "critical"}
    rule = {"alert": ALERT, "expr": "bench_score < 95", "for": f"{FOR:g}s", "labels": labels}
    (home / "rules.yml").write_text(json.dumps({"groups": [{"name": "bench", "rules": [rule]}]}))
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(home / "rules.yml")],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [f"127.0.0.1:{alertmanager}"]}]}]},
        "scrape_configs": [{"job_name": "bench", "static_configs": [{"targets": [f"127.0.0.1:{node}"]}]}],
    }
    arguments = [f"--storage.tsdb.path={home}/tsdb", f"--web.listen-address=127.0.0.1:{port}"]
    with _program(binary, home, config, "--rules.alert.for-grace-period=1s", *arguments):
        eventually(lambda: _ready(port), "readiness of Prometheus", within=60)
        yield f"http://127.0.0.1:{port}"


@contextmanager
def _program(binary: str, home: Path, config: object, *arguments: str) -> Iterator[None]:
    home.mkdir(exist_ok=True)
    (home / "config.yml").write_text(json.dumps(config))  # YAML too
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            [binary, f"--config.file={home}/config.yml", *arguments], stdout=log, stderr=log
        )
    try:
        yield
    finally:
        stop(process)


def _ready(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/-/ready", timeout=2).ok
    except requests.RequestException:
        return False
