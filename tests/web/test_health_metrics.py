"""Health, readiness and what Prometheus scrapes."""

from __future__ import annotations

import json
import threading
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from remediator.adapters.journal import SqlJournal
from remediator.core.actions import Target
from remediator.core.execution import Delivery, RolloutState
from remediator.core.policy import Mode
from remediator.core.reasons import Reason
from remediator.metrics import COUNTERS
from remediator.ports import JournalUnavailable
from remediator.troubles import FRESH, Seen, Troubles
from tests.builders import a_body, a_playbook, a_policy, an_alert, an_alert_body, an_observation, recently
from tests.waiting import eventually
from tests.web.conftest import NOWHERE
from tests.worlds import NOT_FOUND, WELL

GAUGES = {
    "remediator_build_info",
    "remediator_policy_info",
    "remediator_policy_rejected",
    "remediator_worker_alive",
    "remediator_journal_available",
    "remediator_open_incidents",
    "remediator_returns_pending",
    "remediator_pauses",
    "remediator_breaker_open",
    "remediator_storm_open",
    "remediator_watchdog_timestamp_seconds",
}


# Health


def test_healthz_is_well_while_the_worker_lives_even_without_a_journal(house):
    house.open(SqlJournal(NOWHERE))

    answer = house.client.get("/healthz")

    assert (answer.status_code, answer.json) == (200, {"status": "ok"})


def test_healthz_fails_when_the_worker_thread_is_dead(house):
    house.alive = False

    answer = house.client.get("/healthz")

    assert (answer.status_code, answer.json) == (503, {"status": "the worker thread is dead"})
    assert house.metric("worker_alive") == 0


def test_readyz_is_ready_with_a_writable_journal(house):
    answer = house.client.get("/readyz")

    assert answer.status_code == 200
    assert answer.json["status"] == "ready"
    assert answer.json["version"]
    assert answer.json["trouble"] == {}


def test_readyz_names_what_does_not_work_only_when_asked(house):
    trouble = {"prometheus": "http://prometheus: ConnectTimeout"}
    house.seen = lambda: Seen(trouble, 1.5)

    assert house.client.get("/readyz").json["trouble"] == {}
    for query in ("?verbose", "?verbose=1"):
        answer = house.get(f"/readyz{query}")
        assert answer.status_code == 200
        assert (answer.json["trouble"], answer.json["seconds_old"]) == (trouble, 1.5)


def test_who_has_no_token_learns_no_address_and_no_permission_and_has_nobody_asked(house):
    house.seen = lambda: pytest.fail("nobody is to be asked")

    answer = house.client.get("/readyz?verbose")
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Basic")  # the page has a link to it
    house.pragma("PRAGMA query_only = ON")
    assert house.client.get("/readyz").json == {"error": "the journal cannot be written; ?verbose says why"}
    assert "readonly" in house.get("/readyz?verbose").json["error"]


def test_however_many_ask_what_does_not_work_it_is_looked_for_once_and_holds_no_thread(house):
    looks, answers = [], threading.Event()

    def slow():
        looks.append(1)
        answers.wait(20)
        return "timed out"

    def broken():
        raise JournalUnavailable("locked")

    asking = {"policy": lambda: None, "watchdog": broken, "kubernetes": slow, "prometheus": lambda: "down"}
    now = [100.0]
    troubles = Troubles(asking, clock=lambda: now[0], within=0.05, briefly=0.01)
    house.seen = troubles.seen
    said = {"watchdog": "JournalUnavailable: locked", "kubernetes": "no answer for 0.0 s"}

    for _ in range(12):
        answer = house.get("/readyz?verbose")
        assert answer.status_code == 200
        assert answer.json["trouble"] == {**said, "prometheus": "not asked yet"}
    now[0] += 9
    assert house.get("/readyz?verbose").json["trouble"]["kubernetes"] == "no answer for 9.0 s"
    assert house.client.get("/readyz").json["trouble"] == {}
    answers.set()
    known = {**said, "kubernetes": "timed out", "prometheus": "down"}
    eventually(lambda: house.get("/readyz?verbose").json["trouble"] == known)
    assert looks == [1]

    now[0] += FRESH - 1
    assert house.get("/readyz?verbose").json["seconds_old"] == FRESH - 1
    assert looks == [1]
    now[0] += 1
    eventually(lambda: house.get("/readyz?verbose").json["seconds_old"] == 0)
    assert looks == [1, 1]


