"""Spans of time as people write them: `30s`, `5m`, `1h30m`. A number without a unit is refused."""

from __future__ import annotations

import re
from datetime import timedelta

_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_WHOLE = re.compile(r"(?:[0-9]+(?:ms|s|m|h|d))+")
_PART = re.compile(r"([0-9]+)(ms|s|m|h|d)")
_LONGEST = timedelta(days=366)


def parse_duration(text: str) -> timedelta:
    """Read `1h30m`. Raises ValueError with the accepted form."""
    if not _WHOLE.fullmatch(text):
        raise ValueError(
            f"{text!r} is not a duration: write a number with its unit, e.g. 500ms, 30s, 5m, 1h, 1d"
        )
    try:
        span = timedelta(seconds=sum(int(number) * _UNITS[unit] for number, unit in _PART.findall(text)))
    except OverflowError:
        span = timedelta.max
    if span > _LONGEST:
        raise ValueError(f"{text[:40]!r} is longer than {_LONGEST.days}d")
    return span


def format_duration(span: timedelta) -> str:
    """Write the span in its largest whole unit: `90s`, `5m`, `250ms`."""
    for unit in ("d", "h", "m", "s"):
        size = _UNITS[unit]
        if span.total_seconds() >= size and span.total_seconds() % size == 0:
            return f"{span.total_seconds() / size:.0f}{unit}"
    return f"{span.total_seconds() * 1000:.0f}ms"
