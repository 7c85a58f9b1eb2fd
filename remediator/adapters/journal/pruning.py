"""Retention: what is old goes, in small pieces, and nothing that a guardrail may still ask for.

An incident goes as a whole, with its timeline, attempts and episodes, so that every chain of hashes that is
left can be verified. Counters stay: they are sums of what was.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Table, and_, delete, func, not_, or_, select

from remediator.adapters.journal.connection import reading, writing
from remediator.adapters.journal.schema import (
    attempts,
    episodes,
    events,
    incidents,
    notifications,
    pauses,
    refused_alerts,
    storms,
)
from remediator.core.incidents import BREAKER, Phase
from remediator.ports import Keep

_AIM = 0.020
"""Seconds that one piece may keep writers waiting: the pieces are made smaller or larger to meet it."""
_SMALLEST_PIECE, _LARGEST_PIECE = 10, 500
"""Below the smallest it is the commit that takes the time: on a slow disk a smaller piece keeps writers
waiting as long, and the old would come in faster than it goes."""
_MARGIN = timedelta(hours=1)
"""Kept beyond what the guardrails look back to: clocks differ."""

Piece = Callable[[Connection, int], int]
"""Deletes up to so many rows of one table, with what hangs on them; returns how many."""


class Pruning:
    """Deletes what is older, or more, than is to be kept."""

    def __init__(self, engine: Engine, readers: Engine) -> None:
        self._engine = engine
        self._readers = readers

    def prune(self, keep: Keep, *, now: datetime, within: timedelta | None = None) -> dict[str, int]:
        """Returns how many rows of which table went. Raises JournalUnavailable; what is gone is gone then."""
        ends = None if within is None else time.monotonic() + within.total_seconds()
        gone: dict[str, int] = {}
        for name, piece in self._pieces(keep, now):
            size, gone[name] = _SMALLEST_PIECE, 0
            while ends is None or time.monotonic() < ends:
                began = time.monotonic()
                with writing(self._engine) as connection:
                    deleted = piece(connection, size)
                took = time.monotonic() - began
                gone[name] += deleted
                if deleted < size:
                    break
                size = max(_SMALLEST_PIECE, min(_LARGEST_PIECE, size * 2, int(size * _AIM / took)))
                time.sleep(took)  # half of the time is for others
        return gone

    def _pieces(self, keep: Keep, now: datetime) -> Iterator[tuple[str, Piece]]:
        needed = now - keep.history - _MARGIN
        closed = incidents.c.phase == Phase.CLOSED.value
        old = self._before(incidents.c.closed_at, closed, now - keep.incidents, keep.most_incidents)
        old = min(old, needed)
        yield "incidents", lambda connection, most: _incidents(connection, old, most)
        received = notifications.c.last_received_at
        told = self._before(
            received, received.is_not(None), now - keep.notifications, keep.most_notifications
        )
        yield "notifications", lambda connection, most: _notifications(connection, told, most)
        stray = and_(episodes.c.incident_id.is_(None), episodes.c.last_seen < min(told, needed))
        yield "episodes", lambda connection, most: _rows(connection, episodes, stray, most)
        last = select(func.max(pauses.c.ended_at)).where(pauses.c.by == BREAKER).scalar_subquery()
        # When the breaker was last closed says which failures count.
        ended = and_(pauses.c.ended_at < old, or_(pauses.c.by != BREAKER, pauses.c.ended_at < last))
        # One that ended by itself was ended by nobody, and would be read with every decision.
        over = or_(ended, pauses.c.until < old)
        yield "pauses", lambda connection, most: _rows(connection, pauses, over, most)
        yield "storms", lambda connection, most: _rows(connection, storms, storms.c.ended_at < old, most)

    def _before(
        self, column: ColumnElement[Any], of: ColumnElement[bool], old: datetime, most: int
    ) -> datetime:
        """What is older than this goes: by age, or because there are more than `most` newer ones."""
        query = select(column).where(of).order_by(column.desc()).offset(most).limit(1)
        with reading(self._readers) as connection:
            surplus: datetime | None = connection.execute(query).scalar()
        return old if surplus is None else max(old, surplus + timedelta(microseconds=1))


def _incidents(connection: Connection, old: datetime, most: int) -> int:
    still = select(episodes.c.id).where(
        episodes.c.incident_id == incidents.c.id, episodes.c.firing, episodes.c.last_seen >= old
    )
    query = (
        select(incidents.c.id)
        .where(incidents.c.phase == Phase.CLOSED.value, incidents.c.closed_at < old, not_(still.exists()))
        .order_by(incidents.c.closed_at)
        .limit(most)
    )
    numbers = list(connection.execute(query).scalars())
    for table in (events, attempts, episodes):
        connection.execute(delete(table).where(table.c.incident_id.in_(numbers)))
    connection.execute(delete(incidents).where(incidents.c.id.in_(numbers)))
    return len(numbers)


def _notifications(connection: Connection, old: datetime, most: int) -> int:
    received = notifications.c.last_received_at
    query = select(notifications.c.id).where(received < old).order_by(received).limit(most)
    numbers = list(connection.execute(query).scalars())
    connection.execute(delete(refused_alerts).where(refused_alerts.c.notification_id.in_(numbers)))
    connection.execute(delete(notifications).where(notifications.c.id.in_(numbers)))
    return len(numbers)


def _rows(connection: Connection, table: Table, old: ColumnElement[bool], most: int) -> int:
    numbers = list(connection.execute(select(table.c.id).where(old).limit(most)).scalars())
    connection.execute(delete(table).where(table.c.id.in_(numbers)))
    return len(numbers)
