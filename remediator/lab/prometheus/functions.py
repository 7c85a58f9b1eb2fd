"""PromQL's functions and aggregations that rules and verification queries use, as plain arithmetic.

`rate` and `increase` extrapolate to the edges of the window as Prometheus does, and `histogram_quantile`
interpolates in the same buckets, because thresholds in the rules sit close to those numbers.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

from remediator.lab.prometheus.operators import Element, Vector
from remediator.lab.prometheus.series import NAME, Labels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from remediator.lab.prometheus.series import Window

_TWO = 2


def increase(window: Window) -> float | None:
    """Counter increase over the window, counter resets undone, extrapolated to its edges."""
    points = window.points
    if len(points) < _TWO:
        return None
    gained = points[-1].value - points[0].value
    for before, after in itertools.pairwise(points):
        if after.value < before.value:
            gained += before.value
    sampled = (points[-1].at - points[0].at) / 1000
    average_gap = sampled / (len(points) - 1)
    to_start = (points[0].at - window.start) / 1000
    to_end = (window.end - points[-1].at) / 1000
    # Further from the edge than a scrape or so: the series began or ended inside the window.
    if to_start >= average_gap * 1.1:
        to_start = average_gap / 2
    if gained > 0 and points[0].value >= 0:  # a counter cannot have been below zero
        to_start = min(to_start, sampled * (points[0].value / gained))
    if to_end >= average_gap * 1.1:
        to_end = average_gap / 2
    return gained * ((sampled + to_start + to_end) / sampled)


def rate(window: Window) -> float | None:
    gained = increase(window)
    return None if gained is None else gained / ((window.end - window.start) / 1000)


def _least(values: Iterable[float]) -> float:
    """Minimum in which any number beats NaN."""
    return min(values, key=lambda value: (math.isnan(value), value))


def _greatest(values: Iterable[float]) -> float:
    return max(values, key=lambda value: (not math.isnan(value), value))


def _mean(values: list[float]) -> float:
    return _total(values) / len(values)


def _total(values: list[float]) -> float:
    return math.fsum(values) if all(map(math.isfinite, values)) else sum(values)


def _changed(before: float, after: float) -> bool:
    return before != after and not (math.isnan(before) and math.isnan(after))


def changes(window: Window) -> float:
    pairs = itertools.pairwise(window.points)
    return float(sum(_changed(before.value, after.value) for before, after in pairs))


def _over_time(reduce: Callable[[list[float]], float]) -> Callable[[Window], float | None]:
    return lambda window: reduce([point.value for point in window.points])


RANGE_FUNCTIONS: dict[str, Callable[[Window], float | None]] = {
    "rate": rate,
    "increase": increase,
    "changes": changes,
    "avg_over_time": _over_time(_mean),
    "min_over_time": _over_time(_least),
    "max_over_time": _over_time(_greatest),
    "sum_over_time": _over_time(_total),
    "count_over_time": _over_time(lambda values: float(len(values))),
    "last_over_time": _over_time(lambda values: values[-1]),
}
KEEPS_NAME = frozenset({"last_over_time"})

AGGREGATIONS: dict[str, Callable[[list[float]], float]] = {
    "sum": _total,
    "avg": _mean,
    "min": _least,
    "max": _greatest,
    "count": lambda values: float(len(values)),
    "group": lambda _: 1.0,
}


def aggregate(op: str, vector: Vector, names: tuple[str, ...], *, by: bool) -> Vector:
    groups: dict[Labels, list[float]] = {}
    for element in vector:
        kept = tuple(
            (name, value) for name, value in element.labels if (name in names) is by and (by or name != NAME)
        )
        groups.setdefault(kept, []).append(element.value)
    return [Element(labels, AGGREGATIONS[op](values)) for labels, values in groups.items()]


def histogram_quantile(quantile: float, vector: Vector) -> Vector:
    groups: dict[Labels, dict[float, float]] = {}
    for element in vector:
        bound = _bound(dict(element.labels).get("le", ""))
        if bound is None:
            continue  # not a bucket: Prometheus leaves such series out as well
        rest = tuple(pair for pair in element.labels if pair[0] not in ("le", NAME))
        buckets = groups.setdefault(rest, {})
        buckets[bound] = buckets.get(bound, 0.0) + element.value
    return [Element(labels, bucket_quantile(quantile, buckets)) for labels, buckets in groups.items()]


def _bound(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def bucket_quantile(quantile: float, cumulative: dict[float, float]) -> float:
    """Quantile of one histogram: linear inside the bucket in which the rank falls."""
    if math.isnan(quantile):
        return math.nan
    if not 0 <= quantile <= 1:
        return math.copysign(math.inf, quantile - 0.5)
    bounds = sorted(cumulative)
    if len(bounds) < _TWO or bounds[-1] != math.inf:
        return math.nan
    counts: list[float] = []
    for bound in bounds:  # scrapes of several pods are not one moment: counts may seem to fall
        counts.append(max(cumulative[bound], counts[-1]) if counts else cumulative[bound])
    if counts[-1] == 0 or math.isnan(counts[-1]):
        return math.nan
    return _interpolated(quantile * counts[-1], bounds, counts)


def _interpolated(rank: float, bounds: list[float], counts: list[float]) -> float:
    index = next((i for i, count in enumerate(counts[:-1]) if count >= rank), len(counts) - 1)
    if index == len(bounds) - 1:
        return bounds[-2]
    if index == 0 and bounds[0] <= 0:
        return bounds[0]
    below, start = (counts[index - 1], bounds[index - 1]) if index else (0.0, 0.0)
    # The first bucket that reaches the rank may be empty only at rank 0; Prometheus computes 0/0 there.
    inside = counts[index] - below
    return start + (bounds[index] - start) * ((rank - below) / inside) if inside else math.nan
