"""How the journal connects: what differs between SQLite and PostgreSQL is here and nowhere else."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Engine,
    Insert,
    Table,
    cast,
    create_engine,
    event,
    func,
    literal_column,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import QueuePool

from remediator.ports import JournalUnavailable

_BUSY_SECONDS = 5


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
        connect_args={"connect_timeout": 3, "options": "-c statement_timeout=15000 -c lock_timeout=5000"},
    )


def _sqlite(url: str) -> Engine:
    """WAL, fsync on every commit, and ONE connection: a fair queue in the process beats busy-waiting."""
    path = make_url(url).database
    if path and path != ":memory:":
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(
        url,
        poolclass=QueuePool,
        pool_size=1,
        max_overflow=0,
        pool_timeout=_BUSY_SECONDS,
        connect_args={"timeout": _BUSY_SECONDS, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def on_connect(connection: sqlite3.Connection, _record: Any) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def on_begin(connection: Connection) -> None:
        reads = connection.get_execution_options().get("reads")
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

    return engine


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """One transaction. Raises JournalUnavailable when the database cannot take it."""
    with _translated(), engine.begin() as connection:
        yield connection


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """One consistent view, without a write lock."""
    with _translated(), engine.connect() as connection:
        yield connection.execution_options(reads=True)


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


def insert_into(table: Table, dialect: str) -> sqlite.Insert | postgresql.Insert:
    """An INSERT that knows ON CONFLICT."""
    made: Insert = sqlite.insert(table) if dialect == "sqlite" else postgresql.insert(table)
    return made  # type: ignore[return-value]
