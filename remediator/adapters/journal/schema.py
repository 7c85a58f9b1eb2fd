"""The journal's tables. The schema forbids the races: what must be unique has a unique index.

All times are microseconds since 1970 in UTC. Changes go into a new file under `migrations/versions/`; a
test holds the two together.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    and_,
    text,
)

from remediator.core.actions import Target

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def microseconds(at: datetime) -> int:
    """As it is stored."""
    return (at - EPOCH) // _MICROSECOND


class Instant(TypeDecorator[datetime]):
    """An aware UTC datetime as whole microseconds: exact, sortable and the same in both databases."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:  # noqa: ARG002
        return None if value is None else microseconds(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        return None if value is None else EPOCH + timedelta(microseconds=value)


metadata = MetaData()

_Id = BigInteger().with_variant(Integer, "sqlite")  # SQLite numbers rows by itself only for INTEGER


def _id() -> Column[int]:
    return Column("id", _Id, primary_key=True)


_TARGET = ("namespace", "deployment", "target_kind")


def target_columns(table: Table) -> list[Column[Any]]:
    """What says which workload a row is about."""
    return [table.c[name] for name in _TARGET]


def is_about(table: Table, target: Target) -> ColumnElement[bool]:
    """Whether a row is about the target."""
    wanted = (target.namespace, target.name, target.kind.value)
    return and_(*(column == value for column, value in zip(target_columns(table), wanted, strict=True)))


def _target(*, nullable: bool = False) -> list[Column[str]]:
    """Which workload it is about. `deployment` has the name, whichever the kind.

    So a replica of an older version goes on working while a newer one has migrated already.
    """
    return [
        Column("namespace", Text, nullable=nullable),
        Column("deployment", Text, nullable=nullable),
        Column("target_kind", Text, nullable=nullable, server_default="Deployment"),
    ]


def _where(predicate: str) -> dict[str, Any]:
    """Both databases have it. To say so of PostgreSQL here would import its dialect, which takes 2 MiB."""
    return {"sqlite_where": text(predicate)}


# One row per distinct body: Alertmanager sends the same one again and again.
notifications = Table(
    "notifications",
    metadata,
    _id(),
    Column("digest", Text, nullable=False, unique=True),
    Column("received_at", Instant, nullable=False),
    Column("last_received_at", Instant, nullable=False),
    Column("times", Integer, nullable=False),
    Column("group_key", Text, nullable=False),
    Column("receiver", Text, nullable=False),
    Column("alerts", Integer, nullable=False),
    Column("truncated_alerts", Integer, nullable=False),
    Column("body", Text, nullable=False),
    Index("notifications_received", "last_received_at"),
)

# Alerts of good notifications that could not be read: kept for a person, never acted on.
refused_alerts = Table(
    "refused_alerts",
    metadata,
    _id(),
    Column("notification_id", _Id, ForeignKey("notifications.id"), nullable=False),
    Column("alert_index", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    Column("detail", Text, nullable=False),
    UniqueConstraint("notification_id", "alert_index"),
)

# What we own on one target. `phase` is the state; everything below `reason` belongs to the workers.
incidents = Table(
    "incidents",
    metadata,
    _id(),
    *_target(),
    Column("alert", Text, nullable=False),
    Column("phase", Text, nullable=False),
    Column("opened_at", Instant, nullable=False),
    Column("alert_started_at", Instant, nullable=False),
    Column("phase_since", Instant, nullable=False),
    Column("held_since", Instant),
    Column("hold_reason", Text),
    Column("well_since", Instant),
    Column("approved_by", Text),
    Column("approved_step", Integer),
    Column("approved_action", Text),
    Column("approval_refused_by", Text),
    Column("return_to", Integer),  # the replica count before our scale-up
    Column("closed_at", Instant),
    Column("reason", Text),
    Column("storm_id", _Id),  # the storm that held it last
    Column("next_at", Instant, nullable=False),  # when a worker looks at it again
    Column("lease_owner", Text),
    Column("lease_until", BigInteger, nullable=False, default=0),  # by the database's clock
    Column("fence", Integer, nullable=False, default=0),  # counts claims: a late owner's write finds another
    Column("claims", Integer, nullable=False, default=0),  # claims without progress: a poisoned row shows
    Column("signals", Integer, nullable=False, default=0),  # bumped from outside: no wake-up is lost
    Column("last_seq", Integer, nullable=False, default=0),
    Column("last_hash", Text, nullable=False, default=""),
    Index(
        "one_open_incident_per_target",
        *_TARGET,
        unique=True,
        **_where("phase NOT IN ('closed', 'returning')"),
    ),
    Index(
        "one_returning_incident_per_target",
        *_TARGET,
        unique=True,
        **_where("phase = 'returning'"),
    ),
    Index("incidents_due", "next_at", **_where("phase NOT IN ('closed', 'escalated')")),
    Index("incidents_not_closed", "id", **_where("phase <> 'closed'")),
    Index("incidents_opened", "opened_at"),
    Index("incidents_closed", "closed_at", **_where("phase = 'closed'")),
    Index("incidents_in_storm", "id", **_where("phase = 'deciding' AND hold_reason = 'storm'")),
)

# One firing period of one alert.
episodes = Table(
    "episodes",
    metadata,
    _id(),
    Column("fingerprint", Text, nullable=False),
    Column("starts_at", Instant, nullable=False),
    Column("alert", Text, nullable=False),
    *_target(nullable=True),
    Column("labels", JSON, nullable=False),
    Column("firing", Boolean, nullable=False),
    Column("first_seen", Instant, nullable=False),
    Column("last_seen", Instant, nullable=False),
    Column("resolved_at", Instant),
    Column("reason", Text, nullable=False),  # the recorded decision about this alert
    Column("incident_id", _Id, ForeignKey("incidents.id")),
    Column("missing_since", Instant),  # when Alertmanager was first seen without it, without a break
    UniqueConstraint("fingerprint", "starts_at"),
    Index("episodes_incident", "incident_id"),
    Index("episodes_of_no_incident", "last_seen", **_where("incident_id IS NULL")),
    Index("episodes_firing", "fingerprint", **_where("firing")),
    Index("episodes_firing_target", "namespace", "deployment", **_where("firing")),
)

# One execution of a step. Written as intended before the API write it describes.
attempts = Table(
    "attempts",
    metadata,
    _id(),
    Column("incident_id", _Id, ForeignKey("incidents.id"), nullable=False),
    *_target(),
    Column("step", Integer, nullable=False),
    Column("kind", Text, nullable=False),
    Column("intent", JSON, nullable=False),
    Column("state", Text, nullable=False),
    Column("intended_at", Instant, nullable=False),
    Column("tries", Integer, nullable=False, default=0),
    Column("maybe_sent", Boolean, nullable=False, default=False),  # set before each sending
    Column("applied_at", Instant),
    Column("applied_generation", BigInteger),
    Column("rolled_out_at", Instant),
    Column("ended_at", Instant),
    Column("verdict", Text),
    Column("reason", Text),
    Column("ready_before", Integer, nullable=False),
    Column("value_before", Float),
    Column("samples", JSON, nullable=False),
    Index("attempts_incident", "incident_id"),
    Index("attempts_intended", "intended_at"),
    Index(
        "one_attempt_in_flight_per_target",
        *_TARGET,
        unique=True,
        **_where("state IN ('intended', 'applied', 'rolled_out')"),
    ),
)

# When the API server last accepted a change, for the metrics: `attempts` would have to be read whole.
last_applied = Table(
    "last_applied",
    metadata,
    *(Column(name, Text, primary_key=True) for name in _TARGET),
    Column("kind", Text, primary_key=True),
    Column("at", Instant, nullable=False),
)

# The timeline: append-only, and each event's hash covers the one before it.
events = Table(
    "events",
    metadata,
    _id(),
    Column("incident_id", _Id, ForeignKey("incidents.id"), nullable=False),
    Column("seq", Integer, nullable=False),
    Column("at", Instant, nullable=False),
    Column("kind", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("data", JSON, nullable=False),
    Column("previous_hash", Text, nullable=False),
    Column("hash", Text, nullable=False),
    UniqueConstraint("incident_id", "seq"),
)

# Lines of timelines that are still to be told as Kubernetes Events.
announcements = Table(
    "announcements",
    metadata,
    _id(),
    Column("incident_id", _Id, nullable=False),
    Column("seq", Integer, nullable=False),
)

pauses = Table(
    "pauses",
    metadata,
    _id(),
    Column("scope", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("since", Instant, nullable=False),
    Column("until", Instant),
    Column("ended_at", Instant),
    Column("ended_by", Text),
    Index("pauses_active", "scope", **_where("ended_at IS NULL")),
)

# Many targets alerting at once: one escalation for all of them. At most one is open.
storms = Table(
    "storms",
    metadata,
    _id(),
    Column("open", Boolean, unique=True),  # true, or null once it is over
    Column("began_at", Instant, nullable=False),
    Column("detail", Text, nullable=False),
    Column("ended_at", Instant),
    Column("ended_by", Text),
)

# What comes round again and again, and one replica at a time does: who does it, and when it was last done.
rounds = Table(
    "rounds",
    metadata,
    Column("name", Text, primary_key=True),
    Column("owner", Text),
    Column("lease_until", BigInteger, nullable=False),  # by the database's clock
    Column("last_at", Instant),
)

# When something was last heard, by name: the Watchdog.
heard = Table(
    "heard",
    metadata,
    Column("name", Text, primary_key=True),
    Column("at", Instant, nullable=False),
)

# What the metrics show: sums that survive restarts and pruning, the same on every replica.
counters = Table(
    "counters",
    metadata,
    Column("name", Text, primary_key=True),
    Column("labels", Text, primary_key=True),
    Column("shard", Integer, primary_key=True),  # spreads writers of one row
    Column("value", Float, nullable=False),
)

# One row, locked by the transaction that decides: two replicas cannot overspend a budget.
gate = Table("gate", metadata, Column("id", Integer, primary_key=True))
