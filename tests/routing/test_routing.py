"""Who hears of what, when, and what may hold it back; and that each line of the configuration matters."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.routing.delivery import FILE, Delivery, deliveries, held_back, shipped
from tests.rules.test_rules import ALERTS, AUTO, told

Config = dict[str, Any]

TARGET = {"namespace": "prod", "deployment": "api"}
APART = frozenset({"alertname", "namespace", "deployment", "statefulset"})

MACHINE = Delivery("remediator", "5s", "1m", "15m", APART, ("change-freeze",))
MACHINE_WATCHING = Delivery("remediator", "0s", "1m", "50s", APART)
HEARTBEAT = Delivery("heartbeat", "0s", "1m", "50s", APART)
ON_CALL = Delivery("on-call", "30s", "5m", "4h", APART)
LEAD = Delivery("devops-lead", "30s", "5m", "4h", APART)
LEAD_SECOND = Delivery("devops-lead", "15m", "5m", "4h", APART)
OFFICER = Delivery("compliance-officer", "30s", "5m", "4h", APART)


def people(severity: str) -> list[Delivery]:
    """The runbook's contacts: the primary and, when it lasts, the secondary; performance goes to the lead."""
    return {"critical": [LEAD_SECOND, ON_CALL], "warning": [LEAD]}.get(severity, [ON_CALL])


def expected(labels: dict[str, str]) -> list[Delivery]:
    if labels["alertname"] == "Watchdog":
        return [MACHINE_WATCHING, HEARTBEAT]
    machine = [MACHINE] if labels.get("remediation") == "auto" else []
    officer = [OFFICER] if labels.get("escalation") == "compliance" else []
    return machine + officer + people(labels.get("severity", ""))


# --- What the configuration has to do: each takes it as data, so that it can be tried on what is spoilt ---


def each_alert_is_told_to_whom_and_when(config: Config) -> None:
    for name, rule in ALERTS.items():
        labels = {"alertname": name, **TARGET, **rule["labels"]}
        assert deliveries(config, labels) == expected(labels), name
        assert ",".join(one.to for one in deliveries(config, labels)) == told(name)


def whatever_the_labels_a_person_is_told(config: Config) -> None:
    for labels in (
        {},
        {"severity": "critcal", "remediation": "auto"},
        {"remediation": "none", "severity": "info"},
        {"severity": "critical"},
        {"severity": "none"},
        {"escalation": "other", "severity": "warning"},
    ):
        alert = {"alertname": "Any", **labels}
        assert deliveries(config, alert) == expected(alert), labels


def nobody_can_freeze_people(config: Config) -> None:
    assert config["time_intervals"] == [{"name": "change-freeze", "time_intervals": [{"years": ["2000"]}]}]
    assert "active_time_intervals" not in str(config)
    assert config["route"]["receiver"] == "on-call"


def a_node_that_is_down_holds_back_its_other_automatic_alerts(config: Config) -> None:
    down = {"alertname": "HiveDown", **TARGET, **ALERTS["HiveDown"]["labels"]}
    for name, rule in ALERTS.items():
        labels = {"alertname": name, **TARGET, **rule["labels"]}
        assert held_back(config, labels, down) == (name in AUTO.keys() - {"HiveDown"}), name
        for other in ({"namespace": "test"}, {"deployment": "gate"}):
            assert not held_back(config, {**labels, **other}, down), (name, other)
        without = {key: value for key, value in labels.items() if key not in TARGET}
        for source in ALERTS.keys() - {"HiveDown"}:
            assert not held_back(config, labels, {**down, "alertname": source}), (name, source)
        for missing in TARGET:
            halved = {key: value for key, value in labels.items() if key != missing}
            both = {key: value for key, value in down.items() if key != missing}
            assert not held_back(config, halved, both), f"{name} without {missing} is muted for everybody"
        assert not held_back(config, without, {"alertname": "HiveDown"}), name


def the_receivers_are_asked_in_the_way_they_answer(config: Config) -> None:
    ways = {receiver.pop("name"): receiver for receiver in copy.deepcopy(config["receivers"])}
    assert ways.pop("remediator") == {
        "webhook_configs": [
            {
                "url": "http://remediator:8080/webhook",
                "send_resolved": True,
                "max_alerts": 0,
                "http_config": {
                    "follow_redirects": False,
                    "authorization": {"type": "Bearer", "credentials_file": "/run/secrets/remediator_token"},
                },
            }
        ]
    }
    assert ways.pop("heartbeat") == {
        "webhook_configs": [
            {
                "url": "http://heartbeat.example.invalid/remediator",
                "send_resolved": False,
                "http_config": {"follow_redirects": False},
            }
        ]
    }
    assert ways == {
        name: {"email_configs": [{"to": f"{name}@example.invalid", "send_resolved": True}]}
        for name in ("on-call", "devops-lead", "compliance-officer")
    }


