"""A small HTTP proxy before an API server: holds, drops or delays a write at the worst moment.

Plain HTTP on loopback in front, the API server with its TLS and token behind. What comes through keeps its
User-Agent, so that the audit log behind still says whose it was.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from http.client import HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self

from tests.end_to_end.clusters import Answer, Upstream

PATIENCE = 60.0
_PASSED_ON = ("Accept", "Content-Type", "User-Agent")


class Moment(Enum):
    """When a caught write is held."""

    BEFORE = "before the API server has seen it"
    AFTER = "after it was applied, before the answer"


class Fault(Enum):
    """What befalls a real write on its way. None of it is the remediator's doing."""

    HANG_BEFORE = "never passed on, never answered"
    HANG_AFTER = "applied, never answered"
    LATE = "passed on after the sender has given up"
    RESET_BEFORE = "cut off before the API server has seen it"
    RESET_AFTER = "applied, then cut off"
    THROTTLED = "429 with Retry-After"
    UNAVAILABLE = "503"
    FAILED_AFTER = "applied, then 503"
    SLOW = "each request about the object takes a while"


SLOWLY = 0.2
HANGS = 1.6
"""Longer than the read time-out of whoever is tested with faults."""
_TROUBLE = {
    Fault.THROTTLED: (429, {"Content-Type": "application/json", "Retry-After": "1"}),
    Fault.UNAVAILABLE: (503, {"Content-Type": "application/json"}),
    Fault.FAILED_AFTER: (503, {"Content-Type": "application/json"}),
}
_APPLIED = (Fault.HANG_AFTER, Fault.RESET_AFTER, Fault.FAILED_AFTER)


@dataclass
class Caught:
    """One write in our hands. It is held until `pass_on` or `drop`."""

    moment: Moment
    path: str = ""
    _caught: threading.Event = field(default_factory=threading.Event)
    _released: threading.Event = field(default_factory=threading.Event)
    _passed: threading.Event = field(default_factory=threading.Event)
    _done: threading.Event = field(default_factory=threading.Event)

    def wait(self, within: float = 30.0) -> None:
        """Until a write is held."""
        assert self._caught.wait(within), f"no write of ours came within {within:g} s"

    def pass_on(self) -> None:
        """Let the request (BEFORE) or the answer (AFTER) go its way, and wait until it has."""
        self._passed.set()
        self._end()

    def drop(self) -> None:
        """Cut the connection: the request never arrives, or the answer never comes back."""
        self._end()

    def _end(self) -> None:
        self._released.set()
        if self._caught.is_set():
            assert self._done.wait(10), "the held write was not let go"

    def hold(self) -> bool:
        """In the proxy: whether to pass on what was held."""
        self._caught.set()
        self._released.wait(PATIENCE)
        return self._passed.is_set()

    def done(self) -> None:
        self._done.set()


