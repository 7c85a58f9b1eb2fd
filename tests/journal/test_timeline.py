"""The story of an incident, its hash chain, its attempts, counters and pauses."""

import json
import math
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import delete, insert, select, update
from sqlalchemy.event import listens_for

from remediator.adapters.journal import SqlJournal
from remediator.adapters.journal.schema import events, incidents
from remediator.core.actions import ScaleIntent, Target, Workload
from remediator.core.incidents import BREAKER, AttemptState
from remediator.core.intake import Admission
from remediator.core.policy import Limits
from remediator.core.reasons import Reason
from remediator.core.verification import Verdict
from remediator.ports import JournalUnavailable
from tests.builders import (
    APEX,
    NOW,
    a_sample,
    after,
    ago,
    an_admission,
    an_alert,
    an_attempt,
    an_undo_intent,
)

LIMITS = Limits()


@pytest.fixture
def incident(journal):
    with journal.transaction() as tx:
        return tx.create_incident(an_admission(), now=NOW)


@pytest.fixture
def told(journal, incident):
    """An incident with five events."""
    for number in range(5):
        with journal.transaction() as tx:
            tx.append(
                incident, "held", Reason.NO_DATA, f"event {number}", now=after(seconds=number), data={"n": 1}
            )
    return incident


def test_a_story_has_its_events_in_order(journal, told):
    story = journal.story(told)
    assert [event["detail"] for event in story.events] == [f"event {number}" for number in range(5)]
    assert [event["seq"] for event in story.events] == [1, 2, 3, 4, 5]
    assert story.events[1]["at"] == after(seconds=1)
    assert story.broken_at is None


def test_a_story_is_as_it_was_at_one_moment_while_others_write_on(journal, another, told):
    """Else it would seem that somebody has changed the timeline."""
    written: list[str] = []

    @listens_for(journal._readers, "before_cursor_execute")
    def write_on(_connection, _cursor, statement, *_):
        if "FROM events" in statement and not written:
            written.append(statement)
            with another.transaction() as tx:
                tx.append(told, "held", Reason.NO_DATA, "meanwhile", now=after(seconds=9))

    story = journal.story(told)
    assert written
    assert (story.broken_at, len(story.events)) == (None, 5)
    assert len(journal.story(told).events) == 6


def test_who_only_looks_at_an_incident_keeps_nobody_waiting(journal, another, told):
    with journal.reading() as looking:
        assert looking.incident(told).id == told
        with another.transaction() as tx:
            tx.note_person(told, now=NOW, approved_by="ada")
        assert looking.incident(told).approved_by is None  # still as it was when it began to look
    with journal.reading() as looking:
        assert looking.incident(told).approved_by == "ada"


def test_a_story_that_does_not_exist_is_none(journal):
    assert journal.story(999) is None


def test_an_empty_story_is_not_broken(journal, incident):
    assert journal.story(incident).broken_at is None


CHANGES = [
    pytest.param(update(events).where(events.c.seq == 3).values(detail="x"), 3, id="a detail changed"),
    pytest.param(update(events).where(events.c.seq == 3).values(data={"n": 2}), 3, id="data changed"),
    pytest.param(update(events).where(events.c.seq == 3).values(at=NOW), 3, id="a time changed"),
    pytest.param(update(events).where(events.c.seq == 2).values(reason="applied"), 2, id="a reason changed"),
    pytest.param(update(events).where(events.c.seq == 1).values(kind="x"), 1, id="the first changed"),
    pytest.param(update(events).where(events.c.seq == 5).values(kind="x"), 5, id="the last changed"),
    pytest.param(delete(events).where(events.c.seq == 3), 3, id="one removed"),
    pytest.param(delete(events).where(events.c.seq == 1), 1, id="the first removed"),
    pytest.param(delete(events).where(events.c.seq == 5), 5, id="the last removed"),
    pytest.param(delete(events), 1, id="all removed"),
    pytest.param(update(events).where(events.c.seq == 4).values(hash="0" * 64), 4, id="a hash changed"),
]


@pytest.mark.parametrize(("change", "seq"), CHANGES)
def test_whoever_changes_the_timeline_is_found_out(journal, told, change, seq):
    with journal.transaction() as tx:
        tx._db.execute(change)
    assert journal.story(told).broken_at == seq


