"""Whose turn it is, in the database."""

from datetime import timedelta

import pytest

from tests.builders import NOW, after

EVERY, LEASE, NONE = timedelta(minutes=1), timedelta(seconds=30), timedelta()


def begin(journal, owner="one", now=NOW, lease=LEASE):
    return journal.rounds.begin("prune", owner, every=EVERY, lease=lease, now=now)


def test_one_at_a_time(journal, another):
    assert begin(journal)
    assert not begin(another, "two")
    journal.rounds.end("prune", "one", now=NOW)
    assert not begin(another, "two", now=after(seconds=59))
    assert begin(another, "two", now=after(minutes=1))


def test_who_died_in_it_is_followed_when_the_lease_runs_out(journal, another):
    assert begin(journal, lease=NONE)
    assert begin(another, "two")
    journal.rounds.end("prune", "one", now=NOW)  # the dead one was only slow: it ends nothing
    assert not begin(journal, "one", now=after(minutes=5))


@pytest.mark.parametrize(("done", "last"), [(NOW, NOW), (None, None)])
def test_what_was_not_done_is_due_at_once(journal, done, last):
    assert begin(journal)
    journal.rounds.end("prune", "one", now=done)
    assert journal.rounds.last("prune") == last
    assert begin(journal) is (done is None)


def test_another_round_is_not_in_the_way(journal):
    assert begin(journal)
    assert journal.rounds.begin("storm", "two", every=EVERY, lease=LEASE, now=NOW)
    assert journal.rounds.last("never") is None