class Proxy:
    """Between the remediator and an API server; a context manager."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._lock = threading.Lock()
        self._catches: list[Caught] = []
        self._cut_short: dict[str, int] = {}
        self._faults: dict[str, tuple[Fault, int]] = {}
        self._ending = threading.Event()
        self._clients: set[socket.socket] = set()
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None
        self._port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def kubeconfig(self, path: Path) -> Path:
        """Write a kubeconfig that leads here."""
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "proxy",
            "clusters": [{"name": "proxy", "cluster": {"server": self.url}}],
            "users": [{"name": "proxy", "user": {}}],
            "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "proxy"}}],
        }
        path.write_text(json.dumps(config), encoding="utf-8")
        return path

    # ------------------------------------------------------------ what a test does

    def catch(self, moment: Moment) -> Caught:
        """Hold the next real write."""
        caught = Caught(moment)
        with self._lock:
            self._catches.append(caught)
        return caught

    def reset_after_apply(self, *path_ends: str) -> None:
        """Cut the connection of the next real write to each of these paths, once it is applied."""
        with self._lock:
            self._cut_short = dict.fromkeys(path_ends, 1)

    def befall(self, deployment: str, fault: Fault, *, times: int = 1) -> None:
        """Let that happen to so many real writes to this Deployment; SLOW to every request about it."""
        with self._lock:
            self._faults[deployment] = fault, times

    @contextmanager
    def away(self) -> Iterator[None]:
        """Close the port and every connection; be back on the same port afterwards."""
        self._close()
        try:
            yield
        finally:
            self._open()

    # ------------------------------------------------------------ running

    def __enter__(self) -> Self:
        self._open()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        with self._lock:
            catches, self._catches = self._catches, []
        for caught in catches:
            caught.drop()
        self._close()

    def _open(self) -> None:
        server = _Server(self._port, self)
        self._port = server.server_address[1]
        self._server = server
        self._thread = threading.Thread(target=server.serve_forever, args=(0.02,), name="proxy", daemon=True)
        self._thread.start()

    def _close(self) -> None:
        assert self._server is not None
        assert self._thread is not None
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        with self._lock:
            clients = list(self._clients)
        for client in clients:
            with suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)

    # ------------------------------------------------------------ what the requests need

    def met(self, client: socket.socket) -> None:
        with self._lock:
            self._clients.add(client)

    def left(self, client: socket.socket) -> None:
        self._upstream.hang_up()
        with self._lock:
            self._clients.discard(client)

    def caught(self, path: str) -> Caught | None:
        """The catch that this write runs into, if any."""
        with self._lock:
            free = next((caught for caught in self._catches if not caught.path), None)
            if free is not None:
                free.path = path
            return free

    def fault_of(self, path: str, *, write: bool) -> Fault | None:
        """What befalls this request, and is used up by it."""
        name = path.partition("?")[0].removesuffix("/scale").rpartition("/")[2]
        with self._lock:
            fault, times = self._faults.get(name, (None, 0))
            if fault is Fault.SLOW:
                return fault
            if fault is None or not times or not write:
                return None
            self._faults[name] = fault, times - 1
            return fault

    def wait(self, seconds: float) -> None:
        """Hold a request, but not the end of the test."""
        self._ending.wait(seconds)

    def cuts_short(self, path: str) -> bool:
        end = path.partition("?")[0]
        with self._lock:
            for wanted, times in self._cut_short.items():
                if times and end.endswith(wanted):
                    self._cut_short[wanted] = times - 1
                    return True
        return False

    def forward(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> Answer:
        if method == "GET":
            return self._upstream.read(path, headers)
        return self._upstream.exchange(method, path, body, headers)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, port: int, proxy: Proxy) -> None:
        self.proxy = proxy
        super().__init__(("127.0.0.1", port), _Requests)

    def handle_error(self, *_: object) -> None:
        """A client that was killed is what we are here for."""


class _Requests(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.server.proxy.met(self.connection)

    def finish(self) -> None:
        self.server.proxy.left(self.connection)
        with suppress(OSError):
            super().finish()

    def do_GET(self) -> None:
        if self.server.proxy.fault_of(self.path, write=False):
            self.server.proxy.wait(SLOWLY)
        self._answer(self._ask(self._body()))

    def do_POST(self) -> None:
        self._answer(self._ask(self._body()))

    def do_DELETE(self) -> None:
        self._answer(self._ask(self._body()))

    def do_PATCH(self) -> None:
        proxy = self.server.proxy
        body = self._body()  # all of it, before its sender dies
        fault = proxy.fault_of(self.path, write="dryRun" not in self.path)
        if fault is not None:
            return self._answer(self._suffer(fault, body))
        caught = None if "dryRun" in self.path else proxy.caught(self.path)
        try:
            if caught and caught.moment is Moment.BEFORE and not caught.hold():
                return self._answer(None)
            answer = self._ask(body)
            if caught and caught.moment is Moment.AFTER and not caught.hold():
                return self._answer(None)
            if "dryRun" not in self.path and proxy.cuts_short(self.path):
                return self._answer(None)
            return self._answer(answer)
        finally:
            if caught:
                caught.done()

    def _suffer(self, fault: Fault, body: bytes) -> Answer | None:
        wait = self.server.proxy.wait
        if fault in (Fault.SLOW, Fault.LATE):
            wait(SLOWLY if fault is Fault.SLOW else HANGS)
            return self._ask(body)
        if fault in _APPLIED:
            self._ask(body)
        if fault in _TROUBLE:
            return *_TROUBLE[fault], b'{"message": "there is trouble"}'
        if fault in (Fault.HANG_BEFORE, Fault.HANG_AFTER):
            wait(HANGS)
        return None

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _ask(self, body: bytes) -> Answer | None:
        headers = {name: self.headers[name] for name in _PASSED_ON if name in self.headers}
        try:
            return self.server.proxy.forward(self.command, self.path, body, headers)
        except (OSError, HTTPException):
            return None

    def _answer(self, answer: Answer | None) -> None:
        """None cuts the connection."""
        if answer is None:
            self.close_connection = True
            return
        status, headers, content = answer
        self.send_response_only(status)
        for name in ("Content-Type", "Date", "Retry-After"):
            if name in headers:
                self.send_header(name, headers[name])
        self.send_header("Content-Length", str(len(content)))
        with suppress(OSError):  # whoever asked may be dead
            self.end_headers()
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""
