"""Storms: one row for many incidents that began at once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select, update

from remediator.adapters.journal.connection import insert_into
from remediator.adapters.journal.intake import Intake
from remediator.adapters.journal.records import incident_from, target_from
from remediator.adapters.journal.schema import incidents, storms
from remediator.adapters.journal.statements import IN_STORM, IN_STORM_TARGETS, OPENINGS, in_order
from remediator.core.actions import Target
from remediator.core.decisions import Opening
from remediator.core.incidents import Incident, Storm
from remediator.core.policy import Limits

MOST_COUNTED = 50
"""Targets that the storm guardrail hears of, unless the policy's limit is higher: more change no answer."""


class Storms(Intake):
    """The part of a transaction that knows of storms."""

    def openings(self, limits: Limits, *, now: datetime) -> tuple[Opening, ...]:
        """When the newest incidents began, one for each target."""
        since, most = now - limits.storm_within, max(MOST_COUNTED, limits.storm_targets)
        rows = self._db.execute(OPENINGS, {"at_since": since, "at_most": most})
        return tuple(Opening(target=target_from(row), at=row.at) for row in rows)

    def in_storm(self, limits: Limits) -> frozenset[Target]:
        """The targets whose incidents the storm guardrail holds."""
        rows = self._db.execute(IN_STORM_TARGETS, {"at_most": max(MOST_COUNTED, limits.storm_targets)})
        return frozenset(target_from(row) for row in rows)

    def storm(self) -> Storm | None:
        """The storm that is not over, if there is one."""
        row = self._db.execute(select(storms).where(storms.c.open)).one_or_none()
        return Storm(id=row.id, began_at=row.began_at, detail=row.detail) if row else None

    def begin_storm(self, detail: str, *, now: datetime) -> tuple[int, bool]:
        """The number of the storm that is not over, and whether it began just now."""
        begun = self._db.execute(
            insert_into(storms, self._dialect)
            .values(open=True, began_at=now, detail=detail)
            .on_conflict_do_nothing()
            .returning(storms.c.id)
        ).scalar()
        if begun is not None:
            return begun, True
        return self._db.execute(select(storms.c.id).where(storms.c.open)).scalar_one(), False

    def end_storm(self, *, by: str, now: datetime) -> bool:
        """Say that the storm is over; whether there was one."""
        ended = update(storms).where(storms.c.open).values(open=None, ended_at=now, ended_by=by)
        return bool(self._db.execute(ended.returning(storms.c.id)).all())

    def held_by_storm(self, *, most: int) -> Sequence[Incident]:
        """Incidents that the storm guardrail holds, oldest first. Takes them from whoever works on them."""
        some = in_order(select(incidents.c.id).where(IN_STORM)).limit(most)
        taken = (
            update(incidents)
            .where(incidents.c.id.in_(some))
            .values(fence=incidents.c.fence + 1, lease_owner=None, lease_until=0)
        )
        return [incident_from(row) for row in self._db.execute(taken.returning(incidents))]
