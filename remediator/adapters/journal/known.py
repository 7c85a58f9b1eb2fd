"""What is known of alerts that are told or listed: of each this firing period, and what fires."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Select, literal_column, select, text, union_all

from remediator.adapters.journal.connection import among, given_pairs, pairs_of
from remediator.adapters.journal.schema import episodes, incidents, microseconds
from remediator.core.alerts import Alert


@cache
def known_episodes(dialect: str) -> Select[Any]:
    return (
        select(
            episodes.c.fingerprint,
            episodes.c.starts_at,
            episodes.c.firing,
            episodes.c.incident_id,
            incidents.c.closed_at,
        )
        .outerjoin(incidents, episodes.c.incident_id == incidents.c.id)
        .where(episodes_of(dialect, timedelta()))
    )


@cache
def episodes_of(dialect: str, within: timedelta) -> ColumnElement[bool]:
    """Episodes of alerts: the one that began when the alert did, give or take `within`, and what fires.

    Not all that ever was of them: an alert that flaps has thousands.
    """
    alerts, fingerprint, at = pairs_of("at_alerts", dialect)
    apart, one = within // timedelta(microseconds=1), episodes.alias("one")
    began = (
        select(one.c.id)
        .where(one.c.fingerprint == fingerprint, one.c.starts_at.between(at - apart, at + apart))
        .order_by(one.c.starts_at)
        .limit(literal_column("1"))  # each by the index: joined, PostgreSQL may read all of them
        .correlate(alerts)
    )
    firing = select(one.c.id).where(among(one.c.fingerprint, "at_fingerprints", dialect), text("one.firing"))
    return episodes.c.id.in_(union_all(select(began.scalar_subquery()).select_from(alerts), firing))


def those_of(alerts: Iterable[Alert], dialect: str) -> dict[str, Any]:
    """The parameters of `episodes_of`."""
    told = sorted({(alert.fingerprint, microseconds(alert.starts_at)) for alert in alerts})
    fingerprints = sorted({fingerprint for fingerprint, _ in told})
    return {"at_fingerprints": fingerprints, **given_pairs("at_alerts", told, dialect)}
