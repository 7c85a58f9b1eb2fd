"""The worker thread: it goes on whatever happens, says trouble once, and stops when told."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from itertools import pairwise

import pytest
from structlog.testing import capture_logs

from remediator.core.actions import Target
from remediator.core.incidents import Phase
from remediator.ports import JournalUnavailable, LeaseLost
from remediator.worker import Worker
from tests.builders import APEX, a_policy, an_alert, an_observation
from tests.waiting import eventually
from tests.worlds import Drama

OTHER = Target("bizra-testnet", "bizra-beta")
LONG = timedelta(seconds=30)
SHORT = timedelta(milliseconds=20)


class Doorman:
    """The journal's queue, with a door that can be shut and a count of who looked."""

    def __init__(self, journal):
        self._journal = journal
        self.shut = ""
        self.looks = 0

    def claim(self, owner, *, lease, now):
        self.looks += 1
        if self.shut:
            raise JournalUnavailable(self.shut)
        return self._journal.claim(owner, lease=lease, now=now)

    def next_due(self, *, now):
        return self._journal.next_due(now=now)

    def release(self, claim):
        self._journal.release(claim)


@pytest.fixture
def drama(tmp_path):
    played = Drama(tmp_path, a_policy(targets=(APEX, OTHER)))
    played.cluster.live[OTHER] = an_observation(uid="uid-2")
    played.metrics.values[OTHER] = 80.0
    yield played
    played.close()


@pytest.fixture
def hire(drama):
    """Start workers that are dismissed at the end."""
    workers = []

    def one(*, queue=None, idle=SHORT, **options):
        worker = Worker(
            drama.lifecycle, queue or drama.journal, idle=idle, clock=lambda: drama.now, **options
        )
        workers.append(worker)
        worker.start()
        return worker

    yield one
    for worker in workers:
        assert worker.stop(within=timedelta(seconds=10))


def phase_of(drama, target):
    return next(one.phase for one in drama.journal.incidents() if one.target == target)


def test_a_worker_advances_what_was_received(drama, hire):
    drama.receive()
    hire()

    eventually(lambda: drama.done == ["restart"])
    eventually(lambda: drama.incident.phase is Phase.ROLLING_OUT)


def test_a_wake_up_is_immediate_although_the_poll_is_far_away(drama, hire):
    queue = Doorman(drama.journal)
    worker = hire(queue=queue, idle=LONG)
    eventually(lambda: queue.looks == 1)
    drama.receive()

    began = time.monotonic()
    worker.wake()

    eventually(lambda: drama.done == ["restart"])
    assert time.monotonic() - began < 5


def test_what_another_process_received_is_found_by_polling(drama, hire):
    queue = Doorman(drama.journal)
    hire(queue=queue)
    eventually(lambda: queue.looks >= 3)
    drama.receive()

    eventually(lambda: drama.done == ["restart"])


def test_an_idle_worker_does_not_spin(drama, hire):
    queue = Doorman(drama.journal)
    hire(queue=queue, idle=timedelta(milliseconds=200))

    eventually(lambda: queue.looks >= 3)
    assert queue.looks <= 5


def test_a_step_that_raises_does_not_stop_the_others_and_is_poisoned_at_last(drama, hire, monkeypatch):
    seen = drama.cluster.observe

    def observe(target, **_):
        if target == APEX:
            raise ZeroDivisionError("a bug")
        return seen(target)

    monkeypatch.setattr(drama.cluster, "observe", observe)
    drama.receive(an_alert(), an_alert(target=OTHER))
    with capture_logs() as logs:
        worker = hire()
        eventually(lambda: phase_of(drama, APEX) is Phase.ESCALATED)
        eventually(lambda: phase_of(drama, OTHER) is Phase.ROLLING_OUT)

    assert worker.alive
    assert [target for target, _ in drama.cluster.effects] == [OTHER]
    assert drama.counted("escalations", reason="poisoned") == 1
    failed = [line for line in logs if line["event"] == "step failed"]
    assert len(failed) == 10
    assert failed[0]["incident"] == 1
    assert failed[0]["exc_info"]


