"""Durations as Prometheus and Alertmanager write them: `1h30m`, `15s`, `250ms`; in milliseconds here."""

from __future__ import annotations

import re

UNITS_MS = {
    "ms": 1,
    "s": 1000,
    "m": 60_000,
    "h": 3_600_000,
    "d": 86_400_000,
    "w": 604_800_000,
    "y": 31_536_000_000,
}
_PART = re.compile(r"(\d+)(ms|[smhdwy])")
_WHOLE = re.compile(r"(?:\d+(?:ms|[smhdwy]))+|0")


def parse_ms(text: str | float) -> int:
    """Milliseconds of a duration; a bare number other than 0 is refused, as Prometheus does."""
    written = str(text).strip()
    if not _WHOLE.fullmatch(written):
        raise ValueError(f"not a duration: {text!r} (write it like 1h30m, 15s or 250ms)")
    return sum(int(number) * UNITS_MS[unit] for number, unit in _PART.findall(written))


def format_ms(milliseconds: int) -> str:
    """Render in seconds where that is exact, else in milliseconds; Prometheus and Alertmanager read both."""
    if milliseconds % 1000 == 0:
        return f"{milliseconds // 1000}s"
    return f"{milliseconds}ms"


def divide(text: str | float, speed: float) -> str:
    """Divide a duration; what was more than zero stays so, because zero means "never" or is refused."""
    whole = parse_ms(text)
    return format_ms(max(1, round(whole / speed)) if whole else 0)
