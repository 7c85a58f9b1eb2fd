"""Each journal test runs on every database there is: SQLite always, PostgreSQL when a URL is given."""

import os

import pytest
from sqlalchemy import create_engine, text

from remediator.adapters.journal import SqlJournal

POSTGRES = os.environ.get("TEST_POSTGRES_URL", "")
"""A database that may be emptied, e.g. postgresql://postgres@localhost/test_journal."""


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.real)])
def url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/journal.db"
    if not POSTGRES:
        pytest.skip("TEST_POSTGRES_URL is not set")
    worker = os.environ.get("PYTEST_XDIST_WORKER", "one")
    engine = create_engine(POSTGRES.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        connection.execute(text(f"DROP SCHEMA IF EXISTS {worker} CASCADE"))
        connection.execute(text(f"CREATE SCHEMA {worker}"))
    engine.dispose()
    return f"{POSTGRES}?options=-csearch_path%3D{worker}"


@pytest.fixture
def journal(url):
    opened = SqlJournal(url)
    opened.migrate()
    yield opened
    opened.close()


@pytest.fixture
def another(url, journal):
    """The same journal, opened by another process."""
    opened = SqlJournal(url)
    yield opened
    opened.close()


@pytest.fixture
def raw(journal):
    """A connection that can do what the journal never would."""
    with journal._engine.connect() as connection:
        yield connection
