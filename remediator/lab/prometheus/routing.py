"""Which alerts go to the remediator and when, as an Alertmanager configuration says it.

Read from the project's `alertmanager/alertmanager.yml`: the first route whose receiver has a webhook, and
the inhibition rules. Without a file there are defaults that fit the demo. Silences, time intervals and
nested routes are not part of the stand-in.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from remediator.lab.prometheus.durations import parse_ms
from remediator.lab.prometheus.series import LabelMatcher

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_MATCHER = re.compile(r'\s*([A-Za-z_][A-Za-z0-9_]*)\s*(=~|!~|!=|=)\s*"?(.*?)"?\s*', re.DOTALL)
_TARGET = ("alertname", "namespace", "deployment", "statefulset")


@dataclass(frozen=True)
class Inhibition:
    """While a source fires, targets with the same `equal` labels are not sent."""

    source: tuple[LabelMatcher, ...]
    target: tuple[LabelMatcher, ...]
    equal: tuple[str, ...]

    def mutes(self, labels: Mapping[str, str], firing: Iterable[Mapping[str, str]]) -> bool:
        if not _all(self.target, labels):
            return False
        as_source = _all(self.source, labels)
        return any(
            _all(self.source, other)
            and not (as_source and _all(self.target, other))  # what is both does not mute itself
            and all(labels.get(name, "") == other.get(name, "") for name in self.equal)
            for other in firing
        )


@dataclass(frozen=True)
class Routing:
    """One route to one webhook; durations in seconds."""

    matchers: tuple[LabelMatcher, ...] = (LabelMatcher("remediation", "=", "auto"),)
    group_by: tuple[str, ...] = _TARGET
    group_wait: float = 5.0
    group_interval: float = 60.0
    repeat_interval: float = 900.0
    receiver: str = "remediator"
    send_resolved: bool = True
    inhibitions: tuple[Inhibition, ...] = ()

    def takes(self, labels: Mapping[str, str]) -> bool:
        return _all(self.matchers, labels)

    def muted(self, labels: Mapping[str, str], firing: list[dict[str, str]]) -> bool:
        return any(inhibition.mutes(labels, firing) for inhibition in self.inhibitions)

    def group_key(self, labels: Mapping[str, str]) -> str:
        route = ",".join(f"{one.name}{one.op}{_quoted(one.value)}" for one in self.matchers)
        group = ", ".join(f"{name}={_quoted(labels[name])}" for name in sorted(labels))
        return f"{{}}/{{{route}}}:{{{group}}}"


def _all(matchers: Iterable[LabelMatcher], labels: Mapping[str, str]) -> bool:
    return all(matcher.matches(labels) for matcher in matchers)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def read_matcher(text: str) -> LabelMatcher:
    found = _MATCHER.fullmatch(text)
    if found is None:
        raise ValueError(f"not a matcher: {text!r}")
    return LabelMatcher(found[1], found[2], found[3].replace('\\"', '"').replace("\\\\", "\\"))


def read_routing(text: str, speed: float = 1.0) -> Routing:
    """Route to the first webhook of an Alertmanager configuration, its waits divided by `speed`."""
    document = yaml.safe_load(text)
    webhooks = {
        one["name"]: one["webhook_configs"][0] for one in document["receivers"] if one.get("webhook_configs")
    }
    top = document["route"]
    route = next((one for one in [*top.get("routes", []), top] if one.get("receiver") in webhooks), None)
    if route is None:
        raise ValueError("no route of the Alertmanager configuration leads to a webhook")
    merged = {**top, "matchers": [], **route}
    webhook: dict[str, Any] = webhooks[route["receiver"]]
    default = Routing()
    return Routing(
        matchers=tuple(map(read_matcher, merged["matchers"])),
        group_by=tuple(merged.get("group_by") or ()),
        group_wait=_seconds(merged.get("group_wait", "30s"), speed),
        group_interval=_seconds(merged.get("group_interval", "5m"), speed),
        repeat_interval=_seconds(merged.get("repeat_interval", "4h"), speed),
        receiver=route["receiver"],
        send_resolved=bool(webhook.get("send_resolved", default.send_resolved)),
        inhibitions=tuple(map(_inhibition, document.get("inhibit_rules") or [])),
    )


def _inhibition(rule: Mapping[str, Any]) -> Inhibition:
    return Inhibition(
        source=tuple(map(read_matcher, rule.get("source_matchers") or [])),
        target=tuple(map(read_matcher, rule.get("target_matchers") or [])),
        equal=tuple(rule.get("equal") or []),
    )


def _seconds(text: str | float, speed: float) -> float:
    return parse_ms(text) / 1000 / speed
