"""Many targets alert at once: one escalation, nothing done, and calm afterwards."""

from __future__ import annotations

import pytest

from remediator.core.actions import RestartIntent, Target
from remediator.core.facts import Fact
from remediator.core.incidents import Phase
from remediator.core.reasons import Reason
from remediator.lifecycle.person import NotNow, Person
from remediator.lifecycle.storm import settle_storm
from remediator.ports import LeaseLost
from tests.builders import RESTART as RESTART_STEP
from tests.builders import a_playbook, a_policy, an_alert, an_observation
from tests.worlds import SICK, WELL

MANY = tuple(Target("bizra-testnet", f"hive-{number}") for number in range(5))


@pytest.fixture
def storm(drama):
    """Five sick targets that begin to alert in one minute."""
    drama.policy = a_policy(targets=MANY)
    for target in MANY:
        drama.cluster.live[target] = an_observation()
        drama.metrics.values[target] = SICK
    drama.receive(*(an_alert(target=target) for target in MANY))
    return drama


def settle(drama):
    return settle_storm(drama.lifecycle.world, now=drama.now)


def open_ones(drama):
    return {(one.phase, one.hold_reason) for one in drama.journal.incidents(open_only=True)}


def recover(drama, *targets):
    for target in targets:
        drama.metrics.values[target] = WELL


def escalations(drama):
    counters = drama.journal.counters().items()
    return {dict(labels)["reason"]: value for (name, labels), value in counters if name == "escalations"}


def test_a_storm_is_one_escalation_however_long_it_lasts(storm):
    storm.run(hours=3)

    assert storm.cluster.asked == []
    assert open_ones(storm) == {(Phase.DECIDING, Reason.STORM)}
    assert escalations(storm) == {"storm": 1}
    assert storm.counted("storms") == 1
    assert [kind for kind, _ in storm.told(1)] == ["opened", "storm", "held"]
    assert [kind for kind, _ in storm.told(2)] == ["opened", "held"]


def test_in_a_storm_the_api_server_is_spared(storm):
    storm.run(minutes=1)
    storm.cluster.live.clear()  # whoever asked would not find them
    asked = len(storm.metrics.asked)
    storm.run(hours=1)
    assert len(storm.metrics.asked) > asked
    assert open_ones(storm) == {(Phase.DECIDING, Reason.STORM)}
    settle(storm)
    recover(storm, *MANY[:3])
    storm.run(minutes=10)
    assert escalations(storm) == {"storm": 1, "target_not_found": 2}, "over: looked at as ever"


def test_every_incident_of_a_storm_refers_to_it(storm):
    storm.run(minutes=1)

    number = storm.journal.storm().id
    with storm.journal._engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT storm_id FROM incidents").scalars().all()
    assert rows == [number] * len(MANY)


def test_that_time_passes_does_not_end_a_storm(storm):
    storm.run(hours=1)
    assert not settle(storm)
    assert storm.journal.storm() is not None


def test_what_recovers_closes_by_itself_and_the_last_few_are_decided_as_ever(storm):
    storm.run(minutes=20)
    storm.heal_on(RestartIntent)
    recover(storm, *MANY[:3])
    storm.run(minutes=30)

    assert settle(storm)
    assert storm.journal.storm() is None
    assert len(storm.cluster.effects) == 2, "two are fewer than a storm"
    assert open_ones(storm) == set()
    assert escalations(storm) == {"storm": 1}
    assert storm.counted("closed", reason="condition_cleared") == 3
    assert not settle(storm), "it is over already"


def test_a_storm_that_went_by_is_over_when_no_more_targets_begin_to_alert(storm):
    storm.run(minutes=1)
    recover(storm, *MANY)
    storm.run(minutes=5)
    assert open_ones(storm) == set()
    assert not settle(storm), "so many began to alert just now"
    storm.forward(minutes=6)
    assert settle(storm)


def test_the_next_storm_is_an_escalation_of_its_own(storm):
    storm.run(minutes=1)
    recover(storm, *MANY)
    storm.run(minutes=20)
    assert settle(storm)
    for target in MANY:
        storm.metrics.values[target] = SICK
    storm.receive(*(an_alert(target=target, starts_at=storm.now) for target in MANY))
    storm.run(minutes=1)
    assert escalations(storm) == {"storm": 2}


def test_a_storm_holds_also_what_has_no_step_left(storm):
    storm.policy = a_policy(a_playbook(), targets=MANY)
    only_under_pressure = type(RESTART_STEP)(action=RESTART_STEP.action, when=(Fact.RESOURCE_PRESSURE,))
    storm.policy = a_policy(a_playbook(only_under_pressure), targets=MANY)
    storm.run(hours=1)
    assert escalations(storm) == {"storm": 1}


def test_without_prometheus_a_storm_is_still_one_escalation(storm):
    storm.metrics.away = True
    storm.run(hours=1)
    assert escalations(storm) == {"storm": 1}


def test_a_person_closes_a_storm_and_all_that_it_holds(storm):
    storm.run(minutes=1)
    said = Person(storm.journal).acknowledge_storm(by="ada", now=storm.now)

    assert said == "acknowledged by ada: 5 incidents closed"
    assert open_ones(storm) == set()
    assert storm.journal.storm() is None
    assert storm.told()[-1] == ("closed", "acknowledged")
    assert storm.counted("closed", reason="acknowledged") == 5
    with pytest.raises(NotNow, match="there is no storm"):
        Person(storm.journal).acknowledge_storm(by="ada", now=storm.now)


def test_a_large_storm_is_closed_piece_by_piece(storm, monkeypatch):
    monkeypatch.setattr("remediator.lifecycle.storm.AT_ONCE", 2)
    storm.run(minutes=1)
    assert Person(storm.journal).acknowledge_storm(by="ada", now=storm.now).endswith("5 incidents closed")


def test_who_works_on_an_incident_when_a_person_closes_its_storm_changes_nothing_more(storm):
    storm.run(minutes=1)
    storm.forward(minutes=2)
    claim = storm.claim()
    Person(storm.journal).acknowledge_storm(by="ada", now=storm.now)
    with pytest.raises(LeaseLost):
        storm.lifecycle.advance(claim, now=storm.now)
    assert open_ones(storm) == set()


def test_resolved_is_looked_at_before_all_that_is_merely_due_again(storm):
    storm.run(minutes=1)
    storm.forward(minutes=3)
    last = MANY[-1]
    storm.receive(an_alert(target=last, firing=False))
    assert storm.claim().incident.target == last
