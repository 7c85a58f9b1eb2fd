"""How the journal connects: what differs between SQLite and PostgreSQL is here and nowhere else."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    JSON,
    BigInteger,
    ColumnElement,
    Connection,
    Engine,
    FromClause,
    Table,
    Text,
    any_,
    bindparam,
    cast,
    create_engine,
    event,
    func,
    literal_column,
    select,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import QueuePool

from remediator.adapters.journal.turns import OneInTurn
from remediator.adapters.journal.wal import Wal
from remediator.ports import JournalUnavailable

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql

    Upsert = sqlite.Insert | postgresql.Insert

_BUSY_SECONDS = 5
_READERS = 3


def connect(url: str) -> Engine:
    """Make the engine for a SQLite or PostgreSQL URL. Does not touch the database yet."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return _sqlite(url)
    return create_engine(
        parsed.set(drivername="postgresql+psycopg"),
        pool_size=5,
        max_overflow=5,
        pool_timeout=_BUSY_SECONDS,
        pool_pre_ping=True,
        connect_args={
            "connect_timeout": 3,
            "client_encoding": "utf8",  # a database that was made in the locale C gives bytes otherwise
            "options": "-c statement_timeout=15000 -c lock_timeout=5000",
        },
    )


def readers_of(engine: Engine) -> Engine:
    """Connections that only read, each transaction one consistent view, and neither side waits for the other.

    On SQLite beside the one that writes; on PostgreSQL the same ones.
    """
    if engine.dialect.name != "sqlite":
        # By default each statement sees what was committed before it: a story would be put together from two.
        return engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    readers = create_engine(
        engine.url,
        poolclass=QueuePool,
        pool_size=1,
        max_overflow=_READERS - 1,
        pool_timeout=_BUSY_SECONDS,
        connect_args={"timeout": _BUSY_SECONDS, "check_same_thread": False},
    )

    @event.listens_for(readers, "connect")
    def on_connect(connection: sqlite3.Connection, _record: Any) -> None:
        connection.isolation_level = None
        connection.execute("PRAGMA query_only=ON")

    return _beginning_with("BEGIN", readers)


def _sqlite(url: str) -> Engine:
    """WAL, and ONE connection that writes: a fair line beats busy-waiting."""
    path = make_url(url).database
    if path:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(
        url,
        poolclass=OneInTurn,
        pool_size=1,
        max_overflow=0,
        pool_timeout=_BUSY_SECONDS,
        connect_args={"timeout": _BUSY_SECONDS, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def on_connect(connection: sqlite3.Connection, _record: Any) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    return _beginning_with("BEGIN IMMEDIATE", engine)


def _beginning_with(statement: str, engine: Engine) -> Engine:
    """Not by an event of the engine, which would cost each statement a tenth of its CPU time."""

    def begin(connection: Any) -> None:
        connection.execute(statement)

    engine.dialect.do_begin = begin  # type: ignore[assignment, method-assign]
    return engine


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """One transaction, durable when this ends. Raises JournalUnavailable when the database cannot take it.

    Or when it is not certain to be durable: then it may be there all the same, as after a crash.
    """
    with _translated(), engine.begin() as connection:
        yield connection
        wal = _wal_of(connection)
    try:
        if wal is not None:
            wal.flush()
    except OSError as error:
        raise JournalUnavailable(f"not durable: {error}") from error


@contextmanager
def leasing(engine: Engine) -> Iterator[Connection]:
    """One transaction about leases: a power cut may undo it, as it ends whoever had them.

    What is written afterwards under a lease is fsynced with all that came before it.
    """
    with _translated(), engine.begin() as connection:
        if engine.dialect.name != "sqlite":
            connection.exec_driver_sql("SET LOCAL synchronous_commit TO off")
        yield connection


def _wal_of(connection: Connection) -> Wal | None:
    """What is to be flushed after a commit; None on PostgreSQL, and where somebody switched fsync off."""
    info = connection.info
    if "wal" not in info:
        raw = connection.connection.driver_connection
        lite = isinstance(raw, sqlite3.Connection) and raw.execute("PRAGMA synchronous").fetchone()[0] > 0
        info["wal"] = Wal(connection.engine.url.database or "") if lite else None
    wal: Wal | None = info["wal"]
    return wal


@contextmanager
def reading(readers: Engine) -> Iterator[Connection]:
    """One consistent view, without a write lock, of what `readers_of` gave."""
    with _translated(), readers.connect() as connection:
        yield connection


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except SQLAlchemyError as error:
        cause = getattr(error, "orig", None) or error
        raise JournalUnavailable(f"{type(cause).__name__}: {str(cause)[:256]}") from error


def database_now(dialect: str) -> ColumnElement[int]:
    """Microseconds by the database's clock, so that leases do not trust the replicas' clocks."""
    if dialect == "sqlite":
        return cast(literal_column("(julianday('now') - 2440587.5) * 86400000000.0"), BigInteger)
    return cast(func.extract("epoch", func.clock_timestamp()) * 1_000_000, BigInteger)


def among(column: ColumnElement[Any], name: str, dialect: str) -> ColumnElement[bool]:
    """Whether the column has one of the values of that parameter: one, however many values it has."""
    if dialect == "sqlite":
        values = func.json_each(bindparam(name, type_=JSON())).table_valued("value")
        return column.in_(select(values.c.value))
    from sqlalchemy.dialects import postgresql  # noqa: PLC0415 - 50 ms and 3 MiB that SQLite need not pay

    return column == any_(bindparam(name, type_=postgresql.ARRAY(column.type)))


def pairs_of(name: str, dialect: str) -> tuple[FromClause, ColumnElement[Any], ColumnElement[Any]]:
    """The pairs that `given_pairs` gives under that name, as rows, and of each its text and its number."""
    if dialect == "sqlite":
        rows = func.json_each(bindparam(name, type_=JSON())).table_valued("value")
        return rows, func.json_extract(rows.c.value, "$[0]"), func.json_extract(rows.c.value, "$[1]")
    from sqlalchemy.dialects import postgresql  # noqa: PLC0415 - 50 ms and 3 MiB that SQLite need not pay

    # As arrays and not as JSON: of an array the planner knows how long it is.
    texts = bindparam(f"{name}_0", type_=postgresql.ARRAY(Text()))
    numbers = bindparam(f"{name}_1", type_=postgresql.ARRAY(BigInteger()))
    rows = func.unnest(texts, numbers).table_valued("text", "number").render_derived()
    return rows, rows.c.text, rows.c.number


def given_pairs(name: str, pairs: Sequence[tuple[str, int]], dialect: str) -> dict[str, Any]:
    """The parameters of `pairs_of`."""
    if dialect == "sqlite":
        return {name: pairs}
    return {f"{name}_{index}": [pair[index] for pair in pairs] for index in (0, 1)}


def insert_into(table: Table, dialect: str) -> Upsert:
    """An INSERT that knows ON CONFLICT."""
    if dialect == "sqlite":
        return sqlite.insert(table)
    from sqlalchemy.dialects import postgresql  # noqa: PLC0415 - 50 ms and 3 MiB that SQLite need not pay

    return postgresql.insert(table)
