"""The shipped Alertmanager configuration as data: who hears of an alert, when, and what may hold it back."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

FILE = Path(__file__).parents[2] / "alertmanager" / "alertmanager.yml"
DEFAULTS = {"group_wait": "30s", "group_interval": "5m", "repeat_interval": "4h", "group_by": []}
"""Source: Alertmanager `dispatch/route.go`, DefaultRouteOpts."""

_MATCHER = re.compile(r'(\w+)(=~|!~|!=|=)"(.*)"')


@dataclass(frozen=True)
class Delivery:
    """One way on which an alert reaches somebody."""

    to: str
    wait: str
    """From the first alert of a group to its first notification."""
    every: str
    """Between two looks at what changed in the group."""
    again: str
    """Until the same is said again."""
    apart_by: frozenset[str]
    frozen_by: tuple[str, ...] = ()


def shipped() -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return read


def matches(matcher: str, labels: Mapping[str, str]) -> bool:
    found = _MATCHER.fullmatch(matcher)
    assert found, matcher
    name, op, value = found.groups()
    given = labels.get(name, "")
    hit = bool(re.fullmatch(value, given)) if "~" in op else given == value
    return hit != op.startswith("!")


def deliveries(config: Mapping[str, Any], labels: Mapping[str, str]) -> list[Delivery]:
    """In the order of the tree."""
    return list(_walk(config["route"], DEFAULTS, labels))


def _walk(
    route: Mapping[str, Any], above: Mapping[str, Any], labels: Mapping[str, str]
) -> Iterator[Delivery]:
    if not all(matches(matcher, labels) for matcher in route.get("matchers", ())):
        return
    inherited = {key: route.get(key, above[key]) for key in DEFAULTS}
    receiver = {**above, **route}.get("receiver")
    found = False
    for child in route.get("routes", ()):
        below = list(_walk(child, {**inherited, "receiver": receiver}, labels))
        yield from below
        found = found or bool(below)
        if below and not child.get("continue", False):
            return
    if not found:
        yield Delivery(
            to=str(receiver),
            wait=inherited["group_wait"],
            every=inherited["group_interval"],
            again=inherited["repeat_interval"],
            apart_by=frozenset(inherited["group_by"]),
            frozen_by=tuple(route.get("mute_time_intervals", ())),
        )


def held_back(config: Mapping[str, Any], labels: Mapping[str, str], firing: Mapping[str, str]) -> bool:
    """Whether an alert is told to nobody while the other one fires."""
    return any(
        all(matches(matcher, labels) for matcher in rule["target_matchers"])
        and all(matches(matcher, firing) for matcher in rule["source_matchers"])
        and all(labels.get(name, "") == firing.get(name, "") for name in rule["equal"])
        for rule in config["inhibit_rules"]
    )