def test_swapped_events_are_found_out(journal, told):
    with journal.transaction() as tx:
        for old, new in ((2, 99), (3, 2), (99, 3)):
            tx._db.execute(update(events).where(events.c.seq == old).values(seq=new))
    assert journal.story(told).broken_at == 2


def test_an_event_put_at_the_end_with_a_fitting_hash_is_found_out(journal, told):
    from remediator.adapters.journal.timeline import event_hash  # noqa: PLC0415 - what a forger would use

    last = journal.story(told).events[-1]
    forged = {**last, "seq": 6, "detail": "all is well"}
    del forged["id"]
    forged |= {"previous_hash": last["hash"], "hash": event_hash(last["hash"], forged)}
    with journal.transaction() as tx:
        tx._db.execute(insert(events), forged)
    assert journal.story(told).broken_at == 6


def test_an_event_rewritten_with_a_fitting_hash_breaks_the_one_after_it(journal, told):
    from remediator.adapters.journal.timeline import event_hash  # noqa: PLC0415 - what a forger would use

    third, fourth = journal.story(told).events[2:4]
    forged = event_hash(third["previous_hash"], {**third, "detail": "all is well"})
    changes = ((third, {"detail": "all is well", "hash": forged}), (fourth, {"previous_hash": forged}))
    with journal.transaction() as tx:
        for event, values in changes:
            tx._db.execute(update(events).where(events.c.id == event["id"]).values(values))
    assert journal.story(told).broken_at == 4


def test_another_incidents_timeline_stays_whole(journal, told):
    with journal.transaction() as tx:
        other = tx.create_incident(an_admission(target=Target("n", "d")), now=NOW)
        tx.append(other, "opened", Reason.INCIDENT_OPENED, "", now=NOW)
        tx._db.execute(update(events).where(events.c.incident_id == told).values(kind="x"))
    assert journal.story(other).broken_at is None


def test_an_event_can_hold_whatever_was_seen(journal, incident):
    data = {
        "at": NOW,
        "nan": math.nan,
        "inf": [math.inf, -math.inf],
        "text": "ü\u2028'\"",
        "none": None,
        "nul": "a\x00b",
    }
    with journal.transaction() as tx:
        tx.append(incident, "held", Reason.NO_DATA, "ü\u2028'\"", now=NOW, data=data)
    (event,) = journal.story(incident).events
    assert event["data"]["nan"] == "NaN"
    assert event["data"]["inf"] == ["Infinity", "-Infinity"]
    json.dumps(event["data"], allow_nan=False)
    assert journal.story(incident).broken_at is None


def test_an_event_of_a_failed_transaction_is_not_in_the_story(journal, told):
    def fail():
        with journal.transaction() as tx:
            tx.append(told, "held", Reason.NO_DATA, "", now=NOW)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    story = journal.story(told)
    assert len(story.events) == 5
    assert story.broken_at is None


# Attempts


def intended(journal, incident, **overrides):
    with journal.transaction() as tx:
        return tx.intend(
            an_attempt(
                id=0,
                incident_id=incident,
                **{"state": AttemptState.INTENDED, "intended_at": NOW, "ended_at": None, **overrides},
            )
        )


def test_an_attempt_comes_back_as_it_was_written(journal, incident):
    whole = {
        "tries": 2,
        "maybe_sent": True,
        "applied_at": after(seconds=1),
        "applied_generation": 2**40,
        "rolled_out_at": after(seconds=2, microseconds=3),
        "ended_at": after(seconds=4),
        "verdict": Verdict.NOT_RECOVERED,
        "reason": Reason.NOT_RECOVERED,
        "samples": (a_sample(80.5), a_sample(None), a_sample(math.inf)),
        "state": AttemptState.JUDGED,
    }
    written = intended(journal, incident, intent=an_undo_intent(), ready_before=3, value_before=80.25)
    changed = replace(written, **whole)
    with journal.transaction() as tx:
        tx.update_attempt(changed)
        assert tx.attempts_of(incident) == (changed,)
    assert journal.story(incident).attempts == (changed,)


def test_attempts_of_every_kind_survive(journal, incident):
    scale = ScaleIntent(uid="u", generation=1, replicas_from=3, replicas_to=5)
    written = intended(journal, incident, intent=scale, state=AttemptState.WITHDRAWN)
    assert journal.story(incident).attempts == (written,)


