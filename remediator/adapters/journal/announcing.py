"""What is to be announced: written with the line it is about, gone once it was told."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import and_, delete, select, tuple_

from remediator.adapters.journal.reconciling import Reconciling
from remediator.adapters.journal.records import target_from
from remediator.adapters.journal.schema import announcements, events, incidents, is_about, target_columns
from remediator.core.actions import Target
from remediator.core.announcements import Announcement
from remediator.core.reasons import Reason


class Announcing(Reconciling):
    """The part of a transaction that knows what is still to be announced."""

    def announcements(
        self, *, most: int, about: Target | None = None, other_than: Collection[Target] = ()
    ) -> Sequence[Announcement]:
        """The oldest that wait: all, of one target, or of others."""
        line = and_(events.c.incident_id == announcements.c.incident_id, events.c.seq == announcements.c.seq)
        query = (
            select(
                announcements.c.id,
                events.c.incident_id,
                events.c.at,
                events.c.kind,
                events.c.reason,
                events.c.detail,
                events.c.hash,
                *target_columns(incidents),
                incidents.c.alert,
                incidents.c.opened_at,
            )
            .join(events, line)
            .join(incidents, incidents.c.id == events.c.incident_id)
            .order_by(announcements.c.id)
            .limit(most)
        )
        if about is not None:
            query = query.where(is_about(incidents, about))
        if other_than:
            those = [(one.namespace, one.name, one.kind.value) for one in other_than]
            query = query.where(tuple_(*target_columns(incidents)).not_in(those))
        return [
            Announcement(
                number=row.id,
                target=target_from(row),
                incident=row.incident_id,
                opened_at=row.opened_at,
                alert=row.alert,
                at=row.at,
                kind=row.kind,
                reason=Reason(row.reason),
                detail=row.detail,
                digest=row.hash,
            )
            for row in self._db.execute(query)
        ]

    def announced(self, number: int) -> bool:
        """Be done with one; whether it still waited."""
        gone = delete(announcements).where(announcements.c.id == number).returning(announcements.c.id)
        return self._db.execute(gone).one_or_none() is not None
