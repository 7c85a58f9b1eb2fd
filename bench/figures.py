"""What is measured, beside what is wanted."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

BEGIN, END = "<!-- make bench: begin -->", "<!-- make bench: end -->"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured value. `at_most` or `at_least` is its target; a figure may have none."""

    group: str
    name: str
    value: float
    unit: str = ""
    at_most: float | None = None
    at_least: float | None = None

    @property
    def met(self) -> bool | None:
        if self.at_most is not None:
            return self.value <= self.at_most
        return self.value >= self.at_least if self.at_least is not None else None

    @property
    def wanted(self) -> str:
        if self.at_most is not None:
            return f"at most {_number(self.at_most)} {self.unit}".rstrip()
        return f"at least {_number(self.at_least)} {self.unit}".rstrip() if self.at_least is not None else ""

    @property
    def cells(self) -> tuple[str, str, str, str]:
        verdict = {True: "met", False: "missed", None: ""}[self.met]
        return self.name, f"{_number(self.value)} {self.unit}".rstrip(), self.wanted, verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class NotMeasured:
    """A group that could not be measured here, and why."""

    group: str
    why: str

    @property
    def cells(self) -> tuple[str, str, str, str]:
        return "not measured", self.why, "", ""


Result = Figure | NotMeasured


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"  # noqa: PLR2004 - three digits


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def table(results: Iterable[Result]) -> str:
    """As Markdown, one section for each group."""
    lines: list[str] = []
    group = ""
    for result in results:
        if result.group != group:
            group = result.group
            lines += ["", f"### {group}", "", "| figure | measured | target | |", "| --- | --- | --- | --- |"]
        lines.append("| " + " | ".join(result.cells) + " |")
    return "\n".join(lines).strip()


def write_between_markers(page: Path, text: str) -> None:
    """Replace what a run before wrote into the page."""
    before = page.read_text()
    found = re.compile(f"{re.escape(BEGIN)}.*{re.escape(END)}", re.DOTALL)
    if not found.search(before):
        raise ValueError(f"{page} has no {BEGIN}")
    page.write_text(found.sub(lambda _: f"{BEGIN}\n{text}\n{END}", before))
