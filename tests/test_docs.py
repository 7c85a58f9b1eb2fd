"""What a person may meet in metrics, logs, settings and commands is written down somewhere."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from remediator import metrics
from remediator.cli import main
from remediator.core.facts import Fact
from remediator.core.guardrails import GUARDRAILS
from remediator.core.reasons import Reason
from remediator.settings import Settings, variable

ROOT = Path(__file__).parent.parent
WRITTEN = "\n".join(path.read_text() for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))))


@pytest.mark.parametrize(
    "names",
    [
        pytest.param([f"`{reason}`" for reason in Reason], id="reasons"),
        pytest.param([f"`{name}`" for name, _ in GUARDRAILS], id="guardrails"),
        pytest.param([f"`{fact}`" for fact in Fact], id="facts"),
        pytest.param([variable(field.name) for field in fields(Settings)], id="settings"),
        pytest.param([f"`remediator {name}" for name in main.commands], id="commands"),
        pytest.param([f"remediator_{name}_total" for name in metrics.COUNTERS], id="counters"),
        pytest.param(re.findall(r'"(remediator_\w+)"', Path(metrics.__file__).read_text()), id="metrics"),
    ],
)
def test_each_name_is_documented(names):
    assert [name for name in names if name not in WRITTEN] == []
