"""What may be done, and how much of it: the policy as frozen types.

The file is read and checked by `remediator.policy_file`; here are its values and the few questions
the decision asks of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta, tzinfo
from enum import StrEnum

from remediator.core.actions import Action, Target
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
    day: timedelta = timedelta(days=1)

    @property
    def longest(self) -> timedelta:
        """How far back the history must be read."""
        return max(self.day, self.target_per, self.overall_per, self.storm_within, self.breaker_within)


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
    change_windows: tuple[ChangeWindow, ...] = ()
    """None given means: at any time."""
    digest: str = ""
    """Short hash of the file, so that the timeline can say which policy decided."""

    def mode_for(self, playbook: Playbook) -> Mode:
        """The playbook's mode, which may only be stricter than the policy's."""
        return self.mode.stricter(playbook.mode)


def query_for(criterion: Criterion, target: Target) -> str:
    """The verification query for one target. Nothing but these two names is ever substituted."""
    return criterion.query.replace("$namespace", _promql_string(target.namespace)).replace(
        "$deployment", _promql_string(target.deployment)
    )


def _promql_string(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
