"""The database itself: migrations, and what happens when it cannot be used."""

import errno
import os
import sqlite3
import subprocess
import sys
import threading
from collections import deque
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, inspect, make_url, text

from remediator.adapters import journal as package
from remediator.adapters.journal import SqlJournal, migrate
from remediator.adapters.journal.connection import connect, leasing, writing
from remediator.adapters.journal.schema import metadata
from remediator.core.actions import Target
from remediator.core.reasons import Reason
from remediator.ports import JournalUnavailable, Overtaken
from tests.builders import APEX, NOW, an_admission
from tests.waiting import eventually


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


def alembic(engine, revision):
    with writing(engine) as connection:
        config = Config()
        config.set_main_option("script_location", str(Path(package.__file__).parent / "migrations"))
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def test_what_was_kept_before_there_were_kinds_of_targets_is_about_deployments(url):
    engine = connect(url)
    alembic(engine, "0004")
    with writing(engine) as connection:
        connection.execute(
            text(
                "INSERT INTO incidents (namespace, deployment, alert, phase, opened_at, alert_started_at,"
                " phase_since, next_at, lease_until, fence, claims, signals, last_seq, last_hash)"
                " VALUES ('n', 'd', 'a', 'deciding', 1, 1, 1, 1, 0, 0, 0, 0, 0, '')"
            )
        )
    engine.dispose()
    journal = SqlJournal(url)
    journal.migrate()
    assert [incident.target for incident in journal.incidents()] == [Target("n", "d")]
    journal.close()


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
        assert pragmas == ["wal", 1], "we fsync the log ourselves"
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
    with lite.transaction() as tx:
        tx.create_incident(an_admission(), now=NOW)
        assert other.incidents() == []
        assert other.claim("two", lease=timedelta(), now=NOW) is None
    assert len(other.incidents()) == 1
    other.close()


@pytest.fixture
def fsynced(monkeypatch, path):
    """What another process could read of the journal at each fsync of its log: counters and leases."""
    found, fdatasync = [], os.fdatasync

    def seen(log):
        assert str(Path(f"/proc/self/fd/{log}").readlink()) == f"{path}-wal"
        with closing(sqlite3.connect(path)) as other:
            counts = other.execute("SELECT coalesce(sum(value), 0) FROM counters").fetchone()[0]
            found.append((counts, other.execute("SELECT count(lease_owner) FROM incidents").fetchone()[0]))
        fdatasync(log)

    monkeypatch.setattr(os, "fdatasync", seen)
    return found


def test_what_is_committed_is_fsynced_before_the_transaction_ends(lite, fsynced):
    for number in (1, 2):
        with lite.transaction() as tx:
            tx.count("x", {})
            assert len(fsynced) == number - 1
        assert fsynced == [(1, 0), (2, 0)][:number]


def test_a_claim_alone_is_not_fsynced_but_with_what_is_written_under_it(lite, fsynced):
    """A power cut ends whoever had the lease."""
    with lite.transaction() as tx:
        tx.create_incident(an_admission(), now=NOW)
    claim = lite.claim("one", lease=timedelta(minutes=1), now=NOW)
    assert fsynced == [(0, 0)]
    with lite.transaction() as tx:
        tx.refresh(claim)
        tx.count("x", {})
    assert fsynced == [(0, 0), (1, 1)]
    lite.release(claim)
    assert len(fsynced) == 2


