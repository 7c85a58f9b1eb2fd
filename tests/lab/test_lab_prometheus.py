"""The stand-in for Prometheus and Alertmanager, part by part and once as a whole."""

from __future__ import annotations

import argparse
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from remediator.lab import prometheus
from remediator.lab.prometheus import (
    LabPrometheus,
    compress,
    compress_alertmanager,
    compress_prometheus,
    durations,
)
from remediator.lab.prometheus.api import QueryApi
from remediator.lab.prometheus.compress import compress_expression
from remediator.lab.prometheus.notifications import AlertNow, Notifications, Outcome, fingerprint
from remediator.lab.prometheus.routing import Inhibition, Routing, read_matcher, read_routing
from remediator.lab.prometheus.rules import read_groups, rule_files
from remediator.lab.prometheus.scrape import Scraper, Target, read_samples, targets_of
from remediator.lab.prometheus.series import NAME, SeriesStore, labels_of
from remediator.lab.prometheus.templates import expand, format_value

MINUTE = 60_000
ROOT = Path(__file__).parents[2]

RULES = """
groups:
  - name: hive
    interval: 15s
    rules:
      - record: target:score:avg
        expr: avg by (namespace, deployment) (ahsan_score)
      - alert: AhsanScoreLow
        expr: target:score:avg < 95
        for: 5m
        keep_firing_for: 2m
        labels: {severity: critical, remediation: auto}
        annotations:
          summary: 'score of {{ $labels.namespace }}/{{ $labels.deployment }} is {{ printf "%.1f" $value }}'
"""


# --- rules ----------------------------------------------------------------------------------------


def _course(scores, rules=RULES):
    """States of the alert after each minute's evaluation; None is no data."""
    store = SeriesStore(lookback_ms=30_000)
    (group,) = read_groups(yaml.safe_load(rules))
    series = labels_of({NAME: "ahsan_score", "namespace": "n", "deployment": "d"})
    states = []
    for minute, score in enumerate(scores):
        now = minute * MINUTE
        if score is not None:
            store.append(series, now, score)
        group.evaluate(store, now)
        states.append(" ".join(alert.state for alert in group.alerting()[0].alerts()) or "-")
    assert group.errors == {}
    return states, group, store


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([98, 60, 60, 60, 60, 60, 60, 60], "- pending pending pending pending pending firing firing"),
        ([60, 60, 98, 60, 60], "pending pending - pending pending"),
        ([60, 60, None, 60], "pending pending - pending"),
        ([60] * 6 + [98, 98, 98, 98], "pending " * 5 + "firing firing firing - -"),
        ([60] * 6 + [98, 60, 98, 98, 98], "pending " * 5 + "firing firing firing firing firing -"),
    ],
)
def test_an_alert_takes_prometheus_course(scores, expected):
    states, _, _ = _course(scores)
    assert states == expected.split()


def test_an_alert_carries_labels_annotations_and_times():
    _, group, store = _course([60.04] * 6)
    (alert,) = group.alerting()[0].alerts()
    assert dict(alert.labels) == {
        "alertname": "AhsanScoreLow",
        "namespace": "n",
        "deployment": "d",
        "severity": "critical",
        "remediation": "auto",
    }
    assert alert.annotations == {"summary": "score of n/d is 60.0"}
    assert (alert.active_at, alert.fired_at, alert.resolved_at) == (0, 5 * MINUTE, None)
    at = 5 * MINUTE
    assert (
        len(store.instant([read_matcher('__name__="ALERTS"'), read_matcher('alertstate="firing"')], at)) == 1
    )
    assert store.instant([read_matcher('__name__="ALERTS"'), read_matcher('alertstate="pending"')], at) == []


def test_a_resolved_alert_is_reported_and_a_new_one_begins_anew():
    _, group, _ = _course([60] * 6 + [98] * 3)
    (resolved,) = group.alerting()[0].active.values()
    assert (resolved.state, resolved.resolved_at) == ("inactive", 8 * MINUTE)
    _, group, _ = _course([60] * 6 + [98] * 3 + [60] * 2)
    (again,) = group.alerting()[0].active.values()
    assert (again.state, again.fired_at, again.active_at) == ("pending", None, 9 * MINUTE)