def test_two_attempts_in_flight_on_a_target_are_refused(journal, incident):
    intended(journal, incident)
    with pytest.raises(JournalUnavailable):
        intended(journal, incident, state=AttemptState.APPLIED)
    intended(journal, incident, state=AttemptState.JUDGED)
    assert len(journal.story(incident).attempts) == 2


def test_workloads_of_two_kinds_with_one_name_have_an_incident_and_an_attempt_each(journal, incident):
    twin = Target(APEX.namespace, APEX.name, Workload.STATEFUL_SET)
    with journal.transaction() as tx:
        other = tx.create_incident(an_admission(target=twin), now=NOW)
        assert tx.open_incidents([APEX, twin]) == {APEX: incident, twin: other}
        for number, target in ((incident, APEX), (other, twin)):
            tx.intend(an_attempt(incident_id=number, target=target, state=AttemptState.INTENDED))
    with journal.reading() as tx:
        assert [attempt.target for attempt in tx.attempts_of(other)] == [twin]
        assert {opening.target for opening in tx.openings(Limits(), now=NOW)} == {APEX, twin}
    assert set(journal.open_phases()) == {APEX, twin}
    assert {target for target, _ in journal.spent(since=ago(days=1))} == {APEX, twin}
    assert {target for target, _ in journal.last_applied()} == set()


def test_an_alert_that_waits_is_of_the_same_kind_of_workload(journal, incident):
    twin = Target(APEX.namespace, APEX.name, Workload.STATEFUL_SET)
    with journal.transaction() as tx:
        waiting = Admission(alert=an_alert("HiveDown", target=twin), reason=Reason.NO_PLAYBOOK, target=twin)
        tx.put_episodes([(waiting, None)], known={}, now=NOW)
    with journal.transaction() as tx:
        found = [
            tx.unattended_alert(incident, target, other_than="", playbooks=["HiveDown"])
            for target in (APEX, twin)
        ]
    assert [admission and admission.target for admission in found] == [None, twin]


def test_the_history_reaches_as_far_as_the_limits_and_has_all_in_flight(journal, incident):
    ended = {"state": AttemptState.JUDGED}
    kept = intended(journal, incident, intended_at=ago(hours=23), **ended)
    intended(journal, incident, intended_at=ago(hours=25), **ended)
    old = intended(journal, incident, intended_at=ago(hours=99))
    with journal.reading() as tx:
        history = tx.history(LIMITS, now=NOW)
    assert {attempt.id for attempt in history.attempts} == {kept.id, old.id}


def test_the_history_has_who_began_to_alert_lately(journal):
    with journal.transaction() as tx:
        for minutes, name in ((1, "a"), (9, "b"), (11, "c")):
            tx.create_incident(an_admission(target=Target("n", name)), now=ago(minutes=minutes))
        history = tx.history(LIMITS, now=NOW)
    assert {(opening.target.name, opening.at) for opening in history.openings} == {
        ("a", ago(minutes=1)),
        ("b", ago(minutes=9)),
    }


# Counters


def test_counters_add_up_by_name_and_labels(journal, another):
    for number in range(3):
        with (journal if number else another).transaction() as tx:
            tx.count("alerts", {"b": "1", "a": "2"}, 2.5)
            tx.count("alerts", {"a": "2", "b": "1"})
            tx.count("alerts", {"a": "3"})
    assert journal.counters() == {("alerts", (("a", "2"), ("b", "1"))): 10.5, ("alerts", (("a", "3"),)): 3}


def test_a_counter_of_a_failed_transaction_does_not_count(journal):
    def fail():
        with journal.transaction() as tx:
            tx.count("alerts", {})
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert journal.counters() == {}


# Pauses


def engage(journal, scope="all", *, by="ada", until=None):
    with journal.transaction() as tx:
        return tx.engage_pause(scope=scope, by=by, why="maintenance", until=until, now=NOW)


