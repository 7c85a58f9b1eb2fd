"""What may be done, and how much of it: the policy as frozen types.

The file is read and checked by `remediator.policy_file`; here are its values and the few questions
the decision asks of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta, tzinfo
from enum import StrEnum

from remediator.core.actions import Action, Target, Workload
from remediator.core.facts import Fact, FactRules
from remediator.core.verification import Criterion


class Mode(StrEnum):
    """From lax to strict: act, ask a person first, only say what would be done."""

    AUTO = "auto"
    APPROVE = "approve"
    OBSERVE = "observe"

    def stricter(self, other: Mode | None) -> Mode:
        order = list(Mode)
        return self if other is None or order.index(self) >= order.index(other) else other


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetPolicy:
    """One target and its replica bounds, both inclusive."""

    target: Target
    min_replicas: int
    max_replicas: int
    accept_outage: bool = False
    """Whether a rollout may take away every pod that serves before the new ones do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The bounds. Every attempt that was not withdrawn counts, whatever came of it."""

    target_actions: int = 3
    target_per: timedelta = timedelta(hours=1)
    target_per_day: int = 8
    cooldown: timedelta = timedelta(minutes=5)
    overall_actions: int = 10
    overall_per: timedelta = timedelta(hours=1)
    at_once: int = 2
    storm_targets: int = 3
    storm_within: timedelta = timedelta(minutes=10)
    breaker_not_recovered: int = 3
    breaker_within: timedelta = timedelta(hours=1)
    patience: timedelta = timedelta(minutes=15)
    """How long an incident may be held before it goes to a person, a person's own pause excepted."""
    rollout_within: timedelta = timedelta(minutes=10)
    """How long we wait for a rollout to finish."""
    watchdog: timedelta = timedelta(minutes=10)
    """How long the Watchdog, once heard, may be silent before we count as blind."""
    day: timedelta = timedelta(days=1)

    @property
    def longest(self) -> timedelta:
        """How far back the history must be read, by when an attempt was intended.

        A cooldown begins when the attempt ended, which is less than a day later.
        """
        cooling = self.day + self.cooldown
        return max(cooling, self.target_per, self.overall_per, self.storm_within, self.breaker_within)


@dataclass(frozen=True, slots=True, kw_only=True)
class Returns:
    """How a scale-up is given back: `by` replicas at a time, each time proven by the playbook's query."""

    after: timedelta = timedelta(minutes=30)
    """How long the service has to have stayed well first."""
    by: int = 1
    every: timedelta = timedelta(minutes=5)
    """How long it has to have stayed well since the last time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    action: Action
    when: tuple[Fact, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Playbook:
    alert: str
    steps: tuple[Step, ...]
    verify: Criterion
    runbook: str = ""
    mode: Mode | None = None

    def serves(self, kind: Workload) -> bool:
        """Whether it is for this kind of workload: its query says which one it can select."""
        return selects(self.verify.query, kind)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeWindow:
    """Local hours of weekdays (Monday is 0) in which changes may be made; `opens` < `closes`."""

    days: frozenset[int]
    opens: time
    closes: time
    zone: tzinfo

    def contains(self, now: datetime) -> bool:
        local = now.astimezone(self.zone)
        return local.weekday() in self.days and self.opens <= local.time() < self.closes


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    mode: Mode
    targets: Mapping[Target, TargetPolicy]
    playbooks: Mapping[str, Playbook]
    limits: Limits = field(default_factory=Limits)
    facts: FactRules = field(default_factory=FactRules)
    returns: Returns = field(default_factory=Returns)
    change_windows: tuple[ChangeWindow, ...] = ()
    """None given means: at any time."""
    rules_versions: tuple[str, ...] = ()
    """The versions of the rules that the policy was made for. None given means: whichever."""
    logs: bool = False
    """Whether the last lines of a crashed container belong to the evidence."""
    digest: str = ""
    """Short hash of the file, so that the timeline can say which policy decided."""

    def mode_for(self, playbook: Playbook) -> Mode:
        """The playbook's mode, which may only be stricter than the policy's."""
        return self.mode.stricter(playbook.mode)

    def playbook_for(self, alert: str, target: Target) -> Playbook | None:
        """The playbook of an alert on a target, if there is one for its kind of workload."""
        playbook = self.playbooks.get(alert)
        return playbook if playbook is not None and playbook.serves(target.kind) else None

    def closed(self, now: datetime) -> str | None:
        """Why nothing may be changed at that time, or None: a change window is open, or there are none."""
        windows = self.change_windows
        if not windows or any(window.contains(now) for window in windows):
            return None
        return f"none of {len(windows)} windows is open"

    def knows_rules(self, version: str) -> bool:
        """Whether the policy was made for rules of this version. "" is an alert that says none."""
        return not version or not self.rules_versions or version in self.rules_versions


def query_for(criterion: Criterion, target: Target) -> str:
    """The verification query for one target."""
    return for_target(criterion.query, target)


def for_target(query: str, target: Target) -> str:
    """A query that `selects` targets of this kind, for one of them. Nothing but these is ever substituted."""
    name = _promql_string(target.name)
    return (
        query.replace("$namespace", _promql_string(target.namespace))
        .replace(f"${target.kind.label}", name)
        .replace(ANY_KIND, name)
    )


ANY_KIND = "$workload"


def selects(query: str, kind: Workload) -> bool:
    """Whether a query can select targets of this kind: it names none of another."""
    return not any(f"${other.label}" in query for other in Workload if other is not kind)


def _promql_string(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
