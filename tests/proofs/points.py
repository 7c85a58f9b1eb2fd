"""Where a process can be killed: around every commit and every outside call, found by counting.

Nothing of this is in the package. A new write or call is a new point by itself.
"""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from requests.adapters import HTTPAdapter
from sqlalchemy.engine.default import DefaultDialect


class Points:
    """Counts what is passed, and dies at one of them."""

    def __init__(self, *, die_at: int | None, record: Path) -> None:
        self._die_at = die_at
        self._record = record
        self._lock = threading.Lock()
        self._names: list[str] = []

    def passed(self, name: str) -> None:
        with self._lock:
            self._names.append(name)
            if len(self._names) == self._die_at:
                self._record.write_text(name, encoding="utf-8")
                os.kill(os.getpid(), signal.SIGKILL)

    @property
    def names(self) -> list[str]:
        with self._lock:
            return list(self._names)

    def watch(self) -> None:
        """Wrap what every commit and every HTTP exchange of this process goes through."""
        commit, send = DefaultDialect.do_commit, HTTPAdapter.send

        def do_commit(dialect: Any, connection: Any) -> None:
            self.passed("before a commit")
            commit(dialect, connection)
            self.passed("after a commit")

        def do_send(adapter: Any, request: Any, *args: Any, **named: Any) -> Any:
            call = _call(request)
            self.passed(f"before {call}")
            answer = send(adapter, request, *args, **named)
            self.passed(f"after {call}")
            return answer

        DefaultDialect.do_commit = do_commit  # type: ignore[method-assign]
        HTTPAdapter.send = do_send  # type: ignore[method-assign,assignment]


def _call(request: Any) -> str:
    """`PATCH`, `dry-run PATCH`, `GET pods`, `query`."""
    parts = urlsplit(request.url)
    if parts.path.endswith("/query"):
        return "query"
    names = [name for name in parts.path.split("/") if name]
    what = next((name for name in reversed(names) if name.endswith("s") and not name.startswith("c-")), "")
    dry = "dry-run " if "dryRun" in parts.query else ""
    return f"{dry}{request.method} {what}".strip()
