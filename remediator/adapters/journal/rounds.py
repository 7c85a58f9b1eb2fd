"""What comes round again and again, done by one replica at a time; and what was heard last."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Engine, or_, select, update

from remediator.adapters.journal.connection import database_now, insert_into, reading, writing
from remediator.adapters.journal.schema import rounds


class Rounds:
    """Who does which round, in the database. Raises JournalUnavailable."""

    def __init__(self, engine: Engine, readers: Engine) -> None:
        self._engine = engine
        self._readers = readers
        self._clock = database_now(engine.dialect.name)

    def begin(self, name: str, owner: str, *, every: timedelta, lease: timedelta, now: datetime) -> bool:
        """Take the round if it is due and nobody is at it; whether it is ours now."""
        due = or_(
            rounds.c.last_at.is_(None),
            rounds.c.last_at <= now - every,
            rounds.c.last_at > now,  # the clock was set back
        )
        with reading(self._readers) as connection:  # what is not due takes no write lock
            row = connection.execute(
                select(rounds.c.name, due.label("due")).filter_by(name=name)
            ).one_or_none()
        if row is not None and not row.due:
            return False
        with writing(self._engine) as connection:
            if row is None:
                first = insert_into(rounds, self._engine.dialect.name).values(name=name, lease_until=0)
                connection.execute(first.on_conflict_do_nothing())
            taken = (
                update(rounds)
                .where(rounds.c.name == name, due, rounds.c.lease_until <= self._clock)
                .values(owner=owner, lease_until=self._clock + lease // timedelta(microseconds=1))
            )
            return connection.execute(taken.returning(rounds.c.name)).one_or_none() is not None

    def end(self, name: str, owner: str, *, now: datetime | None) -> None:
        """Give the round back, done at that moment, or not done."""
        done = {} if now is None else {"last_at": now}
        with writing(self._engine) as connection:
            connection.execute(
                update(rounds)
                .where(rounds.c.name == name, rounds.c.owner == owner)
                .values(owner=None, lease_until=0, **done)
            )

    def last(self, name: str) -> datetime | None:
        """When the round was last done."""
        with reading(self._readers) as connection:
            at: datetime | None = connection.execute(select(rounds.c.last_at).filter_by(name=name)).scalar()
            return at
