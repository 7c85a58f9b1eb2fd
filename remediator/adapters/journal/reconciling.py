"""What the journal has of the alerts, to be compared with what Alertmanager has."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy import and_, select, text, update

from remediator.adapters.journal.connection import among
from remediator.adapters.journal.known import episodes_of, those_of
from remediator.adapters.journal.schema import episodes, incidents
from remediator.adapters.journal.storms import Storms
from remediator.core.alerts import Alert
from remediator.core.incidents import OVER
from remediator.core.reasons import Reason
from remediator.core.reconcile import SAME, Kept

FIRING_ON_TARGET = text("episodes.firing AND episodes.namespace IS NOT NULL")


class Reconciling(Storms):
    """The part of a transaction that the reconcile with Alertmanager needs."""

    def kept_episodes(self, alerts: Iterable[Alert]) -> Sequence[Kept]:
        """What fires on a target as far as we know, and of these alerts this firing period and what fires."""
        query = select(
            episodes, and_(incidents.c.id.is_not(None), incidents.c.phase.not_in(OVER)).label("open")
        ).outerjoin(incidents, episodes.c.incident_id == incidents.c.id)
        rows = {row.id: row for row in self._db.execute(query.where(FIRING_ON_TARGET))}
        listed = query.where(episodes_of(self._dialect, SAME))
        rows |= {row.id: row for row in self._db.execute(listed, those_of(alerts, self._dialect))}
        return [
            Kept(
                id=row.id,
                fingerprint=row.fingerprint,
                starts_at=row.starts_at,
                alert=row.alert,
                firing=row.firing,
                reason=Reason(row.reason),
                last_seen=row.last_seen,
                missing_since=row.missing_since,
                incident_id=row.incident_id,
                incident_open=bool(row.open),
            )
            for row in rows.values()
        ]

    def mark_missing(self, numbers: Sequence[int], *, since: datetime | None) -> None:
        """Write since when Alertmanager has not listed these episodes; None: it lists them."""
        named = update(episodes).where(among(episodes.c.id, "at_ids", self._dialect))
        if numbers:
            self._db.execute(named.values(missing_since=since), {"at_ids": list(numbers)})
