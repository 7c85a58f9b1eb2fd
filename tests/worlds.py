"""A scripted world for flow tests: values in, a record of what was sent. The journal in it is a real one."""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import event

from remediator.adapters.journal import SqlJournal
from remediator.adapters.journal.journal import Story as Told
from remediator.adapters.journal.transaction import Transaction
from remediator.core.actions import (
    Intent,
    MinimumIntent,
    RestartIntent,
    ScaleIntent,
    Target,
    UndoIntent,
    kind_of,
)
from remediator.core.alerts import Alert
from remediator.core.announcements import Announcement
from remediator.core.announcements import Told as Telling
from remediator.core.execution import (
    Delivery,
    Recognition,
    Rollout,
    RolloutState,
    Sent,
    Standing,
)
from remediator.core.facts import Observation, Unseen
from remediator.core.incidents import Incident
from remediator.core.marks import Stop, stop_by
from remediator.core.policy import Policy
from remediator.core.reasons import Reason
from remediator.core.verification import Sample
from remediator.lifecycle import Lifecycle, Pace, Receipt, World
from remediator.ports import Claim
from tests.builders import APEX, NOW, a_notification, a_policy, a_revision, an_alert, an_observation

SICK, WELL = 80.0, 97.0
NOT_FOUND = Unseen(reason=Reason.TARGET_NOT_FOUND, detail="404")
UNAUTHENTICATED = Unseen(reason=Reason.UNAUTHENTICATED, detail="401")


class Crash(BaseException):
    """The process dies here. Not an Exception, so that nothing of ours can swallow it."""


@dataclass
class ScriptedCluster:
    """Deployments as observations. A sending does what its intent says unless the script says otherwise."""

    live: dict[Target, Observation | Unseen] = field(default_factory=lambda: {APEX: an_observation()})
    restarted: dict[Target, str] = field(default_factory=dict)
    asked: list[tuple[Target, Intent]] = field(default_factory=list)
    """Every call of `send`."""
    causes: list[str] = field(default_factory=list)
    """What each of them was to write beside the revision."""
    effects: list[tuple[Target, Intent]] = field(default_factory=list)
    """What changed the cluster."""
    script: deque[Any] = field(default_factory=deque)
    """For the next sendings: a Delivery, a function of (target, intent), or None for the ordinary."""
    rollouts: deque[RolloutState] = field(default_factory=deque)
    """For the next looks at a rollout; then COMPLETE."""
    announced: list[Announcement] = field(default_factory=list)
    """Every call of `announce`, and what it says."""
    telling: Telling = Telling.WRITTEN
    away: bool = False
    logs_wanted: list[bool] = field(default_factory=list)
    """For each observation: whether logs were asked for."""
    on_effect: Callable[[Target, Intent], None] = lambda _target, _intent: None
    clock: Callable[[], datetime] = lambda: NOW

    def change(self, target: Target = APEX, **changes: Any) -> None:
        seen = self.live[target]
        assert isinstance(seen, Observation)
        self.live[target] = replace(seen, **changes)

    def observe(self, target: Target, *, logs: bool = False) -> Observation | Unseen:
        self.logs_wanted.append(logs)
        if self.away:
            return Unseen(reason=Reason.CLUSTER_UNREACHABLE, detail="timed out")
        seen = self.live.get(target, NOT_FOUND)
        return replace(seen, at=self.clock()) if isinstance(seen, Observation) else seen

    def recognise(self, target: Target, intent: Intent) -> Recognition:
        if self.away:
            return Recognition(standing=Standing.UNREACHABLE, detail="timed out")
        seen = self.live.get(target, NOT_FOUND)
        standing = self._standing(target, seen, intent)
        generation = seen.generation if isinstance(seen, Observation) else None
        stop = self._stop(seen) if isinstance(seen, Observation) else None
        return Recognition(
            standing=standing,
            detail=standing.value,
            generation=generation,
            stop=stop if standing is Standing.SENDABLE else None,
        )

    def send(self, target: Target, intent: Intent, *, cause: str = "") -> Sent:
        self.asked.append((target, intent))
        self.causes.append(cause)
        scripted = self.script.popleft() if self.script else None
        if isinstance(scripted, Delivery):
            reason = Reason.FORBIDDEN if scripted is Delivery.REFUSED else None
            return Sent(delivery=scripted, detail=scripted.value, reason=reason)
        if scripted is not None:
            answer: Sent = scripted(target, intent)
            return answer
        return self.apply(target, intent)

    def announce(self, one: Announcement) -> Telling:
        self.announced.append(one)
        return self.telling

    def rollout(self, target: Target, intent: Intent, *, generation: int, since: datetime) -> Rollout:
        if self.away:
            return Rollout(state=RolloutState.UNREACHABLE, detail="timed out")
        state = self.rollouts.popleft() if self.rollouts else RolloutState.COMPLETE
        return Rollout(state=state, detail=f"{state} since {since:%H:%M:%S} at {generation}")

    def apply(self, target: Target, intent: Intent) -> Sent:
        """What the API server does with a PATCH and its preconditions."""
        seen = self.live.get(target, NOT_FOUND)
        if self._standing(target, seen, intent) is not Standing.SENDABLE or not isinstance(seen, Observation):
            return Sent(delivery=Delivery.CONFLICT, detail="a precondition failed")
        if stop := self._stop(seen):
            return Sent(delivery=Delivery.CONFLICT, detail=f"nothing was sent: {stop.detail}")
        changed = replace(seen, generation=seen.generation + 1)
        match intent:
            case RestartIntent():
                self.restarted[target] = intent.restarted_at
            case UndoIntent():
                back = a_revision((seen.revision or 0), seen.template_digest)
                changed = replace(changed, template_digest=intent.target_digest, previous=(back,))
            case ScaleIntent():
                changed = replace(changed, replicas=intent.replicas_to, ready=intent.replicas_to)
            case MinimumIntent():  # and the autoscaler sees to it
                (hpa,) = seen.hpas or ()
                count = max(seen.replicas, intent.replicas_to)
                raised = (replace(hpa, minimum=intent.replicas_to),)
                changed = replace(changed, hpas=raised, replicas=count, ready=count)
        self.live[target] = changed
        self.effects.append((target, intent))
        self.on_effect(target, intent)
        return Sent(delivery=Delivery.APPLIED, detail="200 OK", generation=changed.generation)

    def _stop(self, seen: Observation) -> Stop | None:
        gone = Stop(reason=Reason.NOT_OPTED_IN, detail="the label is gone")
        return stop_by(seen.marks, now=self.clock()) or (None if seen.opted_in else gone)

    def _standing(self, target: Target, seen: Observation | Unseen, intent: Intent) -> Standing:
        if not isinstance(seen, Observation) or seen.uid != intent.uid:
            return Standing.CHANGED
        if isinstance(intent, MinimumIntent) and seen.hpas is None:
            return Standing.UNREACHABLE
        match intent:
            case RestartIntent():
                applied = self.restarted.get(target) == intent.restarted_at
                sendable = seen.generation == intent.generation
            case UndoIntent():
                applied = seen.template_digest == intent.target_digest
                sendable = seen.generation == intent.generation
            case ScaleIntent():
                applied = seen.replicas == intent.replicas_to
                sendable = (seen.replicas, seen.generation) == (intent.replicas_from, intent.generation)
            case MinimumIntent():
                least = [hpa.minimum for hpa in seen.hpas or () if hpa.uid == intent.autoscaler_uid]
                applied, sendable = least == [intent.replicas_to], least == [intent.replicas_from]
        return Standing.APPLIED if applied else Standing.SENDABLE if sendable else Standing.CHANGED


