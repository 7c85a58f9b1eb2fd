"""Claims: who works on what, and that a late owner's writes are void."""

from datetime import timedelta
from threading import Barrier, Thread

import pytest
from sqlalchemy import update

from remediator.adapters.journal.schema import incidents
from remediator.adapters.journal.statements import FAR
from remediator.core.actions import Target
from remediator.core.incidents import IllegalTransition, Phase
from remediator.core.reasons import Reason
from remediator.ports import LeaseLost
from tests.builders import APEX, NOW, after, ago, an_admission

LEASE = timedelta(seconds=20)
NO_LEASE = timedelta()


@pytest.fixture
def incident(journal):
    with journal.transaction() as tx:
        return tx.create_incident(an_admission(), now=NOW)


def claim(journal, owner="one", *, lease=LEASE, now=NOW):
    return journal.claim(owner, lease=lease, now=now)


def save(journal, held, **overrides):
    with journal.transaction() as tx:
        given = {"phase": Phase.DECIDING, "next_at": NOW, "now": NOW, **overrides}
        return tx.save(held, **given)


def change(journal, **values):
    with journal.transaction() as tx:
        tx._db.execute(update(incidents).values(**values))


def test_what_is_due_is_claimed_by_one_owner(journal, another, incident):
    held = claim(journal)
    assert (held.incident.id, held.owner, held.claims) == (incident, "one", 1)
    assert held.incident.target == APEX
    assert claim(another, "two") is None


def test_what_is_not_due_is_not_claimed(journal, incident):
    assert claim(journal, now=ago(seconds=1)) is None
    assert claim(journal).incident.id == incident


def test_the_longest_due_comes_first(journal):
    with journal.transaction() as tx:
        for minute in (3, 1, 2):
            tx.create_incident(an_admission(target=Target("n", f"d{minute}")), now=ago(minutes=minute))
    order = [claim(journal).incident.target.name for _ in range(3)]
    assert order == ["d3", "d2", "d1"]


def test_a_clock_that_was_set_back_puts_nothing_to_sleep(journal, incident):
    change(journal, next_at=after(days=3))
    assert claim(journal).incident.id == incident


def test_what_waits_within_reason_waits(journal, incident):
    change(journal, next_at=NOW + FAR)
    assert claim(journal) is None


@pytest.mark.parametrize("phase", ["escalated", "closed", "of_a_newer_build"])
def test_a_phase_that_is_not_ours_to_advance_is_not_claimed(journal, incident, phase):
    change(journal, phase=phase)
    assert claim(journal) is None


def test_a_lease_runs_out_by_the_databases_clock_and_another_takes_over(journal, another, incident):
    first = claim(journal, lease=NO_LEASE)
    second = claim(another, "two", now=NOW)  # our own clock did not move
    assert second.incident.id == incident
    assert (second.fence, second.claims) == (first.fence + 1, 2)


def test_a_lease_does_not_run_out_by_our_clock(journal, another, incident):
    claim(journal)
    assert claim(another, "two", now=after(minutes=4)) is None
    assert incident


def test_a_late_owner_can_write_nothing(journal, another, incident):
    late = claim(journal, lease=NO_LEASE)
    claim(another, "two")

    def write_late():
        with journal.transaction() as tx:
            tx.append(incident, "late", Reason.APPLIED, "", now=NOW)
            tx.count("late", {})
            tx.save(late, phase=Phase.ACTING, next_at=NOW, now=NOW)

    with pytest.raises(LeaseLost):
        write_late()
    with pytest.raises(LeaseLost), journal.transaction() as tx:
        tx.refresh(late)
    story = journal.story(incident)
    assert story.events == ()
    assert story.incident.phase is Phase.DECIDING
    assert journal.counters() == {}


def test_the_same_owner_that_claims_again_leaves_its_former_self_behind(journal, incident):
    former = claim(journal, lease=NO_LEASE)
    latter = claim(journal)
    assert latter.incident.id == incident
    with pytest.raises(LeaseLost):
        save(journal, former)
    save(journal, latter)


