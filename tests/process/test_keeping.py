"""Backup while running, and pruning, as commands."""

from __future__ import annotations

import sqlite3
import stat
import threading
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from remediator.adapters.journal import SqlJournal
from remediator.adapters.journal.backup import copy_sqlite
from remediator.core.actions import Target
from remediator.core.reasons import Reason
from remediator.ports import JournalUnavailable
from tests.builders import an_admission
from tests.process.test_serve import a_notification


def test_a_backup_taken_while_serving_is_opened_and_work_goes_on(serve, home, cli):
    served = serve()
    assert served.ask("/webhook", a_notification()).status_code == 202
    ran = cli("backup", "copy.db")
    assert (ran.code, ran.out.endswith("bytes, checked\n")) == (0, True)
    assert stat.S_IMODE((home / "copy.db").stat().st_mode) == 0o600
    assert served.ask("/webhook", a_notification()).status_code == 202
    served.terminate()

    restored = serve(REMEDIATOR_DATABASE=f"sqlite:///{home}/copy.db")
    assert restored.ask("/api/v1/incidents/1").json()["timeline_intact"]
    assert restored.ask("/webhook", a_notification()).json()["outcomes"] == {"repeated": 1}


def test_a_backup_is_of_one_moment_while_others_write(tmp_path):
    journal = SqlJournal(f"sqlite:///{tmp_path}/journal.db")
    journal.migrate()
    over, written = threading.Event(), threading.Event()

    def write():
        number = 0
        while not over.is_set():
            number += 1
            with journal.transaction() as tx:  # an incident and its event, or neither
                admission = an_admission(target=Target("n", f"d{number}"))
                incident = tx.create_incident(admission, now=datetime.now(UTC))
                tx.append(incident, "opened", Reason.INCIDENT_OPENED, "x", now=datetime.now(UTC))
            written.set()

    writer = threading.Thread(target=write)
    writer.start()
    assert written.wait(10)
    for name in ("one", "two", "three"):
        assert copy_sqlite(tmp_path / "journal.db", tmp_path / name) > 0
    over.set()
    writer.join()
    counts = []
    for name in ("one", "two", "three"):
        with closing(sqlite3.connect(tmp_path / name)) as copy:
            query = "SELECT (SELECT count(*) FROM incidents), (SELECT count(*) FROM events)"
            begun, told = copy.execute(query).fetchone()
        assert begun == told > 0
        counts.append(begun)
    assert counts == sorted(counts)
    journal.close()


def test_a_backup_overwrites_nothing_and_leaves_nothing_half(cli, home):
    journal = SqlJournal(f"sqlite:///{home}/remediator.db")
    journal.migrate()
    journal.close()
    (home / "there.db").write_text("precious")
    ran = cli("backup", "there.db")
    assert (ran.code, ran.err) == (1, "Error: there.db is there already; a backup overwrites nothing\n")
    assert (home / "there.db").read_text() == "precious"
    assert cli("backup", "nowhere/copy.db").code == 1
    for rest in home.glob("remediator.db-*"):
        rest.unlink()
    (home / "remediator.db").write_bytes(b"this is no database at all, but it is long enough" * 99)
    ran = cli("backup", "copy.db")
    assert (ran.code, "DatabaseError" in ran.err) == (1, True)
    assert not list(home.glob("copy.db*"))


def test_without_a_journal_there_is_no_backup(tmp_path):
    with pytest.raises(JournalUnavailable, match="there is no journal"):
        copy_sqlite(tmp_path / "journal.db", tmp_path / "copy.db")


def test_for_postgresql_the_backup_says_what_to_use(cli):
    ran = cli("backup", "copy.db", "--database", "postgresql://db/remediator")
    assert ran.code == 1
    assert "pg_dump --format=custom --file=copy.db" in ran.err


def test_prune_says_how_much_went(cli, home):
    journal = SqlJournal(f"sqlite:///{home}/remediator.db")
    journal.migrate()
    long_ago = datetime.now(UTC) - timedelta(days=100)
    with journal.transaction() as tx:
        incident = tx.create_incident(an_admission(), now=long_ago)
        tx.note_person(incident, now=long_ago, phase="closed", closed_at=long_ago)
    journal.close()
    assert cli("prune").json == {
        "incidents": 1,
        "notifications": 0,
        "episodes": 0,
        "pauses": 0,
        "storms": 0,
    }
    assert cli("prune", tty=True).out.startswith("pruned: 0 incidents, 0 notifications")
    assert cli("prune", "--policy", "nowhere.yaml").code == 1
