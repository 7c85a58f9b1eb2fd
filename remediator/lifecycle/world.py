"""What the flow works with, and how patiently."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from remediator.core.incidents import Attempt
from remediator.core.policy import Policy
from remediator.ports import Claim, Cluster, Journal, LeaseLost, Metrics

SHORTEST_WAIT = timedelta(milliseconds=100)
LONGEST_WAIT = timedelta(minutes=1)
"""No incident sleeps longer, so that a clock set back cannot put one to sleep for ever."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often the worker looks again. Not policy: it bounds nothing."""

    recheck: timedelta = timedelta(seconds=15)
    """While an incident is held."""
    poll: timedelta = timedelta(seconds=2)
    """While a rollout is under way or the API server is asked again."""
    lease: timedelta = timedelta(seconds=25)


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    journal: Journal
    cluster: Cluster
    metrics: Metrics
    policy: Callable[[], Policy]
    """The policy in force: it may be reloaded between two steps."""
    pace: Pace = field(default_factory=Pace)


def attempt_in_flight(world: World, claim: Claim) -> Attempt:
    """The attempt that the incident's phase is about. Raises LeaseLost."""
    with world.journal.reading() as tx:
        for attempt in tx.attempts_of(claim.incident.id):
            if attempt.state.in_flight:
                return attempt
    raise LeaseLost(f"incident {claim.incident.id}: another worker has ended the attempt")


def soonest(wanted: datetime, now: datetime) -> datetime:
    """`wanted`, but not so near that we would be busy with nothing else."""
    return max(wanted, now + SHORTEST_WAIT)


def soon(wanted: datetime, now: datetime) -> datetime:
    """`wanted`, but never farther away than the longest wait."""
    return min(wanted, now + LONGEST_WAIT)
