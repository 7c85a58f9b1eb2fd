"""Making commits to SQLite durable, outside of the line of writers.

With `synchronous=NORMAL` a commit in WAL mode writes and does not fsync; a checkpoint fsyncs log and
database in the order that keeps both whole. We fsync the log after each commit, once the connection is free
for the next one: several commits share the time of one fsync, and what is fsynced includes all before it.
"""

from __future__ import annotations

import os
from pathlib import Path


class Wal:
    """The write-ahead log beside a database file. Safe to share between threads."""

    def __init__(self, database: str) -> None:
        self._log = Path(f"{database}-wal")
        self._known: int | None = None
        """The log whose name in its folder is durable too."""

    def flush(self) -> None:
        """Return when all that was committed survives a power cut. Raises OSError."""
        try:
            log = os.open(self._log, os.O_RDONLY)
        except FileNotFoundError:  # the last connection is closed: all of it is in the database, fsynced
            return
        try:
            os.fdatasync(log)
            found = os.fstat(log).st_ino
        finally:
            os.close(log)
        if found != self._known:
            self._flush_folder()
            self._known = found

    def _flush_folder(self) -> None:
        folder = os.open(self._log.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