def test_saving_releases_the_lease_and_forgets_the_claims(journal, another, incident):
    save(journal, claim(journal))
    again = claim(another, "two")
    assert (again.incident.id, again.claims) == (incident, 1)


def test_keeping_the_claim_keeps_others_out(journal, another, incident):
    held = save(journal, claim(journal), phase=Phase.ACTING, keep=True)
    assert held.incident.phase is Phase.ACTING
    assert (held.incident.id, held.claims) == (incident, 0)
    assert claim(another, "two") is None
    save(journal, held, phase=Phase.DECIDING)
    assert claim(another, "two") is not None


def test_a_released_claim_is_free_at_once_but_still_counted(journal, another, incident):
    held = claim(journal)
    journal.release(held)
    assert claim(another, "two").claims == 2
    journal.release(held)  # too late: not ours any more
    assert claim(journal) is None
    assert incident


def test_claims_without_progress_are_counted(journal, incident):
    assert [claim(journal, lease=NO_LEASE).claims for _ in range(4)] == [1, 2, 3, 4]
    assert incident


def test_a_signal_that_comes_while_someone_works_is_not_lost(journal, incident):
    held = claim(journal)
    with journal.transaction() as tx:
        tx.wake(incident)
    save(journal, held, next_at=after(minutes=1))
    assert claim(journal).incident.id == incident


def test_without_a_signal_it_waits_as_it_was_told(journal, incident):
    save(journal, claim(journal), next_at=after(minutes=1))
    assert claim(journal) is None
    assert journal.next_due(now=NOW) == timedelta(minutes=1)
    assert claim(journal, now=after(minutes=1)).incident.id == incident


def test_a_signal_makes_due_what_waits(journal, incident):
    save(journal, claim(journal), next_at=after(minutes=1))
    with journal.transaction() as tx:
        tx.wake(incident)
    assert claim(journal) is not None


def test_nothing_is_due_when_there_is_nothing(journal):
    assert journal.next_due(now=NOW) is None
    assert claim(journal) is None


def test_what_is_overdue_is_due_now(journal, incident):
    assert journal.next_due(now=after(minutes=1)) == timedelta()
    assert incident


def test_a_change_of_phase_clears_what_belonged_to_the_old_one(journal, incident):
    held = claim(journal)
    kept = save(journal, held, hold_reason="no_data", held_since=NOW, well_since=NOW, keep=True)
    assert (kept.incident.hold_reason, kept.incident.held_since) == (Reason.NO_DATA, NOW)
    moved = save(journal, kept, phase=Phase.ACTING, now=after(minutes=1), keep=True).incident
    assert (moved.hold_reason, moved.held_since, moved.well_since) == (None, None, None)
    assert moved.phase_since == after(minutes=1)
    assert incident


def test_phases_that_do_not_follow_are_refused(journal, incident):
    with pytest.raises(IllegalTransition):
        save(journal, claim(journal), phase=Phase.VERIFYING)
    assert journal.story(incident).incident.phase is Phase.DECIDING


def test_many_workers_share_many_incidents_and_none_gets_the_same(journal, another):
    with journal.transaction() as tx:
        for number in range(40):
            tx.create_incident(an_admission(target=Target("n", f"d{number}")), now=NOW)
    got, start = [], Barrier(4)

    def work(owner, mine):
        start.wait()
        while (held := claim(mine, owner)) is not None:
            got.append(held.incident.id)

    threads = [Thread(target=work, args=(f"w{n}", journal if n % 2 else another)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == len(set(got)) == 40


def test_decisions_are_made_one_after_the_other(journal, another):
    order = []

    def decide_too():
        with another.transaction() as tx:
            tx.lock_decisions()
            order.append("the other")

    other = Thread(target=decide_too)
    with journal.transaction() as tx:
        tx.lock_decisions()
        other.start()
        other.join(0.5)  # time enough to come in between, if nothing held it
        order.append("the first")
    other.join()
    assert order == ["the first", "the other"]
