"""What a notification leads to, and what explain says before it does."""

import json
import threading
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from remediator.core.actions import RestartIntent, Target
from remediator.core.alerts import RefusedAlert, parse_notification
from remediator.core.decisions import Act, Hold
from remediator.core.incidents import AttemptState, Phase
from remediator.core.reasons import Reason
from remediator.core.telling import LONG
from remediator.lifecycle import Pace
from remediator.policy_file import read_policy
from remediator.ports import JournalUnavailable
from tests.builders import (
    APEX,
    NOW,
    RESTART,
    a_notification,
    a_pause,
    a_playbook,
    a_policy,
    an_alert,
    an_observation,
    recently,
)
from tests.worlds import SICK, WELL

ROOT = Path(__file__).parent.parent.parent
PAYLOADS = ROOT / "tests" / "payloads"
OTHER = Target("bizra-testnet", "other")


def reasons(receipt):
    return [admission.reason for admission, _ in receipt.admissions]


def recovered(drama):
    """A first incident that ended well."""
    drama.heal_on(RestartIntent)
    drama.receive()
    drama.run()
    assert drama.incident.reason is Reason.RECOVERED


# Repeats


def test_a_repeat_changes_nothing(drama):
    first = drama.receive()
    events = len(drama.story().events)
    second = drama.receive()
    assert (reasons(first), reasons(second)) == ([Reason.INCIDENT_OPENED], [Reason.REPEATED])
    assert first.notification_id == second.notification_id
    assert len(drama.story().events) == events
    assert len(drama.journal.incidents()) == 1


def test_a_resolution_that_is_sent_twice_is_told_once(drama):
    drama.metrics.away = True
    drama.receive()
    for _ in range(3):
        drama.receive(an_alert(firing=False))
    assert drama.told() == [("opened", "incident_opened"), ("resolved", "resolved")]


