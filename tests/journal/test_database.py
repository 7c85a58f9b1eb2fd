"""The database itself: migrations, and what happens when it cannot be used."""

import sqlite3
import subprocess
import sys
import threading
from collections import deque
from datetime import timedelta
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from remediator.adapters import journal as package
from remediator.adapters.journal import SqlJournal, migrate
from remediator.adapters.journal.connection import connect, writing
from remediator.adapters.journal.schema import metadata
from remediator.core.actions import Target
from remediator.core.reasons import Reason
from remediator.ports import JournalUnavailable
from tests.builders import NOW, an_admission


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.db"


@pytest.fixture
def lite(path):
    """A journal on SQLite, for what only SQLite does."""
    opened = SqlJournal(f"sqlite:///{path}")
    opened.migrate()
    yield opened
    opened.close()


def test_the_migrations_lead_to_the_schema(journal):
    with journal._engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_every_unique_index_of_the_schema_is_in_the_database_with_its_condition(journal):
    with journal._engine.connect() as connection:
        for table in metadata.tables.values():
            there = {index["name"]: index for index in inspect(connection).get_indexes(table.name)}
            for index in table.indexes:
                assert there[index.name]["unique"] == index.unique
                wanted = index.dialect_options["sqlite"]["where"]
                given = there[index.name]["dialect_options"]
                assert any(name.endswith("_where") for name in given) == (wanted is not None)


def test_head_is_the_newest_revision():
    config = Config()
    config.set_main_option("script_location", str(Path(package.__file__).parent / "migrations"))
    assert ScriptDirectory.from_config(config).get_heads() == [migrate.HEAD]


def test_migrating_twice_changes_nothing(journal, another):
    with journal.transaction() as tx:
        tx.create_incident(an_admission(), now=NOW)
    another.migrate()
    assert len(another.incidents()) == 1


MIGRATE = "import sys; from remediator.adapters.journal import SqlJournal; SqlJournal(sys.argv[1]).migrate()"


def test_two_replicas_that_migrate_at_once_both_succeed(url):
    replicas = [
        subprocess.Popen([sys.executable, "-c", MIGRATE, url], stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    complaints = [replica.communicate(timeout=60)[1] for replica in replicas]

    assert [replica.returncode for replica in replicas] == [0, 0], complaints
    journal = SqlJournal(url)
    assert journal.incidents() == []
    journal.close()


def test_a_migration_that_fails_leaves_nothing_behind(url):
    engine = connect(url)
    with writing(engine) as connection:
        connection.execute(text("CREATE TABLE events (id INTEGER)"))  # in the way of the first revision
    with pytest.raises(JournalUnavailable):
        migrate.upgrade(engine)
    with engine.connect() as connection:
        assert set(inspect(connection).get_table_names()) == {"events"}
    engine.dispose()


def test_a_healthy_journal_answers_the_ping(journal):
    journal.ping()


def test_a_journal_that_was_never_migrated_is_unavailable(path):
    fresh = SqlJournal(f"sqlite:///{path}")
    with pytest.raises(JournalUnavailable, match="no such table"):
        fresh.ping()
    fresh.close()


def test_the_folder_of_the_database_is_made(tmp_path):
    fresh = SqlJournal(f"sqlite:///{tmp_path}/a/b/journal.db")
    fresh.migrate()
    fresh.ping()
    fresh.close()


def test_sqlite_is_durable_and_readers_do_not_wait_for_the_writer(lite, path):
    other = SqlJournal(f"sqlite:///{path}")
    with lite._engine.connect() as connection:
        pragmas = [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous")
        ]
        assert pragmas == ["wal", 2]
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
    with lite.transaction() as tx:
        tx.create_incident(an_admission(), now=NOW)
        assert other.incidents() == []
        assert other.claim("two", lease=timedelta(), now=NOW) is None
    assert len(other.incidents()) == 1
    other.close()


@pytest.fixture
def impatient(monkeypatch):
    """Waiting five seconds for a lock proves no more than waiting a tenth."""
    monkeypatch.setattr("remediator.adapters.journal.connection._BUSY_SECONDS", 0.1)


def test_a_locked_database_is_unavailable_and_works_again_afterwards(impatient, lite, path):
    other = SqlJournal(f"sqlite:///{path}")
    locker = sqlite3.connect(path, isolation_level=None)
    locker.execute("BEGIN IMMEDIATE")
    with pytest.raises(JournalUnavailable, match="locked"), other.transaction() as tx:
        tx.count("x", {})
    with pytest.raises(JournalUnavailable, match="locked"):
        other.ping()
    assert other.incidents() == []  # reading goes on
    locker.execute("ROLLBACK")
    locker.close()
    with other.transaction() as tx:
        tx.count("x", {})
    assert lite.counters() == {("x", ()): 1}
    other.close()


def test_a_database_that_is_locked_from_the_start_is_unavailable(impatient, path):
    locker = sqlite3.connect(path, isolation_level=None)
    locker.execute("BEGIN EXCLUSIVE")
    locker.execute("CREATE TABLE t (a)")
    fresh = SqlJournal(f"sqlite:///{path}")
    with pytest.raises(JournalUnavailable):
        fresh.migrate()
    locker.execute("ROLLBACK")
    locker.close()
    fresh.migrate()
    fresh.ping()
    fresh.close()


def test_a_folder_instead_of_a_database_is_unavailable(path):
    path.mkdir()
    with pytest.raises(JournalUnavailable):
        SqlJournal(f"sqlite:///{path}").migrate()


def test_a_full_disk_is_unavailable_loses_nothing_and_works_again_afterwards(lite):
    def fill(number):
        with lite.transaction() as tx:
            incident = tx.create_incident(an_admission(target=Target("n", f"d{number}")), now=NOW)
            tx.append(incident, "opened", Reason.INCIDENT_OPENED, "x" * 20_000, now=NOW)

    with lite._engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages + 20}")
    attempted = iter(range(50))
    with pytest.raises(JournalUnavailable, match="full"):
        deque(map(fill, attempted), maxlen=0)
    stories, written = lite.incidents(), next(attempted) - 1
    assert len(stories) == written > 0
    assert all(lite.story(incident.id).broken_at is None for incident in stories)
    assert all(len(lite.story(incident.id).events) == 1 for incident in stories)
    with lite._engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count=1000000")
    fill(written)
    assert len(lite.incidents()) == written + 1


def test_one_connection_serves_many_threads_in_turn(lite):
    def count():
        for _ in range(20):
            with lite.transaction() as tx:
                tx.count("x", {})

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert lite.counters() == {("x", ()): 160}