def test_a_rule_that_cannot_be_evaluated_says_so_and_stops_no_other():
    broken = RULES.replace(
        "avg by (namespace, deployment) (ahsan_score)", "ahsan_score * on () group_left () up"
    )
    store = SeriesStore()
    (group,) = read_groups(yaml.safe_load(broken))
    for pod in "ab":
        store.append(labels_of({NAME: "up", "pod": pod}), 0, 1.0)
    group.evaluate(store, 0)
    assert list(group.errors) == ["target:score:avg"]


def test_rule_files_skips_what_holds_no_rules(tmp_path):
    (tmp_path / "hive.yml").write_text(RULES)
    (tmp_path / "prometheus.yml").write_text("global: {scrape_interval: 15s}")
    assert rule_files([tmp_path]) == [tmp_path / "hive.yml"]
    with pytest.raises(ValueError, match="no rule file"):
        rule_files([])


@pytest.mark.parametrize(
    ("text", "value", "expected"),
    [
        ("{{ $value }}", 0.25, "0.25"),
        ("{{$labels.pod}} and {{ $labels.missing }}.", 1, "a b and ."),
        ('{{ printf "%.1f" $value }} %', 61.96, "62.0 %"),
        ('{{ $value | printf "%.2f" }}', 1.005, "1.00"),
        ("{{ $value | humanizePercentage }}", 0.1199, "11.99%"),
        ("{{ $value | humanize }}", 1234567, "1.235M"),
        ("{{ humanize $value }}", 0.0005, "500u"),
        ("{{ $value | humanizeDuration }}", 3725, "1h 2m 5s"),
        ("{{ $value | humanizeDuration }}", 0.0458, "45.8ms"),
        ("{{ $labels.pod | urlquery }}", 0, "a+b"),
        ("{{ query `up` }}", 0, "<error expanding template: not supported here: query `up`>"),
    ],
)
def test_template(text, value, expected):
    assert expand(text, {"pod": "a b"}, value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1.0, "1"),
        (0.1, "0.1"),
        (1e-7, "0.0000001"),
        (1e21, "1000000000000000000000"),
        (float("-inf"), "-Inf"),
    ],
)
def test_value_is_written_without_exponent(value, expected):
    assert format_value(value) == expected


# --- compression ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "speed", "expected"),
    [
        ("5m", 60, "5s"),
        ("15s", 60, "250ms"),
        ("1h30m", 60, "90s"),
        ("0s", 60, "0s"),
        ("10ms", 60, "1ms"),
        ("1d", 1, "86400s"),
    ],
)
def test_divided_duration(text, speed, expected):
    assert durations.divide(text, speed) == expected


@pytest.mark.parametrize("text", ["5", "m", "-5m", "5 m", "", "1.5m"])
def test_no_duration(text):
    with pytest.raises(ValueError, match="not a duration"):
        durations.parse_ms(text)


@pytest.mark.parametrize(
    ("expr", "expected"),
    [
        ("rate(x[5m])", "rate(x[5s])"),
        ("rate(x[5m] offset 1h)", "rate(x[5s] offset 60s)"),
        ("x offset -5m", "x offset -5s"),
        ("max_over_time(x[1h:1m])", "max_over_time(x[60s:1s])"),
        ("max_over_time(x[1h:])", "max_over_time(x[60s:])"),
        ("rate(x[15s])", "rate(x[250ms])"),
        ("rate(x[300])", "rate(x[5s])"),
        ("time() - x > 5m", "time() - x > 5s"),
        ("job:x:rate5m > 5", "job:x:rate5m > 5"),
        ("x5m + m5s{a5m='5m'} # 5m [5m]\n+ rate(y[5m])", "x5m + m5s{a5m='5m'} # 5m [5m]\n+ rate(y[5s])"),
        (r'x{path="[5m]",q="\"5m"} > 1e5', r'x{path="[5m]",q="\"5m"} > 1e5'),
        ("x > 0x5d + .5 + 3.5e3", "x > 0x5d + .5 + 3.5e3"),
    ],
)
def test_compressed_expression(expr, expected):
    assert compress_expression(expr, 60) == expected


