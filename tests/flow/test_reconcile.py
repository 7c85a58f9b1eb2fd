"""Asking Alertmanager what fires, beside being told."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from remediator.core.actions import RestartIntent
from remediator.core.alerts import parse_notification
from remediator.core.incidents import Phase
from remediator.core.reasons import Reason
from remediator.core.reconcile import Listed, Look
from remediator.lifecycle.reconcile import reconcile
from tests.builders import APEX, ago, an_alert
from tests.worlds import WELL

EVERY = timedelta(minutes=1)


class Said:
    """An Alertmanager that lists what it is told to."""

    def __init__(self):
        self.alerts = []
        self.silenced = False
        self.muted = False
        self.trouble = None

    def look(self):
        ours = frozenset({"remediator"})
        listed = tuple(Listed(alert=alert, active=not self.silenced, receivers=ours) for alert in self.alerts)
        return [Look(name="am", trouble=self.trouble, up_since=ago(days=1), listed=listed)]

    def sendable(self, receiver):
        assert receiver == "remediator"
        return frozenset() if self.muted else frozenset(alert.fingerprint for alert in self.alerts)


@pytest.fixture
def said():
    return Said()


@pytest.fixture
def ask(drama, said):
    def asked(*, minutes=0):
        drama.forward(minutes=minutes)
        return reconcile(drama.lifecycle.world, said, receiver="remediator", every=EVERY, now=drama.now)

    return asked


def test_what_was_missed_while_we_were_down_is_remediated(drama, said, ask):
    said.alerts = [an_alert()]
    drama.heal_on(RestartIntent)

    found = ask()
    drama.run()

    assert (found.missed, found.news) == (1, True)
    assert drama.done == ["restart"]
    assert drama.incident.reason is Reason.RECOVERED


def test_what_was_picked_up_can_be_replayed(drama, said, ask):
    said.alerts = [an_alert()]
    ask()
    body = json.loads(drama.journal.notification(1))
    (alert,) = parse_notification(body).alerts
    assert (alert.fingerprint, alert.starts_at) == (an_alert().fingerprint, an_alert().starts_at)


@pytest.mark.parametrize("pushed_first", [True, False])
def test_told_and_looked_up_is_one_incident(drama, said, ask, pushed_first):
    said.alerts = [an_alert()]
    for pushed in (pushed_first, not pushed_first):
        if pushed:
            drama.receive()
        else:
            ask()
    assert len(drama.journal.incidents()) == 1
    assert not ask().news


def test_a_silenced_alert_is_recorded_once_and_not_acted_on(drama, said, ask):
    said.alerts, said.silenced = [an_alert()], True
    assert ask().suppressed == 1
    assert not ask(minutes=1).news
    assert drama.journal.incidents() == []
    assert drama.counted("alerts", reason="suppressed") == 1


def test_when_the_silence_ends_it_is_remediated(drama, said, ask):
    said.alerts, said.silenced = [an_alert()], True
    ask()
    said.silenced = False
    assert ask(minutes=2).missed == 1
    drama.run(minutes=1)
    assert drama.done == ["restart"]


def test_what_the_route_mutes_is_not_acted_on_until_it_ends(drama, said, ask):
    said.alerts, said.muted = [an_alert()], True
    assert ask().suppressed == 1
    assert not ask(minutes=2).news
    assert drama.journal.incidents() == []
    said.muted = False
    assert ask(minutes=2).missed == 1


def test_a_silence_stops_what_is_about_to_be_done(drama, said, ask):
    drama.cluster.away = True
    drama.receive()
    drama.run(minutes=2)
    said.alerts, said.silenced = [an_alert()], True
    ask()
    drama.cluster.away = False
    drama.run(minutes=2)
    assert drama.cluster.asked == []
    assert ("resolved", "suppressed") in drama.told()
    assert ("held", "not_firing") in drama.told()


def test_what_vanished_is_closed_as_such(drama, said, ask):
    drama.cluster.away = True
    drama.receive()
    drama.run(minutes=2)
    assert ask().vanished == 0
    drama.metrics.values[APEX] = WELL
    assert ask(minutes=1).vanished == 1
    drama.run(minutes=2)
    assert drama.told()[-2:] == [("resolved", "vanished"), ("closed", "resolved")]
    assert drama.incident.phase is Phase.CLOSED
    assert drama.counted("alerts", reason="vanished") == 1
    assert not ask(minutes=1).news


def test_what_vanished_after_the_incidents_end_is_just_noted(drama, said, ask):
    drama.heal_on(RestartIntent)
    drama.receive()
    drama.run()
    told = drama.told()
    ask()
    assert ask(minutes=1).vanished == 1
    assert drama.told() == told


def test_what_comes_back_after_one_look_is_not_closed(drama, said, ask):
    drama.receive()
    drama.forward(minutes=2)
    ask()
    said.alerts = [an_alert()]
    ask(minutes=1)
    said.alerts = []
    assert ask(minutes=1).vanished == 0


def test_an_alertmanager_that_does_not_answer_closes_nothing(drama, said, ask):
    drama.receive()
    said.trouble = "ConnectTimeout"
    assert [ask(minutes=2).vanished for _ in range(3)] == [0, 0, 0]


def test_a_listed_watchdog_is_heard(drama, said, ask):
    said.alerts = [an_alert("Watchdog")]
    assert not ask().news
    assert drama.journal.watchdog_at() == drama.now


def test_many_missed_alerts_are_received_piece_by_piece(drama, said, ask, monkeypatch):
    monkeypatch.setattr("remediator.lifecycle.reconcile.AT_ONCE", 2)
    said.alerts = [an_alert(fingerprint=f"f{number}") for number in range(5)]
    assert ask().missed == 5
    assert drama.counted("notifications") == 3
