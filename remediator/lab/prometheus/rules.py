"""Recording and alerting rules: read from the project's own rule files, evaluated at a given instant.

The state of an alert follows Prometheus: pending until the condition held for `for`, firing until it failed
for `keep_firing_for`, then resolved and still reported for a while. `ALERTS` and the recorded series are
written back to the store, so that rules can build on each other in one evaluation.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml

from remediator.lab.prometheus import durations, templates
from remediator.lab.prometheus.operators import Element, ExecutionError, Vector, without_name
from remediator.lab.prometheus.promql import evaluate, parse
from remediator.lab.prometheus.series import MINUTE_MS, NAME, Labels, labels_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from remediator.lab.prometheus.series import SeriesStore

DEFAULT_INTERVAL_MS = MINUTE_MS
_RESOLVED_RETENTION_MS = 15 * MINUTE_MS


@dataclass
class Alert:
    """One alert instance; times in milliseconds, `resolved_at` only once it is over."""

    labels: Labels
    annotations: dict[str, str]
    value: float
    active_at: int
    state: str = "pending"  # pending, firing, inactive
    fired_at: int | None = None
    keep_firing_since: int | None = None
    resolved_at: int | None = None


@dataclass
class RecordingRule:
    record: str
    expr: str
    labels: dict[str, str]

    def evaluate(self, store: SeriesStore, now: int) -> Vector:
        recorded = [
            Element(labels_of({**dict(one.labels), **self.labels, NAME: self.record}), one.value)
            for one in _vector(self.expr, store, now)
        ]
        return _distinct(recorded, self.record)


@dataclass
class AlertingRule:
    alert: str
    expr: str
    hold_ms: int
    keep_firing_ms: int
    labels: dict[str, str]
    annotations: dict[str, str]
    active: dict[Labels, Alert] = field(default_factory=dict)

    def evaluate(self, store: SeriesStore, now: int) -> Vector:
        """Advance every alert to `now`; the returned series are `ALERTS` and `ALERTS_FOR_STATE`."""
        results = _vector(self.expr, store, now)
        samples = {one.labels for one in _distinct([self._labelled(one) for one in results], self.alert)}
        for one in results:
            self._seen(self._labelled(one).labels, one, now)
        for labels, alert in list(self.active.items()):
            if labels not in samples and not self._still_kept(alert, now):
                self._gone(labels, alert, now)
                continue
            if labels in samples:
                alert.keep_firing_since = None
            if alert.state == "pending" and now - alert.active_at >= self.hold_ms:
                alert.state, alert.fired_at = "firing", now
        return [series for alert in self.alerts() for series in _state_series(alert)]

    def alerts(self) -> list[Alert]:
        """Pending and firing alerts."""
        return [alert for alert in self.active.values() if alert.state != "inactive"]

    def _labelled(self, one: Element) -> Element:
        own = dict(without_name(one.labels))
        expanded = {name: templates.expand(text, own, one.value) for name, text in self.labels.items()}
        return Element(labels_of({**own, **expanded, "alertname": self.alert}), one.value)

    def _seen(self, labels: Labels, one: Element, now: int) -> None:
        own = dict(without_name(one.labels))
        annotations = {
            name: templates.expand(text, own, one.value) for name, text in self.annotations.items()
        }
        alert = self.active.get(labels)
        if alert is None or alert.state == "inactive":
            self.active[labels] = Alert(labels, annotations, one.value, active_at=now)
        else:
            alert.value, alert.annotations = one.value, annotations

    def _still_kept(self, alert: Alert, now: int) -> bool:
        if alert.state != "firing" or not self.keep_firing_ms:
            return False
        if alert.keep_firing_since is None:
            alert.keep_firing_since = now
        return now - alert.keep_firing_since < self.keep_firing_ms

    def _gone(self, labels: Labels, alert: Alert, now: int) -> None:
        forgotten = alert.resolved_at is not None and now - alert.resolved_at > _RESOLVED_RETENTION_MS
        if alert.state == "pending" or forgotten:
            del self.active[labels]
        elif alert.state == "firing":
            alert.state, alert.resolved_at = "inactive", now


def _state_series(alert: Alert) -> Vector:
    own = dict(alert.labels)
    return [
        Element(labels_of({**own, NAME: "ALERTS", "alertstate": alert.state}), 1.0),
        Element(labels_of({**own, NAME: "ALERTS_FOR_STATE"}), float(alert.active_at // 1000)),
    ]


def _vector(expr: str, store: SeriesStore, now: int) -> Vector:
    value = evaluate(expr, store, now)
    if not isinstance(value, list):
        return [Element((), value)]
    return [one for one in value if isinstance(one, Element)]


def _distinct(vector: Vector, name: str) -> Vector:
    if len({one.labels for one in vector}) != len(vector):
        raise ExecutionError(f"{name}: two results have the same labels after applying the rule's labels")
    return vector


@dataclass
class RuleGroup:
    """Rules that are evaluated one after another, at the same instant."""

    name: str
    interval_ms: int
    rules: list[RecordingRule | AlertingRule]
    due_at: int = 0
    errors: dict[str, str] = field(default_factory=dict)
    _written: dict[int, set[Labels]] = field(default_factory=dict)

    def evaluate(self, store: SeriesStore, now: int) -> None:
        for index, rule in enumerate(self.rules):
            name = rule.record if isinstance(rule, RecordingRule) else rule.alert
            try:
                results = rule.evaluate(store, now)
                self.errors.pop(name, None)
            except ExecutionError as error:
                results = []
                self.errors[name] = str(error)
            written = {one.labels for one in results}
            for one in results:
                store.append(one.labels, now, one.value)
            store.mark_stale(self._written.get(index, set()) - written, now)
            self._written[index] = written

    def alerting(self) -> list[AlertingRule]:
        return [rule for rule in self.rules if isinstance(rule, AlertingRule)]


def read_groups(document: Mapping[str, Any]) -> list[RuleGroup]:
    """Read a parsed rule file; every expression is parsed now, so that a mistake is said at the start."""
    return [
        RuleGroup(
            name=str(group["name"]),
            interval_ms=durations.parse_ms(group["interval"]) if "interval" in group else DEFAULT_INTERVAL_MS,
            rules=[_rule(rule) for rule in group.get("rules") or []],
        )
        for group in document["groups"]
    ]


def _rule(rule: Mapping[str, Any]) -> RecordingRule | AlertingRule:
    expr = str(rule["expr"])
    parse(expr)
    labels = {name: str(value) for name, value in (rule.get("labels") or {}).items()}
    if "record" in rule:
        return RecordingRule(str(rule["record"]), expr, labels)
    return AlertingRule(
        alert=str(rule["alert"]),
        expr=expr,
        hold_ms=durations.parse_ms(rule.get("for", 0)),
        keep_firing_ms=durations.parse_ms(rule.get("keep_firing_for", 0)),
        labels=labels,
        annotations={name: str(text) for name, text in (rule.get("annotations") or {}).items()},
    )


def rule_files(paths: Iterable[Path]) -> list[Path]:
    """Expand directories to the rule files in them; a Prometheus configuration lying beside them is none."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            candidates = sorted([*path.glob("*.yml"), *path.glob("*.yaml")])
            found += [file for file in candidates if "groups" in (yaml.safe_load(file.read_text()) or {})]
        else:
            found.append(path)
    if not found:
        raise ValueError("no rule file found")
    return found
