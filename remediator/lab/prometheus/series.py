"""The samples of the stand-in Prometheus, in memory: how series are found and when they are stale.

Times are integer milliseconds since the epoch, as in Prometheus; "now" is always an argument. A series
whose target vanished or whose scrape failed gets a staleness marker and is gone at once; without one, a
sample stays visible for the look-back (five minutes divided by the lab's speed).
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

Labels = tuple[tuple[str, str], ...]
NAME = "__name__"
MINUTE_MS = 60_000
LOOKBACK_MS = 5 * MINUTE_MS


def labels_of(mapping: Mapping[str, str]) -> Labels:
    """Sort a label set into its canonical form; an empty value is the same as no label."""
    return tuple(sorted((name, value) for name, value in mapping.items() if value))


class Point(NamedTuple):
    at: int
    value: float


class Found(NamedTuple):
    """One series of an instant selection: its labels and its newest visible sample."""

    labels: Labels
    point: Point


class Window(NamedTuple):
    """One series of a range selection: the samples with `start < at <= end`."""

    labels: Labels
    points: list[Point]
    start: int
    end: int


@lru_cache(maxsize=512)
def _anchored(pattern: str) -> re.Pattern[str]:
    return re.compile(f"(?:{pattern})")


@dataclass(frozen=True)
class LabelMatcher:
    name: str
    op: str
    value: str

    def matches(self, labels: Mapping[str, str]) -> bool:
        actual = labels.get(self.name, "")
        if self.op in ("=", "!="):
            return (actual == self.value) is (self.op == "=")
        return (_anchored(self.value).fullmatch(actual) is not None) is (self.op == "=~")


@dataclass
class _Series:
    labels: Labels
    mapping: dict[str, str]
    times: list[int] = field(default_factory=list)
    values: list[float | None] = field(default_factory=list)  # None is the staleness marker

    def append(self, at: int, value: float | None) -> None:
        if self.times and at <= self.times[-1]:
            if at == self.times[-1]:
                self.values[-1] = value
            return
        self.times.append(at)
        self.values.append(value)

    def forget_before(self, at: int) -> None:
        cut = bisect_right(self.times, at)
        del self.times[:cut], self.values[:cut]

    def newest(self, at: int, lookback: int) -> Point | None:
        last = bisect_right(self.times, at) - 1
        if last < 0 or self.times[last] <= at - lookback:
            return None
        value = self.values[last]
        return None if value is None else Point(self.times[last], value)

    def between(self, start: int, end: int) -> list[Point]:
        first, last = bisect_right(self.times, start), bisect_right(self.times, end)
        pairs = zip(self.times[first:last], self.values[first:last], strict=True)
        return [Point(at, value) for at, value in pairs if value is not None]


class SeriesStore:
    """All series, indexed by metric name."""

    def __init__(self, *, lookback_ms: int = LOOKBACK_MS, retention_ms: int = 360 * MINUTE_MS) -> None:
        self.lookback_ms = lookback_ms
        self.retention_ms = retention_ms
        self._by_name: dict[str, dict[Labels, _Series]] = {}

    def append(self, labels: Labels, at: int, value: float) -> None:
        self._series(labels).append(at, value)

    def mark_stale(self, labels: Iterable[Labels], at: int) -> None:
        for one in labels:
            self._series(one).append(at, None)

    def _series(self, labels: Labels) -> _Series:
        mapping = dict(labels)
        named = self._by_name.setdefault(mapping.get(NAME, ""), {})
        series = named.get(labels)
        if series is None:
            series = named[labels] = _Series(labels, mapping)
        return series

    def instant(self, matchers: Sequence[LabelMatcher], at: int, lookback: int | None = None) -> list[Found]:
        span = self.lookback_ms if lookback is None else lookback
        found = ((series.labels, series.newest(at, span)) for series in self._matching(matchers))
        return [Found(labels, point) for labels, point in found if point is not None]

    def window(self, matchers: Sequence[LabelMatcher], start: int, end: int) -> list[Window]:
        found = (
            Window(series.labels, series.between(start, end), start, end)
            for series in self._matching(matchers)
        )
        return [window for window in found if window.points]

    def _matching(self, matchers: Sequence[LabelMatcher]) -> Iterator[_Series]:
        exact = next((m.value for m in matchers if m.name == NAME and m.op == "="), None)
        groups = list(self._by_name.values()) if exact is None else [self._by_name.get(exact, {})]
        for named in groups:
            for series in list(named.values()):
                if all(matcher.matches(series.mapping) for matcher in matchers):
                    yield series

    def forget_old(self, now: int) -> None:
        """Drop what no query can reach any more, so that a lab left running does not grow."""
        for name, named in list(self._by_name.items()):
            for labels, series in list(named.items()):
                series.forget_before(now - self.retention_ms)
                if not series.times:
                    del named[labels]
            if not named:
                del self._by_name[name]