def test_a_pause_is_in_force_until_it_is_ended(journal, another):
    engage(journal)
    (pause,) = another.pauses(now=NOW)
    assert (pause.scope, pause.by, pause.why, pause.since, pause.until) == (
        "all",
        "ada",
        "maintenance",
        NOW,
        None,
    )
    with journal.reading() as tx:
        assert tx.history(LIMITS, now=NOW).pauses == (pause,)
    assert another.end_pauses(scope=None, by="bob", now=after(minutes=1)) == 1
    assert journal.pauses(now=NOW) == []
    with journal.reading() as tx:
        assert tx.history(LIMITS, now=NOW).pauses == ()


def test_a_pause_with_an_end_ends_by_itself(journal):
    engage(journal, until=after(minutes=1))
    assert len(journal.pauses(now=NOW)) == 1
    assert journal.pauses(now=after(minutes=1)) == []


def test_resuming_one_scope_leaves_the_others(journal):
    engage(journal, "namespace:a")
    engage(journal, "namespace:b")
    assert journal.end_pauses(scope="namespace:a", by="ada", now=NOW) == 1
    assert [pause.scope for pause in journal.pauses(now=NOW)] == ["namespace:b"]
    assert journal.end_pauses(scope="namespace:a", by="ada", now=NOW) == 0


def test_resuming_wakes_what_was_held(journal, incident):
    held = journal.claim("one", lease=timedelta(), now=NOW)
    with journal.transaction() as tx:
        tx.save(held, phase=held.incident.phase, next_at=after(minutes=1), now=NOW)
    engage(journal)
    assert journal.claim("one", lease=timedelta(), now=NOW) is None
    journal.end_pauses(scope=None, by="ada", now=NOW)
    assert journal.claim("one", lease=timedelta(), now=NOW).incident.id == incident


def test_ending_the_breakers_pause_resets_the_breaker(journal):
    engage(journal)
    engage(journal, by=BREAKER)
    journal.end_pauses(scope=None, by="ada", now=after(minutes=2))
    with journal.reading() as tx:
        assert tx.history(LIMITS, now=NOW).breaker_reset_at == after(minutes=2)


def test_ending_a_persons_pause_does_not_reset_the_breaker(journal):
    engage(journal)
    journal.end_pauses(scope=None, by="ada", now=NOW)
    with journal.reading() as tx:
        assert tx.history(LIMITS, now=NOW).breaker_reset_at is None


def test_what_waits_to_be_announced_is_told_apart_by_its_target(journal, incident):
    other = Target(APEX.namespace, APEX.name, Workload.STATEFUL_SET)
    with journal.transaction() as tx:
        second = tx.create_incident(an_admission(target=other), now=NOW)
        for number in (incident, second, incident):
            tx.append(number, "held", Reason.COOLDOWN, "", now=NOW)
    with journal.reading() as tx:
        told = tx.announcements

        def incidents(**which):
            return [one.incident for one in told(most=9, **which)]

        assert incidents() == [incident, second, incident]
        assert incidents(about=APEX) == incidents(other_than=[other]) == [incident, incident]
        assert incidents(about=other) == incidents(other_than=[APEX]) == [second]
        assert incidents(other_than=[APEX, other]) == []
        assert [one.incident for one in told(most=1)] == [incident]


def test_the_incident_remembers_its_last_event(journal, told):
    with journal.reading() as tx:
        row = tx._db.execute(select(incidents.c.last_seq, incidents.c.last_hash)).one()
    assert (row.last_seq, row.last_hash) == (5, journal.story(told).events[-1]["hash"])
    assert journal.story(told).incident.target == APEX


def test_what_is_committed_is_told_and_what_is_not_committed_is_not(tmp_path):
    told: list[object] = []
    journal = SqlJournal(f"sqlite:///{tmp_path}/told.db", tell=told.append)
    journal.migrate()
    with journal.transaction() as tx:
        number = tx.create_incident(an_admission(), now=NOW)
        tx.append(number, "opened", Reason.INCIDENT_OPENED, "for once", now=NOW)
        assert told == []

    def fails() -> None:
        with journal.transaction() as tx:
            tx.append(number, "closed", Reason.RECOVERED, "never", now=NOW)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    with journal.transaction() as tx:
        tx.append(number, "escalated", Reason.STEPS_EXHAUSTED, "at last", now=NOW)
    journal.close()

    target = "bizra-testnet/bizra-apex"
    assert told == [
        (number, target, "opened", "incident_opened", "for once"),
        (number, target, "escalated", "steps_exhausted", "at last"),
    ]
