"""The rules and the routing, as Prometheus' and Alertmanager's own tools and as the remediator read them."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.components import missing
from tests.rules.structure import (
    CHECKS,
    FOLDER,
    LEAD,
    NEWEST,
    ON_CALL,
    RECEIVERS,
    ROOT,
    SHIPPED,
    Rules,
    load,
)

PROMETHEUS = FOLDER / "prometheus.yml"
UNIT_TESTS = sorted((FOLDER / "tests").glob("*.yml"))
ALERTMANAGER = ROOT / "alertmanager" / "alertmanager.yml"
RUNBOOK = ROOT / "docs" / "runbook.md"
RULE_FILES = [FOLDER / name for name in SHIPPED.files]
ALERTS = SHIPPED.alerts
AUTO = SHIPPED.automatic


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
        missing(f"no {tool} on PATH or in REMEDIATOR_PROM_PATHS")
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
    run(promtool, "check", "rules", "--lint=all", "--lint-fatal", *RULE_FILES)


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
    route(amtool, told(alert), series | ALERTS[alert]["labels"])


def told(alert: str) -> str:
    """Everybody who hears of an alert: when what is critical lasts, also the second to be called."""
    if ALERTS[alert]["labels"]["severity"] != "critical":
        return RECEIVERS[alert]
    return RECEIVERS[alert].replace(ON_CALL, f"{LEAD},{ON_CALL}")


@pytest.mark.real
@pytest.mark.parametrize(
    ("labels", "receivers"),
    [
        ({}, "on-call"),
        ({"remediation": "none", "severity": "critical"}, "devops-lead,on-call"),
        ({"remediation": "none", "severity": "warning"}, "devops-lead"),
        ({"remediation": "auto"}, "remediator,on-call"),
        ({"remediation": "auto", "severity": "critcal"}, "remediator,on-call"),
        (
            {"remediation": "none", "severity": "critical", "escalation": "compliance"},
            "compliance-officer,devops-lead,on-call",
        ),
    ],
    ids=str,
)
def test_a_person_is_told_whatever_the_labels(amtool: Path, labels: dict[str, str], receivers: str) -> None:
    route(amtool, receivers, {"alertname": "Any"} | labels)


# --- The rules, read as text ---


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_rules_keep(check: Callable[[Rules], None]) -> None:
    check(SHIPPED)


def test_prometheus_reads_every_rule_file() -> None:
    assert sorted(load(PROMETHEUS)["rule_files"]) == [path.name for path in RULE_FILES]


def test_every_job_that_a_rule_asks_for_is_scraped() -> None:
    jobs = {job for rule in SHIPPED.all for job in re.findall(r'job="(\w+)"', rule["expr"])}
    assert {job["job_name"] for job in load(PROMETHEUS)["scrape_configs"]} == jobs


def test_each_file_says_the_newest_version() -> None:
    for path in RULE_FILES:
        said = re.findall(r"Rules version: (\S+)\.$", path.read_text().partition("groups:")[0], re.MULTILINE)
        assert said == [NEWEST], path.name


@pytest.mark.parametrize("alert", sorted(ALERTS))
def test_the_runbook_has_a_section_per_alert(alert: str) -> None:
    headings = re.findall(r"^#+ (.+)$", RUNBOOK.read_text(encoding="utf-8"), re.MULTILINE)
    anchors = [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]
    assert anchors.count(alert.lower()) == 1


@pytest.mark.parametrize("alert", sorted(ALERTS))
def test_each_alert_is_tested_firing_and_silent(alert: str) -> None:
    cases = [
        case
        for unit_test in UNIT_TESTS
        for test in load(unit_test)["tests"]
        for case in test.get("alert_rule_test", ())
        if case["alertname"] == alert
    ]
    wanted = {True} if alert == "Watchdog" else {True, False}  # it is never silent
    assert {bool(case["exp_alerts"]) for case in cases} == wanted
