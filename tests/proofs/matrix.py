"""The crash matrix: kill -9 at one point of one life, a second life ends it, the audit log judges."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import yaml
from sqlalchemy import create_engine, delete, make_url, text

from remediator.adapters.journal import SqlJournal
from remediator.adapters.journal.schema import gate, metadata
from tests.end_to_end.clusters import Cluster
from tests.end_to_end.serving import a_notification, a_policy
from tests.proofs.nursery import ACCEPTED, DIED_AT, LONGEST, RESULT, Life
from tests.waiting import eventually

ROOT = Path(__file__).parents[2]
OLD, NEW = "ghcr.io/bizra/node:v1", "ghcr.io/bizra/node:v2"
STEPS: dict[str, dict[str, Any]] = {
    "restart": {"restart": {}},
    "undo": {"undo": {}},
    "scale": {"scale": {"to": 2}},
}
"""One playbook step for each kind of action. Another kind is another line."""
AT_ONCE = 16
"""Lives side by side: most of a life is waiting, for a rollout or for a dead one's lease to run out."""
VERIFY = {"settle": "100ms", "samples": 2, "every": "100ms", "within": "60s"}


@dataclass(frozen=True, slots=True)
class Case:
    action: str
    database: str
    die_at: int | None

    @property
    def name(self) -> str:
        return f"c-{self.action}-{self.database}-{self.die_at or 0}"


@dataclass
class Outcome:
    case: Case
    died_at: str | None
    """The point's name; None when the life ended before it came there."""
    effects: int
    result: dict[str, Any]

    @property
    def lost(self) -> bool:
        return self.effects == 0 or self.result.get("incidents") != 1

    @property
    def double(self) -> bool:
        return self.effects > 1

    @property
    def ended(self) -> bool:
        """Closed, or in a person's hands."""
        return (
            self.result.get("phase") in {"closed", "returning", "escalated"} and self.result["timeline_holds"]
        )

    @property
    def recovered(self) -> bool:
        return self.ended and self.result.get("reason") == "recovered"


