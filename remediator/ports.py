"""The outside world as the flow needs it. The adapters implement these, and their libraries stay there.

Nothing here raises for what the outside world does: a refusal or a silence is a value. The journal is
the exception: without it nothing may happen at all. Every call is bounded by the adapter's time-outs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from remediator.core.actions import Intent, Target
from remediator.core.alerts import Notification
from remediator.core.decisions import History
from remediator.core.execution import Recognition, Rollout, Sent
from remediator.core.facts import Observation, Unseen
from remediator.core.incidents import Attempt, Incident, Pause, Phase
from remediator.core.intake import Admission, KnownEpisode
from remediator.core.policy import Limits
from remediator.core.reasons import Reason
from remediator.core.verification import Sample


class JournalUnavailable(Exception):
    """The journal cannot be read or written now: locked, full or away. Nothing was recorded."""


class LeaseLost(Exception):
    """Another worker has taken the incident over. What was being written is void."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """An incident leased to one worker for a few seconds. Writes under a lost lease are refused."""

    incident: Incident
    owner: str
    fence: int
    claims: int
    """How often it was claimed since it last made progress, this time included."""
    signals: int


class JournalTransaction(Protocol):
    """One transaction: all of it is recorded, or nothing. Raises JournalUnavailable."""

    def record_notification(self, notification: Notification, *, body: str, now: datetime) -> int:
        """Keep the body, or count it once more; returns its number."""
        ...

    def known_episodes(self, notification: Notification) -> Mapping[int, KnownEpisode]:
        """By index of the alert: its episode, or the unfinished earlier one of the same fingerprint."""
        ...

    def open_incidents(self, targets: Iterable[Target]) -> Mapping[Target, int]:
        """The open incident of each target that has one."""
        ...

    def create_incident(self, admission: Admission, *, now: datetime) -> int:
        """Begin an incident, due at once."""
        ...

    def put_episodes(
        self,
        admissions: Sequence[tuple[Admission, int | None]],
        *,
        known: Mapping[int, KnownEpisode],
        now: datetime,
    ) -> None:
        """Write the episodes of a notification's alerts with the incident each belongs to."""
        ...

    def wake(self, incident_id: int, *, now: datetime) -> None:
        """Make the incident due, also when a worker is busy with it."""
        ...

    def append(
        self, incident_id: int, kind: str, reason: Reason, detail: str, *, now: datetime, data: Any = None
    ) -> None:
        """Add one event to the incident's timeline."""
        ...

    def count(self, name: str, labels: Mapping[str, str], amount: float = 1) -> None:
        """Add to a counter that the metrics show."""
        ...

    def lock_decisions(self) -> None:
        """Wait until no other transaction decides; held to the end of this one."""
        ...

    def refresh(self, claim: Claim) -> Incident:
        """The incident as it is now. Raises LeaseLost."""
        ...

    def incident(self, number: int) -> Incident | None:
        """An incident by its number."""
        ...

    def note_person(self, number: int, *, now: datetime, **changes: Any) -> None:
        """Write what a person said about an incident, and make it due."""
        ...

    def firing(self, incident_id: int) -> bool:
        """Whether an alert of the incident is firing."""
        ...

    def attempts_of(self, incident_id: int) -> tuple[Attempt, ...]:
        """The attempts of the incident, oldest first."""
        ...

    def history(self, limits: Limits, *, now: datetime) -> History:
        """What the guardrails need to know of the past, all targets."""
        ...

    def pauses(self) -> tuple[Pause, ...]:
        """The pauses nobody has ended, oldest first."""
        ...

    def intend(self, attempt: Attempt) -> Attempt:
        """Write a new attempt as intended; returns it with its number."""
        ...

    def update_attempt(self, attempt: Attempt) -> None:
        """Write the attempt's present state."""
        ...

    def abandon_attempts(
        self, incident_id: int, reason: Reason, *, now: datetime
    ) -> Sequence[tuple[str, str]]:
        """End what is in flight without reading it: abandoned, or withdrawn if it was never sent.

        Returns kind and new state of each.
        """
        ...

    def save(
        self,
        claim: Claim,
        *,
        phase: Phase,
        next_at: datetime,
        now: datetime,
        keep: bool = False,
        **changes: Any,
    ) -> Claim:
        """Move the incident to a phase, or keep it there, and release it unless `keep`. Raises LeaseLost."""
        ...

    def unattended_alert(
        self, incident_id: int, target: Target, *, other_than: str, playbooks: Iterable[str]
    ) -> Admission | None:
        """A firing alert of another playbook on the target that has had no incident but this closed one."""
        ...

    def adopt_episodes(self, incident_id: int, admission: Admission) -> None:
        """Hand the target's firing episodes of that alert over to a new incident."""
        ...

    def engage_pause(self, *, scope: str, by: str, why: str, until: datetime | None, now: datetime) -> int:
        """Stop acting within the scope; returns the pause's number."""
        ...


class Journal(Protocol):
    """All durable state."""

    def transaction(self) -> AbstractContextManager[JournalTransaction]:
        """Write; on SQLite this is the one writer. Raises JournalUnavailable."""
        ...

    def reading(self) -> AbstractContextManager[JournalTransaction]:
        """Only read, without keeping a writer waiting."""
        ...

    def claim(self, owner: str, *, lease: timedelta, now: datetime) -> Claim | None:
        """Lease one due incident in a phase that this build can advance."""
        ...

    def release(self, claim: Claim) -> None:
        """Give the lease back, so that another worker need not wait until it runs out."""
        ...
