"""Append-only events per incident, each hashed over the one before it, and the durable counters."""

from __future__ import annotations

import hashlib
import json
import random
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection

from remediator.adapters.journal.records import target_from
from remediator.adapters.journal.statements import (
    LAST_TOLD,
    add_to_counters,
    grow_incidents,
    lock_incidents,
    new_announcements,
    new_events,
)
from remediator.core.actions import Target
from remediator.core.announcements import is_announced
from remediator.core.reasons import Reason

_SHARDS = 8
_PLAIN = json.JSONDecoder(parse_constant=str)
"""NaN and Infinity as texts: PostgreSQL's JSON does not know them."""
_HASHED = json.JSONEncoder(sort_keys=True, default=lambda value: value.isoformat())


class Line(NamedTuple):
    """One event of a timeline, in words."""

    incident: int
    target: str
    kind: str
    reason: str
    detail: str


class Timeline:
    """The part of a transaction that tells the story.

    Events, wake-ups and counters are collected and written by `finish`: a hundred cost little more than one.
    """

    def __init__(self, connection: Connection, *, only_reads: bool = False) -> None:
        self._db = connection
        self._only_reads = only_reads
        """Then no row is locked: who only looks keeps nobody waiting."""
        self._dialect = connection.dialect.name
        self._tails: dict[int, tuple[int, str]] = {}
        """Number and hash of the last event of incidents whose row this transaction has locked."""
        self._targets: dict[int, Target] = {}
        self._new_events: list[dict[str, Any]] = []
        self._grown: set[int] = set()
        """Incidents whose row does not know its last event yet."""
        self._woken: set[int] = set()
        self._counts: defaultdict[tuple[str, str], float] = defaultdict(float)

    def lock_incidents(self, numbers: Iterable[int]) -> None:
        """Keep others from these incidents: in one order for all, so that no two wait for each other."""
        missing = sorted(set(numbers) - self._tails.keys())
        if missing:
            for row in self._db.execute(lock_incidents(self._dialect), {"at_ids": missing}):
                self._tails[row.id] = (row.last_seq, row.last_hash)
                self._targets[row.id] = target_from(row)

    def append(
        self, incident_id: int, kind: str, reason: Reason, detail: str, *, now: datetime, data: Any = None
    ) -> None:
        """Add one event to the incident's timeline."""
        self.lock_incidents((incident_id,))
        last_seq, last_hash = self._tails[incident_id]
        seq = last_seq + 1
        event = {
            "incident_id": incident_id,
            "seq": seq,
            "at": now,
            "kind": kind,
            "reason": reason.value,
            "detail": detail,
            "data": _PLAIN.decode(json.dumps(data, default=str)),
        }
        digest = event_hash(last_hash, event)
        self._new_events.append({**event, "previous_hash": last_hash, "hash": digest})
        self._tails[incident_id] = (seq, digest)
        self._grown.add(incident_id)

    def told_so_far(self, incident_id: int) -> int:
        """How many events the incident's timeline has."""
        self.lock_incidents((incident_id,))
        return self._tails[incident_id][0]

    def last_told(self, incident_id: int, kind: str, reason: Reason, *, since: datetime) -> datetime | None:
        """When the incident's timeline last told that, if it did since then."""
        wanted = {"at_id": incident_id, "at_kind": kind, "at_reason": reason.value, "at_since": since}
        told: datetime | None = self._db.execute(LAST_TOLD, wanted).scalar_one_or_none()
        return told

    @property
    def lines(self) -> list[Line]:
        """What was appended, in words: for whoever is to be told once it is committed."""
        return [
            Line(
                incident=one["incident_id"],
                target=str(self._targets[one["incident_id"]]),
                kind=one["kind"],
                reason=one["reason"],
                detail=one["detail"],
            )
            for one in self._new_events
        ]

    def wake(self, incident_id: int) -> None:
        """Make the incident due before all that is merely due again, also when a worker is busy with it."""
        self.lock_incidents((incident_id,))
        self._woken.add(incident_id)

    def count(self, name: str, labels: Mapping[str, str], amount: float = 1) -> None:
        """Add to a counter that the metrics show."""
        self._counts[name, json.dumps(dict(labels), sort_keys=True)] += amount

    def finish(self) -> None:
        """Write what was collected, at the end of the transaction."""
        new_events(self._dialect).run(self._db, self._new_events)
        announced = [
            {"incident_id": one["incident_id"], "seq": one["seq"]}
            for one in self._new_events
            if is_announced(one["kind"], Reason(one["reason"]))
        ]
        new_announcements(self._dialect).run(self._db, announced)
        grown = [
            {"at_id": one, "at_seq": seq, "at_hash": digest, "at_woken": int(one in self._woken)}
            for one, (seq, digest) in self._tails.items()
            if one in self._grown or one in self._woken
        ]
        grow_incidents(self._dialect).run(self._db, grown)
        self._write_counts()

    def _tail_of(self, incident_id: int) -> dict[str, Any]:
        last_seq, last_hash = self._tails[incident_id]
        return {"last_seq": last_seq, "last_hash": last_hash}

    def _write_counts(self) -> None:
        """Last of all, so that others wait for these rows as briefly as possible."""
        shard = 0 if self._dialect == "sqlite" else random.randrange(_SHARDS)  # noqa: S311 - spreads writers
        # In one order for all, so that no two transactions wait for each other.
        rows = [
            {"name": name, "labels": labels, "shard": shard, "value": amount}
            for (name, labels), amount in sorted(self._counts.items())
        ]
        add_to_counters(self._dialect).run(self._db, rows)


def event_hash(previous: str, event: Mapping[str, Any]) -> str:
    """Hash an event over its predecessor's hash: changing or removing one breaks all that follow."""
    text = _HASHED.encode(
        {key: event[key] for key in ("incident_id", "seq", "at", "kind", "reason", "detail", "data")}
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
