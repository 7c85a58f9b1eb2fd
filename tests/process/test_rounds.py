"""What comes round again and again: one replica at a time, whatever goes wrong."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from structlog.testing import capture_logs

from remediator.ports import JournalUnavailable
from remediator.rounds import Round, Rounds
from tests.builders import NOW
from tests.waiting import eventually
from tests.worlds import Drama

EVERY = timedelta(minutes=1)


@pytest.fixture
def drama(tmp_path):
    played = Drama(tmp_path)
    yield played
    played.close()


def a_replica(drama, do, **others):
    rounds = [Round(name="one", every=EVERY, do=do)]
    rounds += [Round(name=name, every=EVERY, do=other) for name, other in others.items()]
    return Rounds(drama.journal.rounds, rounds, clock=lambda: drama.now)


def test_it_comes_round_at_its_time(drama):
    done: list[datetime] = []
    replica = a_replica(drama, done.append)
    for _ in range(5):
        replica.look()
        drama.forward(seconds=30)
    assert done == [NOW, NOW + EVERY, NOW + 2 * EVERY]
    assert drama.journal.rounds.last("one") == NOW + 2 * EVERY


def test_of_two_replicas_one_does_it(drama):
    done: list[datetime] = []
    replicas = [a_replica(drama, done.append) for _ in range(2)]
    for _ in range(3):
        for replica in replicas:
            replica.look()
        drama.forward(minutes=1)
    assert len(done) == 3


def test_while_one_is_at_it_no_other_begins(drama):
    other: list[datetime] = []

    def meanwhile(_now):
        drama.forward(minutes=2)
        a_replica(drama, other.append).look()

    a_replica(drama, meanwhile).look()
    assert other == []


def test_who_starts_does_it_at_once_unless_it_was_just_done(drama):
    done: list[datetime] = []
    a_replica(drama, done.append).look()
    drama.forward(seconds=3)
    a_replica(drama, done.append).look()
    assert len(done) == 1
    drama.forward(seconds=3)
    a_replica(drama, done.append).look()
    assert len(done) == 2


def test_a_clock_that_was_set_back_does_not_stop_it(drama):
    done: list[datetime] = []
    replica = a_replica(drama, done.append)
    replica.look()
    drama.forward(days=-1)
    replica.look()
    assert len(done) == 2


def test_what_fails_is_said_once_tried_again_and_stops_no_other(drama):
    others: list[datetime] = []

    failures: list[Exception] = []

    def fail(_now):
        raise failures[-1]

    replica = a_replica(drama, fail, two=others.append)
    for failure in (JournalUnavailable("locked"), ValueError("odd")):
        failures.append(failure)
        with capture_logs() as said:
            replica.look()
            replica.look()
        assert [line["event"] for line in said] == ["a round failed"]
    assert len(others) == 1
    replica._rounds[0] = Round(name="one", every=EVERY, do=others.append)
    with capture_logs() as said:
        replica.look()
    assert [line["event"] for line in said] == ["a round works again"]


def test_it_runs_in_a_thread_until_told_to_stop(drama):
    done: list[datetime] = []
    replica = a_replica(drama, done.append)
    replica.start()
    eventually(lambda: done, "the round", within=10, every=0.01)
    replica.stop()
    replica._thread.join(10)
    drama.forward(hours=1)
    replica.look()
    assert (len(done), replica._thread.is_alive()) == (1, False)