@dataclass
class ScriptedMetrics:
    """One value per target; a function of the query may say otherwise."""

    values: dict[Target, float | None] = field(default_factory=lambda: {APEX: SICK})
    away: bool = False
    asked: list[tuple[str, timedelta | None]] = field(default_factory=list)
    on_ask: Callable[[str], float | None] | None = None

    def ask(self, query: str, *, now: datetime, lookback: timedelta | None = None) -> Sample:
        self.asked.append((query, lookback))
        if self.away:
            detail = "connection refused"
            return Sample(at=now, value=None, reason=Reason.PROMETHEUS_UNREACHABLE, detail=detail)
        value = self.on_ask(query) if self.on_ask else self._value(query)
        if value is None:
            return Sample(at=now, value=None, reason=Reason.NO_DATA, detail="the query returned no series")
        return Sample(at=now, value=value)

    def _value(self, query: str) -> float | None:
        for target, value in self.values.items():
            for label in (target.kind.label, "workload"):
                if f'namespace="{target.namespace}",{label}="{target.name}"' in query:
                    return value
        return None


class CrashingJournal:
    """A real journal whose process dies around its n-th transaction, counted from 1."""

    def __init__(self, journal: SqlJournal, *, at: int, committed: bool) -> None:
        self._journal = journal
        self._left = at
        self._committed = committed

    def __getattr__(self, name: str) -> Any:
        return getattr(self._journal, name)

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        self._left -= 1
        with self._journal.transaction() as tx:
            yield tx
            if self._left == 0 and not self._committed:
                raise Crash  # everything was written, nothing is committed
        if self._left == 0:
            raise Crash

    def claim(self, owner: str, *, lease: timedelta, now: datetime) -> Claim | None:
        claim = self._journal.claim(owner, lease=lease, now=now)
        self._left -= claim is not None
        if self._left == 0 and claim is not None:
            self._left = -1
            raise Crash
        return claim


