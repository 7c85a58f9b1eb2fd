"""All durable state, on SQLite or PostgreSQL through SQLAlchemy Core. Never faked in tests."""

from remediator.adapters.journal.journal import SqlJournal

__all__ = ["SqlJournal"]
