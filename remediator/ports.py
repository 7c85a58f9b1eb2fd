"""The outside world as the flow needs it. The adapters implement these, and their libraries stay there.

Nothing here raises for what the outside world does: a refusal or a silence is a value. Every call is
bounded by the adapter's own time-outs.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Protocol

from remediator.core.actions import Intent, Target
from remediator.core.execution import Recognition, Rollout, Sent
from remediator.core.facts import Observation, Unseen
from remediator.core.verification import Sample


class Cluster(Protocol):
    """The Kubernetes API."""

    def observe(self, target: Target) -> Observation | Unseen:
        """Read what the facts need. What cannot be read is None and named in `unreadable`."""
        ...

    def recognise(self, target: Target, intent: Intent) -> Recognition:
        """Whether the intent has been applied, may be sent, or must not be. Reads only."""
        ...

    def send(self, target: Target, intent: Intent) -> Sent:
        """Dry-run, then write once, with preconditions. Never retried in here."""
        ...

    def rollout(self, target: Target, intent: Intent, *, generation: int, since: datetime) -> Rollout:
        """How far the rollout of our write is, as `kubectl rollout status` judges it."""
        ...


class Metrics(Protocol):
    """Prometheus."""

    def ask(self, query: str, *, now: datetime, lookback: timedelta | None = None) -> Sample:
        """One instant query that must give one number. With `lookback`, older data does not count."""
        ...