def test_compressed_rules():
    rules = yaml.safe_load(compress(RULES.replace("avg by", "5 * avg by"), 60))
    (group,) = rules["groups"]
    assert group["interval"] == "250ms"
    assert group["rules"][1]["for"] == "5s"
    assert group["rules"][1]["keep_firing_for"] == "2s"
    assert group["rules"][1]["annotations"] == yaml.safe_load(RULES)["groups"][0]["rules"][1]["annotations"]
    assert compress(yaml.safe_load(RULES), 60) == compress(RULES, 60)
    with pytest.raises(ValueError, match="not a rule file"):
        compress("global: {}", 60)


def test_compressed_alertmanager_never_waits_zero():
    config = yaml.safe_load(compress_alertmanager((ROOT / "alertmanager/alertmanager.yml").read_text(), 1e9))
    waits = [config["route"], config["route"]["routes"][0]]
    assert {wait[key] for wait in waits for key in ("group_wait", "group_interval", "repeat_interval")} == {
        "1ms"
    }


def test_compressed_timeouts_keep_a_second():
    text = "receivers: [{name: r, webhook_configs: [{timeout: 10s}]}]\nglobal: {resolve_timeout: 5m}"
    config = yaml.safe_load(compress_alertmanager(text, 60))
    assert config["receivers"][0]["webhook_configs"][0]["timeout"] == "1s"
    assert config["global"]["resolve_timeout"] == "5s"


def test_compressed_prometheus_keeps_its_scrape_timeout_below_its_interval():
    text = "global: {scrape_interval: 15s, scrape_timeout: 5s, evaluation_interval: 15s}"
    assert yaml.safe_load(compress_prometheus(text, 60))["global"] == {
        "scrape_interval": "250ms",
        "scrape_timeout": "83ms",
        "evaluation_interval": "250ms",
    }


# --- routing and notifications --------------------------------------------------------------------


def _alert(name="AhsanScoreLow", deployment="d", starts_at=100.0, ends_at=None, **labels):
    own = {"alertname": name, "namespace": "n", "deployment": deployment, "remediation": "auto", **labels}
    return AlertNow(own, {"summary": "low"}, starts_at, ends_at, "http://prometheus/graph")


def _sent(notifications, now, outcome=Outcome.SENT):
    deliveries = notifications.due(now)
    for delivery in deliveries:
        notifications.settle(delivery, outcome, now)
    return [(one.body["status"], one.body["notification_reason"]) for one in deliveries]


def test_a_group_waits_then_is_sent_once_and_repeated():
    notifications = Notifications(Routing(group_wait=5, group_interval=60, repeat_interval=900))
    notifications.offer([_alert()], 100)
    assert _sent(notifications, 104) == []
    assert _sent(notifications, 105) == [("firing", "first notification")]
    for now in range(165, 1000, 60):
        assert _sent(notifications, now) == []
    assert _sent(notifications, 1065) == [("firing", "repeat interval elapsed")]


def test_an_alert_that_has_waited_elsewhere_is_sent_at_once():
    notifications = Notifications(Routing(group_wait=5))
    notifications.offer([_alert(starts_at=90)], 100)
    assert _sent(notifications, 100) == [("firing", "first notification")]


def test_resolution_is_told_once_and_a_new_episode_is_new():
    notifications = Notifications(Routing(group_wait=0, group_interval=60))
    notifications.offer([_alert()], 100)
    assert _sent(notifications, 100) == [("firing", "first notification")]
    notifications.offer([_alert(ends_at=130.0)], 130)
    assert _sent(notifications, 160) == [("resolved", "all alerts resolved")]
    notifications.offer([_alert(ends_at=130.0)], 220)
    assert _sent(notifications, 220) == []
    notifications.offer([_alert(starts_at=300.0)], 300)
    assert _sent(notifications, 300) == [("firing", "new alerts added")]


