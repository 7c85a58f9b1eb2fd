"""What can be held of the rules by reading them: each check takes all rule files and asserts.

`mutants` runs the same checks over changed rules, so they take what was read, and read nothing themselves.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import promql_parser as promql
import yaml

from remediator.alignment.expressions import LabelSet, labels_of, parse

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "prometheus-rules"
RUNBOOK_URL = "https://github.com/bizra/remediator/blob/main/docs/runbook.md#"

TARGET = {"namespace", "deployment"}
ON_CALL, LEAD, OFFICER = "on-call", "devops-lead", "compliance-officer,on-call"
RECEIVERS = {
    "AhsanScoreLow": f"remediator,{ON_CALL}",
    "HiveDown": f"remediator,{ON_CALL}",
    "HiveErrorRateHigh": f"remediator,{LEAD}",
    "HiveLatencyP99High": f"remediator,{LEAD}",
    "AhsanScoreBreach": OFFICER,
    "AhsanScoreAbsent": OFFICER,
    "AhsanCoveragePartial": LEAD,
    "HiveAbsent": ON_CALL,
    "HiveAvailabilityBurnFast": ON_CALL,
    "HiveAvailabilityBurnSlow": LEAD,
    "HiveErrorBudgetBurnFast": ON_CALL,
    "HiveErrorBudgetBurnSlow": LEAD,
    "Watchdog": "remediator,heartbeat",
    "RemediatorDown": ON_CALL,
    "RemediatorWorkerDead": ON_CALL,
    "RemediatorJournalUnavailable": ON_CALL,
    "RemediatorNotificationsFailing": ON_CALL,
    "RemediatorIncidentEscalated": ON_CALL,
    "RemediatorBudgetExhausted": LEAD,
    "RemediatorOverallBudgetExhausted": LEAD,
    "RemediatorBreakerOpen": ON_CALL,
    "RemediatorStorm": ON_CALL,
    "RemediatorBlind": ON_CALL,
    "RemediatorPaused": LEAD,
    "RemediatorPolicyRejected": LEAD,
    "RemediatorRulesUnknown": LEAD,
    "PrometheusAbsent": LEAD,
    "PrometheusNotConnectedToAlertmanager": ON_CALL,
    "PrometheusRuleFailures": ON_CALL,
    "PrometheusReloadFailed": LEAD,
    "AlertmanagerAbsent": ON_CALL,
    "AlertmanagerNotificationsFailing": ON_CALL,
    "AlertmanagerReloadFailed": LEAD,
}
"""Who is told. A warning is the lead's, what is critical whoever is on call."""

SERVICES = {
    "Ahsan": "hive",
    "Hive": "hive",
    "Remediator": "remediator",
    "Prometheus": "monitoring",
    "Alertmanager": "monitoring",
    "Watchdog": "monitoring",
}
OF_ANY_WORKLOAD = {"RemediatorIncidentEscalated", "RemediatorBudgetExhausted"}
OF_ONE_TARGET = {
    *(name for name in RECEIVERS if name.startswith(("Ahsan", "Hive")) and name != "HiveAbsent"),
    *OF_ANY_WORKLOAD,
}
OF_SOMETHING_ELSE = {
    "HiveAbsent": {"job"},
    "PrometheusRuleFailures": {"rule_group"},
    "AlertmanagerNotificationsFailing": {"integration"},
}
KNOWN_TO_THE_STAND_IN = {
    *("rate", "max_over_time", "count_over_time", "histogram_quantile", "absent"),
    *("sum", "avg", "min", "max", "count", "group", "by", "on", "or", "and", "unless"),
}
INTERVALS = {"hive": "15s", "sla": "30s", "path": "15s"}
"""As often as is scraped, and half as often for what looks back over days."""

Rule = dict[str, Any]


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


FILES = {path.name: load(path) for path in sorted(FOLDER.glob("*.yml"))}
EXPORTED: dict[str, list[str]] = FILES["series.yml"]["series"]
NEWEST: str = re.findall(r"^## (\S+)$", (FOLDER / "CHANGELOG.md").read_text(), re.MULTILINE)[0]


