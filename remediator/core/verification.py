"""Whether the service recovered, judged from samples of our own query.

`resolved` is not recovery and a finished rollout is not recovery. A sample that is missing, NaN,
ambiguous or older than the settle point is not a good sample.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from remediator.core.reasons import Reason


class Verdict(StrEnum):
    RECOVERED = "recovered"
    PENDING = "pending"
    NOT_RECOVERED = "not_recovered"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One answer of our own query. Without a value, `reason` says why there is none; NaN is none."""

    at: datetime
    value: float | None
    reason: Reason | None = None
    detail: str = ""

    def __post_init__(self) -> None:
        if self.value is not None and math.isnan(self.value):
            nothing = {"value": None, "reason": Reason.NO_DATA, "detail": "the query returned NaN"}
            for name, value in nothing.items():
                object.__setattr__(self, name, value)


COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    ">": operator.gt,
    "<=": operator.le,
    "<": operator.lt,
}


@dataclass(frozen=True, slots=True)
class Good:
    """What a good value is: `>= 95`."""

    comparison: str
    threshold: float

    def holds(self, value: float) -> bool:
        return math.isfinite(value) and COMPARISONS[self.comparison](value, self.threshold)

    def worse(self, before: float, after: float) -> bool:
        """Whether `after` is clearly worse: farther from good by a tenth of the threshold or of `before`."""
        margin = 0.1 * max(abs(self.threshold), abs(before))
        lost = before - after if self.comparison.startswith(">") else after - before
        return lost > margin

    def __str__(self) -> str:
        return f"{self.comparison} {self.threshold:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    """What proves recovery: `samples` consecutive good answers, `every` so often, after `settle`, in time."""

    query: str
    good: Good
    settle: timedelta
    samples: int
    every: timedelta
    within: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    verdict: Verdict
    reason: Reason
    detail: str


def judge(
    samples: Iterable[Sample],
    criterion: Criterion,
    *,
    since: datetime,
    now: datetime,
    impatient: bool = False,
) -> Judgement:
    """Judge the samples taken after the rollout finished at `since`.

    Impatient, as many consecutive bad samples as prove recovery when good end it before the time is over.
    """
    counted = [sample for sample in samples if sample.at >= since + criterion.settle]
    streak = _streak(counted, criterion)
    progress = f"{streak} of {criterion.samples} consecutive samples {criterion.good}"
    if streak >= criterion.samples:
        last = counted[-1].value
        return _judgement(Verdict.RECOVERED, Reason.RECOVERED, f"{progress}, the last was {last:.4g}")
    if now < since + criterion.within and not (impatient and _all_bad(counted, criterion)):
        return _judgement(Verdict.PENDING, Reason.VERDICT_PENDING, progress)
    if not counted or counted[-1].value is None:
        why = counted[-1].detail if counted else "no sample was taken after the settle time"
        return _judgement(Verdict.UNKNOWN, Reason.VERDICT_UNKNOWN, why)
    return _judgement(
        Verdict.NOT_RECOVERED, Reason.NOT_RECOVERED, f"{progress}, last {counted[-1].value:.4g}"
    )


def _streak(counted: list[Sample], criterion: Criterion) -> int:
    """How many good samples there are at the end, `every` apart: two of one moment are one."""
    streak, last = 0, None
    for sample in reversed(counted):
        if not _is_good(sample, criterion.good):
            break
        if last is None or not timedelta() <= last - sample.at < criterion.every:
            streak, last = streak + 1, sample.at
    return streak


def _all_bad(counted: list[Sample], criterion: Criterion) -> bool:
    """Whether as many in a row are bad as would prove recovery if they were good."""
    last = counted[-criterion.samples :]
    return len(last) == criterion.samples and not any(_is_good(sample, criterion.good) for sample in last)


def _judgement(verdict: Verdict, reason: Reason, detail: str) -> Judgement:
    return Judgement(verdict=verdict, reason=reason, detail=detail)


def _is_good(sample: Sample, good: Good) -> bool:
    return sample.value is not None and good.holds(sample.value)