class Nursery:
    """The process that forks, and waiting for a life to end."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.proofs.nursery"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        self._ends: dict[int, SimpleQueue[dict[str, int]]] = {}
        self._lock = threading.Lock()
        self._number = 0
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def live(self, life: Callable[[int], Life]) -> int:
        """Let a life begin and end; the signal that ended it, or 0."""
        assert self._process.stdin
        with self._lock:
            self._number += 1
            number = self._number
            ends = self._ends[number] = SimpleQueue()
            self._process.stdin.write(json.dumps(asdict(life(number))) + "\n")
            self._process.stdin.flush()
        return ends.get(timeout=LONGEST + 30)["signal"]

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            ended = json.loads(line)
            self._ends[ended["number"]].put(ended)

    def close(self) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait(timeout=LONGEST)
        self._reader.join()
        self._process.stdout.close()


class Databases:
    """An empty journal for each case: a file, or a PostgreSQL database that was emptied: dropping is slow."""

    def __init__(self, directory: Path, postgres: str, prefix: str) -> None:
        self._directory, self._prefix = directory, prefix
        self._file = directory / "template.db"
        _migrate(f"sqlite:///{self._file}")
        self._postgres = make_url(postgres)
        self._maker = create_engine(
            self._postgres.set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT"
        )
        self._made: list[str] = []
        self._free: list[str] = []
        self._lock = threading.Lock()
        self._create(f"{prefix}_template", "")
        _migrate(self._url(f"{prefix}_template"))

    @contextmanager
    def lent(self, case: Case) -> Iterator[str]:
        """Its URL, for as long as the case is played."""
        if case.database == "sqlite":
            path = self._directory / f"{case.name}.db"
            shutil.copy(self._file, path)
            yield f"sqlite:///{path}"
            return
        with self._lock:  # one at a time may copy the template
            name = self._free.pop() if self._free else f"{self._prefix}_{len(self._made)}"
            if name not in self._made:
                self._create(name, f"TEMPLATE {self._prefix}_template")
        yield self._url(name)
        self._empty(name)
        with self._lock:
            self._free.append(name)

    def _empty(self, name: str) -> None:
        others = "FROM pg_stat_activity WHERE datname = :name"
        with self._maker.connect() as connection:
            connection.execute(text(f"SELECT pg_terminate_backend(pid, 5000) {others}"), {"name": name})
        engine = create_engine(make_url(self._url(name)).set(drivername="postgresql+psycopg"))
        with engine.begin() as connection:
            for table in reversed(metadata.sorted_tables):
                if table is not gate:
                    connection.execute(delete(table))
        engine.dispose()

    def drop(self) -> None:
        def drop(name: str) -> None:
            with self._maker.connect() as connection:
                connection.execute(text(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))

        with ThreadPoolExecutor(4) as threads:
            list(threads.map(drop, self._made))
        self._maker.dispose()

    def _create(self, name: str, how: str) -> None:
        with self._maker.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name} {how}"))
        self._made.append(name)

    def _url(self, name: str) -> str:
        url = self._postgres.set(drivername="postgresql", database=name)
        return url.render_as_string(hide_password=False)


def _migrate(url: str) -> None:
    journal = SqlJournal(url)
    journal.migrate()
    journal.close()


@dataclass
class Matrix:
    cluster: Cluster
    namespace: str
    prometheus: str
    directory: Path
    databases: Databases
    nursery: Nursery
    outcomes: list[Outcome] = field(default_factory=list)

    def points(self, databases: Iterable[str]) -> dict[tuple[str, str], list[str]]:
        """What one undisturbed life passes, in order, for each action and database."""
        outcomes = self.play([Case(action, database, None) for action in STEPS for database in databases])
        for outcome in outcomes:
            assert outcome.ended, outcome
            assert not outcome.lost, outcome
            assert not outcome.double, outcome
        return {(one.case.action, one.case.database): one.result["points"] for one in outcomes}

    def play(self, cases: Sequence[Case]) -> list[Outcome]:
        """Give each a Deployment, let all die and be taken over, and ask the audit log."""
        with ThreadPoolExecutor(AT_ONCE) as threads:
            played = list(threads.map(self._play, cases))
        writes = self._effects()
        outcomes = [
            Outcome(case, died_at, writes[case.name], result)
            for case, (died_at, result) in zip(cases, played, strict=True)
        ]
        self.outcomes += outcomes
        return outcomes

    def _deploy(self, case: Case) -> None:
        self.cluster.create(self.namespace, case.name, OLD, replicas=1)
        self._ready(case)
        if case.action == "undo":
            self.cluster.set_image(self.namespace, case.name, NEW)
            self._ready(case)

    def _ready(self, case: Case) -> None:
        eventually(
            lambda: self.cluster.all_ready(self.namespace, case.name), f"{case.name} is ready", within=300
        )

    def _play(self, case: Case) -> tuple[str | None, dict[str, Any]]:
        self._deploy(case)
        directory = self.directory / case.name
        directory.mkdir()
        alert = "HiveDown"
        policy = a_policy(self.namespace, {alert: STEPS[case.action]}, case.name)
        policy["playbooks"][0]["verify"] |= VERIFY
        (directory / "policy.yaml").write_text(yaml.safe_dump(policy), encoding="utf-8")
        notification = a_notification(self.namespace, case.name, alert)
        died = directory / DIED_AT
        with self.databases.lent(case) as database:

            def life(die_at: int | None) -> Callable[[int], Life]:
                return lambda given: Life(
                    given,
                    str(directory),
                    database,
                    str(self.cluster.kubeconfig),
                    self.prometheus,
                    notification,
                    die_at,
                )

            self.nursery.live(life(case.die_at))
            if died.exists():
                self.nursery.live(life(None))
        told = directory / RESULT
        result = json.loads(told.read_text(encoding="utf-8")) if told.exists() else {}
        result["accepted"] = (directory / ACCEPTED).exists()
        return died.read_text(encoding="utf-8") if died.exists() else None, result

    def _effects(self) -> Counter[str]:
        """By Deployment: writes of ours that the API server took."""
        return Counter(
            write["path"].removesuffix("/scale").rpartition("/")[2]
            for write in self.cluster.writes(self.namespace)
            if 200 <= write["code"] < 300
        )


def table(outcomes: Iterable[Outcome]) -> str:
    lines = [
        "| action | journal | points | killed | lost | double | ended | recovered |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    rows: dict[tuple[str, str], list[Outcome]] = {}
    for outcome in outcomes:
        if outcome.case.die_at is not None:
            rows.setdefault((outcome.case.action, outcome.case.database), []).append(outcome)
    for (action, database), found in rows.items():
        sums = [
            len(found),
            sum(one.died_at is not None for one in found),
            sum(one.lost for one in found),
            sum(one.double for one in found),
            sum(one.ended for one in found),
            sum(one.recovered for one in found),
        ]
        lines.append(f"| {action} | {database} | " + " | ".join(map(str, sums)) + " |")
    return "\n".join(lines)