@dataclass(frozen=True)
class Rules:
    """The rule files by name, parsed."""

    files: dict[str, Any]
    _under_way: set[str] = field(default_factory=set, init=False)
    """A record may read itself, as it was in the evaluation before: that brings no label."""

    @cached_property
    def groups(self) -> list[dict[str, Any]]:
        return [group for file in self.files.values() for group in file["groups"]]

    @cached_property
    def all(self) -> list[Rule]:
        return [rule for group in self.groups for rule in group["rules"]]

    @cached_property
    def alerts(self) -> dict[str, Rule]:
        return {rule["alert"]: rule for rule in self.all if "alert" in rule}

    @cached_property
    def records(self) -> dict[str, Rule]:
        return {rule["record"]: rule for rule in self.all if "record" in rule}

    @cached_property
    def automatic(self) -> dict[str, Rule]:
        return {name: rule for name, rule in self.alerts.items() if rule["labels"]["remediation"] == "auto"}

    def brought(self, rule: Rule) -> set[str]:
        """The labels that the series of a rule bring along."""
        labels = labels_of(parse(rule["expr"]), self._recorded)
        assert not labels.all_but, f"{name_of(rule)} carries whatever labels its series have"
        return set(labels.names)

    def _recorded(self, name: str) -> LabelSet | None:
        if name not in self.records or name in self._under_way:
            return None
        own = frozenset(self.records[name].get("labels", {}))
        self._under_way.add(name)
        try:
            return labels_of(parse(self.records[name]["expr"]), self._recorded).plus(own)
        finally:
            self._under_way.remove(name)


SHIPPED = Rules({name: document for name, document in FILES.items() if "groups" in document})


def name_of(rule: Rule) -> str:
    name: str = rule.get("alert") or rule["record"]
    return name


def kind_of(alert: str) -> str:
    return SERVICES[re.findall(r"[A-Z][a-z]+", alert)[0]]


def selectors(expr: Any) -> Iterator[Any]:
    match expr:
        case promql.VectorSelector():
            yield expr
        case promql.MatrixSelector():
            yield expr.vector_selector
        case promql.Call():
            for one in expr.args:
                yield from selectors(one)
        case promql.BinaryExpr():
            yield from (*selectors(expr.lhs), *selectors(expr.rhs))
        case promql.AggregateExpr() | promql.ParenExpr():
            yield from selectors(expr.expr)


def each_alert_has_somebody_to_tell_and_no_other_is_there(rules: Rules) -> None:
    assert rules.alerts.keys() == RECEIVERS.keys()
    assert len(rules.alerts) + len(rules.records) == len(rules.all), "each name once"


def the_four_runbook_alerts_are_the_automatic_ones(rules: Rules) -> None:
    told = {name for name, to in RECEIVERS.items() if to.startswith("remediator,")}
    assert rules.automatic.keys() == told - {"Watchdog"}
    assert len(rules.automatic) == 4


def groups_are_evaluated_as_often_as_their_windows_need(rules: Rules) -> None:
    assert {group["name"]: group["interval"] for group in rules.groups} == INTERVALS


def labels_identify_and_route(rules: Rules) -> None:
    for alert, rule in rules.alerts.items():
        labels, to = dict(rule["labels"]), RECEIVERS[alert]
        severity = "none" if alert == "Watchdog" else "warning" if to.endswith(LEAD) else "critical"
        assert labels.pop("severity") == severity, alert
        assert labels.pop("service") == kind_of(alert), alert
        automatic = to.startswith("remediator,") and alert != "Watchdog"
        assert labels.pop("remediation") == ("auto" if automatic else "none"), alert
        # The target's labels come from the series; a value in a label makes each value a new alert.
        assert labels == ({"escalation": "compliance"} if to == OFFICER else {}), alert


def an_alert_is_of_one_target_or_says_what_it_is_of(rules: Rules) -> None:
    for alert, rule in rules.alerts.items():
        labels = TARGET if alert in OF_ONE_TARGET else OF_SOMETHING_ELSE.get(alert, set())
        if alert in OF_ANY_WORKLOAD:
            labels = TARGET | {"statefulset"}
        assert rules.brought(rule) == labels, alert
        for key in ("summary", "description"):
            named = set(re.findall(r"\$labels\.(\w+)", rule["annotations"][key]))
            assert named == (set() if alert == "HiveAbsent" else labels) or (key, named) == (
                "description",
                set(),
            )


def annotations_tell_a_person_what_and_where(rules: Rules) -> None:
    namespace, deployment = (f"{{{{ $labels.{name} | urlquery }}}}" for name in ("namespace", "deployment"))
    for alert, rule in rules.alerts.items():
        annotations = rule["annotations"]
        wanted = {"summary", "description", "runbook_url", "dashboard_url", "rules_version"}
        assert annotations.keys() == wanted, alert
        assert annotations["runbook_url"] == RUNBOOK_URL + alert.lower()
        stateful = "{{ with $labels.statefulset }}statefulset%2F{{ . | urlquery }}{{ end }}"
        if kind_of(alert) == "hive":
            board, of = "bizra-ahsan-dashboard", f"?var-namespace={namespace}&var-deployment={deployment}"
        else:
            board, of = "remediator", f"?var-target={namespace}%2F{deployment}{stateful}"
        shown = of if alert in OF_ONE_TARGET else ""
        assert annotations["dashboard_url"] == f"http://localhost:3000/d/{board}{shown}", alert


