"""The journal: transactions, claims, and what people and metrics read from it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, func, or_, select, update

from remediator.adapters.journal.connection import connect, database_now, reading, writing
from remediator.adapters.journal.migrate import upgrade
from remediator.adapters.journal.records import attempt_from, incident_from, pause_from
from remediator.adapters.journal.schema import (
    attempts,
    counters,
    episodes,
    events,
    incidents,
    notifications,
    pauses,
)
from remediator.adapters.journal.timeline import first_broken
from remediator.adapters.journal.transaction import Transaction
from remediator.core.actions import Target
from remediator.core.incidents import WORKING_PHASES, Attempt, AttemptState, Incident, Pause, Phase
from remediator.ports import Claim

_WORKING = [phase.value for phase in WORKING_PHASES]

FAR = timedelta(minutes=5)
"""Nothing is ever scheduled farther ahead: a `next_at` beyond it means that the clock was set back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """One incident with everything that happened."""

    incident: Incident
    attempts: tuple[Attempt, ...]
    alerts: tuple[Mapping[str, Any], ...]
    events: tuple[Mapping[str, Any], ...]
    broken_at: int | None
    """`seq` of the first event whose hash does not fit: somebody changed the timeline."""


class SqlJournal:
    """The journal in one database, given by URL."""

    def __init__(self, url: str) -> None:
        self._engine = connect(url)
        self._dialect = self._engine.dialect.name
        self._clock: ColumnElement[int] = database_now(self._dialect)

    def migrate(self) -> None:
        """Bring the database to this build's schema. Raises JournalUnavailable."""
        upgrade(self._engine)

    def close(self) -> None:
        self._engine.dispose()

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Write; on SQLite this is the one writer. Raises JournalUnavailable."""
        with writing(self._engine) as connection:
            yield Transaction(connection)

    @contextmanager
    def reading(self) -> Iterator[Transaction]:
        """Only read, without keeping a writer waiting."""
        with reading(self._engine) as connection:
            yield Transaction(connection)

    def ping(self) -> None:
        """Raise JournalUnavailable unless the journal can be written."""
        with writing(self._engine) as connection:
            connection.execute(select(incidents.c.id).limit(1)).first()

    def claim(self, owner: str, *, lease: timedelta, now: datetime) -> Claim | None:
        """Lease one due incident in a phase that this build can advance."""
        if self._dialect == "sqlite":  # an idle poll takes no write lock
            with reading(self._engine) as connection:
                if connection.execute(self._due(now)).first() is None:
                    return None
        with writing(self._engine) as connection:
            row = connection.execute(
                update(incidents)
                .where(incidents.c.id.in_(self._due(now).with_for_update(skip_locked=True)))
                .values(
                    lease_owner=owner,
                    lease_until=self._clock + lease // timedelta(microseconds=1),
                    fence=incidents.c.fence + 1,
                    claims=incidents.c.claims + 1,
                )
                .returning(incidents)
            ).one_or_none()
        if row is None:
            return None
        return Claim(
            incident=incident_from(row), owner=owner, fence=row.fence, claims=row.claims, signals=row.signals
        )

    def release(self, claim: Claim) -> None:
        """Give the lease back, so that another worker need not wait until it runs out."""
        with writing(self._engine) as connection:
            connection.execute(
                update(incidents)
                .where(
                    incidents.c.id == claim.incident.id,
                    incidents.c.lease_owner == claim.owner,
                    incidents.c.fence == claim.fence,
                )
                .values(lease_owner=None, lease_until=0)
            )

    def next_due(self, *, now: datetime) -> timedelta | None:
        """How long until the next incident is due, or None when none waits."""
        with reading(self._engine) as connection:
            at = connection.execute(
                select(func.min(incidents.c.next_at)).where(incidents.c.phase.in_(_WORKING))
            ).scalar()
        return None if at is None else max(at - now, timedelta())

    def incidents(self, *, open_only: bool = False, limit: int = 50) -> list[Incident]:
        """The newest incidents first."""
        query = select(incidents).order_by(incidents.c.id.desc()).limit(limit)
        if open_only:
            query = query.where(incidents.c.phase != Phase.CLOSED)
        with reading(self._engine) as connection:
            return [incident_from(row) for row in connection.execute(query)]

    def story(self, incident_id: int) -> Story | None:
        """One incident with everything that happened, or None."""
        with reading(self._engine) as db:
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
        with reading(self._engine) as connection:
            body: str | None = connection.execute(query).scalar()
            return body

    def pauses(self, *, now: datetime) -> list[Pause]:
        """The pauses in force."""
        query = select(pauses).where(
            pauses.c.ended_at.is_(None), or_(pauses.c.until.is_(None), pauses.c.until > now)
        )
        with reading(self._engine) as connection:
            return [pause_from(row) for row in connection.execute(query.order_by(pauses.c.id))]

    def end_pauses(self, *, scope: str | None, by: str, now: datetime) -> int:
        """Resume: end the pauses of that scope, or all; returns how many there were."""
        query = update(pauses).where(pauses.c.ended_at.is_(None))
        if scope is not None:
            query = query.where(pauses.c.scope == scope)
        with writing(self._engine) as connection:
            ended = connection.execute(query.values(ended_at=now, ended_by=by).returning(pauses.c.id)).all()
            connection.execute(
                update(incidents)
                .where(incidents.c.phase == Phase.DECIDING)
                .values(next_at=now, signals=incidents.c.signals + 1)
            )
            return len(ended)

    def gauges(self) -> dict[str, int]:
        """How many incidents are in each phase that is not closed."""
        query = select(incidents.c.phase, func.count()).where(incidents.c.phase != Phase.CLOSED)
        with reading(self._engine) as connection:
            return {row[0]: row[1] for row in connection.execute(query.group_by(incidents.c.phase))}

    def open_phases(self) -> dict[Target, Phase]:
        """The targets that have an open incident, and the phase it is in."""
        query = select(incidents.c.namespace, incidents.c.deployment, incidents.c.phase)
        with reading(self._engine) as connection:
            rows = connection.execute(query.where(incidents.c.phase != Phase.CLOSED)).all()
        return {Target(row.namespace, row.deployment): Phase(row.phase) for row in rows}

    def spent(self, *, since: datetime) -> list[tuple[Target, datetime]]:
        """The attempts intended after that moment that the guardrails count against the budgets."""
        query = select(attempts.c.namespace, attempts.c.deployment, attempts.c.intended_at).where(
            attempts.c.intended_at > since, attempts.c.state != AttemptState.WITHDRAWN.value
        )
        with reading(self._engine) as connection:
            rows = connection.execute(query).all()
        return [(Target(row.namespace, row.deployment), row.intended_at) for row in rows]

    def last_applied(self) -> dict[tuple[Target, str], datetime]:
        """When the API server last accepted a change, by target and kind of action."""
        of = (attempts.c.namespace, attempts.c.deployment, attempts.c.kind)
        query = select(*of, func.max(attempts.c.applied_at).label("at")).group_by(*of)
        with reading(self._engine) as connection:
            rows = connection.execute(query.where(attempts.c.applied_at.is_not(None))).all()
        return {(Target(row.namespace, row.deployment), row.kind): row.at for row in rows}

    def counters(self) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        """The durable counters by name and sorted labels."""
        totals: Counter[tuple[str, tuple[tuple[str, str], ...]]] = Counter()
        with reading(self._engine) as connection:
            for row in connection.execute(select(counters)):
                totals[row.name, tuple(sorted(json.loads(row.labels).items()))] += row.value
        return dict(totals)

    def _due(self, now: datetime) -> Any:
        return (
            select(incidents.c.id)
            .where(
                and_(
                    incidents.c.phase.in_(_WORKING),
                    or_(incidents.c.next_at <= now, incidents.c.next_at > now + FAR),
                    incidents.c.lease_until <= self._clock,
                )
            )
            .order_by(incidents.c.next_at)
            .limit(1)
        )
