"""The request log: what every client asked, as an API server's audit log would tell it.

The control loops of the simulated cluster do not come through HTTP and are not in it; programs
of the lab itself (User-Agent `lab-...`) are, and `mutating()` leaves them out.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import asdict, dataclass
from typing import Any

KEPT = 20_000
WRITES = {"POST", "PUT", "PATCH", "DELETE"}
QUESTIONS = ("selfsubjectaccessreviews",)  # POSTed, and change nothing


@dataclass
class Entry:
    time: str
    method: str
    path: str  # with its query
    user_agent: str = ""
    content_type: str = ""
    body: Any = None
    dry_run: bool = False
    field_manager: str = ""
    code: int | None = None  # None: never processed (reset before, hung, or still under way)
    answered: bool = False  # False with a code: applied, and the client never heard
    fault: str = ""


class RequestLog:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: deque[Entry] = deque(maxlen=KEPT)

    def add(self, entry: Entry) -> None:
        with self._lock:
            self._entries.append(entry)

    def clear(self) -> None:
        with self._lock:
            self._entries.clear()

    def all(self) -> list[dict[str, Any]]:
        with self._lock:
            return [asdict(entry) for entry in self._entries]

    def mutating(self) -> list[dict[str, Any]]:
        """Writes by users that reached the store: no dry runs, no questions, none of the lab's own."""
        return [
            entry
            for entry in self.all()
            if entry["method"] in WRITES
            and entry["code"] is not None
            and not entry["dry_run"]
            and not entry["user_agent"].startswith("lab-")
            and not any(word in entry["path"] for word in QUESTIONS)
        ]
