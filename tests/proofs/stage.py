"""A simulated world in which anything may happen between any two moves of a worker.

Real are the lifecycle, the worker's step and the journal (SQLite, in simulated time also for leases);
simulated are the cluster, Prometheus and the clocks. Every move across a worker's border is an edge:
before and after each transaction and each outside call. At an edge a scheduled happening takes place:
the process dies, time passes and another worker takes over, somebody pauses, a notification comes in.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import BigInteger, bindparam, event

from remediator.adapters.journal import SqlJournal
from remediator.core.actions import Intent, Target
from remediator.core.alerts import Notification
from remediator.core.execution import Delivery, Sent
from remediator.core.policy import Policy
from remediator.core.reasons import Reason
from remediator.core.verification import Sample
from remediator.lifecycle import Lifecycle, Pace, World
from remediator.ports import Claim, JournalTransaction, JournalUnavailable, LeaseLost
from remediator.worker import Worker
from tests.builders import NOW, an_observation
from tests.proofs.judge import Judge
from tests.worlds import Crash, ScriptedCluster, ScriptedMetrics, _without_fsync

EPOCH = datetime.fromtimestamp(0, tz=NOW.tzinfo)
DEEPEST = 2
"""So many workers may be in the middle of a step at the same time."""
TALLY: Counter[str] = Counter()
"""What was played, for the table."""

Happening = Callable[[], object]
EDGES = (
    "before a transaction",
    "before a commit",
    "after a commit",
    "after a claim",
    "before reading",
    *(
        f"{side} {call}"
        for call in ("ask", "observe", "recognise", "send", "rollout")
        for side in ("before", "after")
    ),
)
"""Those that every case comes by."""


@dataclass(frozen=True, slots=True)
class Late:
    """A PATCH still on the wire: sent against one version of the object, applied or refused on arrival."""

    target: Target
    intent: Intent
    version: int


@dataclass
class SimulatedCluster(ScriptedCluster):
    """Counts what changes each object, so that a late PATCH meets the precondition it was sent with."""

    versions: Counter[Target] = field(default_factory=Counter)
    wire: list[Late] = field(default_factory=list)

    def change(self, target: Target, **changes: Any) -> None:  # type: ignore[override]
        self.versions[target] += 1
        super().change(target, **changes)

    def apply(self, target: Target, intent: Intent) -> Sent:
        sent = super().apply(target, intent)
        self.versions[target] += sent.delivery is Delivery.APPLIED
        return sent

    def lose_the_answer(self, target: Target, intent: Intent) -> Sent:
        """Applied, if its preconditions hold; the answer does not come back."""
        self.apply(target, intent)
        return Sent(delivery=Delivery.UNCLEAR, detail="timed out")

    def hold_on_the_wire(self, target: Target, intent: Intent) -> Sent:
        """Neither applied nor answered in time; it may still arrive."""
        self.wire.append(Late(target, intent, self.versions[target]))
        return Sent(delivery=Delivery.UNCLEAR, detail="timed out")

    def arrive(self) -> None:
        """What is on the wire arrives, the oldest first."""
        while self.wire:
            late = self.wire.pop(0)
            if late.version == self.versions[late.target]:
                self.apply(late.target, late.intent)


@dataclass
class ScrapedMetrics(ScriptedMetrics):
    """As Prometheus has it: a value was scraped at some time, and beyond the lookback it is no data."""

    true_now: Callable[[], datetime] = lambda: NOW
    frozen: dict[Target, datetime] = field(default_factory=dict)
    """Targets whose scrapes fail since then. Their last value stays as it was."""
    last: dict[Target, float | None] = field(default_factory=dict)
    given: list[tuple[Target, datetime, float, datetime]] = field(default_factory=list)
    """Every value given: target, when by the asker's clock, value, and when it was scraped."""

    def freeze(self, target: Target) -> None:
        self.frozen.setdefault(target, self.true_now())
        self.last.setdefault(target, self.values.get(target))

    def thaw(self, target: Target) -> None:
        self.frozen.pop(target, None)
        self.last.pop(target, None)

    def ask(self, query: str, *, now: datetime, lookback: timedelta | None = None) -> Sample:
        asked = next((target for target in self.values if f'workload="{target.name}"' in query), None)
        scraped = self.frozen.get(asked, self.true_now()) if asked else self.true_now()
        if self.true_now() - scraped >= (lookback or timedelta(minutes=5)):
            return Sample(at=now, value=None, reason=Reason.NO_DATA, detail="the query returned no series")
        sample = super().ask(query, now=now, lookback=lookback)
        if asked in self.last and sample.value is not None:
            sample = replace(sample, value=self.last[asked])
        if asked and sample.value is not None:
            self.given.append((asked, now, sample.value, scraped))
        return sample