def _without_fsync(connection: sqlite3.Connection, _record: object) -> None:
    connection.execute("PRAGMA synchronous=OFF")


class Drama:
    """A world, its clock, and the driver that lets workers claim and advance until all is quiet."""

    MOST_STEPS = 3000

    def __init__(self, folder: Path, policy: Policy | None = None) -> None:
        self.now = NOW
        self.policy = policy or a_policy()
        self.journal = SqlJournal(f"sqlite:///{folder}/journal.db")
        # The durability of a commit is the journal tests' business; here fsync only costs time.
        event.listen(self.journal._engine, "connect", _without_fsync)
        self.journal.migrate()
        self.cluster = ScriptedCluster(clock=lambda: self.now)
        self.metrics = ScriptedMetrics()
        # Leases run by the real clock: with none, whoever crashed is succeeded at once.
        self.pace = Pace(lease=timedelta())
        self.lifecycle = self._lifecycle(self.journal)

    def _lifecycle(self, journal: Any) -> Lifecycle:
        world = World(
            journal=journal,
            cluster=self.cluster,
            metrics=self.metrics,
            policy=lambda: self.policy,
            pace=self.pace,
        )
        return Lifecycle(world)

    def crash_at(self, transaction: int, *, committed: bool) -> None:
        """Let the process die around one of its next transactions."""
        self.lifecycle = self._lifecycle(CrashingJournal(self.journal, at=transaction, committed=committed))

    def restart(self) -> None:
        """A new process: nothing but the journal is remembered."""
        self.lifecycle = self._lifecycle(self.journal)

    def heal_on(self, *kinds: type[Intent], to: float = WELL) -> None:
        """Let these actions make the service well."""

        def heal(target: Target, intent: Intent) -> None:
            if isinstance(intent, kinds):
                self.metrics.values[target] = to

        self.cluster.on_effect = heal

    def receive(self, *alerts: Alert, body: str = "{}") -> Receipt:
        return self.lifecycle.receive(a_notification(*(alerts or (an_alert(),))), body=body, now=self.now)

    def step(self, owner: str = "one") -> bool:
        """Claim one due incident and advance it as far as it goes at once."""
        claim = self.lifecycle.world.journal.claim(owner, lease=self.pace.lease, now=self.now)
        if claim is None:
            return False
        current: Claim | None = claim
        while current is not None:
            current = self.lifecycle.advance(current, now=self.now)
        return True

    def advance_once(self, owner: str = "one") -> Claim | None:
        """Claim what is due and do a single step, as if the process stopped there."""
        claim = self.claim(owner)
        return self.lifecycle.advance(claim, now=self.now)

    def claim(self, owner: str = "one", *, lease: timedelta = timedelta()) -> Claim:
        claim = self.journal.claim(owner, lease=lease, now=self.now)
        assert claim is not None
        return claim

    def forward(self, **span: float) -> None:
        self.now += timedelta(**span)

    def run(self, owner: str = "one", **span: float) -> None:
        """Let the time pass, a worker doing what is due, until all is quiet or the time is over."""
        end = self.now + (timedelta(**span) if span else timedelta(hours=3))
        for _ in range(self.MOST_STEPS):
            if self.step(owner):
                continue
            due = self.journal.next_due(now=self.now)
            if due is None or self.now + due > end:
                break
            self.now += due or timedelta(seconds=1)
        else:
            raise AssertionError("it never comes to rest")
        if span:
            self.now = end

    # What is looked at afterwards

    @property
    def incident(self) -> Incident:
        """The newest incident."""
        return self.journal.incidents()[0]

    def story(self, number: int | None = None) -> Told:
        told = self.journal.story(number or self.incident.id)
        assert told is not None
        return told

    def told(self, number: int | None = None) -> list[tuple[str, str]]:
        """Kind and reason of each event."""
        return [(event["kind"], event["reason"]) for event in self.story(number).events]

    @property
    def done(self) -> list[str]:
        """The kinds of what changed the cluster."""
        return [kind_of(intent) for _, intent in self.cluster.effects]

    def counted(self, name: str, **labels: str) -> float:
        return self.journal.counters().get((name, tuple(sorted(labels.items()))), 0)

    def close(self) -> None:
        for incident in self.journal.incidents(limit=1000):
            assert self.story(incident.id).broken_at is None
        self.journal.close()
