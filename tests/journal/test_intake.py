"""What the webhook writes: notifications, episodes, incidents."""

from dataclasses import replace

import pytest
from sqlalchemy import select

from remediator.adapters.journal.schema import episodes, notifications, refused_alerts
from remediator.core.actions import Target
from remediator.core.alerts import RefusedAlert
from remediator.core.intake import Admission
from remediator.core.reasons import Reason
from remediator.ports import Overtaken
from tests.builders import (
    APEX,
    NOW,
    a_notification,
    after,
    ago,
    an_admission,
    an_alert,
)


def rows(journal, table):
    with journal.reading() as tx:
        return [dict(row) for row in tx._db.execute(select(table).order_by(table.c.id)).mappings()]


def put(journal, alert, *, incident=None, now=NOW, reason=Reason.REPEATED):
    """What receive does for one alert whose incident is given."""
    admission = Admission(alert=alert, reason=reason, target=APEX)
    with journal.transaction() as tx:
        known = tx.known_episodes(a_notification(alert))
        tx.put_episodes([(admission, incident)], known=known, now=now)


def known(journal, alert):
    with journal.reading() as tx:
        return tx.known_episodes(a_notification(alert)).get(0)


def test_a_body_is_kept_once_and_counted(journal):
    numbers = []
    for minute in range(3):
        with journal.transaction() as tx:
            numbers.append(tx.record_notification(a_notification(), body="{}", now=after(minutes=minute)))
    with journal.transaction() as tx:
        other = tx.record_notification(a_notification(), body="{ }", now=NOW)
    first, second = rows(journal, notifications)
    assert numbers == [first["id"]] * 3
    assert other == second["id"] != first["id"]
    assert (first["times"], first["received_at"], first["last_received_at"]) == (3, NOW, after(minutes=2))
    assert journal.notification(first["id"]) == "{}"
    assert journal.notification(999) is None


def test_refused_alerts_are_kept_once_with_their_notification(journal):
    refused = tuple(
        RefusedAlert(index=number, reason=Reason.MALFORMED_ALERT, detail="odd") for number in range(900)
    )
    for _ in range(2):
        with journal.transaction() as tx:
            tx.record_notification(a_notification(refused=refused), body="{}", now=NOW)
    kept = rows(journal, refused_alerts)
    assert len(kept) == 900
    assert kept[1]["alert_index"] == 1


def test_an_episode_is_one_row_however_often_it_is_sent(journal):
    for minute in range(3):
        put(journal, an_alert(), now=after(minutes=minute))
    (episode,) = rows(journal, episodes)
    assert (episode["first_seen"], episode["last_seen"]) == (NOW, after(minutes=2))
    assert episode["firing"]


def test_an_episode_keeps_its_incident_when_a_repeat_names_none(journal):
    with journal.transaction() as tx:
        incident = tx.create_incident(an_admission(), now=NOW)
    put(journal, an_alert(), incident=incident)
    put(journal, an_alert(), incident=None)
    assert known(journal, an_alert()).incident_id == incident


def test_a_resolved_episode_is_over_and_may_be_reopened(journal):
    put(journal, an_alert())
    put(journal, an_alert(firing=False), now=after(minutes=1))
    assert rows(journal, episodes)[0]["resolved_at"] == after(minutes=1)
    assert not known(journal, an_alert()).firing
    put(journal, an_alert(), now=after(minutes=2))
    (episode,) = rows(journal, episodes)
    assert episode["firing"]
    assert episode["resolved_at"] is None


def test_a_moved_start_continues_the_episode_and_ends_the_earlier_row(journal):
    with journal.transaction() as tx:
        incident = tx.create_incident(an_admission(), now=NOW)
    put(journal, an_alert(), incident=incident)
    moved = an_alert(starts_at=NOW)
    assert known(journal, moved).incident_id == incident
    put(journal, moved, incident=incident, now=after(minutes=1))
    earlier, later = rows(journal, episodes)
    assert (earlier["firing"], later["firing"]) == (False, True)
    put(
        journal, replace(moved, status=an_alert(firing=False).status), incident=incident, now=after(minutes=2)
    )
    with journal.reading() as tx:
        assert not tx.firing(incident)


def test_an_unfinished_episode_is_known_by_its_fingerprint_and_a_finished_one_is_not(journal):
    put(journal, an_alert())
    moved = an_alert(starts_at=NOW)
    assert known(journal, moved).starts_at == ago(minutes=1)
    put(journal, an_alert(firing=False))
    assert known(journal, moved) is None


def test_a_known_episode_says_when_its_incident_was_closed(journal):
    with journal.transaction() as tx:
        incident = tx.create_incident(an_admission(), now=NOW)
        tx.note_person(incident, now=NOW, phase="closed", closed_at=after(minutes=3))
    put(journal, an_alert(), incident=incident)
    assert known(journal, an_alert()).closed_at == after(minutes=3)


