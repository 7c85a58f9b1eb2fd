"""Retention: the numbers are bounded, and what somebody may still ask for stays."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import event, func, select

from remediator.adapters.journal.schema import (
    attempts,
    episodes,
    events,
    incidents,
    notifications,
    pauses,
    refused_alerts,
    storms,
)
from remediator.core.actions import Target
from remediator.core.alerts import RefusedAlert
from remediator.core.incidents import BREAKER, AttemptState, Phase
from remediator.core.intake import Admission
from remediator.core.policy import Limits
from remediator.core.reasons import Reason
from remediator.ports import Keep
from tests.builders import NOW, a_notification, after, ago, an_admission, an_alert, an_attempt

KEEP = Keep(
    incidents=timedelta(days=30),
    most_incidents=1000,
    notifications=timedelta(days=10),
    most_notifications=1000,
    history=timedelta(days=1),
)


def count(journal, table):
    with journal._engine.connect() as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar()


def an_incident(journal, number, *, days, firing=False, closed=True):
    """One that was closed that many days ago, with a timeline, an attempt and an episode."""
    at, target = ago(days=days), Target("bizra-testnet", f"hive-{number}")
    alert = an_alert(target=target, firing=firing, fingerprint=f"f{number}", starts_at=at)
    with journal.transaction() as tx:
        admission = replace(an_admission(target=target), alert=alert)
        incident = tx.create_incident(admission, now=at)
        tx.put_episodes([(admission, incident)], known={}, now=at)
        attempt = an_attempt(incident_id=incident, target=target, intended_at=at, ended_at=at)
        tx.intend(replace(attempt, state=AttemptState.JUDGED))
        for kind in ("opened", "closed"):
            tx.append(incident, kind, Reason.RECOVERED, "", now=at)
        tx.count("incidents", {})
        if closed:
            end = {"phase": Phase.CLOSED.value, "closed_at": at}
            tx.note_person(incident, now=at, **end)
    return incident


def kept(journal):
    return {incident.id for incident in journal.incidents(limit=1000)}


def prune(journal, *, now=NOW, **keep):
    return journal.prune(replace(KEEP, **keep), now=now)


def test_closed_incidents_go_by_age_as_a_whole_and_the_rest_stays_verifiable(journal):
    for number in range(3):
        an_incident(journal, number, days=31)
    young = an_incident(journal, 4, days=29)
    assert prune(journal)["incidents"] == 3
    assert kept(journal) == {young}
    assert [count(journal, table) for table in (events, attempts, episodes)] == [2, 1, 1]
    assert journal.story(young).broken_at is None
    assert journal.counters()["incidents", ()] == 4


def test_closed_incidents_go_by_number_the_oldest_first(journal):
    numbers = [an_incident(journal, number, days=20 - number) for number in range(5)]
    assert prune(journal, most_incidents=2)["incidents"] == 3
    assert kept(journal) == set(numbers[3:])


def test_open_incidents_stay_however_old(journal):
    number = an_incident(journal, 1, days=300, closed=False)
    prune(journal, most_incidents=1)
    assert kept(journal) == {number}


def test_what_guardrails_look_back_to_stays_however_small_the_numbers(journal):
    numbers = {an_incident(journal, number, days=number) for number in range(5)}
    prune(journal, most_incidents=1, history=timedelta(days=7))
    assert kept(journal) == numbers
    with journal.reading() as tx:
        assert len(tx.history(Limits(day=timedelta(days=7)), now=NOW).attempts) == 5


@pytest.mark.parametrize(("seen", "stays"), [(2, True), (40, False)], ids=["fires", "was forgotten"])
def test_an_incident_whose_alert_still_fires_stays(journal, seen, stays):
    number = an_incident(journal, 1, days=40, firing=True)
    with journal._engine.begin() as connection:
        connection.execute(episodes.update().values(last_seen=ago(days=seen)))
    prune(journal)
    assert kept(journal) == ({number} if stays else set())


def a_received(journal, body, *, days):
    refused = RefusedAlert(index=0, reason=Reason.MALFORMED_ALERT, detail="x")
    with journal.transaction() as tx:
        tx.record_notification(a_notification(refused=(refused,)), body=body, now=ago(days=days))


def test_notifications_go_with_what_was_refused_of_them(journal):
    for days in (12, 11, 9, 1):
        a_received(journal, f"{days}", days=days)
    assert prune(journal)["notifications"] == 2
    assert (count(journal, notifications), count(journal, refused_alerts)) == (2, 2)
    assert prune(journal, most_notifications=1)["notifications"] == 1


def test_a_body_that_comes_again_and_again_stays(journal):
    a_received(journal, "same", days=12)
    a_received(journal, "same", days=1)
    assert prune(journal)["notifications"] == 0


def test_alerts_that_belong_to_no_incident_go_too(journal):
    for days in (12, 9):
        alert = an_alert(fingerprint=f"f{days}")
        said = Admission(alert=alert, reason=Reason.UNKNOWN_TARGET, target=None)
        with journal.transaction() as tx:
            tx.put_episodes([(said, None)], known={}, now=ago(days=days))
    assert prune(journal)["episodes"] == 1
    assert count(journal, episodes) == 1


def test_when_the_breaker_was_last_closed_stays_known(journal):
    for by, days in ((BREAKER, 60), (BREAKER, 50), ("ada", 45), ("ada", 1)):
        with journal.transaction() as tx:
            tx.engage_pause(scope="all", by=by, why="x", until=None, now=ago(days=days))
        journal.end_pauses(scope=None, by="bob", now=ago(days=days))
    with journal.transaction() as tx:
        tx.engage_pause(scope="all", by="ada", why="in force", until=None, now=ago(days=99))
    assert prune(journal)["pauses"] == 2
    assert count(journal, pauses) == 3
    with journal.reading() as tx:
        assert tx.history(Limits(), now=NOW).breaker_reset_at == ago(days=50)


@pytest.mark.parametrize(("ended_ago", "gone"), [(31, 1), (29, 0)])
def test_a_pause_that_ended_by_itself_goes_too(journal, ended_ago, gone):
    with journal.transaction() as tx:
        tx.engage_pause(scope="all", by="ada", why="x", until=ago(days=ended_ago), now=ago(days=40))
        tx.engage_pause(scope="all", by="ada", why="in force", until=None, now=ago(days=99))
    assert prune(journal)["pauses"] == gone
    assert count(journal, pauses) == 2 - gone


def test_storms_that_are_over_go(journal):
    for days in (60, 1):
        with journal.transaction() as tx:
            tx.begin_storm("many", now=ago(days=days))
            tx.end_storm(by="", now=ago(days=days))
    assert prune(journal)["storms"] == 1
    assert count(journal, storms) == 1


class Clock:
    """Stands for `time`: each look at it is so many seconds after the last."""

    def __init__(self, seconds):
        self._seconds, self._now = seconds, 0.0

    def monotonic(self):
        self._now += self._seconds
        return self._now

    def sleep(self, seconds):
        assert seconds == pytest.approx(self._seconds), "half of the time is for others"


@pytest.mark.parametrize(("took", "pieces"), [(0.0001, range(3, 12)), (0.02, [120]), (1.0, [120])])
def test_old_incidents_go_in_pieces_however_quick_the_disk(journal, monkeypatch, took, pieces):
    monkeypatch.setattr("remediator.adapters.journal.pruning.time", Clock(took))
    with journal._engine.begin() as connection:
        row = {
            "namespace": "n",
            "alert": "a",
            "phase": "closed",
            "opened_at": ago(days=50),
            "alert_started_at": ago(days=50),
            "phase_since": ago(days=50),
            "closed_at": ago(days=50),
            "next_at": NOW,
        }
        rows = [{**row, "deployment": f"d{number}"} for number in range(1200)]
        connection.execute(incidents.insert(), rows)
        told = [
            {
                "incident_id": number,
                "seq": seq,
                "at": NOW,
                "kind": "held",
                "reason": "storm",
                "detail": "x" * 500,
                "data": {},
                "previous_hash": "",
                "hash": "",
            }
            for number in connection.execute(select(incidents.c.id)).scalars()
            for seq in range(6)
        ]
        connection.execute(events.insert(), told)
    gone = []

    @event.listens_for(journal._engine, "after_cursor_execute")
    def executed(_, cursor, statement, *__):
        if statement.startswith("DELETE FROM incidents"):
            gone.append(cursor.rowcount)

    assert journal.prune(KEEP, now=NOW, within=timedelta())["incidents"] == 0
    assert prune(journal)["incidents"] == 1200
    assert max(gone) <= 500
    assert len([one for one in gone if one]) in pieces
    assert prune(journal, now=after(days=1))["incidents"] == 0
