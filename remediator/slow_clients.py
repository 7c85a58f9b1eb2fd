"""gunicorn's threads, none of which a client can hold for long.

A thread reads one request with a blocking socket: whoever sends a byte a second would keep it for hours, and
eight of those all eight threads, before any token is asked for. So a connection gets a thread only once it
has sent something, and one that takes too long to send its request is cut off: soon, when others wait.
"""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from typing import Any

from gunicorn.workers.gthread import _DEFER, ThreadWorker

SENDING = 10.0
"""Seconds a client may take to send its request while there is a free thread for others."""
SENDING_WHILE_OTHERS_WAIT = 1.0
EXCHANGE = 60.0
"""Seconds for the whole exchange, our answer and its reading included."""
LINGER = 0.25
"""Seconds that an idle connection stays open once we stop, for a request that is on its way."""
SILENCE = 10.0
"""Seconds that a new connection may stay open without having sent anything."""


class Exchange:
    """One request and its answer, on the thread that it occupies."""

    def __init__(self) -> None:
        self.since = time.monotonic()
        self.received = False
        self.cut = False

    def overdue(self, now: float, *, others_wait: bool) -> bool:
        took = now - self.since
        patience = SENDING_WHILE_OTHERS_WAIT if others_wait else SENDING
        return took > EXCHANGE or (not self.received and took > patience)


class _Input:
    """The request's body, saying when all of it is here."""

    def __init__(self, body: Any, length: int | None, exchange: Exchange) -> None:
        self._body, self._left, self._exchange = body, length, exchange
        exchange.received = length == 0

    def read(self, size: int = -1) -> bytes:
        found: bytes = self._body.read(size if size >= 0 else None)
        if self._left is not None:
            self._left -= len(found)
        if not found or self._left == 0:
            self._exchange.received = True
        return found


class BoundedWorker(ThreadWorker):  # type: ignore[misc]
    """A gunicorn worker class."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._exchanges: dict[Any, Exchange] = {}
        self._waiting = 0
        self._lock = threading.Lock()
        self._mine = threading.local()

    def load_wsgi(self) -> None:
        super().load_wsgi()
        application: Any = self.wsgi  # type: ignore[has-type]

        def watched(environ: dict[str, Any], start_response: Any) -> Any:
            exchange: Exchange = self._mine.exchange
            environ["wsgi.input"] = _Input(environ["wsgi.input"], _length(environ), exchange)
            return application(environ, start_response)

        self.wsgi = watched

    def enqueue_req(self, conn: Any) -> None:
        with self._lock:
            self._waiting += 1
        super().enqueue_req(conn)

    def handle(self, conn: Any) -> Any:
        """Handle one request, in a thread of the pool."""
        with self._lock:
            self._waiting -= 1
            self._exchanges[conn] = self._mine.exchange = Exchange()
        try:
            if not conn.initialized and not conn.wait_for_data(0):
                return _DEFER  # it has sent nothing: the poller waits for it, not a thread
            return super().handle(conn)
        finally:
            with self._lock:
                del self._exchanges[conn]

    def finish_request(self, conn: Any, fs: Any) -> None:
        super().finish_request(conn, fs)
        if self.pending_conns and self.pending_conns[-1] is conn:
            conn.timeout = time.monotonic() + SILENCE

        if not self.alive:
            self._cap_keepalive(time.monotonic() + LINGER)

    def _cap_keepalive(self, deadline: float) -> None:
        """While stopping: gunicorn would keep idle connections for two seconds, and us with them."""
        super()._cap_keepalive(min(deadline, time.monotonic() + LINGER))

    def notify(self) -> None:
        """Called by the main loop each second or oftener."""
        super().notify()
        now = time.monotonic()
        with self._lock:
            slow = [
                (conn, exchange)
                for conn, exchange in self._exchanges.items()
                if not exchange.cut and exchange.overdue(now, others_wait=self._waiting > 0)
            ]
        for conn, exchange in slow:
            exchange.cut = True
            with suppress(OSError):
                conn.sock.shutdown(socket.SHUT_RDWR)  # its thread's read ends; the thread closes it
        if slow:
            self.log.warning("cut off %d clients that were too slow to send or to read", len(slow))


def _length(environ: dict[str, Any]) -> int | None:
    """Of the body in bytes; None when it comes in chunks."""
    if environ.get("HTTP_TRANSFER_ENCODING"):
        return None
    given = environ.get("CONTENT_LENGTH") or "0"
    return int(given) if given.isdecimal() else None