def secrets_are_files_and_placeholders_reach_nobody(config: Config) -> None:
    assert config["global"] == {
        "smtp_smarthost": "smtp.example.invalid:587",
        "smtp_from": "alertmanager@example.invalid",
        "smtp_auth_username": "alertmanager",
        "smtp_auth_password_file": "/run/secrets/smtp_password",
    }


CHECKS: list[Callable[[Config], None]] = [
    each_alert_is_told_to_whom_and_when,
    whatever_the_labels_a_person_is_told,
    nobody_can_freeze_people,
    a_node_that_is_down_holds_back_its_other_automatic_alerts,
    the_receivers_are_asked_in_the_way_they_answer,
    secrets_are_files_and_placeholders_reach_nobody,
]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_shipped_configuration(check: Callable[[Config], None]) -> None:
    check(shipped())


# --- Each line matters: what is spoilt is found out ---


Spoiling = Callable[[Any], None]
"""Takes the mapping or list that holds what is spoilt."""


def remove(key: Any) -> Spoiling:
    def spoil(owner: Any) -> None:
        del owner[key]

    return spoil


def change(key: Any) -> Spoiling:
    def spoil(owner: Any) -> None:
        owner[key] = other(owner[key])

    return spoil


def move_up(index: int) -> Spoiling:
    def spoil(owner: Any) -> None:
        owner.insert(index - 1, owner.pop(index))

    return spoil


def spoilt(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Spoiling]]:
    """Every single change of a value, removal of a key or entry, and exchange of neighbouring routes."""
    if not isinstance(node, dict | list):
        return
    for key, value in node.items() if isinstance(node, dict) else enumerate(node):
        yield (*path, key, "removed"), remove(key)
        if not isinstance(value, dict | list):
            yield (*path, key, "changed"), change(key)
        if path[-1:] == ("routes",) and key:
            yield (*path, key, "before its neighbour"), move_up(key)
        yield from spoilt(value, (*path, key))


def other(value: Any) -> Any:
    """Another value of the same kind."""
    match value:
        case bool():
            return not value
        case int():
            return value + 1
        case str() if '"' in value:  # a matcher
            return value.replace("=~", "!~", 1) if "=~" in value else value.replace("=", "!=", 1)
        case str() if value[:1].isdigit() and value[-1] in "smhd":
            return f"{int(value[:-1]) + 1}{value[-1]}"
    return f"{value}x"


HARMLESS = {
    ("route", "group_wait", "removed"): "it is the default",
    ("route", "group_interval", "removed"): "it is the default",
    ("route", "repeat_interval", "removed"): "it is the default",
    ("route", "routes", 0, "group_by", "removed"): "it is inherited",
    ("route", "routes", 6, "receiver", "removed"): "it is inherited",
    ("route", "routes", 1, "before its neighbour"): "no alert is automatic and the Watchdog",
    ("route", "routes", 3, "before its neighbour"): "the Watchdog is nothing for the officer",
    ("route", "routes", 5, "before its neighbour"): "no alert has two severities",
}
"""Changes that change nothing, and why."""


def test_every_change_of_the_configuration_is_noticed(capsys: pytest.CaptureFixture[str]) -> None:
    survived = []
    mutants = 0
    for path, spoil in spoilt(shipped()):
        config = shipped()
        owner: Any = config
        for key in path[:-2]:
            owner = owner[key]
        spoil(owner)
        mutants += 1
        if not noticed(config):
            survived.append(path)

    equivalent = len(HARMLESS.keys() & set(survived))
    with capsys.disabled():
        line = f"{FILE.name}: {mutants} mutants, {mutants - len(survived)} killed, {equivalent} equivalent"
        print(f"\n{line}")  # noqa: T201 - how many there were is part of the proof
    assert set(survived) == HARMLESS.keys()
    assert mutants > 100


def noticed(config: Config) -> bool:
    for check in CHECKS:
        try:
            check(config)
        except (AssertionError, KeyError, TypeError, ValueError):
            return True
    return False
