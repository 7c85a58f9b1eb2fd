"""The shipped files, copied, to break one thing at a time and see what `remediator check` says."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from remediator.alignment.check import check_alignment, places_beside

ROOT = Path(__file__).parents[2]
POLICY = "policy.yaml"
RULES = "prometheus-rules/hive.yml"
SERIES = "prometheus-rules/series.yml"
ROUTING = "alertmanager/alertmanager.yml"
RUNBOOK = "docs/runbook.md"


class Shipped:
    """A folder with the shipped files; it is the working directory, so names are as a person sees them."""

    def edit(self, file: str, old: str, new: str, after: str = "") -> None:
        """Replace the first `old` behind `after`."""
        text = Path(file).read_text()
        start = text.index(after)
        at = text.index(old, start)
        Path(file).write_text(text[:at] + new + text[at + len(old) :])

    def line(self, file: str, what: str, after: str = "") -> int:
        """The line of the first `what` behind `after`."""
        text = Path(file).read_text()
        return text.count("\n", 0, text.index(what, text.index(after))) + 1

    def mistakes(self, **given) -> list[tuple[str, int, str]]:
        found = check_alignment(places_beside(Path(POLICY), **given)).mistakes
        return [(mistake.file, mistake.line, mistake.message) for mistake in found]


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    shutil.copy(ROOT / POLICY, tmp_path)
    for folder, pattern in (("prometheus-rules", "*.yml"), ("alertmanager", "*.yml"), ("docs", "*.md")):
        (tmp_path / folder).mkdir()
        for file in (ROOT / folder).glob(pattern):
            shutil.copy(file, tmp_path / folder)
    monkeypatch.chdir(tmp_path)
    return Shipped()
