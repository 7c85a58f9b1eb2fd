"""The rules and the routing, as Prometheus' and Alertmanager's own tools and as the remediator read them."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import promql_parser as promql
import pytest
import yaml

ROOT = Path(__file__).parents[2]
HIVE_RULES = ROOT / "prometheus-rules" / "hive.yml"
PROMETHEUS = ROOT / "prometheus-rules" / "prometheus.yml"
UNIT_TESTS = sorted((ROOT / "prometheus-rules" / "tests").glob("*.yml"))
ALERTMANAGER = ROOT / "alertmanager" / "alertmanager.yml"
RUNBOOK = ROOT / "docs" / "runbook.md"
RUNBOOK_URL = "https://github.com/bizra/remediator/blob/main/docs/runbook.md#"

TARGET = {"namespace", "deployment"}
RECEIVERS = {
    "AhsanScoreLow": "remediator,on-call",
    "HiveDown": "remediator,on-call",
    "HiveErrorRateHigh": "remediator,devops-lead",
    "HiveLatencyP99High": "remediator,devops-lead",
}


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


RULES: list[dict[str, Any]] = [rule for group in load(HIVE_RULES)["groups"] for rule in group["rules"]]
ALERTS = {rule["alert"]: rule for rule in RULES if "alert" in rule}
RECORDS = {rule["record"]: rule for rule in RULES if "record" in rule}
AUTO = {name: rule for name, rule in ALERTS.items() if rule["labels"].get("remediation") == "auto"}


# --- The tools: the one on PATH, and the ones where REMEDIATOR_PROM_PATHS says there is another version ---


def candidates(tool: str) -> list[Path | None]:
    on_path = shutil.which(tool)
    found = [Path(on_path)] if on_path else []
    found += [
        Path(place) / tool for place in os.environ.get("REMEDIATOR_PROM_PATHS", "").split(os.pathsep) if place
    ]
    distinct = {path.resolve(): path for path in reversed(found)}
    return [*reversed(distinct.values())] or [None]


def usable(path: Path | None, tool: str) -> Path:
    if path is None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"no {tool} on PATH or in REMEDIATOR_PROM_PATHS")
        pytest.skip(f"no {tool}")
    if not path.is_file():
        pytest.fail(f"REMEDIATOR_PROM_PATHS promises {path}")
    return path


@pytest.fixture(params=candidates("promtool"), ids=lambda path: f"promtool-{path}")
def promtool(request: pytest.FixtureRequest) -> Path:
    return usable(request.param, "promtool")


@pytest.fixture(params=candidates("amtool"), ids=lambda path: f"amtool-{path}")
def amtool(request: pytest.FixtureRequest) -> Path:
    return usable(request.param, "amtool")


def run(tool: Path, *args: str | Path) -> None:
    done = subprocess.run([tool, *args], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"{tool} {' '.join(map(str, args))}\n{done.stdout}{done.stderr}"


@pytest.mark.real
def test_rules_load_without_a_finding(promtool: Path) -> None:
    run(promtool, "check", "rules", "--lint=all", "--lint-fatal", HIVE_RULES)


@pytest.mark.real
def test_prometheus_configuration_loads(promtool: Path) -> None:
    run(promtool, "check", "config", PROMETHEUS)


@pytest.mark.real
@pytest.mark.parametrize("unit_test", UNIT_TESTS, ids=lambda path: path.stem)
def test_rules_behave(promtool: Path, unit_test: Path) -> None:
    run(promtool, "test", "rules", unit_test)


@pytest.mark.real
def test_alertmanager_configuration_loads(amtool: Path) -> None:
    run(amtool, "check-config", ALERTMANAGER)


def route(amtool: Path, receivers: str, labels: dict[str, str]) -> None:
    pairs = [f"{name}={value}" for name, value in labels.items()]
    config = f"--config.file={ALERTMANAGER}"
    run(amtool, "config", "routes", "test", config, f"--verify.receivers={receivers}", *pairs)


@pytest.mark.real
@pytest.mark.parametrize("alert", sorted(ALERTS))
def test_each_alert_reaches_exactly_its_receivers(amtool: Path, alert: str) -> None:
    series = {"alertname": alert, "namespace": "prod", "deployment": "api"}
    route(amtool, RECEIVERS[alert], series | ALERTS[alert]["labels"])


@pytest.mark.real
@pytest.mark.parametrize(
    ("labels", "receivers"),
    [
        ({}, "on-call"),
        ({"remediation": "none", "severity": "critical"}, "on-call"),
        ({"remediation": "none", "severity": "warning"}, "devops-lead"),
        ({"remediation": "auto"}, "remediator,on-call"),
        ({"remediation": "auto", "severity": "critcal"}, "remediator,on-call"),
        (
            {"remediation": "none", "severity": "critical", "escalation": "compliance"},
            "compliance-officer,on-call",
        ),
    ],
    ids=str,
)
def test_a_person_is_told_whatever_the_labels(amtool: Path, labels: dict[str, str], receivers: str) -> None:
    route(amtool, receivers, {"alertname": "Any"} | labels)


# --- The rules, read as text ---


def test_the_four_runbook_alerts_are_the_automatic_ones() -> None:
    assert set(AUTO) == set(RECEIVERS)


@pytest.mark.parametrize("alert", sorted(ALERTS))
def test_labels_identify_and_route(alert: str) -> None:
    labels = ALERTS[alert]["labels"]
    assert labels.keys() == {"severity", "service", "remediation"}, "the target's labels come from the series"
    assert labels["severity"] in {"critical", "warning"}
    assert labels["service"] == "hive"
    assert not any("$" in value for value in labels.values()), (
        "a value in a label makes each value a new alert"
    )


@pytest.mark.parametrize("alert", sorted(ALERTS))
def test_annotations_tell_a_person_what_and_where(alert: str) -> None:
    annotations = ALERTS[alert]["annotations"]
    wanted = {"summary", "description", "runbook_url", "dashboard_url", "rules_version"}
    assert annotations.keys() == wanted
    for name in ("summary", "description", "dashboard_url"):
        assert "$labels.namespace" in annotations[name]
        assert "$labels.deployment" in annotations[name]
    assert annotations["runbook_url"] == RUNBOOK_URL + alert.lower()


def test_one_version_in_all_alerts_and_in_the_header() -> None:
    (header,) = re.findall(r"^# .*Rules version: (\d+\.\d+\.\d+)\.$", HIVE_RULES.read_text(), re.MULTILINE)
    assert {rule["annotations"]["rules_version"] for rule in ALERTS.values()} == {header}


@pytest.mark.parametrize("alert", sorted(ALERTS))
def test_the_runbook_has_a_section_per_alert(alert: str) -> None:
    headings = re.findall(r"^#+ (.+)$", RUNBOOK.read_text(encoding="utf-8"), re.MULTILINE)
    anchors = [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]
    assert anchors.count(alert.lower()) == 1


@pytest.mark.parametrize("alert", sorted(AUTO))
def test_an_automatic_alert_is_one_threshold_on_one_recorded_series_per_target(alert: str) -> None:
    expr = promql.parse(AUTO[alert]["expr"])
    assert isinstance(expr, promql.BinaryExpr)
    assert isinstance(expr.rhs, promql.NumberLiteral)
    assert isinstance(expr.lhs, promql.VectorSelector)
    assert expr.lhs.name is not None
    assert expr.lhs.name.startswith("namespace_deployment:")
    assert expr.lhs.name in RECORDS
    assert output_labels(promql.parse(RECORDS[expr.lhs.name]["expr"])) == TARGET


@pytest.mark.parametrize("record", sorted(RECORDS))
def test_a_record_has_the_labels_its_name_promises(record: str) -> None:
    assert output_labels(promql.parse(RECORDS[record]["expr"])) == promised_labels(record)
    assert re.fullmatch(r"namespace_deployment(_pod)?:[a-z0-9_]+:[a-z0-9_]+", record)


def promised_labels(record: str | None) -> set[str]:
    assert record is not None
    return set(record.partition(":")[0].split("_"))


def output_labels(expr: Any) -> set[str]:
    """Which labels the result carries; a raw selector counts as carrying whatever the scrape gave it."""
    match expr:
        case promql.AggregateExpr(modifier=modifier):
            assert modifier is not None
            assert modifier.type == promql.AggModifierType.By
            return set(modifier.labels)
        case promql.Call(func=func, args=args) if func.name == "histogram_quantile":
            return output_labels(args[1]) - {"le"}
        case promql.Call(func=func, args=args) if func.name.endswith("_over_time"):
            return output_labels(args[0].vector_selector)
        case promql.VectorSelector(name=name) if name in RECORDS:
            return promised_labels(name)
        case promql.BinaryExpr(lhs=lhs, rhs=promql.NumberLiteral()):
            return output_labels(lhs)
        case promql.BinaryExpr(lhs=lhs, rhs=rhs):
            both = output_labels(lhs)
            assert both == output_labels(rhs), "the sides of an operation must match label for label"
            return both
        case promql.ParenExpr(expr=inner):
            return output_labels(inner)
    raise AssertionError(f"carries pod labels into an alert: {expr}")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.get("alert") or rule["record"])
def test_raw_series_come_from_the_hive_job_and_records_exist(rule: dict[str, Any]) -> None:
    for name, matchers in re.findall(
        r"\b((?:hive_|ahsan_|up\b)\w*)(\{[^}]*\})?", re.sub(r"\w+:\S+", "", rule["expr"])
    ):
        assert matchers == '{job="hive"}', name
    assert records_in(rule) <= RECORDS.keys()


def records_in(rule: dict[str, Any]) -> set[str]:
    return set(re.findall(r"\bnamespace_deployment(?:_pod)?:[\w:]+", rule["expr"]))


def test_a_rule_reads_what_was_recorded_before_it_in_the_same_evaluation() -> None:
    (group,) = load(HIVE_RULES)["groups"]
    recorded: set[str] = set()
    for rule in group["rules"]:
        assert records_in(rule) <= recorded, rule.get("alert") or rule["record"]
        recorded.add(rule.get("record", ""))


def test_hive_down_counts_exactly_one_minute_of_evaluations() -> None:
    (group,) = load(HIVE_RULES)["groups"]
    interval = seconds(group["interval"])
    record = RECORDS["namespace_deployment:hive_up:min_max1m"]["expr"]
    ranges = {seconds(text) for text in re.findall(r"\[(\w+)\]", record)}
    (points,) = (int(text) for text in re.findall(r">= (\d+)", record))
    assert (points - 1) * interval == 60
    assert len(ranges) == 1
    assert (points - 1) * interval < min(ranges) < points * interval, (
        "on an edge, versions differ by one point"
    )
    assert "for" not in ALERTS["HiveDown"], "the minute is in the record"


def seconds(duration: str) -> int:
    found = re.fullmatch(r"(\d+)([sm])", duration)
    assert found is not None
    return int(found[1]) * {"s": 1, "m": 60}[found[2]]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.get("alert") or rule["record"])
def test_expressions_stay_within_what_the_demo_can_evaluate(rule: dict[str, Any]) -> None:
    words = set(re.findall(r"\b([a-z_]+)\s*(?=\()", rule["expr"]))
    assert words <= {
        "rate",
        "max_over_time",
        "count_over_time",
        "histogram_quantile",
        "absent",
        "sum",
        "avg",
        "min",
        "max",
        "count",
        "by",
        "on",
        "or",
        "and",
    }
    assert not re.search(r"\b(offset|bool|ignoring|group_left|group_right|without|@)\b", rule["expr"])


@pytest.mark.parametrize("alert", sorted(ALERTS))
def test_each_alert_is_tested_firing_and_silent(alert: str) -> None:
    cases = [
        case
        for unit_test in UNIT_TESTS
        for test in load(unit_test)["tests"]
        for case in test.get("alert_rule_test", ())
        if case["alertname"] == alert
    ]
    assert {bool(case["exp_alerts"]) for case in cases} == {True, False}


# --- The routing, read as data ---


def test_the_webhook_is_asked_in_the_way_the_remediator_answers() -> None:
    routes, receivers = load(ALERTMANAGER)["route"]["routes"], load(ALERTMANAGER)["receivers"]
    first = routes[0]
    assert first["receiver"] == "remediator"
    assert first["continue"] is True
    assert first["group_by"] == ["alertname", "namespace", "deployment"]
    assert (first["group_wait"], first["group_interval"], first["repeat_interval"]) == ("5s", "1m", "15m")
    (webhook,) = next(r["webhook_configs"] for r in receivers if r["name"] == "remediator")
    assert webhook == {
        "url": "http://remediator:8080/webhook",
        "send_resolved": True,
        "max_alerts": 0,
        "http_config": {
            "follow_redirects": False,
            "authorization": {"type": "Bearer", "credentials_file": "/run/secrets/remediator_token"},
        },
    }


def test_only_the_remediation_route_can_be_frozen_and_is_not_as_shipped() -> None:
    config = load(ALERTMANAGER)
    frozen = [r["receiver"] for r in config["route"]["routes"] if "mute_time_intervals" in r]
    assert frozen == ["remediator"]
    assert "active_time_intervals" not in ALERTMANAGER.read_text()
    (freeze,) = config["time_intervals"]
    assert freeze == {"name": "change-freeze", "time_intervals": [{"years": ["2000"]}]}


def test_inhibition_stays_within_one_target() -> None:
    (rule,) = load(ALERTMANAGER)["inhibit_rules"]
    assert set(rule["equal"]) == TARGET
    for side in ("source_matchers", "target_matchers"):
        assert {f'{label}=~".+"' for label in TARGET} <= set(rule[side]), (
            "a missing label would equal a missing one"
        )
    assert rule["source_matchers"][0] == 'alertname="HiveDown"'
    (names,) = (
        re.fullmatch(r'alertname=~"(.+)"', m) for m in rule["target_matchers"] if m.startswith("alertname")
    )
    assert names is not None
    assert set(names[1].split("|")) == set(AUTO) - {"HiveDown"}