def test_an_alert_that_flaps_for_days_is_told_once_an_hour_and_acted_on_all_the_same(drama):
    """While the timeline is short each time; the episodes have each time for ever."""
    drama.metrics.away = True
    drama.receive(an_alert(starts_at=NOW))
    drama.run()
    assert drama.incident.phase is Phase.ESCALATED
    for flap in range(1, LONG // 2 + 1):
        drama.receive(an_alert(firing=False, starts_at=NOW + timedelta(seconds=flap - 1)))
        drama.receive(an_alert(starts_at=NOW + timedelta(seconds=flap)))
    told = len(drama.told())
    assert LONG <= told <= LONG + 4
    for flap in range(LONG // 2 + 1, LONG // 2 + 14):
        drama.forward(minutes=10)
        drama.receive(an_alert(firing=False, starts_at=NOW + timedelta(seconds=flap - 1)))
        assert drama.receive(an_alert(starts_at=NOW + timedelta(seconds=flap))).wakes
    assert Counter(drama.told()[told:]) == {("resolved", "resolved"): 2, ("joined", "incident_joined"): 2}
    assert "told once an hour" in drama.story().events[-1]["detail"]
    assert len(drama.story().alerts) == LONG // 2 + 14


def test_a_resolution_of_an_alert_that_is_not_the_incidents_is_not_told_to_it(drama):
    drama.receive()
    receipt = drama.receive(an_alert("Unheard", firing=False))
    assert reasons(receipt) == [Reason.RESOLVED]
    assert not receipt.wakes
    assert drama.told() == [("opened", "incident_opened")]


def test_an_alert_of_a_closed_incident_stays_there_when_it_resolves_during_the_next(drama):
    drama.policy = a_policy(a_playbook(RESTART), a_playbook(RESTART, alert="HiveDown"))
    recovered(drama)
    drama.receive(an_alert("HiveDown", starts_at=drama.now))
    drama.receive(an_alert(firing=False))
    assert [alert["alert"] for alert in drama.story(1).alerts] == ["AhsanScoreLow"]
    assert [kind for kind, _ in drama.told(2)] == ["opened"]


# Rules


def of_rules(version, name="AhsanScoreLow"):
    return an_alert(name, annotations={"rules_version": version})


def test_an_alert_of_rules_that_the_policy_does_not_know_is_acted_on_and_said(drama):
    drama.policy = a_policy(a_playbook(RESTART), rules_versions=("1.1.0", "1.2.0"))
    drama.heal_on(RestartIntent)
    receipt = drama.receive(of_rules("2.0.0"), of_rules("2.0.0", "Other"), of_rules("1.2.0", "Another"))
    drama.run()
    assert receipt.unknown_rules == ("2.0.0",)
    assert drama.counted("unknown_rules_alerts") == 2
    assert drama.story().events[0]["detail"].endswith("; the policy does not know its rules, version 2.0.0")
    assert drama.incident.reason is Reason.RECOVERED


@pytest.mark.parametrize("known", [(), ("1.1.0", "1.2.0")])
@pytest.mark.parametrize("alert", [of_rules("1.2.0"), an_alert()], ids=["its version", "no version"])
def test_an_alert_of_known_rules_or_without_a_version_is_like_any_other(drama, known, alert):
    drama.policy = a_policy(a_playbook(RESTART), rules_versions=known)
    receipt = drama.receive(alert)
    assert (receipt.unknown_rules, drama.counted("unknown_rules_alerts")) == ((), 0)
    assert "rules" not in drama.story().events[0]["detail"]


def test_a_policy_that_lists_no_versions_takes_any(drama):
    assert drama.receive(of_rules("9.9.9")).unknown_rules == ()


def test_a_version_that_is_a_novel_is_told_in_part(drama):
    drama.policy = a_policy(a_playbook(RESTART), rules_versions=("1.2.0",))
    assert drama.receive(of_rules("9" * 4096)).unknown_rules == ("9" * 40,)


def test_fifty_posts_at_once_are_one_incident_and_one_attempt(drama):
    drama.pace = Pace()  # with real leases
    drama.restart()
    drama.heal_on(RestartIntent)
    start, failures = threading.Barrier(50), []

    def post():
        start.wait()
        try:
            drama.receive()
        except Exception as error:  # noqa: BLE001 - whatever it is, it fails the test
            failures.append(error)

    def work():
        start.wait()
        try:
            for _ in range(20):
                drama.step(threading.current_thread().name)
        except Exception as error:  # noqa: BLE001
            failures.append(error)

    threads = [threading.Thread(target=post if n % 10 else work) for n in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    drama.run()
    assert len(drama.journal.incidents()) == 1
    assert drama.done == ["restart"]
    assert len(drama.story().attempts) == 1
    assert drama.counted("notifications") == 45


def test_a_post_that_cannot_be_stored_is_refused_whole(drama):
    with drama.journal.transaction(), pytest.raises(JournalUnavailable):
        in_another_thread(drama.receive)
    assert drama.journal.incidents() == []


def in_another_thread(call):
    """The one connection is taken by this thread, so that the other waits in vain."""
    call.__self__.journal._engine.pool._timeout = 0.1
    raised = []

    def run():
        try:
            call()
        except JournalUnavailable as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    raise raised[0]


# What follows upon what


def test_an_alert_that_joins_is_told_once(drama):
    drama.metrics.away = True
    drama.policy = a_policy(a_playbook(), a_playbook(alert="HiveDown"))
    drama.receive()
    for _ in range(2):
        receipt = drama.receive(an_alert(), an_alert("HiveDown"))
    assert reasons(receipt) == [Reason.REPEATED, Reason.REPEATED]
    assert drama.told() == [("opened", "incident_opened"), ("joined", "incident_joined")]
    assert len(drama.story().alerts) == 2


def test_an_alert_still_firing_after_the_close_waits_for_the_cooldown_and_begins_again(drama):
    recovered(drama)
    drama.forward(minutes=4)
    assert reasons(drama.receive()) == [Reason.JUST_CLOSED]
    drama.forward(minutes=2)
    drama.metrics.values[APEX] = SICK
    assert reasons(drama.receive()) == [Reason.STILL_FIRING]
    drama.run()
    assert len(drama.journal.incidents()) == 2
    assert drama.told()[0] == ("opened", "still_firing")
    assert drama.done == ["restart", "restart"]


def test_a_new_episode_begins_a_new_incident(drama):
    recovered(drama)
    drama.receive(an_alert(firing=False))
    drama.forward(minutes=10)
    assert reasons(drama.receive(an_alert(starts_at=drama.now))) == [Reason.INCIDENT_OPENED]


def test_a_start_that_alertmanager_moved_is_the_same_episode(drama):
    drama.receive()
    assert reasons(drama.receive(an_alert(starts_at=NOW))) == [Reason.REPEATED]
    drama.receive(an_alert(starts_at=NOW, firing=False))
    number = drama.incident.id
    with drama.journal.reading() as tx:
        assert not tx.firing(number)


@pytest.mark.parametrize(
    ("alert", "reason"),
    [
        pytest.param(an_alert(target=OTHER), Reason.UNKNOWN_TARGET, id="unknown target"),
        pytest.param(an_alert("Unheard"), Reason.NO_PLAYBOOK, id="no playbook"),
        pytest.param(an_alert(labels={"alertname": "AhsanScoreLow"}), Reason.NO_TARGET, id="no target"),
        pytest.param(an_alert(starts_at=datetime(1, 1, 1, tzinfo=UTC)), Reason.IMPLAUSIBLE_TIME, id="year 1"),
    ],
)
def test_what_is_not_ours_is_recorded_with_its_reason_and_left_alone(drama, alert, reason):
    receipt = drama.receive(alert)
    assert reasons(receipt) == [reason]
    assert not receipt.wakes
    assert drama.journal.incidents() == []
    assert drama.counted("alerts", reason=reason) == 1


def test_what_had_no_playbook_begins_an_incident_once_it_has_one(drama):
    drama.receive(an_alert("HiveDown"))
    drama.policy = a_policy(a_playbook(alert="HiveDown"))
    assert reasons(drama.receive(an_alert("HiveDown"))) == [Reason.INCIDENT_OPENED]


def test_everything_about_a_notification_is_counted(drama):
    refused = (RefusedAlert(index=1, reason=Reason.MALFORMED_ALERT, detail="odd"),)
    notification = a_notification(refused=refused, truncated_alerts=7)
    receipt = drama.lifecycle.receive(notification, body="{}", now=NOW)
    assert receipt.refused == 1
    assert drama.counted("notifications") == 1
    assert drama.counted("alerts", reason="malformed_alert") == 1
    assert drama.counted("alerts", reason="incident_opened") == 1
    assert drama.counted("truncated_alerts") == 7


EXPECTED = {
    "firing": ["incident_opened"],
    "firing-0.25": ["incident_opened"],
    "resolved": ["resolved"],
    "grouped-mixed": ["incident_opened", "resolved", "incident_joined"],
    "truncated": ["incident_opened"],
    "unknown-keys": ["incident_opened"],
    "escaped-receiver": ["incident_opened"],
    "no-target-labels": ["no_target"],
    "unknown-target": ["unknown_target"],
    "label-with-code": ["incident_opened"],
    "year-1-start": ["implausible_time"],
    "far-future-start": ["implausible_time"],
    "one-bad-among-good": ["incident_opened", "incident_joined"],
}


def test_every_recorded_body_is_listed():
    assert {path.stem for path in PAYLOADS.glob("*.json")} == {*EXPECTED, "not-v4"}


@pytest.mark.parametrize("name", list(EXPECTED))
def test_every_recorded_body_comes_to_its_end_under_the_policy_of_this_repository(drama, name):
    drama.policy = read_policy(ROOT / "policy.yaml")
    body = (PAYLOADS / f"{name}.json").read_text()
    receipt = drama.lifecycle.receive(parse_notification(json.loads(body)), body=body, now=NOW)
    assert reasons(receipt) == EXPECTED[name]
    assert drama.journal.notification(receipt.notification_id) == body
    drama.metrics.on_ask = lambda _query: 0.01 if drama.done else 0.7
    drama.cluster.on_effect = lambda *_: None
    drama.run()
    assert all(incident.phase in {Phase.CLOSED, Phase.ESCALATED} for incident in drama.journal.incidents())
    assert all("reboot" not in query and "vector" not in query for query, _ in drama.metrics.asked)


# Explain


def foresee(drama, *alerts):
    return drama.lifecycle.foresee(a_notification(*(alerts or (an_alert(),))), now=drama.now)


def tables(drama):
    """Everything there is in the journal."""
    with drama.journal._engine.connect() as connection:
        names = [
            row[0] for row in connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type='table'")
        ]
        return {name: connection.exec_driver_sql(f"SELECT * FROM {name}").all() for name in names}


def test_explain_says_what_would_be_done_and_does_nothing(drama):
    before = tables(drama)
    (foresight,) = foresee(drama)
    assert isinstance(foresight.explanation.decision, Act)
    assert foresight.admission.reason is Reason.INCIDENT_OPENED
    assert foresight.condition.value == SICK
    assert foresight.facts
    assert tables(drama) == before
    assert drama.cluster.asked == []


def test_explain_says_the_same_as_what_then_happens(drama):
    drama.cluster.change(template_changed=recently())
    (foresight,) = foresee(drama)
    drama.receive()
    drama.step()
    (attempt,) = drama.story().attempts
    assert foresight.explanation.decision.intent == attempt.intent


def test_explain_knows_pauses(drama):
    pause = a_pause()
    with drama.journal.transaction() as tx:
        tx.engage_pause(scope=pause.scope, by=pause.by, why=pause.why, until=None, now=NOW)
    (foresight,) = foresee(drama)
    assert isinstance(foresight.explanation.decision, Hold)
    assert foresight.explanation.decision.reason is Reason.PAUSED


def test_explain_counts_the_incident_that_would_begin_into_the_storm(drama):
    targets = [Target("bizra-testnet", f"hive-{number}") for number in range(2)]
    drama.policy = a_policy(targets=(APEX, *targets))
    drama.receive(*(an_alert(target=target) for target in targets))
    (foresight,) = foresee(drama)
    assert foresight.explanation.decision.reason is Reason.STORM
    drama.receive()
    drama.run(seconds=1)
    assert ("held", "storm") in drama.told()


def test_explain_opens_one_incident_for_two_alerts_of_a_target(drama):
    drama.policy = a_policy(a_playbook(), a_playbook(alert="HiveDown"))
    alerts = (an_alert(), an_alert("HiveDown"))
    foreseen = [foresight.admission.reason for foresight in foresee(drama, *alerts)]
    assert foreseen == reasons(drama.receive(*alerts)) == [Reason.INCIDENT_OPENED, Reason.INCIDENT_JOINED]


def test_explain_names_the_open_incident(drama):
    drama.receive()
    (foresight,) = foresee(drama)
    assert (foresight.admission.reason, foresight.incident_id) == (Reason.REPEATED, drama.incident.id)
    assert isinstance(foresight.explanation.decision, Act)


def test_explain_of_an_incident_that_is_decided_says_no_more(drama):
    drama.receive()
    drama.run(seconds=1)
    (foresight,) = foresee(drama)
    assert (foresight.admission.reason, foresight.incident_id) == (Reason.REPEATED, drama.incident.id)
    assert foresight.explanation is None


@pytest.mark.parametrize(
    "alert", [an_alert(target=OTHER), an_alert("Unheard"), an_alert(labels={"alertname": "A"})]
)
def test_explain_of_what_is_not_ours_observes_nothing(drama, alert):
    (foresight,) = foresee(drama, alert)
    assert foresight.explanation is None
    assert drama.metrics.asked == []


def test_explain_of_a_service_that_is_well(drama):
    drama.metrics.values[APEX] = WELL
    (foresight,) = foresee(drama)
    assert foresight.explanation.decision.reason is Reason.CONDITION_CLEARED


def test_explain_survives_a_policy_that_is_reloaded_in_the_middle(drama):
    policies = iter([drama.policy])
    drama.lifecycle.world = replace(
        drama.lifecycle.world, policy=lambda: next(policies, a_policy(a_playbook(alert="Other")))
    )
    (foresight,) = foresee(drama)
    assert isinstance(foresight.explanation.decision, Act)


# What is there to be seen


def test_a_decision_is_on_record_with_all_its_evidence(drama):
    drama.receive()
    drama.run(seconds=1)
    decided = drama.story().events[1]
    assert decided["kind"] == "decided"
    data = decided["data"]
    assert data["condition"]["value"] == SICK
    assert data["observed"]["uid"] == "uid-1"
    assert set(data["facts"]) >= {"recent_rollout", "hpa"}
    assert [step["reason"] for step in data["steps"]] == ["fact_false", "fact_false", "step_applies"]
    assert all(verdict["passes"] for verdict in data["guardrails"])


def test_the_evidence_may_hold_what_could_not_be_read(drama):
    drama.cluster.live[APEX] = an_observation(pods=None, unreadable={"pods": "forbidden"})
    drama.receive()
    drama.run(seconds=1)
    assert drama.story().events[1]["data"]["observed"]["unreadable"] == {"pods": "forbidden"}


def test_the_counters_tell_what_was_done(drama):
    recovered(drama)
    assert drama.counted("actions", action="restart") == 1
    assert drama.counted("attempts", action="restart", outcome="recovered") == 1
    assert drama.counted("closed", reason="recovered") == 1
    assert drama.counted("incidents", reason="incident_opened") == 1
    spent = drama.incident.closed_at - drama.incident.opened_at
    assert drama.counted("closed_seconds", reason="recovered") == spent.total_seconds()
    assert spent > timedelta(seconds=60)
    (attempt,) = drama.story().attempts
    assert attempt.state is AttemptState.JUDGED
