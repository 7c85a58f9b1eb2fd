"""Journals with a past: closed incidents as the flow leaves them, written by one statement for each table."""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

from remediator.adapters.journal import SqlJournal
from remediator.core.actions import RestartIntent, intent_to_record

EVENTS_EACH = 5
_QUARTER = 900_000_000
_INTENT = json.dumps(
    intent_to_record(
        RestartIntent(uid="u", generation=1, template_digest="d", restarted_at="2026-01-01T00:00:00Z")
    )
)
_UPTO = "WITH RECURSIVE past(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM past WHERE n < :n)"
_STATEMENTS = (
    f"""INSERT INTO incidents (id, namespace, deployment, alert, phase, opened_at, alert_started_at, phase_since,
            closed_at, reason, next_at, lease_until, fence, claims, signals, last_seq, last_hash)
        {_UPTO} SELECT n, 'bench', 'past-' || (n % 100), 'BenchScoreLow', 'closed', :last - n * :step,
            :last - n * :step, :last - n * :step, :last - n * :step, 'recovered', :last - n * :step, 0, 9, 0, 0, 5,
            hex(randomblob(32)) FROM past""",
    f"""INSERT INTO notifications (digest, received_at, last_received_at, times, group_key, receiver, alerts,
            truncated_alerts, body)
        {_UPTO} SELECT hex(randomblob(32)), :last - n * :step, :last - n * :step, 1, 'group', 'remediator', 1, 0,
            hex(randomblob(150)) FROM past""",
    f"""INSERT INTO episodes (fingerprint, starts_at, alert, namespace, deployment, labels, firing, first_seen,
            last_seen, resolved_at, reason, incident_id)
        {_UPTO} SELECT hex(randomblob(8)), :last - n * :step, 'BenchScoreLow', 'bench', 'past-' || (n % 100), '{{}}',
            0, :last - n * :step, :last - n * :step, :last - n * :step, 'resolved', n FROM past""",
    f"""INSERT INTO attempts (incident_id, namespace, deployment, step, kind, intent, state, intended_at,
            tries, maybe_sent, applied_at, applied_generation, rolled_out_at, ended_at, verdict, reason,
            ready_before, samples)
        {_UPTO} SELECT n, 'bench', 'past-' || (n % 100), 1, 'restart', :intent, 'judged', :last - n * :step, 1,
            1, :last - n * :step, 3, :last - n * :step, :last - n * :step, 'recovered', 'recovered', 3, '[]'
            FROM past""",
    f"""INSERT INTO last_applied (namespace, deployment, target_kind, kind, at)
        {_UPTO} SELECT 'bench', 'past-' || (n % 100), 'Deployment', 'restart', :last - min(n) * :step FROM past GROUP BY n % 100""",
    f"""INSERT INTO events (incident_id, seq, at, kind, reason, detail, data, previous_hash, hash)
        {_UPTO} SELECT n, seq, :last - n * :step, 'decided', 'act', 'attempt 1: rolling restart', '{{}}',
            hex(randomblob(32)), hex(randomblob(32))
            FROM past, (SELECT 1 seq UNION SELECT 2 UNION SELECT 3 UNION SELECT 4 UNION SELECT 5)""",
)


def seed(file: Path, incidents: int, *, now: datetime | None = None) -> None:
    """A journal with so many closed incidents, the last one two days ago, one each quarter of an hour."""
    file.parent.mkdir(parents=True, exist_ok=True)
    journal = SqlJournal(f"sqlite:///{file}")
    journal.migrate()
    journal.close()
    last = int(((now or datetime.now(UTC)) - timedelta(days=2)).timestamp()) * 1_000_000
    db = sqlite3.connect(file, isolation_level=None)
    db.execute("PRAGMA synchronous=OFF")
    db.execute("BEGIN")
    for statement in _STATEMENTS:
        db.execute(statement, {"n": incidents, "last": last, "step": _QUARTER, "intent": _INTENT})
    db.execute("COMMIT")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