def test_what_resolves_before_the_wait_is_over_is_never_sent():
    notifications = Notifications(Routing(group_wait=5))
    notifications.offer([_alert()], 100)
    notifications.offer([_alert(ends_at=103.0)], 103)
    assert _sent(notifications, 200) == []


def test_each_target_is_a_group_and_each_notification_the_whole_group():
    notifications = Notifications(Routing(group_wait=0, group_interval=60))
    notifications.offer([_alert(), _alert(deployment="e"), _alert(remediation="none")], 100)
    assert len(_sent(notifications, 100)) == 2
    notifications.offer([_alert(), _alert(pod="p"), _alert(deployment="e")], 110)
    (delivery,) = notifications.due(160)
    assert len(delivery.body["alerts"]) == 2
    assert "pod" not in delivery.body["commonLabels"]


def test_server_errors_are_retried_with_growing_pauses_until_the_next_look():
    notifications = Notifications(Routing(group_wait=0, group_interval=3))
    notifications.offer([_alert()], 100)
    sent_at = []
    now = 100.0
    while now < 106:
        if _sent(notifications, now, Outcome.RETRY):
            sent_at.append(round(now, 2))
        now += 0.05
    assert sent_at[:4] == pytest.approx([100, 100.5, 101.25, 102.4], abs=0.11)
    assert any(abs(at - 103) < 0.11 for at in sent_at)


def test_a_refused_notification_is_offered_again_at_the_next_look_only():
    notifications = Notifications(Routing(group_wait=0, group_interval=60))
    notifications.offer([_alert()], 100)
    assert len(_sent(notifications, 100, Outcome.REFUSED)) == 1
    assert _sent(notifications, 159, Outcome.REFUSED) == []
    assert _sent(notifications, 160, Outcome.REFUSED) == [("firing", "first notification")]


def test_body_is_webhook_version_4():
    notifications = Notifications(Routing(group_wait=0), external_url="http://am")
    notifications.offer([_alert()], 100)
    (delivery,) = notifications.due(100)
    labels = _alert().labels
    assert delivery.body == {
        "version": "4",
        "groupKey": '{}/{remediation="auto"}:{alertname="AhsanScoreLow", deployment="d", namespace="n"}',
        "truncatedAlerts": 0,
        "status": "firing",
        "receiver": "remediator",
        "groupLabels": {"alertname": "AhsanScoreLow", "namespace": "n", "deployment": "d"},
        "commonLabels": labels,
        "commonAnnotations": {"summary": "low"},
        "externalURL": "http://am",
        "notification_reason": "first notification",
        "alerts": [
            {
                "status": "firing",
                "labels": labels,
                "annotations": {"summary": "low"},
                "startsAt": "1970-01-01T00:01:40.000Z",
                "endsAt": "0001-01-01T00:00:00Z",
                "generatorURL": "http://prometheus/graph",
                "fingerprint": fingerprint(labels),
            }
        ],
    }


def test_fingerprint_is_fnv_1a_as_in_prometheus():
    seen = {"alertname": "A", "namespace": "n", "deployment": "d", "remediation": "auto", "q": 'x"ü'}
    assert fingerprint(seen) == "b8e54550b512b3f7"  # what Alertmanager 0.33.1 sent for these labels
    assert fingerprint({}) == "cbf29ce484222325"
    assert fingerprint({"a": "b", "c": "d"}) == fingerprint({"c": "d", "a": "b"}) != fingerprint({"a": "b"})
    assert len(fingerprint({"alertname": "Ünïcode"})) == 16


def test_an_inhibited_alert_waits_for_its_source_to_end():
    routing = read_routing((ROOT / "alertmanager/alertmanager.yml").read_text(), 60)
    notifications = Notifications(routing, speed=60)
    down = _alert(name="HiveDown")
    notifications.offer([_alert(), down, _alert(deployment="other")], 100)
    bodies = [delivery.body for delivery in notifications.due(101)]
    assert [(b["groupLabels"]["alertname"], b["groupLabels"]["deployment"]) for b in bodies] == [
        ("HiveDown", "d"),
        ("AhsanScoreLow", "other"),
    ]
    notifications.offer([_alert(), _alert(name="HiveDown", ends_at=101.5)], 101.5)
    assert _sent(notifications, 102.2) == [("firing", "first notification")]