def all_are_of_the_newest_version(rules: Rules) -> None:
    assert {rule["annotations"]["rules_version"] for rule in rules.alerts.values()} == {NEWEST}
    assert rules.records["remediator_rules_info"]["labels"] == {"version": NEWEST}
    assert not any("version" in rule["labels"] for rule in rules.alerts.values()), "part of the identity"


def an_automatic_alert_is_one_threshold_on_one_recorded_series_per_target(rules: Rules) -> None:
    for alert, rule in rules.automatic.items():
        expr = parse(rule["expr"])
        assert isinstance(expr, promql.BinaryExpr)
        assert isinstance(expr.rhs, promql.NumberLiteral)
        assert isinstance(expr.lhs, promql.VectorSelector)
        assert expr.lhs.name in rules.records, alert


def a_record_has_the_labels_its_name_promises(rules: Rules) -> None:
    for name, rule in rules.records.items():
        if name != "remediator_rules_info":
            assert re.fullmatch(r"namespace_deployment(_pod|_statefulset)?:[a-z0-9_]+:[a-z0-9_]+", name), name
            assert rules.brought(rule) == set(name.partition(":")[0].split("_")), name


def a_record_looks_back_as_far_as_its_name_says(rules: Rules) -> None:
    for name, rule in rules.records.items():
        if window := re.search(r"(?:rate|ratio)(\d+[mhd])$", name):
            assert set(re.findall(r"\[(\w+)\]", rule["expr"])) <= {window[1]}, name


def raw_series_come_from_the_job_that_exports_them_and_records_exist(rules: Rules) -> None:
    for rule in rules.all:
        for selector in selectors(parse(rule["expr"])):
            jobs = [(one.op, one.value) for one in selector.matchers.matchers if one.name == "job"]
            if selector.name in rules.records:
                assert jobs == [], name_of(rule)
            elif selector.name == "up":
                assert len(jobs) == 1, name_of(rule)
            else:
                job = next(job for job, names in EXPORTED.items() if selector.name in names)
                assert jobs == [(promql.MatchOp.Equal, job)], name_of(rule)


def a_rule_reads_what_was_recorded_before_it_in_the_same_evaluation(rules: Rules) -> None:
    for group in rules.groups:
        ours = {rule["record"] for rule in group["rules"] if "record" in rule}
        before: set[str] = set()
        for rule in group["rules"]:
            read = {selector.name for selector in selectors(parse(rule["expr"]))}
            assert read & ours <= before | {rule.get("record")}, name_of(rule)
            before.add(rule.get("record", ""))


def hive_down_counts_exactly_one_minute_of_evaluations(rules: Rules) -> None:
    (group,) = [group for group in rules.groups if group["name"] == "hive"]
    interval = seconds(group["interval"])
    record = rules.records["namespace_deployment:hive_up:min_max1m"]["expr"]
    ranges = {seconds(text) for text in re.findall(r"\[(\w+)\]", record)}
    (points,) = (int(text) for text in re.findall(r">= (\d+)", record))
    assert (points - 1) * interval == 60
    assert len(ranges) == 1
    # On an edge, versions differ by one point.
    assert (points - 1) * interval < min(ranges) < points * interval
    assert "for" not in rules.alerts["HiveDown"], "the minute is in the record"


def seconds(duration: str) -> int:
    found = re.fullmatch(r"(\d+)([smhd])", duration)
    assert found is not None, duration
    return int(found[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[found[2]]


def expressions_stay_within_what_the_stand_in_can_evaluate(rules: Rules) -> None:
    for group in rules.groups:
        for rule in group["rules"] if group["name"] == "hive" else ():
            assert set(re.findall(r"\b([a-z_]+)\s*(?=\()", rule["expr"])) <= KNOWN_TO_THE_STAND_IN
            unknown = r"\b(offset|bool|ignoring|group_left|group_right|without|@)\b"
            assert not re.search(unknown, rule["expr"]), name_of(rule)


CHECKS: tuple[Callable[[Rules], None], ...] = (
    each_alert_has_somebody_to_tell_and_no_other_is_there,
    the_four_runbook_alerts_are_the_automatic_ones,
    groups_are_evaluated_as_often_as_their_windows_need,
    labels_identify_and_route,
    an_alert_is_of_one_target_or_says_what_it_is_of,
    annotations_tell_a_person_what_and_where,
    all_are_of_the_newest_version,
    an_automatic_alert_is_one_threshold_on_one_recorded_series_per_target,
    a_record_has_the_labels_its_name_promises,
    a_record_looks_back_as_far_as_its_name_says,
    raw_series_come_from_the_job_that_exports_them_and_records_exist,
    a_rule_reads_what_was_recorded_before_it_in_the_same_evaluation,
    hive_down_counts_exactly_one_minute_of_evaluations,
    expressions_stay_within_what_the_stand_in_can_evaluate,
)
