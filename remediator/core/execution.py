"""What the cluster answers while an intent is carried out: values, so that refusals are not exceptions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from remediator.core.marks import Stop
from remediator.core.reasons import Reason


class Standing(StrEnum):
    """Where an intent stands, judged by the live object alone."""

    APPLIED = "applied"
    """The object is as the intent wants it: it was sent before, here or by a process that died."""
    SENDABLE = "sendable"
    """The object is still as it was when the intent was written."""
    CHANGED = "changed"
    """Neither: somebody else changed it, or it was deleted or recreated. Never send."""
    UNREACHABLE = "unreachable"
    """The API server did not answer, or failed. Ask again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recognition:
    standing: Standing
    detail: str
    generation: int | None = None
    """With APPLIED: the generation whose rollout is to be awaited."""
    at: datetime | None = None
    """The API server's clock."""
    again_after: timedelta | None = None
    """How long the API server asks to be left alone."""
    stop: Stop | None = None
    """With SENDABLE: what on the object itself stops us, a mark or the missing opt-in."""


class Delivery(StrEnum):
    """What became of one sending."""

    APPLIED = "applied"
    NOT_SENT = "not_sent"
    """Certainly without effect, and worth another try: throttled, unauthenticated, or not connected."""
    CONFLICT = "conflict"
    """Certainly without effect: a precondition failed. Look again before anything else."""
    REFUSED = "refused"
    """Certainly without effect, and trying again is pointless: forbidden, invalid, denied by admission."""
    UNCLEAR = "unclear"
    """A time-out, a reset or a server error: it may have been applied. Never send again blindly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    delivery: Delivery
    detail: str
    reason: Reason | None = None
    """With REFUSED: FORBIDDEN or REFUSED_BY_CLUSTER."""
    generation: int | None = None
    """With APPLIED: the generation whose rollout is to be awaited."""
    at: datetime | None = None
    """The API server's clock."""
    again_after: timedelta | None = None
    """How long the API server asks to be left alone."""


class RolloutState(StrEnum):
    COMPLETE = "complete"
    WAITING = "waiting"
    FAILED = "failed"
    """Progress deadline exceeded after our write, or the Deployment is gone."""
    OVERRIDDEN = "overridden"
    """Somebody changed the Deployment after our write; whose rollout this is can no longer be said."""
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    state: RolloutState
    detail: str
    """As a person would say it: `2 of 3 new replicas have been updated`."""
    ready: int | None = None