def test_routing_is_read_from_the_projects_configuration():
    routing = read_routing((ROOT / "alertmanager/alertmanager.yml").read_text(), 60)
    assert routing.takes({"remediation": "auto"})
    assert not routing.takes({"remediation": "none"})
    assert set(routing.group_by) == {"alertname", "namespace", "deployment", "statefulset"}
    assert routing.receiver == "remediator"
    assert 0 < routing.group_wait < routing.group_interval < routing.repeat_interval
    with pytest.raises(ValueError, match="leads to a webhook"):
        read_routing("route: {receiver: r}\nreceivers: [{name: r}]")


def test_what_is_source_and_target_does_not_mute_itself():
    both = (read_matcher('severity=~"critical|warning"'),)
    inhibition = Inhibition(source=both, target=both, equal=("namespace",))
    alert = {"severity": "critical", "namespace": "n"}
    assert not inhibition.mutes(alert, [alert])


# --- scraping -------------------------------------------------------------------------------------


def test_discovered_targets_carry_their_labels():
    groups = [{"targets": ["h:1"], "labels": {"__metrics_path__": "/pods/n/p/metrics", "namespace": "n"}}]
    (target,) = targets_of(groups, "hive")
    assert target.url == "http://h:1/pods/n/p/metrics"
    assert dict(target.labels) == {"job": "hive", "instance": "h:1", "namespace": "n"}


def test_a_scraped_label_does_not_overrule_the_target():
    samples = read_samples('up_since{namespace="other",le="1"} 5\n', labels_of({"namespace": "n"}))
    assert [(dict(labels), value) for labels, value in samples] == [
        ({NAME: "up_since", "namespace": "n", "exported_namespace": "other", "le": "1"}, 5.0)
    ]


def test_a_failed_scrape_writes_up_0_and_makes_the_rest_stale():
    store = SeriesStore()
    scraper = Scraper(store, threading.Lock())
    target = Target("http://nowhere", labels_of({"job": "hive"}))
    scraper.record(target, [(labels_of({NAME: "x", "job": "hive"}), 1.0)], 1.0, 1000)
    scraper.record(target, [], 0.0, 2000)
    scraper.close()
    found = store.instant([read_matcher('job="hive"')], 2000)
    assert [(dict(one.labels)[NAME], one.point.value) for one in found] == [("up", 0.0)]


# --- HTTP -----------------------------------------------------------------------------------------


def _api():
    store = SeriesStore()
    store.append(labels_of({NAME: "up", "job": "hive"}), 100_000, 1.0)
    return QueryApi(store, [], threading.Lock())


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        (
            {"query": "up", "time": "100.5"},
            {
                "resultType": "vector",
                "result": [{"metric": {NAME: "up", "job": "hive"}, "value": [100.5, "1"]}],
            },
        ),
        ({"query": "up", "time": "100.5", "lookback_delta": "400ms"}, {"resultType": "vector", "result": []}),
        (
            {"query": "1 / 0", "time": "1970-01-01T00:01:40Z"},
            {"resultType": "scalar", "result": [100.0, "+Inf"]},
        ),
        (
            {"query": "up[1m]", "time": "110"},
            {
                "resultType": "matrix",
                "result": [{"metric": {NAME: "up", "job": "hive"}, "values": [[100.0, "1"]]}],
            },
        ),
    ],
)
def test_query_answers_as_prometheus_does(parameters, expected):
    assert _api().answer("/api/v1/query", parameters) == (200, {"status": "success", "data": expected})


@pytest.mark.parametrize(
    ("parameters", "status", "kind"),
    [
        ({"query": "up{"}, 400, "bad_data"),
        ({"query": "up", "time": "noon"}, 400, "bad_data"),
        ({"query": "up", "lookback_delta": "soon"}, 400, "bad_data"),
        ({"query": "topk(1, up)"}, 422, "execution"),
    ],
)
def test_query_errors_have_prometheus_form(parameters, status, kind):
    answer, body = _api().answer("/api/v1/query", parameters)
    assert (answer, body["status"], body["errorType"]) == (status, "error", kind)


