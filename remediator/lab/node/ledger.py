"""`.hive-mind/hive.db`: the node's own record of its Ahsan score, which the runbook's queries read.

SQLite in WAL mode, one row per serving pod and (compressed) quarter of a minute; timestamps in SQLite's own
form in UTC, so that `timestamp > datetime('now', '-24 hours')` works.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_SCHEMA = """
CREATE TABLE IF NOT EXISTS ahsan_metrics (
    timestamp TEXT NOT NULL DEFAULT (datetime('now')),
    ahsan_score REAL NOT NULL,
    namespace TEXT NOT NULL,
    deployment TEXT NOT NULL,
    pod TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS ahsan_metrics_timestamp ON ahsan_metrics (timestamp);
"""
_INSERT = "INSERT INTO ahsan_metrics (ahsan_score, namespace, deployment, pod) VALUES (?, ?, ?, ?)"


class Ledger:
    """Opened and written by one thread."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / ".hive-mind" / "hive.db"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._connection = sqlite3.connect(self.path, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._connection.executescript(_SCHEMA)

    def append(self, rows: Iterable[tuple[float, str, str, str]]) -> None:
        """Add rows of score, namespace, deployment and pod, all at this moment."""
        with self._connection:
            self._connection.executemany(_INSERT, rows)

    def close(self) -> None:
        self._connection.close()