def test_readyz_fails_while_draining(house):
    house.draining = True

    answer = house.client.get("/readyz")

    assert (answer.status_code, answer.json) == (503, {"error": "shutting down"})
    assert house.client.get("/healthz").status_code == 200


def test_readyz_fails_without_a_journal_that_can_be_written(house):
    house.pragma("PRAGMA query_only = ON")
    assert house.client.get("/readyz").status_code == 503

    house.pragma("PRAGMA query_only = OFF")
    assert house.client.get("/readyz").status_code == 200


# Metrics


def test_every_declared_series_is_there_at_zero_from_the_start(house):
    series = house.series()

    for name, (_, label_names, present) in COUNTERS.items():
        assert present, name
        for labels in present:
            assert {label for label, _ in labels} == set(label_names)
            assert series[f"remediator_{name}_total", frozenset(labels)] == 0
    for phase in ("deciding", "acting", "rolling_out", "verifying", "escalated"):
        assert series["remediator_open_incidents", frozenset({("phase", phase)})] == 0
    assert house.metric("pauses") == house.metric("breaker_open") == house.metric("policy_rejected") == 0
    assert house.metric("journal_available") == house.metric("worker_alive") == 1
    assert house.metric("policy_info", digest=house.drama.policy.digest) == 1


def test_the_families_are_the_declared_ones_with_help_and_type(house):
    text = house.client.get("/metrics").text
    families = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    helped = {line.split()[2] for line in text.splitlines() if line.startswith("# HELP")}

    own = {"remediator_http_requests_total", "remediator_http_requests_created"}
    assert families - own == {f"remediator_{name}_total" for name in COUNTERS} | GAUGES
    assert helped == families


def test_a_reason_that_labels_a_metric_is_a_reason(house):
    for _, _, present in COUNTERS.values():
        for labels in present:
            value = dict(labels).get("reason")
            assert value is None or value in set(Reason)


def stories(drama):
    """Play what can become of incidents: each line is one world."""
    yield "recovers", {}, lambda: drama.heal_on(object)
    yield "never recovers", {}, lambda: None
    yield "undone", {"seen": an_observation(template_changed=recently())}, lambda: None
    yield "not found", {"seen": NOT_FOUND}, lambda: None
    yield "not opted in", {"seen": an_observation(opted_in=False)}, lambda: None
    yield "ourselves", {"seen": an_observation(ourselves=True)}, lambda: None
    yield "paused", {"seen": an_observation(paused=True)}, lambda: None
    yield "scaled to zero", {"seen": an_observation(replicas=0, ready=0)}, lambda: None
    yield "rollout", {"seen": an_observation(rolled_out=False, rollout_detail="1 of 3")}, lambda: None
    yield "no data", {"value": None}, lambda: None
    yield "well", {"value": WELL}, lambda: None
    yield "prometheus away", {}, lambda: setattr(drama.metrics, "away", True)
    yield "cluster away", {}, lambda: setattr(drama.cluster, "away", True)
    yield "observe", {"mode": Mode.OBSERVE}, lambda: None
    yield "approve", {"mode": Mode.APPROVE}, lambda: None
    yield "refused", {}, lambda: drama.cluster.script.append(Delivery.REFUSED)
    yield "unclear", {}, lambda: drama.cluster.script.extend([Delivery.UNCLEAR] * 500)
    yield "rollout fails", {}, lambda: drama.cluster.rollouts.append(RolloutState.FAILED)