def test_query_range_answers_as_prometheus_does():
    parameters = {"query": "up * 2", "start": "90", "end": "120", "step": "10s"}
    status, body = _api().answer("/api/v1/query_range", parameters)
    (series,) = body["data"]["result"]
    assert (status, body["data"]["resultType"], series["metric"]) == (200, "matrix", {"job": "hive"})
    assert series["values"] == [[100.0, "2"], [110.0, "2"], [120.0, "2"]]


@pytest.mark.parametrize(
    "wrong",
    [{"step": "0"}, {"start": "200"}, {"step": "0.001"}, {"end": ""}, {"query": "up[1m]"}, {"query": "up{"}],
)
def test_query_range_refuses_what_prometheus_refuses(wrong):
    parameters = {"query": "up", "start": "90", "end": "120", "step": "10s", **wrong}
    status, body = _api().answer("/api/v1/query_range", parameters)
    assert (status, body["errorType"]) == (400, "bad_data")


def test_readiness_and_unknown_paths():
    api = _api()
    assert api.answer("/-/healthy", {})[0] == 200
    assert api.answer("/-/ready", {})[0] == 503
    assert api.answer("/api/v1/status", {})[0] == 404


class _World:
    """A target with discovery, and a webhook that notes what it receives."""

    def __init__(self):
        self.score = 60.0
        self.received: list[tuple[str, dict[str, Any]]] = []
        self.news = threading.Condition()
        world = self

        class Requests(BaseHTTPRequestHandler):
            def do_GET(self):
                host = self.headers["Host"]
                page = f"ahsan_score {world.score}\n"
                if self.path == "/sd":
                    labels = {"namespace": "n", "deployment": "d", "__metrics_path__": "/m"}
                    page = json.dumps([{"targets": [host], "labels": labels}])
                self._answer(page)

            def do_POST(self):
                body = yaml.safe_load(self.rfile.read(int(self.headers["Content-Length"])))
                with world.news:
                    world.received.append((self.headers["Authorization"], body))
                    world.news.notify_all()
                self._answer("")

            def _answer(self, text):
                self.send_response(200)
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Requests)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def __enter__(self):
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def wait_for(self, count):
        with self.news:
            assert self.news.wait_for(lambda: len(self.received) >= count, timeout=20)
        return self.received[count - 1]


def test_from_scrape_to_webhook(tmp_path):
    (tmp_path / "rules.yml").write_text(RULES)
    token = tmp_path / "token"
    token.write_text("secret\n")
    with (
        _World() as world,
        LabPrometheus(
            rules=[tmp_path],
            sd_url=f"{world.url}/sd",
            speed=600,
            webhook=f"{world.url}/webhook",
            token_file=token,
        ) as lab,
        requests.Session() as session,
    ):
        session.trust_env = False
        authorization, body = world.wait_for(1)
        assert authorization == "Bearer secret"
        assert (body["status"], body["commonLabels"]["deployment"]) == ("firing", "d")
        alerts = session.get(f"{lab.url}/api/v1/alerts").json()["data"]["alerts"]
        assert [alert["state"] for alert in alerts] == ["firing"]
        answer = session.post(f"{lab.url}/api/v1/query", data={"query": 'up{job="hive"}'}).json()
        assert answer["data"]["result"][0]["value"][1] == "1"
        world.score = 98.0
        _, body = world.wait_for(2)
        assert (body["status"], body["notification_reason"]) == ("resolved", "all alerts resolved")
        assert body["alerts"][0]["endsAt"] > body["alerts"][0]["startsAt"]


def test_arguments():
    parser = argparse.ArgumentParser()
    prometheus.add_arguments(parser)
    args = parser.parse_args(
        [
            "--rules",
            "a",
            "b",
            "--scrape-interval",
            "5s",
            "--target",
            "remediator=http://h:1/metrics",
            "--port",
            "0",
        ]
    )
    assert (args.rules, args.scrape_interval) == ([Path("a"), Path("b")], 5.0)
    assert dict(args.target[0].labels) == {"job": "remediator", "instance": "h:1"}