def test_a_lost_lease_is_noted_and_the_work_goes_on(drama, hire, monkeypatch):
    advance, losses = drama.lifecycle.advance, iter([LeaseLost("incident 1")])

    def advance_or_lose(claim, *, now):
        for loss in losses:
            raise loss
        return advance(claim, now=now)

    monkeypatch.setattr(drama.lifecycle, "advance", advance_or_lose)
    drama.receive()
    with capture_logs() as logs:
        hire()
        eventually(lambda: drama.done == ["restart"])

    lost = [line for line in logs if line["event"] == "lease lost"]
    assert [(line["log_level"], line["target"]) for line in lost] == [("warning", str(APEX))]


def test_without_a_journal_it_says_so_once_waits_longer_and_works_again(drama, hire):
    queue = Doorman(drama.journal)
    queue.shut = "disk full"
    drama.receive()
    with capture_logs() as logs:
        worker = hire(queue=queue)
        eventually(lambda: queue.looks >= 3)
        assert worker.alive
        assert drama.done == []
        queue.shut = ""
        eventually(lambda: drama.done == ["restart"])
        eventually(lambda: any(line["event"] == "worker works again" for line in logs))

    said = [line for line in logs if line["event"] == "worker cannot work"]
    assert [(line["log_level"], line["error"]) for line in said] == [("error", "disk full")]


def test_the_pause_without_a_journal_grows(drama, hire):
    queue, times = Doorman(drama.journal), []
    queue.shut = "locked"
    hire(queue=queue, each_round=lambda: times.append(time.monotonic()))

    eventually(lambda: len(times) >= 4)
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert gaps[0] >= 0.15
    assert gaps[2] > gaps[0] * 2


def test_the_journal_failing_in_the_middle_of_a_step_is_taken_up_again(drama, hire, monkeypatch):
    advance, failures = drama.lifecycle.advance, iter([JournalUnavailable("locked")] * 2)

    def advance_or_fail(claim, *, now):
        for failure in failures:
            raise failure
        return advance(claim, now=now)

    monkeypatch.setattr(drama.lifecycle, "advance", advance_or_fail)
    drama.receive()
    hire()

    eventually(lambda: drama.done == ["restart"])


def test_an_error_outside_of_a_step_does_not_end_the_thread(drama, hire):
    errors = iter([OSError("no such file"), RuntimeError("odd")])

    def each_round():
        for error in errors:
            raise error

    drama.receive()
    with capture_logs() as logs:
        worker = hire(each_round=each_round)
        eventually(lambda: drama.done == ["restart"])

    assert worker.alive
    assert [line["error"] for line in logs if line["event"] == "worker cannot work"] == [
        "OSError: no such file",
        "RuntimeError: odd",
    ]


def test_stop_finishes_the_step_in_hand_takes_no_new_one_and_gives_the_lease_back(drama, monkeypatch):
    inside, go_on = threading.Event(), threading.Event()
    seen = drama.cluster.observe

    def observe(target, **_):
        inside.set()
        assert go_on.wait(10)
        return seen(target)

    monkeypatch.setattr(drama.cluster, "observe", observe)
    drama.receive()
    worker = Worker(drama.lifecycle, drama.journal, idle=SHORT, clock=lambda: drama.now)
    worker.start()
    assert inside.wait(10)

    assert not worker.stop(within=timedelta(milliseconds=50))
    go_on.set()

    assert worker.stop(within=timedelta(seconds=10))
    assert drama.incident.phase is Phase.ACTING  # the decision in hand was recorded
    assert drama.done == []  # and nothing was begun after it
    assert drama.claim("another", lease=LONG).incident.id == 1


def test_a_stopped_worker_takes_nothing_and_stops_again_at_once(drama, hire):
    worker = hire()
    assert worker.stop(within=timedelta(seconds=10))
    drama.receive()
    worker.wake()

    assert worker.stop(within=timedelta())
    assert drama.done == []


def test_a_worker_that_never_began_stops_at_once(drama):
    worker = Worker(drama.lifecycle, drama.journal, idle=LONG)

    assert not worker.alive
    assert worker.stop(within=timedelta())


def test_two_workers_share_the_work_and_do_nothing_twice(drama, hire):
    drama.pace = drama.lifecycle.world.pace
    drama.receive(an_alert(), an_alert(target=OTHER))
    hire()
    hire()

    eventually(lambda: {phase_of(drama, APEX), phase_of(drama, OTHER)} == {Phase.ROLLING_OUT})
    assert sorted(target.name for target, _ in drama.cluster.effects) == ["bizra-apex", "bizra-beta"]
