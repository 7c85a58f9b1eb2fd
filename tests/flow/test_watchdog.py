"""The Watchdog: once heard, its silence means that we are blind."""

from __future__ import annotations

import pytest

from remediator.core.actions import RestartIntent
from remediator.core.incidents import Phase
from remediator.core.reasons import Reason
from tests.builders import an_alert


def watchdog(**overrides):
    return an_alert("Watchdog", labels={"alertname": "Watchdog", "severity": "none"}, **overrides)


def test_the_watchdog_opens_no_incident_and_is_remembered(drama):
    receipt = drama.receive(watchdog())

    assert [said.reason for said, _ in receipt.admissions] == [Reason.WATCHDOG]
    assert drama.journal.incidents() == []
    assert drama.journal.watchdog_at() == drama.now


def test_a_watchdog_that_names_a_target_opens_none_either(drama):
    drama.receive(an_alert("Watchdog"))
    assert drama.journal.incidents() == []


def test_the_last_one_counts(drama):
    drama.receive(watchdog())
    drama.forward(minutes=1)
    drama.receive(watchdog())
    assert drama.journal.watchdog_at() == drama.now


def test_a_resolved_watchdog_is_no_sign_of_life(drama):
    drama.receive(watchdog(firing=False))
    assert drama.journal.watchdog_at() is None


@pytest.mark.parametrize(("minutes", "acts"), [(9, True), (10, False)])
def test_once_it_has_been_silent_too_long_nothing_is_done(drama, minutes, acts):
    drama.receive(watchdog())
    drama.forward(minutes=minutes)
    drama.receive()
    drama.run(seconds=1)
    assert bool(drama.cluster.asked) is acts
    assert (("held", "blind") in drama.told()) is not acts


def test_when_it_is_heard_again_work_goes_on(drama):
    drama.heal_on(RestartIntent)
    drama.receive(watchdog())
    drama.forward(minutes=11)
    drama.receive()
    drama.run(minutes=1)
    assert drama.cluster.asked == []
    drama.receive(watchdog())
    drama.run(minutes=5)
    assert drama.incident.reason is Reason.RECOVERED


def test_blindness_that_outlasts_the_patience_goes_to_a_person(drama):
    drama.receive(watchdog())
    drama.forward(minutes=11)
    drama.receive()
    drama.run(minutes=20)
    assert (drama.incident.phase, drama.incident.reason) == (Phase.ESCALATED, Reason.BLIND)


def test_a_watchdog_that_was_never_heard_holds_nothing(drama):
    drama.receive()
    drama.run(seconds=1)
    assert len(drama.cluster.asked) == 1