def test_the_same_alert_twice_in_one_notification_is_one_episode(journal):
    over = Admission(alert=an_alert(firing=False), reason=Reason.RESOLVED, target=APEX)
    with journal.transaction() as tx:
        incident = tx.create_incident(an_admission(), now=NOW)
        tx.put_episodes([(an_admission(), incident), (over, None)], known={}, now=NOW)
    (episode,) = rows(journal, episodes)
    assert (episode["firing"], episode["reason"]) == (False, "resolved"), "the last one counts"
    assert episode["incident_id"] == incident


def test_a_thousand_alerts_fit_one_transaction(journal):
    targets = [Target("n", f"d{number}") for number in range(1000)]
    alerts = [an_alert(target=target, fingerprint=target.name) for target in targets]
    notification = a_notification(*alerts)
    with journal.transaction() as tx:
        numbers = [tx.create_incident(an_admission(target=target), now=NOW) for target in targets[:5]]
        tx.put_episodes([(an_admission(alert), None) for alert in alerts], known={}, now=NOW)
        assert len(tx.known_episodes(notification)) == 1000
        assert list(tx.open_incidents(targets).values()) == numbers


def test_an_alert_without_a_target_is_an_episode_too(journal):
    admission = Admission(alert=an_alert(labels={"alertname": "A"}), reason=Reason.NO_TARGET)
    with journal.transaction() as tx:
        tx.put_episodes([(admission, None)], known={}, now=NOW)
    (episode,) = rows(journal, episodes)
    assert (episode["namespace"], episode["reason"]) == (None, "no_target")


def test_a_second_open_incident_on_a_target_is_refused_and_nothing_of_it_stays(journal):
    with journal.transaction() as tx:
        tx.create_incident(an_admission(), now=NOW)

    def open_another():
        with journal.transaction() as tx:
            tx.count("something", {})
            tx.create_incident(an_admission(), now=NOW)

    with pytest.raises(Overtaken):
        open_another()
    assert len(journal.incidents()) == 1
    assert journal.counters() == {}


def test_no_incidents_to_begin_is_nothing_to_write(journal):
    with journal.transaction() as tx:
        assert tx.create_incidents([], now=NOW) == {}


def test_a_closed_incident_makes_room_for_the_next(journal):
    with journal.transaction() as tx:
        first = tx.create_incident(an_admission(), now=NOW)
        tx.note_person(first, now=NOW, phase="closed", closed_at=NOW)
        second = tx.create_incident(an_admission(), now=NOW)
        assert tx.open_incidents([APEX]) == {APEX: second}
    assert [incident.id for incident in journal.incidents()] == [second, first]
    assert [incident.id for incident in journal.incidents(open_only=True)] == [second]
    assert journal.gauges() == {"deciding": 1}


def test_an_incident_without_a_target_is_a_programming_error(journal):
    nowhere = Admission(alert=an_alert(), reason=Reason.NO_TARGET)
    with journal.transaction() as tx:
        with pytest.raises(ValueError, match="needs a target"):
            tx.create_incident(nowhere, now=NOW)
        with pytest.raises(ValueError, match="needs a target"):
            tx.adopt_episodes(1, nowhere)


def test_an_alert_that_waits_is_found_and_adopted(journal):
    waiting = an_alert("HiveDown")
    with journal.transaction() as tx:
        first = tx.create_incident(an_admission(), now=NOW)
    put(journal, an_alert(), incident=first)
    put(journal, waiting, incident=first)
    with journal.transaction() as tx:
        tx.note_person(first, now=NOW, phase="closed", closed_at=NOW)
        found = tx.unattended_alert(
            first, APEX, other_than="AhsanScoreLow", playbooks=["HiveDown", "AhsanScoreLow"]
        )
        assert found.alert.name == "HiveDown"
        assert found.reason is Reason.STILL_FIRING
        second = tx.create_incident(found, now=NOW)
        tx.adopt_episodes(second, found)
        assert tx.firing(second)
    assert known(journal, waiting).incident_id == second
    assert known(journal, an_alert()).incident_id == first


@pytest.mark.parametrize(
    "playbooks", [pytest.param([], id="no playbooks"), pytest.param(["AhsanScoreLow"], id="only its own")]
)
def test_an_alert_without_a_playbook_does_not_wait(journal, playbooks):
    with journal.transaction() as tx:
        first = tx.create_incident(an_admission(), now=NOW)
    put(journal, an_alert("HiveDown"), incident=first)
    with journal.reading() as tx:
        assert tx.unattended_alert(first, APEX, other_than="AhsanScoreLow", playbooks=playbooks) is None


def test_an_alert_that_had_its_own_incident_does_not_wait_again(journal):
    with journal.transaction() as tx:
        first = tx.create_incident(an_admission(), now=NOW)
        tx.note_person(first, now=NOW, phase="closed", closed_at=NOW)
        second = tx.create_incident(an_admission(), now=NOW)
    put(journal, an_alert("HiveDown"), incident=first)
    with journal.reading() as tx:
        assert tx.unattended_alert(second, APEX, other_than="AhsanScoreLow", playbooks=["HiveDown"]) is None
