# ruff: noqa: INP001, T201 - a script in a container of its own, which speaks to a terminal
"""A stand-in for a BIZRA node with the standard library alone: a few metrics, and a way to break it.

`python node.py` serves /metrics and /health on port 9464. `python node.py break score=80` makes that one
worse until its process ends; also errors=0.2, seconds=0.9 and up=0.
"""

from __future__ import annotations

import math
import os
import signal
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit
from urllib.request import urlopen

PORT = int(os.environ.get("PORT", "9464"))
PER_SECOND = 20
BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, math.inf)


class Node:
    """Its operations are counted from the clock, so that nothing has to run between two scrapes."""

    def __init__(self) -> None:
        score = float(os.environ.get("AHSAN_SCORE", "98"))
        self.health = {"score": score, "errors": 0.0, "seconds": 0.08, "up": 1.0}
        self._counted_until = time.monotonic()
        self._operations = self._errors = self._seconds = 0.0
        self._buckets = [0.0] * len(BUCKETS)

    def change(self, wanted: dict[str, str]) -> None:
        self._count()
        self.health.update({name: float(value) for name, value in wanted.items() if name in self.health})

    def metrics(self) -> str:
        self._count()
        lines = [
            "# TYPE ahsan_score gauge",
            f"ahsan_score {self.health['score']:g}",
            "# TYPE hive_up gauge",
            f"hive_up {self.health['up']:g}",
            "# TYPE hive_errors_total counter",
            f"hive_errors_total {self._errors:.0f}",
            "# TYPE hive_operation_duration_seconds histogram",
        ]
        for bound, count in zip(BUCKETS, self._buckets, strict=True):
            le = "+Inf" if bound == math.inf else f"{bound:g}"
            lines.append(f'hive_operation_duration_seconds_bucket{{le="{le}"}} {count:.0f}')
        lines.append(f"hive_operation_duration_seconds_sum {self._seconds:.3f}")
        lines.append(f"hive_operation_duration_seconds_count {self._buckets[-1]:.0f}")
        return "\n".join(lines) + "\n"

    def _count(self) -> None:
        now = time.monotonic()
        operations = (now - self._counted_until) * PER_SECOND
        self._counted_until = now
        self._errors += operations * self.health["errors"]
        self._seconds += operations * self.health["seconds"]
        for index, bound in enumerate(BUCKETS):
            if self.health["seconds"] <= bound:
                self._buckets[index] += operations


class Door(BaseHTTPRequestHandler):
    node: Node

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if url.path == "/metrics":
            self._answer(self.node.metrics())
        elif url.path == "/health":
            self._answer("ok\n")
        elif url.path == "/break" and self.client_address[0] == "127.0.0.1":
            self.node.change(dict(parse_qsl(url.query)))
            self._answer(f"{self.node.health}\n")
        else:
            self.send_error(404)

    def _answer(self, text: str) -> None:
        body = text.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Say nothing of each scrape."""


def main(arguments: list[str]) -> None:
    if arguments[:1] == ["break"]:
        with urlopen(f"http://127.0.0.1:{PORT}/break?{'&'.join(arguments[1:])}", timeout=5) as answer:
            print(answer.read().decode(), end="")
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # the first process of a container has no default
    Door.node = Node()
    ThreadingHTTPServer(("", PORT), Door).serve_forever()


if __name__ == "__main__":
    main(sys.argv[1:])
