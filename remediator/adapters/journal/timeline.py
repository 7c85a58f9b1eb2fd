"""Append-only events per incident, each hashed over the one before it, and the durable counters."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select, update

from remediator.adapters.journal.connection import insert_into
from remediator.adapters.journal.schema import counters, events, incidents
from remediator.core.reasons import Reason

_SHARDS = 8


class Timeline:
    """The part of a transaction that tells the story."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection
        self._dialect = connection.dialect.name

    def append(
        self, incident_id: int, kind: str, reason: Reason, detail: str, *, now: datetime, data: Any = None
    ) -> None:
        """Add one event to the incident's timeline."""
        last = self._db.execute(
            select(incidents.c.last_seq, incidents.c.last_hash)
            .where(incidents.c.id == incident_id)
            .with_for_update()
        ).one()
        event = {
            "incident_id": incident_id,
            "seq": last.last_seq + 1,
            "at": now,
            "kind": kind,
            "reason": reason.value,
            "detail": detail,
            # NaN and Infinity as texts: PostgreSQL's JSON does not know them.
            "data": json.loads(json.dumps(data, default=str), parse_constant=str),
        }
        digest = event_hash(last.last_hash, event)
        self._db.execute(events.insert(), {**event, "previous_hash": last.last_hash, "hash": digest})
        self._db.execute(
            update(incidents)
            .where(incidents.c.id == incident_id)
            .values(last_seq=last.last_seq + 1, last_hash=digest)
        )

    def count(self, name: str, labels: Mapping[str, str], amount: float = 1) -> None:
        """Add to a counter that the metrics show."""
        statement = insert_into(counters, self._dialect).values(
            name=name,
            labels=json.dumps(dict(labels), sort_keys=True),
            shard=0 if self._dialect == "sqlite" else random.randrange(_SHARDS),  # noqa: S311 - spreads writers
            value=amount,
        )
        self._db.execute(
            statement.on_conflict_do_update(
                index_elements=["name", "labels", "shard"],
                set_={"value": counters.c.value + statement.excluded.value},
            )
        )


def event_hash(previous: str, event: Mapping[str, Any]) -> str:
    """Hash an event over its predecessor's hash: changing or removing one breaks all that follow."""
    text = json.dumps(
        {key: event[key] for key in ("incident_id", "seq", "at", "kind", "reason", "detail", "data")},
        sort_keys=True,
        default=lambda value: value.isoformat(),
    )
    return hashlib.sha256(f"{previous}\n{text}".encode()).hexdigest()


def first_broken(rows: Iterable[Mapping[str, Any]], *, last_seq: int, last_hash: str) -> int | None:
    """The `seq` of the first event of one timeline, in order, that does not fit its predecessor.

    The incident knows the last one, so that a removed or added end shows too.
    """
    previous, expected = "", 1
    for row in rows:
        fits = row["seq"] == expected <= last_seq and row["previous_hash"] == previous
        if not fits or row["hash"] != event_hash(previous, row):
            return expected
        previous, expected = row["hash"], expected + 1
    return None if previous == last_hash else expected
