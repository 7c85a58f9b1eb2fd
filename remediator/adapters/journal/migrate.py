"""Bring a database to this build's schema. Alembic is imported only when there is something to do."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, text

from remediator.adapters.journal.connection import reading, writing

HEAD = "0008"
"""The newest revision under `migrations/versions/`; a test holds it to be true."""

_LOCK = 7_318_420_115  # any number that is ours: PostgreSQL's advisory lock against two migrating replicas


def upgrade(engine: Engine) -> None:
    """Migrate to HEAD. Raises JournalUnavailable."""
    with writing(engine) as connection:
        if engine.dialect.name != "sqlite":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        if _revision(connection) != HEAD:
            _run_alembic(connection)


def is_made(readers: Engine) -> bool:
    """Whether there is a journal of some revision. Connecting to SQLite would make the file."""
    if readers.dialect.name == "sqlite" and not Path(readers.url.database or "").is_file():
        return False
    with reading(readers) as connection:
        return _revision(connection) is not None


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return revision


def _run_alembic(connection: Connection) -> None:
    from alembic import command  # noqa: PLC0415 - 100 ms that a start without migration need not pay
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
