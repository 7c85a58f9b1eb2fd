"""The statements on the way from a notification to an action, built once: building costs more than running.

What a partial index is about is written out, never a parameter: SQLite uses such an index only when it can
see that the predicate holds. Names of parameters in a WHERE begin with `at_`; an UPDATE sets the columns it
is given values for.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    BigInteger,
    BindParameter,
    ColumnElement,
    Integer,
    Select,
    Text,
    and_,
    bindparam,
    case,
    func,
    literal,
    literal_column,
    or_,
    select,
    text,
    union_all,
    update,
)
from sqlalchemy.sql.dml import ReturningInsert, ReturningUpdate
from sqlalchemy.types import TypeEngine

from remediator.adapters.journal.connection import among, insert_into
from remediator.adapters.journal.many import Given, Many, rows_of
from remediator.adapters.journal.schema import (
    EPOCH,
    Instant,
    announcements,
    attempts,
    counters,
    episodes,
    events,
    heard,
    incidents,
    last_applied,
    notifications,
    pauses,
    target_columns,
)
from remediator.core.incidents import BREAKER, WORKING_PHASES
from remediator.core.intake import WATCHDOG
from remediator.ports import Claim

if TYPE_CHECKING:
    from remediator.adapters.journal.connection import Upsert

OPEN = text("incidents.phase NOT IN ('closed', 'returning')")
NOT_CLOSED = text("incidents.phase <> 'closed'")
TO_BE_RETURNED = text("incidents.phase NOT IN ('closed', 'escalated') AND incidents.return_to IS NOT NULL")
_OURS = ", ".join(f"'{phase.value}'" for phase in WORKING_PHASES)
WORKING = text(f"incidents.phase NOT IN ('closed', 'escalated') AND incidents.phase IN ({_OURS})")
"""As the index says, and a phase that this build can advance."""
IN_FLIGHT = text("attempts.state IN ('intended', 'applied', 'rolled_out')")
IN_STORM = text("incidents.phase = 'deciding' AND incidents.hold_reason = 'storm'")

FAR = timedelta(minutes=5)
"""Nothing is ever scheduled farther ahead: a `next_at` beyond it means that the clock was set back."""


def _instant(name: str) -> BindParameter[datetime]:
    return bindparam(name, type_=Instant())


HELD = and_(
    incidents.c.id == bindparam("at_id"),
    incidents.c.lease_owner == bindparam("at_owner"),
    incidents.c.fence == bindparam("at_fence"),
)
"""The incident, unless somebody else has claimed it since."""


def held(claim: Claim) -> dict[str, Any]:
    """The parameters of HELD."""
    return {"at_id": claim.incident.id, "at_owner": claim.owner, "at_fence": claim.fence}


INCIDENT = select(incidents).where(HELD).with_for_update(key_share=True)
FIRING: Select[Any] = (
    select(literal_column("1"))
    .select_from(episodes)
    .where(episodes.c.incident_id == bindparam("at_id"), text("episodes.firing"))
    .limit(literal_column("1"))
)
ATTEMPTS = select(attempts).where(attempts.c.incident_id == bindparam("at_id")).order_by(attempts.c.id)
LAST_TOLD = (  # from the end, by the index of an incident's events: what takes turns stands close to it
    select(events.c.at)
    .where(
        events.c.incident_id == bindparam("at_id"),
        events.c.kind == bindparam("at_kind"),
        events.c.reason == bindparam("at_reason"),
        events.c.at >= bindparam("at_since"),
    )
    .order_by(events.c.seq.desc())
    .limit(literal_column("1"))
)
PAUSES = select(pauses).where(pauses.c.ended_at.is_(None)).order_by(pauses.c.id)
_BREAKER_RESET = select(func.max(pauses.c.ended_at)).where(pauses.c.by == BREAKER)
_WATCHDOG = select(heard.c.at).where(heard.c.name == WATCHDOG)
LAST_TIMES = select(
    _BREAKER_RESET.scalar_subquery().label("breaker_reset_at"),
    _WATCHDOG.scalar_subquery().label("watchdog_at"),
)
IN_STORM_TARGETS = select(*target_columns(incidents)).where(IN_STORM).limit(bindparam("at_most"))
NEXT_DUE = select(func.min(incidents.c.next_at)).where(WORKING)

_newest = func.max(incidents.c.opened_at)
OPENINGS = (
    select(*target_columns(incidents), _newest.label("at"))
    .where(incidents.c.opened_at > _instant("at_since"))
    .group_by(*target_columns(incidents))
    .order_by(_newest.desc())
    .limit(bindparam("at_most"))
)
# Two branches, each with its index: with an OR neither database would use one.
RECENT_ATTEMPTS = select(attempts).where(
    attempts.c.id.in_(
        union_all(
            select(attempts.c.id).where(attempts.c.intended_at > _instant("at_since")),
            select(attempts.c.id).where(IN_FLIGHT),
        )
    )
)

_TAIL = (incidents.c.id, incidents.c.last_seq, incidents.c.last_hash)
NEW_ATTEMPT = attempts.insert().returning(attempts.c.id)
UPDATE_ATTEMPT = update(attempts).where(attempts.c.id == bindparam("at_id"))
# A signal that came while we worked must not be lost: then it is due at once.
SAVE_INCIDENT = (
    update(incidents)
    .where(HELD)
    .values(
        next_at=case(
            (incidents.c.signals != bindparam("at_signals"), _instant("at_now")),
            else_=_instant("at_next"),
        )
    )
    .returning(incidents)
)
RELEASE = update(incidents).where(HELD)


def due(clock: ColumnElement[int]) -> Select[Any]:
    """The incident that has been due for longest, and that nobody holds by that clock."""
    return (
        select(incidents.c.id)
        .where(
            WORKING,
            or_(incidents.c.next_at <= _instant("at_now"), incidents.c.next_at > _instant("at_far")),
            incidents.c.lease_until <= clock,
        )
        .order_by(incidents.c.next_at)
        .limit(literal_column("1"))
    )


def claim_due(clock: ColumnElement[int]) -> ReturningUpdate[Any]:
    one = due(clock).with_for_update(skip_locked=True, key_share=True)
    until = clock + bindparam("at_lease", type_=BigInteger())
    return (
        update(incidents)
        .where(incidents.c.id.in_(one))
        .values(lease_until=until, fence=incidents.c.fence + 1, claims=incidents.c.claims + 1)
        .returning(incidents)
    )


@cache
def open_incidents(dialect: str) -> Select[Any]:
    """All pairs of a namespace and a name: more than was asked for, but by the index."""
    return select(*_TAIL, *target_columns(incidents)).where(
        OPEN,
        among(incidents.c.namespace, "at_namespaces", dialect),
        among(incidents.c.deployment, "at_deployments", dialect),
    )


@cache
def lock_open_incidents(dialect: str) -> Select[Any]:
    return in_order(open_incidents(dialect))


@cache
def lock_incidents(dialect: str) -> Select[Any]:
    return in_order(
        select(*_TAIL, *target_columns(incidents)).where(among(incidents.c.id, "at_ids", dialect))
    )


def in_order(some: Select[Any]) -> Select[Any]:
    """Lock incidents in one order for all, so that no two transactions wait for each other.

    `key_share`: an episode that refers to the incident, written by another transaction, is not in the way.
    """
    return some.order_by(incidents.c.id).with_for_update(key_share=True)


@cache
def new_incidents(dialect: str) -> ReturningInsert[Any]:
    """Waits for another transaction that begins one on the same target; what it has begun is left out."""
    free = insert_into(incidents, dialect).on_conflict_do_nothing(
        index_elements=target_columns(incidents), index_where=text("phase NOT IN ('closed', 'returning')")
    )
    return free.returning(incidents.c.id, *target_columns(incidents))


@cache
def keep_notification(dialect: str) -> ReturningInsert[Any]:
    """A body that comes again is counted."""
    new = insert_into(notifications, dialect)
    return new.on_conflict_do_update(
        index_elements=["digest"],
        set_={"times": notifications.c.times + 1, "last_received_at": new.excluded.last_received_at},
    ).returning(notifications.c.id)


@cache
def keep_episodes(dialect: str) -> Many:
    given = rows_of(
        episodes,
        (
            "fingerprint",
            "starts_at",
            "alert",
            *(column.name for column in target_columns(episodes)),
            "labels",
            "firing",
            "first_seen",
            "last_seen",
            "resolved_at",
            "reason",
            "incident_id",
        ),
        dialect,
    )
    new = given.into(episodes)
    changed = ("firing", "last_seen", "resolved_at", "reason")
    kept = new.on_conflict_do_update(
        index_elements=["fingerprint", "starts_at"],
        set_={
            **{name: new.excluded[name] for name in changed},
            "incident_id": func.coalesce(new.excluded.incident_id, episodes.c.incident_id),
        },
    )
    return Many(given, kept)


@cache
def new_events(dialect: str) -> Many:
    names = ("incident_id", "seq", "at", "kind", "reason", "detail", "data", "previous_hash", "hash")
    given = rows_of(events, names, dialect)
    return Many(given, given.into(events))


@cache
def new_announcements(dialect: str) -> Many:
    given = rows_of(announcements, ("incident_id", "seq"), dialect)
    return Many(given, given.into(announcements))


@cache
def grow_incidents(dialect: str) -> Many:
    """Write the last event of each, and make due at once whom `at_woken` (1, else 0) says."""
    types: dict[str, TypeEngine[Any]] = {
        "at_id": BigInteger(),
        "at_seq": Integer(),
        "at_hash": Text(),
        "at_woken": Integer(),
    }
    given = Given(dialect, types)
    grown = (
        update(incidents)
        .where(incidents.c.id == given["at_id"])
        .values(
            last_seq=given["at_seq"],
            last_hash=given["at_hash"],
            signals=incidents.c.signals + given["at_woken"],
            next_at=case((given["at_woken"] == 1, literal(EPOCH, Instant())), else_=incidents.c.next_at),
        )
    )
    return Many(given, grown)


@cache
def keep_last_applied(dialect: str) -> Upsert:
    new = insert_into(last_applied, dialect)
    return new.on_conflict_do_update(
        index_elements=list(last_applied.primary_key.columns), set_={"at": new.excluded.at}
    )


@cache
def add_to_counters(dialect: str) -> Many:
    given = rows_of(counters, ("name", "labels", "shard", "value"), dialect)
    new = given.into(counters)
    added = new.on_conflict_do_update(
        index_elements=["name", "labels", "shard"],
        set_={"value": counters.c.value + new.excluded.value},
    )
    return Many(given, added)
