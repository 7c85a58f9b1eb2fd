"""A person's stop that is written on the Deployment itself, where `kubectl describe` shows it.

kubectl annotate deployment NAME remediator/paused-until=2026-11-25T15:00:00Z
kubectl annotate deployment NAME remediator/paused=true        # or as a label
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from remediator.core.reasons import Reason

PAUSED = "remediator/paused"
PAUSED_UNTIL = "remediator/paused-until"

_LONGEST = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """One annotation or label of ours, as it was written."""

    where: str
    """`annotation` or `label`."""
    key: str
    value: str
    """Its beginning, where it is longer than anything that could be meant."""

    def __str__(self) -> str:
        return f"{self.where} {self.key}={self.value!r}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """Why nothing may be changed here, and until when if that is known."""

    reason: Reason
    detail: str
    until: datetime | None = None


def marks_in(*, labels: Mapping[str, object], annotations: Mapping[str, object]) -> tuple[Mark, ...]:
    """The marks on an object. A value that is no text is one that cannot be read."""
    return tuple(
        Mark(where=where, key=key, value=str(found[key])[:_LONGEST])
        for where, found, keys in (
            ("annotation", annotations, (PAUSED, PAUSED_UNTIL)),
            ("label", labels, (PAUSED,)),
        )
        for key in keys
        if key in found
    )


def stop_by(marks: Iterable[Mark], *, now: datetime) -> Stop | None:
    """What the marks say now: the one that lasts longest. What cannot be read stops us too."""
    stops = [stop for mark in marks if (stop := _stop(mark, now)) is not None]
    return min(stops, key=_rank, default=None)


def _stop(mark: Mark, now: datetime) -> Stop | None:
    if mark.key == PAUSED and mark.value in {"true", "false"}:
        return Stop(reason=Reason.PAUSED, detail=str(mark)) if mark.value == "true" else None
    until = _time(mark.value) if mark.key == PAUSED_UNTIL else None
    if until is None:
        meant = "a time with its zone, like 2026-11-25T15:00:00Z"
        wanted = meant if mark.key == PAUSED_UNTIL else '"true" or "false"'
        return Stop(reason=Reason.PAUSE_UNREADABLE, detail=f"{mark} is not {wanted}")
    return Stop(reason=Reason.PAUSED, detail=str(mark), until=until) if now < until else None


def _rank(stop: Stop) -> tuple[int, float]:
    """A stop without an end before a doubtful one, then what ends last."""
    if stop.until is not None:
        return 2, -stop.until.timestamp()
    return (0 if stop.reason is Reason.PAUSED else 1), 0.0


def _time(written: str) -> datetime | None:
    try:
        parsed = datetime.fromisoformat(written)
    except ValueError:
        return None
    return parsed if parsed.tzinfo else None
