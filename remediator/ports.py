"""The outside world as the flow needs it. The adapters implement these, and their libraries stay there.

Nothing here raises for what the outside world does: a refusal or a silence is a value. The journal is
the exception: without it nothing may happen at all. Every call is bounded by the adapter's time-outs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from remediator.core.actions import Intent, Target
from remediator.core.alerts import Alert, Notification
from remediator.core.announcements import Announcement, Told
from remediator.core.decisions import History, Opening
from remediator.core.execution import Recognition, Rollout, Sent
from remediator.core.facts import Observation, Unseen
from remediator.core.incidents import Attempt, Incident, Pause, Phase, Storm
from remediator.core.intake import Admission, KnownEpisode
from remediator.core.policy import Limits
from remediator.core.reasons import Reason
from remediator.core.reconcile import Kept, Look
from remediator.core.verification import Sample


class JournalUnavailable(Exception):
    """The journal cannot be read or written now: locked, full or away. Nothing was recorded."""


class Overtaken(JournalUnavailable):
    """Another transaction has begun an incident on the target meanwhile. Nothing was recorded; look again."""


class LeaseLost(Exception):
    """Another worker has taken the incident over. What was being written is void."""


class Cluster(Protocol):
    """The Kubernetes API."""

    def observe(self, target: Target, *, logs: bool = False) -> Observation | Unseen:
        """Read what the facts need, and the evidence; with `logs` also of containers that crashed.

        What cannot be read is None and named in `unreadable`. Evidence is never waited for.
        """
        ...

    def recognise(self, target: Target, intent: Intent) -> Recognition:
        """Whether the intent has been applied, may be sent, or must not be. Reads only."""
        ...

    def send(self, target: Target, intent: Intent, *, cause: str = "") -> Sent:
        """Dry-run, then write once, with preconditions. Never retried in here.

        With a `cause`, whatever makes a new revision carries it in the same write.
        """
        ...

    def announce(self, one: Announcement) -> Told:
        """Write an Event on the target, once. That it is there already is as good."""
        ...

    def rollout(self, target: Target, intent: Intent, *, generation: int, since: datetime) -> Rollout:
        """How far the rollout of our write is, as `kubectl rollout status` judges it."""
        ...


class Alertmanagers(Protocol):
    """Alertmanager, each of its peers."""

    def look(self) -> Sequence[Look]:
        """What each of them lists now."""
        ...

    def sendable(self, receiver: str) -> frozenset[str]:
        """Fingerprints of what one of them would send to the receiver now. Who does not answer adds none."""
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
    intended: Attempt | None = None
    """The attempt that was written under this claim and is still to be sent: it need not be read again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """How much of the past is kept: by age, and never more than so many."""

    incidents: timedelta
    """Closed ones, each with its timeline, attempts and alerts."""
    most_incidents: int
    notifications: timedelta
    """Their bodies, and the alerts that were refused or belong to no incident."""
    most_notifications: int
    history: timedelta
    """How far the guardrails look back: younger is never deleted."""


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

    def lock_open_incidents(self, targets: Iterable[Target]) -> Mapping[Target, int]:
        """The same, and keep others from them until the end: before anything else of them is read."""
        ...

    def create_incident(self, admission: Admission, *, now: datetime) -> int:
        """Begin an incident, due at once. Raises Overtaken."""
        ...

    def create_incidents(self, admissions: Iterable[Admission], *, now: datetime) -> Mapping[Target, int]:
        """Begin several, each on another target, in one order for all. Raises Overtaken."""
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

    def wake(self, incident_id: int) -> None:
        """Make the incident due before all that is merely due again, also when a worker is busy with it."""
        ...

    def lock_incidents(self, numbers: Iterable[int]) -> None:
        """Keep others from these incidents until the end, in one order for all: before several are told."""
        ...

    def hear_watchdog(self, *, now: datetime) -> None:
        """Keep when the Watchdog was last heard."""
        ...

    def append(
        self, incident_id: int, kind: str, reason: Reason, detail: str, *, now: datetime, data: Any = None
    ) -> None:
        """Add one event to the incident's timeline."""
        ...

    def told_so_far(self, incident_id: int) -> int:
        """How many events the incident's timeline has."""
        ...

    def last_told(self, incident_id: int, kind: str, reason: Reason, *, since: datetime) -> datetime | None:
        """When the incident's timeline last told that, if it did since then."""
        ...

    def count(self, name: str, labels: Mapping[str, str], amount: float = 1) -> None:
        """Add to a counter that the metrics show."""
        ...

    def announcements(
        self, *, most: int, about: Target | None = None, other_than: Collection[Target] = ()
    ) -> Sequence[Announcement]:
        """The oldest lines of timelines that are still to be announced: all, of one target, or of others."""
        ...

    def announced(self, number: int) -> bool:
        """Be done with one; whether it still waited."""
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

    def openings(self, limits: Limits, *, now: datetime) -> tuple[Opening, ...]:
        """When the newest incidents began, one for each target."""
        ...

    def in_storm(self, limits: Limits) -> frozenset[Target]:
        """The targets whose incidents the storm guardrail holds."""
        ...

    def storm(self) -> Storm | None:
        """The storm that is not over, if there is one."""
        ...

    def begin_storm(self, detail: str, *, now: datetime) -> tuple[int, bool]:
        """The number of the storm that is not over, and whether it began just now."""
        ...

    def end_storm(self, *, by: str, now: datetime) -> bool:
        """Say that the storm is over; whether there was one."""
        ...

    def held_by_storm(self, *, most: int) -> Sequence[Incident]:
        """Incidents that the storm guardrail holds, oldest first. Takes them from whoever works on them."""
        ...

    def kept_episodes(self, alerts: Iterable[Alert]) -> Sequence[Kept]:
        """What fires on a target as far as we know, and of these alerts this firing period and what fires."""
        ...

    def mark_missing(self, numbers: Sequence[int], *, since: datetime | None) -> None:
        """Write since when Alertmanager has not listed these episodes; None: it lists them."""
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

    def returning_on(self, target: Target) -> Incident | None:
        """The incident of the target whose scale-up is still to be given back, between two steps of that."""
        ...

    def end_return(self, incident_id: int) -> None:
        """Close a returning incident whoever has it leased: its worker's write is void from here on."""
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