@pytest.mark.parametrize("title", [title for title, _, _ in stories(None)])
def test_nothing_is_ever_counted_that_was_not_there_at_zero_before(house, title):
    drama = house.drama
    given, begin = next((given, begin) for name, given, begin in stories(drama) if name == title)
    target = Target("bizra-testnet", "bizra-apex")
    drama.cluster.live[target] = given.get("seen", an_observation())
    drama.metrics.values[target] = given.get("value", 80.0)
    drama.policy = a_policy(mode=given.get("mode", Mode.AUTO))
    before = set(house.series())
    begin()

    drama.receive(an_alert())
    drama.run(hours=1)
    drama.receive(an_alert(firing=False, ends_at=drama.now))
    drama.run(hours=1)

    own = "remediator_http_requests"
    assert {series for series in house.series() if not series[0].startswith(own)} <= before
    assert house.metric("incidents_total", reason="incident_opened") == 1
    assert sum(value for (name, _), value in house.series().items() if name.endswith("decisions_total")) >= 1


def test_sums_survive_a_restart_and_agree_on_every_replica(house):
    house.post()
    house.drama.heal_on(object)
    house.drama.run(hours=1)
    assert house.metric("closed_total", reason="recovered") == 1
    before = {key: value for key, value in house.series().items() if "http_requests" not in key[0]}

    again = SqlJournal(f"sqlite:///{house.folder}/journal.db")
    house.open(again)

    after = {key: value for key, value in house.series().items() if "http_requests" not in key[0]}
    again.close()
    assert after == before


def test_without_a_journal_the_scrape_says_so_and_works(house):
    away = SqlJournal(NOWHERE)
    house.open(away)

    answer = house.client.get("/metrics")

    assert answer.status_code == 200
    assert "remediator_journal_available 0.0" in answer.text
    assert "remediator_build_info" in answer.text
    assert "remediator_alerts_total" not in answer.text  # no sum is better than a false one
    away.close()


def test_a_rejected_policy_and_pauses_are_shown(house):
    house.rejected = True
    with house.drama.journal.transaction() as tx:
        tx.engage_pause(scope="all", by="ada", why="x", until=None, now=house.drama.now)
        tx.engage_pause(scope="all", by="breaker", why="x", until=None, now=house.drama.now)

    assert house.metric("policy_rejected") == 1
    assert house.metric("pauses") == 1
    assert house.metric("breaker_open") == 1


def test_open_incidents_are_shown_by_phase(house):
    house.post()
    assert house.metric("open_incidents", phase="deciding") == 1
    house.drama.policy = a_policy(a_playbook(alert="Other"))
    house.drama.step()
    assert house.metric("open_incidents", phase="deciding") == 0
    assert house.metric("open_incidents", phase="escalated") == 1
    assert house.metric("escalations_total", reason="policy_changed") == 1


def test_a_label_from_outside_never_becomes_a_label_of_ours(house):
    raw = json.dumps(a_body(an_alert_body('Evil"} 1\nremediator_pauses 9'))).encode()

    house.post(raw)
    house.get('/api/v1/incidents/"}evil')

    assert "vil" not in house.client.get("/metrics").text
    assert house.metric("alerts_total", reason="no_playbook") == 1


def test_health_and_metrics_need_no_token(house):
    for path in ("/healthz", "/readyz", "/metrics"):
        assert house.client.get(path).status_code == 200


def test_alerts_of_rules_that_the_policy_does_not_know_are_logged_and_counted(house):
    house.drama.policy = replace(house.drama.policy, rules_versions=("1.2.0",))
    body = a_body(an_alert_body(annotations={"rules_version": "1.3.0"}))
    with capture_logs() as said:
        assert house.post(body).status_code == 202

    assert house.metric("unknown_rules_alerts_total") == 1
    (line,) = [one for one in said if one["log_level"] == "warning"]
    assert line["event"] == "alerts of rules that the policy does not know"
    assert line["versions"] == ("1.3.0",)
