"""Notifications, and clients that post them over connections that stay open."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count

from bench.product import ALERT, TOKEN

_ACCEPTED = 202
_NUMBERS = count(1)
_RUN = f"{time.time_ns():x}"


def notification(targets: Sequence[str]) -> bytes:
    """What Alertmanager posts: one new alert for each target, never the same twice."""
    number = next(_NUMBERS)
    starts_at = (datetime.now(UTC) - timedelta(minutes=1)).isoformat()
    alerts = [
        _alert(target, f"{_RUN}{number:x}n{index:x}", starts_at) for index, target in enumerate(targets)
    ]
    common = {"alertname": ALERT}
    return json.dumps(
        {
            "version": "4",
            "groupKey": f"{{}}:{{alertname={ALERT}}}",
            "truncatedAlerts": 0,
            "receiver": "remediator",
            "status": "firing",
            "groupLabels": common,
            "commonLabels": common,
            "commonAnnotations": {},
            "externalURL": "http://alertmanager:9093",
            "alerts": alerts,
        }
    ).encode()


def _alert(target: str, fingerprint: str, starts_at: str) -> dict[str, object]:
    namespace, _, name = target.partition("/")
    return {
        "status": "firing",
        "labels": {
            "alertname": ALERT,
            "namespace": namespace,
            "deployment": name,
            "severity": "critical",
            "remediation": "auto",
        },
        "annotations": {
            "summary": f"The score of {target} is below 95",
            "runbook_url": "https://example.org",
        },
        "startsAt": starts_at,
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus:9090/graph",
        "fingerprint": fingerprint,
    }


class Client:
    """One connection to a server on loopback that stays open."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._stream = self._socket.makefile("rb")

    def post(self, body: bytes) -> int:
        """Returns the status."""
        head = (
            f"POST /webhook HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {TOKEN}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return self._exchange(head.encode() + body)

    def get(self, path: str) -> int:
        head = f"GET {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
        return self._exchange(head.encode())

    def _exchange(self, request: bytes) -> int:
        self._socket.sendall(request)
        status = self._stream.readline()
        length = 0
        while (header := self._stream.readline()) not in {b"\r\n", b""}:
            if header[:15].lower() == b"content-length:":
                length = int(header[15:])
        self._stream.read(length)
        return int(status.split()[1]) if status else 0

    def close(self) -> None:
        self._stream.close()
        self._socket.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What some clients got, each sending the next when the last was answered."""

    per_second: float
    latencies: tuple[float, ...]
    """Seconds."""
    accepted: int
    refused: int


def load(port: int, clients: int, seconds: float, make: Callable[[], bytes], *, most: int = 1500) -> Load:
    """Send as fast as answers come, at most so many a second. Making the bodies is not what is measured."""
    bodies = [make() for _ in range(int(most * seconds))]
    position, lock = count(), threading.Lock()
    latencies: list[float] = []
    outcomes = {True: 0, False: 0}
    end = time.monotonic() + seconds

    def send() -> None:
        client, mine, told = Client(port), [], []
        while time.monotonic() < end and (index := next(position)) < len(bodies):
            began = time.monotonic()
            try:
                told.append(client.post(bodies[index]) == _ACCEPTED)
            except OSError:  # no answer in time: not acknowledged
                told.append(False)
                break
            finally:
                mine.append(time.monotonic() - began)
        client.close()
        with lock:
            latencies.extend(mine)
            for good in told:
                outcomes[good] += 1

    threads = [threading.Thread(target=send) for _ in range(clients)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.monotonic() - began
    return Load(
        per_second=outcomes[True] / took,
        latencies=tuple(latencies),
        accepted=outcomes[True],
        refused=outcomes[False],
    )