class Stage:
    """The world, its two clocks, its workers, and what is scheduled for their next edges."""

    def __init__(self, folder: Path, policy: Policy, *, migrated: Path, leases: timedelta) -> None:
        self.true_now = NOW
        self.clock_is_off_by = timedelta()
        self.policy = policy
        shutil.copy(migrated, folder / "journal.db")
        self.journal = SqlJournal(f"sqlite:///{folder}/journal.db")
        event.listen(self.journal._engine, "connect", _without_fsync)
        # The database's clock is the machine's: simulated, so that a lease can run out.
        self.journal._clock = bindparam("now", callable_=self._microseconds, type_=BigInteger)
        self.cluster = SimulatedCluster(live={target: an_observation() for target in policy.targets})
        self.metrics = ScrapedMetrics(
            values=dict.fromkeys(policy.targets, 80.0), true_now=lambda: self.true_now
        )
        self.pace = Pace(lease=leases)
        self.judge = Judge(self)
        self.cluster.on_effect = self.judge.effect
        self.edges = 0
        self.schedule: list[tuple[int, str, Happening]] = []
        self.busy = 0
        self.workers = [Actor(self), Actor(self)]

    @property
    def now(self) -> datetime:
        """By the clock of the machine."""
        return self.true_now + self.clock_is_off_by

    def _microseconds(self) -> int:
        return (self.now - EPOCH) // timedelta(microseconds=1)

    def pass_time(self, span: timedelta) -> None:
        self.true_now += span

    def set_clock(self, by: timedelta) -> None:
        self.clock_is_off_by += by
        self.judge.clock_was_set()

    def at_edge(self, where: int | str, happening: Happening) -> None:
        """Schedule a happening for that many edges from now, or for the next edge of that name."""
        if isinstance(where, int):
            self.schedule.append((self.edges + where, "", happening))
        else:
            self.schedule.append((self.edges, where, happening))

    def edge(self, name: str, *, dying_only: bool = False) -> None:
        """A worker is at one of its edges. Inside a transaction only its death can happen."""
        TALLY["edges"] += 1
        self.edges += 1
        if self.busy > DEEPEST:
            return
        for scheduled in self.schedule:
            due, where, happening = scheduled
            possible = not dying_only or isinstance(happening, Death)
            if possible and due < self.edges and where in ("", name):
                self.schedule.remove(scheduled)
                TALLY[name] += 1
                happening()
                return

    def step(self, number: int) -> bool:
        """One worker claims what is due and advances it; whether there was something."""
        TALLY["worker steps"] += 1
        self.busy += 1
        try:
            return self.workers[number].worker.step()
        except Crash:
            TALLY["crashes"] += 1
            self.workers[number] = Actor(self)
            return True
        except JournalUnavailable:
            TALLY["journal away"] += 1
            return True
        finally:
            self.busy -= 1

    def work(self, span: timedelta, *, most: int = 400) -> None:
        """Let the time pass while the workers, in turn, do what is due."""
        end = self.true_now + span
        for number in range(most):
            if self.step(number % len(self.workers)) or self.step((number + 1) % len(self.workers)):
                continue
            due = self.journal.next_due(now=self.now)
            if due is None or self.true_now + due > end:
                break
            self.true_now += due or timedelta(seconds=1)
        self.true_now = max(self.true_now, end)

    def receive(self, notification: Notification, body: str) -> bool:
        """Alertmanager posts; whether it heard 202."""
        try:
            Actor(self).lifecycle.receive(notification, body=body, now=self.now)
        except Crash:
            TALLY["crashes"] += 1
            return False
        except JournalUnavailable:
            return False
        return True


class Death:
    """kill -9 at this edge."""

    def __call__(self) -> None:
        raise Crash


class Actor:
    """One process: a worker whose every move crosses an edge."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.policy_used = stage.policy
        self.lifecycle = _Watched(
            World(
                journal=_EdgyJournal(self),
                cluster=_Edgy(self, stage.cluster),
                metrics=_Edgy(self, stage.metrics),
                policy=self._policy,
                pace=stage.pace,
            )
        )
        self.lifecycle.judge = stage.judge
        journal = self.lifecycle.world.journal
        self.worker = Worker(
            self.lifecycle,
            journal,  # type: ignore[arg-type]
            idle=timedelta(seconds=1),
            clock=lambda: stage.now,
        )

    def _policy(self) -> Policy:
        self.policy_used = self.stage.policy
        return self.policy_used


class _Watched(Lifecycle):
    """The worker logs what goes wrong with an incident and goes on; here nothing may go wrong."""

    judge: Judge

    def advance(self, claim: Claim, *, now: datetime) -> Claim | None:
        try:
            return super().advance(claim, now=now)
        except (LeaseLost, JournalUnavailable):
            TALLY["leases lost"] += 1
            raise
        except Exception as error:
            self.judge.violated(f"{type(error).__name__} in phase {claim.incident.phase}: {error}")
            raise Crash from error


class _EdgyJournal:
    def __init__(self, actor: Actor) -> None:
        self._actor, self._stage, self._journal = actor, actor.stage, actor.stage.journal

    def __getattr__(self, name: str) -> Any:
        return getattr(self._journal, name)

    @contextmanager
    def transaction(self) -> Iterator[JournalTransaction]:
        self._stage.edge("before a transaction")
        with self._journal.transaction() as tx:
            yield tx
            self._stage.edge("before a commit", dying_only=True)
        self._committed()

    def reading(self) -> AbstractContextManager[JournalTransaction]:
        self._stage.edge("before reading")
        return self._journal.reading()

    def claim(self, owner: str, *, lease: timedelta, now: datetime) -> Claim | None:
        claim = self._journal.claim(owner, lease=lease, now=now)
        if claim is not None:
            self._stage.edge("after a claim")
        return claim

    def release(self, claim: Claim) -> None:
        self._stage.edge("before a release")
        self._journal.release(claim)

    def _committed(self) -> None:
        self._stage.judge.committed(self._actor)
        self._stage.edge("after a commit")


class _Edgy:
    """The cluster or Prometheus as one worker calls it: whatever is called is an edge."""

    def __init__(self, actor: Actor, outside: Any) -> None:
        self._actor, self._outside = actor, outside

    def __getattr__(self, name: str) -> Any:
        def called(*given: Any, **named: Any) -> Any:
            stage = self._actor.stage
            if name == "send":
                stage.judge.about_to_send(self._actor, *given[:2])
            stage.edge(f"before {name}")
            answer = getattr(self._outside, name)(*given, **named)
            stage.edge(f"after {name}")
            return answer

        return called
