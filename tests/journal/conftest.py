"""Each journal test runs on every database there is: SQLite always, PostgreSQL when a URL is given."""

import os

import pytest
from sqlalchemy import create_engine, make_url, text

from remediator.adapters.journal import SqlJournal
from tests.components import missing

POSTGRES = os.environ.get("TEST_POSTGRES_URL", "")
"""A server on which databases named `test_...` may be made and dropped: postgresql://postgres@localhost/postgres."""


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.real)])
def url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/journal.db"
    if not POSTGRES:
        missing("TEST_POSTGRES_URL is not set")
    name = f"test_{os.environ.get('PYTEST_XDIST_WORKER', 'one')}"
    maker = create_engine(
        make_url(POSTGRES).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT"
    )
    with maker.connect() as connection:
        connection.execute(text(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
        connection.execute(text(f"CREATE DATABASE {name}"))
    maker.dispose()
    return make_url(POSTGRES).set(database=name).render_as_string(hide_password=False)


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
