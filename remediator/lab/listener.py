"""The HTTP server under the lab's simulators: threads, a queue for bursts, and no noise when a client leaves.

The standard library prints a traceback for every client that closes early; in a demo that would be most of
the text.
"""

from __future__ import annotations

import sys
from http.server import ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from http.server import BaseHTTPRequestHandler

_STOP_WITHIN = 0.05


class Listener(ThreadingHTTPServer):
    """Listens from the moment it is built; answers once `listen` runs in a thread."""

    request_queue_size = 128

    def __init__(self, host: str, port: int, requests: type[BaseHTTPRequestHandler]) -> None:
        super().__init__((host, port), requests)
        self.url = f"http://{host}:{self.server_address[1]}"

    def listen(self) -> None:
        self.serve_forever(poll_interval=_STOP_WITHIN)

    def close(self) -> None:
        self.shutdown()
        self.server_close()

    def handle_error(self, request: object, client_address: object) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]  # passed through as it came
