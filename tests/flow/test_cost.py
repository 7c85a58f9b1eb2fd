"""What a notification and an action cost, counted and not timed: statements, commits, calls, tables read."""

from __future__ import annotations

import re
import sqlite3
import threading
from contextlib import closing
from datetime import timedelta
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from sqlalchemy import event

from bench import stub
from bench.seeded import seed
from remediator.adapters.kubernetes import Connection, KubernetesCluster
from remediator.adapters.kubernetes.credentials import Access
from remediator.core.actions import RestartIntent, Target
from remediator.core.execution import Delivery
from remediator.core.facts import Observation
from remediator.metrics import JournalCollector, TargetCollector
from tests.builders import APEX, NOW, an_alert
from tests.worlds import Drama

_READ = re.compile(r"SCAN (?:incidents|episodes|attempts|events|notifications)\b.*")
_WHAT_IS_OPEN = re.compile(
    r"USING (?:COVERING )?INDEX (?:incidents_due|incidents_in_storm|incidents_not_closed|"
    r"one_(?:open|attempt)_\w+)"
)
"""Partial indexes: to read one from end to end is to read what is open, not what ever was."""


class Counted:
    """What the journal was asked."""

    def __init__(self, drama: Drama) -> None:
        self.statements: list[tuple[str, Any]] = []
        self.commits = 0
        for engine in (drama.journal._engine, drama.journal._readers):
            event.listen(engine, "before_cursor_execute", self._executed)
        event.listen(drama.journal._engine, "commit", self._committed)

    def _executed(self, _connection, _cursor, statement, parameters, _context, _many):
        self.statements.append((statement, parameters))

    def _committed(self, _connection):
        self.commits += 1


def test_a_notification_costs_one_commit_and_few_statements(drama):
    counted = Counted(drama)
    drama.receive()
    assert counted.commits == 1
    assert len(counted.statements) <= 8, counted.statements


def test_a_hundred_alerts_cost_no_more_statements_than_one(drama):
    drama.receive()
    counted = Counted(drama)
    drama.receive(*(an_alert(fingerprint=f"{number:016x}") for number in range(100)), body="{ }")
    assert counted.commits == 1
    assert len(counted.statements) <= 8, counted.statements


def test_to_act_costs_a_commit_each_for_claim_decision_sending_and_outcome(drama):
    drama.receive()
    counted = Counted(drama)
    drama.step()
    assert drama.cluster.effects
    assert counted.commits == 4
    assert len(counted.statements) <= 25, counted.statements


def test_nothing_on_the_way_to_an_action_reads_a_whole_table(tmp_path):
    seed(tmp_path / "journal.db", 300, now=NOW)
    drama = Drama(tmp_path)
    counted = Counted(drama)
    drama.receive()
    drama.step()
    assert drama.cluster.effects
    drama.journal.next_due(now=drama.now)
    assert tables_read(drama, counted) == []


def test_neither_metrics_nor_what_is_open_read_a_whole_table(tmp_path):
    seed(tmp_path / "journal.db", 300, now=NOW)
    drama = Drama(tmp_path)
    drama.receive()
    drama.step()
    counted = Counted(drama)
    registry = CollectorRegistry()
    registry.register(TargetCollector(drama.journal, clock=lambda: drama.now, policy=lambda: drama.policy))
    whole = JournalCollector(
        drama.journal, clock=lambda: drama.now, policy_digest=str, policy_bad=bool, worker_alive=bool
    )
    registry.register(whole)
    text = generate_latest(registry).decode()
    assert 'remediator_open_incidents{phase="rolling_out"} 1.0' in text
    assert [one.target for one in drama.journal.incidents(open_only=True)] == [APEX]
    assert len(counted.statements) >= 10
    assert tables_read(drama, counted) == []


def tables_read(drama: Drama, counted: Counted) -> list[tuple[str, str]]:
    """Steps that read a table of the past from end to end, and the statements they are of."""
    with closing(sqlite3.connect(str(drama.journal._engine.url.database))) as db:
        return [
            (step[3], statement)
            for statement, parameters in counted.statements
            if statement.startswith(("SELECT", "UPDATE"))
            for step in db.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            if _READ.match(step[3]) and not _WHAT_IS_OPEN.search(step[3])
        ]


def test_to_act_costs_eleven_calls_of_the_api_server(monkeypatch):
    asked: list[str] = []
    answer = stub.answer

    def counting(method, path):
        asked.append(f"{method} {path.partition('?')[0].rpartition('/')[2]}")
        return answer(method, path)

    monkeypatch.setattr(stub, "answer", counting)
    server = stub.Stub()
    threading.Thread(target=server.serve, daemon=True).start()
    cluster = KubernetesCluster(Connection(lambda: Access(server=f"http://127.0.0.1:{server.port}")))
    target = Target("bench", "app")
    cluster.observe(target)  # learns which version of the metrics there is
    asked.clear()
    seen = cluster.observe(target)
    assert isinstance(seen, Observation)
    assert seen.unreadable == {}
    restarted_at = f"{seen.at + timedelta(seconds=1):%Y-%m-%dT%H:%M:%SZ}"
    intent = RestartIntent(
        uid=seen.uid,
        generation=seen.generation,
        template_digest=seen.template_digest,
        restarted_at=restarted_at,
    )
    assert cluster.send(target, intent).delivery is Delivery.APPLIED
    cluster.close()
    lists = [
        "events",
        "events",
        "horizontalpodautoscalers",
        "poddisruptionbudgets",
        "pods",
        "pods",
        "replicasets",
    ]
    assert sorted(asked[:8]) == ["GET app", *(f"GET {name}" for name in lists)]
    assert asked[8:] == ["GET app", "PATCH app", "PATCH app"]
