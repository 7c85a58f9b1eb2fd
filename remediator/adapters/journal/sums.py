"""What metrics read: each a look by an index at what is open, recent or summed, never at what ever was."""

from __future__ import annotations

import json
from collections import Counter
from datetime import datetime

from sqlalchemy import Engine, func, select

from remediator.adapters.journal.connection import reading
from remediator.adapters.journal.records import target_from
from remediator.adapters.journal.schema import (
    attempts,
    counters,
    heard,
    incidents,
    last_applied,
    target_columns,
)
from remediator.adapters.journal.statements import OPEN, TO_BE_RETURNED
from remediator.core.actions import Target
from remediator.core.incidents import RETURN_STEP, AttemptState, Phase
from remediator.core.intake import WATCHDOG

Labels = tuple[tuple[str, str], ...]


class Sums:
    """The part of the journal that the metrics read. Raises JournalUnavailable."""

    def __init__(self, readers: Engine) -> None:
        self._readers = readers

    def watchdog_at(self) -> datetime | None:
        """When the Watchdog was last heard, or None."""
        with reading(self._readers) as connection:
            at: datetime | None = connection.execute(select(heard.c.at).filter_by(name=WATCHDOG)).scalar()
            return at

    def gauges(self) -> dict[str, int]:
        """How many incidents are in each phase that is not over."""
        query = select(incidents.c.phase, func.count()).where(OPEN)
        with reading(self._readers) as connection:
            return {row[0]: row[1] for row in connection.execute(query.group_by(incidents.c.phase))}

    def open_phases(self) -> dict[Target, Phase]:
        """The targets that have an open incident, and the phase it is in."""
        query = select(*target_columns(incidents), incidents.c.phase)
        with reading(self._readers) as connection:
            rows = connection.execute(query.where(OPEN)).all()
        return {target_from(row): Phase(row.phase) for row in rows}

    def spent(self, *, since: datetime) -> list[tuple[Target, datetime]]:
        """The attempts intended after that moment that the guardrails count against the budgets."""
        query = select(*target_columns(attempts), attempts.c.intended_at).where(
            attempts.c.intended_at > since,
            attempts.c.state != AttemptState.WITHDRAWN.value,
            attempts.c.step != RETURN_STEP,
        )
        with reading(self._readers) as connection:
            rows = connection.execute(query).all()
        return [(target_from(row), row.intended_at) for row in rows]

    def returns_pending(self) -> int:
        """How many scale-ups are still to be given back."""
        query = select(func.count()).select_from(incidents).where(TO_BE_RETURNED)
        with reading(self._readers) as connection:
            return int(connection.execute(query).scalar() or 0)

    def last_applied(self) -> dict[tuple[Target, str], datetime]:
        """When the API server last accepted a change, by target and kind of action."""
        with reading(self._readers) as connection:
            rows = connection.execute(select(last_applied)).all()
        return {(target_from(row), row.kind): row.at for row in rows}

    def counters(self) -> dict[tuple[str, Labels], float]:
        """The durable counters by name and sorted labels."""
        totals: Counter[tuple[str, Labels]] = Counter()
        with reading(self._readers) as connection:
            for row in connection.execute(select(counters)):
                totals[row.name, tuple(sorted(json.loads(row.labels).items()))] += row.value
        return dict(totals)
