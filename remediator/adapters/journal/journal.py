"""The journal: transactions, claims, and what people and metrics read from it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from sqlalchemy import ColumnElement, Select, or_, select, update
from sqlalchemy.sql.dml import ReturningUpdate

from remediator.adapters.journal.connection import (
    connect,
    database_now,
    leasing,
    readers_of,
    reading,
    writing,
)
from remediator.adapters.journal.migrate import is_made, upgrade
from remediator.adapters.journal.pruning import Pruning
from remediator.adapters.journal.records import attempt_from, incident_from, pause_from
from remediator.adapters.journal.rounds import Rounds
from remediator.adapters.journal.schema import (
    attempts,
    episodes,
    events,
    incidents,
    notifications,
    pauses,
)
from remediator.adapters.journal.statements import (
    FAR,
    NEXT_DUE,
    NOT_CLOSED,
    RELEASE,
    claim_due,
    due,
    held,
    in_order,
)
from remediator.adapters.journal.sums import Sums
from remediator.adapters.journal.timeline import Line, first_broken
from remediator.adapters.journal.transaction import Transaction
from remediator.core.incidents import (
    BREAKER,
    Attempt,
    Incident,
    Pause,
    Phase,
    Storm,
)
from remediator.ports import Claim


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """One incident with everything that happened."""

    incident: Incident
    attempts: tuple[Attempt, ...]
    alerts: tuple[Mapping[str, Any], ...]
    events: tuple[Mapping[str, Any], ...]
    broken_at: int | None
    """`seq` of the first event whose hash does not fit: somebody changed the timeline."""


class SqlJournal(Sums):
    """The journal in one database, given by URL."""

    def __init__(self, url: str, *, tell: Callable[[Line], None] | None = None) -> None:
        """`tell` gets each line of a timeline once it is committed, and never one that is not."""
        self._tell = tell
        self._engine = connect(url)
        self._readers = readers_of(self._engine)
        super().__init__(self._readers)
        self._dialect = self._engine.dialect.name
        self._clock: ColumnElement[int] = database_now(self._dialect)
        self.rounds = Rounds(self._engine, self._readers)
        self.prune = Pruning(self._engine, self._readers).prune

    def __str__(self) -> str:
        return self._engine.url.render_as_string(hide_password=True)

    def made(self) -> bool:
        """Whether somebody made it before; looking makes none. Raises JournalUnavailable."""
        return is_made(self._readers)

    def migrate(self) -> None:
        """Bring the database to this build's schema. Raises JournalUnavailable."""
        upgrade(self._engine)

    def close(self) -> None:
        self._readers.dispose()
        self._engine.dispose()

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Write; on SQLite this is the one writer. Raises JournalUnavailable."""
        with writing(self._engine) as connection:
            transaction = Transaction(connection)
            yield transaction
            transaction.finish()
        if self._tell is not None:
            for line in transaction.lines:
                self._tell(line)

    @contextmanager
    def reading(self) -> Iterator[Transaction]:
        """Only read, without keeping a writer waiting."""
        with reading(self._readers) as connection:
            yield Transaction(connection, only_reads=True)

    def ping(self) -> None:
        """Raise JournalUnavailable unless the journal can be written."""
        with writing(self._engine) as connection:
            connection.execute(select(incidents.c.id).limit(1)).first()

    def claim(self, owner: str, *, lease: timedelta, now: datetime) -> Claim | None:
        """Lease one due incident in a phase that this build can advance."""
        moment = {"at_now": now, "at_far": now + FAR}
        if self._dialect == "sqlite":  # an idle poll takes no write lock
            with reading(self._readers) as connection:
                if connection.execute(self._due, moment).first() is None:
                    return None
        leased = {"at_lease": lease // timedelta(microseconds=1), "lease_owner": owner}
        with leasing(self._engine) as connection:
            row = connection.execute(self._claim_due, {**moment, **leased}).one_or_none()
        if row is None:
            return None
        return Claim(
            incident=incident_from(row), owner=owner, fence=row.fence, claims=row.claims, signals=row.signals
        )

    def release(self, claim: Claim) -> None:
        """Give the lease back, so that another worker need not wait until it runs out."""
        with leasing(self._engine) as connection:
            connection.execute(RELEASE, {**held(claim), "lease_owner": None, "lease_until": 0})

    def next_due(self, *, now: datetime) -> timedelta | None:
        """How long until the next incident is due, or None when none waits."""
        with reading(self._readers) as connection:
            at = connection.execute(NEXT_DUE).scalar()
        return None if at is None else max(at - now, timedelta())

    def incidents(self, *, open_only: bool = False, limit: int = 50) -> list[Incident]:
        """The newest incidents first."""
        query = select(incidents).order_by(incidents.c.id.desc()).limit(limit)
        if open_only:
            query = query.where(NOT_CLOSED)
        with reading(self._readers) as connection:
            return [incident_from(row) for row in connection.execute(query)]

    def story(self, incident_id: int) -> Story | None:
        """One incident with everything that happened, or None."""
        with reading(self._readers) as db:
            row = db.execute(select(incidents).where(incidents.c.id == incident_id)).one_or_none()
            if row is None:
                return None
            by_id = {"incident_id": incident_id}
            told = db.execute(select(events).filter_by(**by_id).order_by(events.c.seq)).mappings()
            timeline = tuple({str(key): value for key, value in event.items()} for event in told)
            tried = db.execute(select(attempts).filter_by(**by_id).order_by(attempts.c.id))
            seen = db.execute(select(episodes).filter_by(**by_id).order_by(episodes.c.id)).mappings()
            return Story(
                incident=incident_from(row),
                attempts=tuple(attempt_from(attempt) for attempt in tried),
                alerts=tuple({str(key): value for key, value in alert.items()} for alert in seen),
                events=timeline,
                broken_at=first_broken(timeline, last_seq=row.last_seq, last_hash=row.last_hash),
            )

    def notification(self, number: int) -> str | None:
        """The body of a notification as it was received, or None."""
        query = select(notifications.c.body).where(notifications.c.id == number)
        with reading(self._readers) as connection:
            body: str | None = connection.execute(query).scalar()
            return body

    def pauses(self, *, now: datetime) -> list[Pause]:
        """The pauses in force."""
        query = select(pauses).where(
            pauses.c.ended_at.is_(None), or_(pauses.c.until.is_(None), pauses.c.until > now)
        )
        with reading(self._readers) as connection:
            return [pause_from(row) for row in connection.execute(query.order_by(pauses.c.id))]

    def end_pauses(self, *, scope: str | None, by: str, now: datetime, breaker: bool | None = None) -> int:
        """Resume: end the pauses of that scope, or of all; returns how many there were.

        With `breaker` only the one that the breaker set, or only those of people.
        """
        query = update(pauses).where(pauses.c.ended_at.is_(None))
        if scope is not None:
            query = query.where(pauses.c.scope == scope)
        if breaker is not None:
            query = query.where(pauses.c.by == BREAKER if breaker else pauses.c.by != BREAKER)
        held_back = select(incidents.c.id).where(incidents.c.phase.in_((Phase.DECIDING, Phase.RETURNING)))
        with writing(self._engine) as connection:
            ended = connection.execute(query.values(ended_at=now, ended_by=by).returning(pauses.c.id)).all()
            connection.execute(
                update(incidents)
                .where(incidents.c.id.in_(in_order(held_back)))
                .values(next_at=now, signals=incidents.c.signals + 1)
            )
            return len(ended)

    def storm(self) -> Storm | None:
        """The storm that is not over, if there is one."""
        with self.reading() as tx:
            return tx.storm()

    @cached_property
    def _due(self) -> Select[Any]:
        return due(self._clock)

    @cached_property
    def _claim_due(self) -> ReturningUpdate[Any]:
        return claim_due(self._clock)
