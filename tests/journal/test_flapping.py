"""An alert that fires and ends again and again: what is read of it does not grow with what it was."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import timedelta

import pytest
from sqlalchemy import event, text

from remediator.core.intake import Admission
from remediator.core.reasons import Reason
from tests.builders import APEX, NOW, a_notification, ago, an_alert

FIRING = an_alert(starts_at=ago(minutes=1))
FEW, MANY = 40, 2000


def flap(journal, times):
    """So many firing periods of the alert that are over, a minute each, and one that is not."""
    ended = [an_alert(starts_at=ago(minutes=2 * number), firing=False) for number in range(1, times + 1)]
    over = [Admission(alert=one, reason=Reason.RESOLVED, target=APEX) for one in ended]
    now = Admission(alert=FIRING, reason=Reason.NO_PLAYBOOK, target=APEX)
    with journal.transaction() as tx:
        tx.put_episodes([(one, None) for one in (*over, now)], known={}, now=NOW)
    with journal._engine.begin() as db:
        if journal._dialect != "sqlite":
            db.execute(text("ANALYZE episodes"))  # as it does by itself now and then


@pytest.fixture
def work(journal):
    """What a call costs the database: rows of episodes that it looks at, or steps of SQLite's machine."""
    asked = []
    event.listen(journal._readers, "before_cursor_execute", lambda *said: asked.append(said[2:4]))

    def counted(call):
        asked.clear()
        with journal.reading() as tx:
            found = call(tx)
        return found, sum(_work_of(journal, *said) for said in list(asked))

    return counted


def _work_of(journal, statement, parameters):
    if journal._dialect == "sqlite":
        steps = []
        with closing(sqlite3.connect(journal._engine.url.database)) as db:
            db.set_progress_handler(lambda: steps.append(1), 1)
            db.execute(statement, parameters).fetchall()
        return len(steps)
    with journal._engine.connect() as db:
        explain = f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}"
        (plan,) = db.exec_driver_sql(explain, parameters).scalar_one()
    return _rows_read(plan["Plan"] if isinstance(plan, dict) else json.loads(plan)["Plan"])


def _rows_read(node):
    seen = node["Actual Rows"] + sum(size for name, size in node.items() if name.startswith("Rows Removed"))
    own = seen * node["Actual Loops"] if node.get("Relation Name") == "episodes" else 0
    return own + sum(_rows_read(one) for one in node.get("Plans", ()))


def test_what_is_known_of_an_alert_takes_no_longer_the_oftener_it_fired(journal, work):
    flap(journal, FEW)
    moved = an_alert(starts_at=NOW)
    exact, begun_anew = a_notification(FIRING), a_notification(moved)
    _, before = work(lambda tx: tx.known_episodes(exact))
    flap(journal, MANY)

    for notification in (exact, begun_anew):
        found, after = work(lambda tx, one=notification: tx.known_episodes(one))
        assert (found[0].starts_at, found[0].firing) == (FIRING.starts_at, True)
        assert after <= max(before * 1.2, 10)


def test_a_period_that_is_over_is_known_by_its_start_and_no_other_is(journal, work):
    flap(journal, MANY)
    over = an_alert(starts_at=ago(minutes=20))

    def of(*alerts):
        return work(lambda tx: tx.known_episodes(a_notification(*alerts)))[0]

    assert [of(over)[0].starts_at, of(over)[0].firing] == [over.starts_at, False]
    assert of(an_alert(fingerprint="another", starts_at=over.starts_at)) == {}
    assert [one.starts_at for one in of(over, FIRING).values()] == [over.starts_at, FIRING.starts_at]


def test_what_alertmanager_lists_is_compared_with_no_more_the_oftener_it_fired(journal, work):
    flap(journal, FEW)
    _, before = work(lambda tx: tx.kept_episodes([FIRING]))
    flap(journal, MANY)
    over = an_alert(starts_at=ago(minutes=20) + timedelta(microseconds=999))  # it cuts off what is below 1 ms

    found, after = work(lambda tx: tx.kept_episodes([FIRING]))
    assert [one.starts_at for one in found] == [FIRING.starts_at]
    assert after <= max(before * 1.2, 10)
    found, _ = work(lambda tx: tx.kept_episodes([over]))
    assert [one.starts_at for one in found] == [FIRING.starts_at, ago(minutes=20)]