@pytest.mark.parametrize("url", [pytest.param("postgresql", marks=pytest.mark.real)], indirect=True)
def test_a_postgresql_database_made_in_the_locale_c_keeps_every_text(url):
    name = f"{make_url(url).database}_ascii"
    made = make_url(url).set(drivername="postgresql+psycopg", query={"client_encoding": "utf8"})
    maker = create_engine(made, isolation_level="AUTOCOMMIT")
    with maker.connect() as connection:
        connection.execute(text(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
        plain = "ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
        connection.execute(text(f"CREATE DATABASE {name} {plain}"))
    journal = SqlJournal(make_url(url).set(database=name).render_as_string(hide_password=False))
    try:
        journal.migrate()
        with journal.transaction() as tx:
            tx.engage_pause(scope="all", by="Łukasz", why="größer als 95 %", until=None, now=NOW)
        (pause,) = journal.pauses(now=NOW)
        assert (pause.by, pause.why) == ("Łukasz", "größer als 95 %")
    finally:
        journal.close()
        with maker.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
        maker.dispose()


@pytest.mark.parametrize("url", [pytest.param("postgresql", marks=pytest.mark.real)], indirect=True)
def test_on_postgresql_too_a_commit_about_leases_is_all_that_waits_for_no_disk(journal):
    found = []
    for kind in (writing, leasing, writing):
        with kind(journal._engine) as connection:
            found.append(connection.execute(text("SHOW synchronous_commit")).scalar())
    assert found == ["on", "off", "on"]


def test_what_cannot_be_fsynced_is_no_202(lite, monkeypatch):
    def broken(_log):
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fdatasync", broken)
        with (
            pytest.raises(JournalUnavailable, match="not durable"),
            lite.transaction() as tx,
        ):
            tx.count("x", {})
    with lite.transaction() as tx:
        tx.count("x", {})
    assert lite.counters() == {("x", ()): 2}, "it is there all the same, as after a crash"


def test_the_name_of_a_new_log_is_durable_too(lite, monkeypatch, path):
    synced, fsync = [], os.fsync

    def seen(number):
        synced.append(Path(f"/proc/self/fd/{number}").readlink())
        fsync(number)

    monkeypatch.setattr(os, "fsync", seen)
    fresh = SqlJournal(f"sqlite:///{path}")
    for _ in range(2):
        with fresh.transaction() as tx:
            tx.count("x", {})
    fresh.close()
    assert synced == [path.parent]


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


def test_who_has_waited_longest_writes_next(lite):
    """SQLAlchemy's own queue lets whoever gives the connection back take it again first."""
    written = []

    def write(name):
        with lite.transaction():
            written.append(name)

    waiting = threading.Thread(target=write, args=("who waited",))
    with lite.transaction():
        waiting.start()
        eventually(lambda: lite._engine.pool._turns._line, "somebody waits", every=0.001)
    write("who had it")
    waiting.join()
    assert written == ["who waited", "who had it"]


def test_a_turn_that_does_not_come_in_time_is_given_up_and_the_next_one_comes(impatient, lite):
    waited = []

    def write():
        try:
            with lite.transaction() as tx:
                tx.count("x", {})
        except JournalUnavailable as error:
            waited.append(str(error))

    with lite.transaction():
        thread = threading.Thread(target=write)
        thread.start()
        thread.join()
    assert waited == ["TimeoutError: others kept the connection for 0.1 s"]
    write()
    assert lite.counters() == {("x", ()): 1}


def test_who_reads_waits_for_no_writer_of_the_same_process(lite):
    with lite.transaction() as tx:
        tx.count("x", {})
        read = in_another_thread(lite.counters)
    assert read == {}
    assert lite.counters() == {("x", ()): 1}


def in_another_thread(call):
    found = []
    thread = threading.Thread(target=lambda: found.append(call()))
    thread.start()
    thread.join()
    return found[0]


def test_a_journal_of_an_earlier_build_keeps_its_rows_and_its_bounds(url):
    """Every revision after the first finds incidents that are closed, open and escalated, and attempts."""
    engine = connect(url)
    with writing(engine) as connection:
        _run_to("0001", connection)
        for number, phase in enumerate(("closed", "deciding", "closed"), 1):
            connection.execute(text(OLD_INCIDENT), {"id": number, "phase": phase})
            connection.execute(text(OLD_ATTEMPT), {"id": number, "at": number * 1_000_000})
    migrate.upgrade(engine)
    engine.dispose()
    journal = SqlJournal(url)
    assert [(one.id, one.phase.value) for one in journal.incidents()] == [
        (3, "closed"),
        (2, "deciding"),
        (1, "closed"),
    ]
    assert journal.incidents()[0].target == APEX
    assert journal.last_applied() == {(APEX, "restart"): datetime(1970, 1, 1, 0, 0, 3, tzinfo=UTC)}
    with pytest.raises(Overtaken), journal.transaction() as tx:
        tx.create_incident(an_admission(), now=NOW)
    journal.close()


OLD_INCIDENT = """
INSERT INTO incidents (id, namespace, deployment, alert, phase, opened_at, alert_started_at, phase_since,
    next_at, lease_until, fence, claims, signals, last_seq, last_hash)
VALUES (:id, 'bizra-testnet', 'bizra-apex', 'AhsanScoreLow', :phase, 1, 1, 1, 1, 0, 0, 0, 0, 0, '')
"""
OLD_ATTEMPT = """
INSERT INTO attempts (incident_id, namespace, deployment, step, kind, intent, state, intended_at, tries,
    maybe_sent, applied_at, ready_before, samples)
VALUES (:id, 'bizra-testnet', 'bizra-apex', 1, 'restart', '{}', 'judged', 1, 1, true, :at, 1, '[]')
"""


def _run_to(revision, connection):
    config = Config()
    config.set_main_option("script_location", str(Path(package.__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)
