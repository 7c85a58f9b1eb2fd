"""Figures that a proof recorded (`record_property("proof", ...)`) are shown at the end of the run."""

from __future__ import annotations

from typing import Any


def pytest_terminal_summary(terminalreporter: Any) -> None:
    shown = [
        text
        for report in terminalreporter.getreports("passed")
        for name, text in report.user_properties
        if name == "proof" and report.when == "call"
    ]
    if shown:
        terminalreporter.section("proofs")
        for text in shown:
            terminalreporter.write_line(str(text))
