"""docs/alerts.md is what rules, policy and routing say."""

from __future__ import annotations

import importlib.util
import shutil
from types import ModuleType

import yaml

from remediator.alignment.rules import read_rules
from remediator.alignment.runbook import anchors_of
from remediator.core.facts import Fact
from tests.alignment.conftest import ROOT

DOCS = ROOT / "docs"
ALERTS = [rule.name for rule in read_rules(ROOT / "prometheus-rules").alerts]


def make_alerts() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_alerts", DOCS / "make_alerts.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_up_to_date():
    expected: str = make_alerts().alerts_page()

    assert expected == (DOCS / "alerts.md").read_text(), "run `make docs`"


def test_each_alert_has_a_section():
    assert {name.lower() for name in ALERTS} <= set(anchors_of(DOCS / "alerts.md"))


def test_each_fact_has_words():
    assert set(make_alerts().FACTS) == set(Fact)


def test_an_alert_for_people_says_so(tmp_path):
    for place in ("prometheus-rules", "alertmanager"):
        shutil.copytree(ROOT / place, tmp_path / place)
    shutil.copy(ROOT / "policy.yaml", tmp_path)
    rule = {
        "alert": "RemediatorDown",
        "expr": "absent(up)",
        "labels": {"severity": "warning", "remediation": "none"},
        "annotations": {
            "summary": "{{ $labels.job | title }} is away",
            "description": "Since {{ $value }} s.",
            "runbook_url": "https://example.com/docs/runbook.md#x",
        },
    }
    groups = {"groups": [{"name": "path", "rules": [rule]}]}
    (tmp_path / "prometheus-rules" / "path.yml").write_text(yaml.safe_dump(groups))

    section = make_alerts().alerts_page(tmp_path).split("## RemediatorDown\n")[1].split("\n## ")[0]

    assert "**JOB is away.** Since VALUE s." in section
    assert "**The remediator** does nothing: this alert is for people." in section
    assert "**Told:** devops-lead." in section
    assert "(runbook.md#x)" in section
