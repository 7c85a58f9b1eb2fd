"""The web application over a real journal; the cluster and Prometheus behind it are scripted."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families
from werkzeug.test import TestResponse

from remediator.adapters.journal import SqlJournal
from remediator.lifecycle import Lifecycle, World
from remediator.metrics import JournalCollector
from remediator.troubles import Seen
from remediator.web import Doors, create_app
from tests.builders import a_body
from tests.worlds import Drama

TOKEN = "s3cret"
LIMIT = 4 * 1024 * 1024
BUSY_SECONDS = 0.2
NOWHERE = "postgresql://nobody@127.0.0.1:1/none"
"""A database that refuses every connection."""


class House:
    """One web process: what is around it can be switched, and what it did can be seen."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.drama = Drama(folder)
        self.token_file = folder / "token"
        self.token_file.write_text(f"{TOKEN}\n")
        self.draining = False
        self.alive = True
        self.rejected = False
        self.seen: Callable[[], Seen] = lambda: Seen({}, 0.0)
        self.wakes = 0
        self.open()

    def open(self, journal: SqlJournal | None = None, *, token: bool = True) -> None:
        """Start the web application anew, over this journal."""
        lifecycle = self.drama.lifecycle
        if journal is not None:
            world: World = replace(lifecycle.world, journal=journal)
            lifecycle = Lifecycle(world)
        doors = Doors(
            lifecycle=lifecycle,
            journal=journal or self.drama.journal,
            clock=lambda: self.drama.now,
            wake=self._woken,
            worker_alive=lambda: self.alive,
            draining=lambda: self.draining,
            trouble=self._seen,
            token_file=self.token_file if token else None,
            max_body=LIMIT,
            registry=CollectorRegistry(),
        )
        doors.registry.register(
            JournalCollector(
                doors.journal,
                clock=doors.clock,
                policy_digest=lambda: self.drama.policy.digest,
                policy_bad=lambda: self.rejected,
                worker_alive=doors.worker_alive,
            )
        )
        self.client = create_app(doors).test_client()

    def _seen(self) -> Seen:
        return self.seen()

    def _woken(self) -> None:
        self.wakes += 1

    def post(self, body: Any = None, *, path: str = "/webhook", **headers: str) -> TestResponse:
        """Post a notification: bytes as they are, all else as JSON."""
        raw = body if isinstance(body, bytes) else json.dumps(a_body() if body is None else body).encode()
        sent = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json", **headers}
        return self.client.post(path, data=raw, headers=sent)

    def get(self, path: str, **headers: str) -> TestResponse:
        return self.client.get(path, headers={"Authorization": f"Bearer {TOKEN}", **headers})

    def series(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        """What /metrics shows, by name and labels, but for the number of this process."""
        answer = self.client.get("/metrics")
        assert answer.status_code == 200
        ourselves = {("process", str(os.getpid()))}
        return {
            (sample.name, frozenset(sample.labels.items() - ourselves)): sample.value
            for family in text_string_to_metric_families(answer.text)
            for sample in family.samples
        }

    def metric(self, name: str, **labels: str) -> float | None:
        """One series of /metrics, or None where there is none."""
        return self.series().get((f"remediator_{name}", frozenset(labels.items())))

    def rows(self, table: str) -> int:
        """How many rows of a table another process sees."""
        with sqlite3.connect(self.folder / "journal.db") as other:
            found: int = other.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
        other.close()
        return found

    def pragma(self, statement: str) -> None:
        """Say something to the journal's one pooled connection."""
        pooled = self.drama.journal._engine.raw_connection()
        pooled.cursor().execute(statement)
        pooled.close()

    @property
    def untouched(self) -> bool:
        """Nothing was journaled, counted or begun."""
        tables = ("notifications", "refused_alerts", "episodes", "incidents", "events", "counters")
        return not any(self.rows(table) for table in tables) and self.wakes == 0


@pytest.fixture(scope="session")
def blank_journal(tmp_path_factory):
    """A migrated journal to copy: the migration is most of a small test's time."""
    path = tmp_path_factory.mktemp("blank") / "journal.db"
    journal = SqlJournal(f"sqlite:///{path}")
    journal.migrate()
    journal.close()
    return path


@pytest.fixture
def house(tmp_path, monkeypatch, blank_journal):
    shutil.copy(blank_journal, tmp_path / "journal.db")
    monkeypatch.setattr("remediator.adapters.journal.connection._BUSY_SECONDS", BUSY_SECONDS)
    opened = House(tmp_path)
    yield opened
    opened.drama.close()
