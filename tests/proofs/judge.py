"""What must never happen, whatever comes: the promises of the design, judged from outside.

Nothing here asks the code under test whether something was allowed: it reads the journal's rows and the
record of what changed the cluster, and counts for itself. The limits are those of the policy in force
when the worker began its step.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import select

from remediator.adapters.journal.records import attempt_from
from remediator.adapters.journal.schema import attempts as attempts_table
from remediator.adapters.journal.schema import episodes
from remediator.core.actions import CountIntent, Intent, MinimumIntent, Target, UndoIntent, Workload
from remediator.core.alerts import Notification
from remediator.core.incidents import OVER, Attempt, AttemptState, Incident, Pause, Phase
from remediator.core.policy import Limits, Mode, Policy
from remediator.core.verification import Criterion, Sample, Verdict

if TYPE_CHECKING:
    from tests.proofs.stage import Actor, Stage

WITH_AN_INCIDENT = ("incident_opened", "incident_joined", "still_firing")
RESTING = (*OVER, Phase.ESCALATED)


class Violation(AssertionError):
    """A promise was broken."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The journal as a worker left it with its last commit."""

    attempts: tuple[Attempt, ...] = ()
    pauses: tuple[Pause, ...] = ()


class Judge:
    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._violations: list[str] = []
        self._known: dict[int, Attempt] = {}
        self._known_since: dict[int, datetime] = {}
        self._left: dict[Actor, Snapshot] = {}
        self._effects: Counter[tuple[Target, Intent]] = Counter()
        self._clock_set_at: list[datetime] = []
        self._accepted: set[tuple[str, datetime]] = set()
        self._closed_and_sound: set[int] = set()

    def violated(self, what: str) -> None:
        """Keep it: raised where it happens it would be taken for trouble of one incident."""
        self._violations.append(what)

    def clock_was_set(self) -> None:
        self._clock_set_at.append(self._stage.true_now)

    def accepted(self, notification: Notification) -> None:
        """Alertmanager heard 202 for these."""
        self._accepted |= {(alert.fingerprint, alert.starts_at) for alert in notification.alerts}

    # ------------------------------------------------ at every commit, sending and effect

    def committed(self, actor: Actor) -> None:
        """A worker's transaction is durable: judge what it wrote."""
        snapshot = self._snapshot()
        self._left[actor] = snapshot
        for attempt in snapshot.attempts:
            before = self._known.get(attempt.id)
            if before is None:
                self._known_since[attempt.id] = self._stage.true_now
                self._new(attempt, snapshot, actor.policy_used)
            if attempt.verdict is Verdict.RECOVERED and (before is None or before.verdict is None):
                self._recovered(attempt, actor.policy_used)
            self._known[attempt.id] = attempt

    def about_to_send(self, actor: Actor, target: Target, intent: Intent) -> None:
        """Only what was journaled as possibly sent, and nothing under a pause that was known then."""
        left = self._left.get(actor, Snapshot())
        intended = [
            attempt
            for attempt in left.attempts
            if (attempt.target, attempt.intent, attempt.state) == (target, intent, AttemptState.INTENDED)
        ]
        if not any(attempt.maybe_sent for attempt in intended):
            self.violated(f"sent without a journaled intent: {target} {intent}")
            return
        incident = self._incident(intended[0].incident_id)
        for pause in left.pauses:
            if pause.covers(target, incident.alert, self._stage.now):
                self.violated(f"sent while paused: {pause} {intent}")

    def effect(self, target: Target, intent: Intent) -> None:
        """The API server took a change: at most one for each attempt, and its intent was durable."""
        self._effects[target, intent] += 1
        owned = [
            attempt
            for attempt in self._snapshot().attempts
            if (attempt.target, attempt.intent) == (target, intent)
            and attempt.maybe_sent
            and attempt.state is not AttemptState.WITHDRAWN
        ]
        if self._effects[target, intent] > len(owned):
            self.violated(
                f"{self._effects[target, intent]} effects, {len(owned)} attempts: {target} {intent}"
            )

    def _new(self, attempt: Attempt, snapshot: Snapshot, policy: Policy) -> None:
        """A new attempt has to be within everything the policy allows."""
        incident = self._incident(attempt.incident_id)
        playbook, bounds = policy.playbooks.get(incident.alert), policy.targets.get(attempt.target)
        if playbook is None or bounds is None or policy.mode_for(playbook) is Mode.OBSERVE:
            self.violated(f"not in the policy, or only to be observed: {attempt}")
            return
        if policy.mode_for(playbook) is Mode.APPROVE and incident.approved_by is None:
            self.violated(f"nobody approved: {attempt}")
        for pause in snapshot.pauses:
            if pause.covers(attempt.target, incident.alert, attempt.intended_at):
                self.violated(f"intended while paused: {pause} {attempt}")
        if not attempt.returning:  # what gives a scale-up back is bounded by the scale-up
            self._within_limits(attempt, snapshot.attempts, policy.limits)
        began = attempt.intended_at - policy.limits.storm_within
        alerting = {i.target for i in self._stage.journal.incidents(limit=10_000) if i.opened_at > began}
        if len(alerting) >= policy.limits.storm_targets:
            self.violated(f"in the storm of {len(alerting)} targets: {attempt}")
        if isinstance(attempt.intent, CountIntent):
            to = attempt.intent.replicas_to
            given_back = attempt.returning and isinstance(attempt.intent, MinimumIntent)
            least = 1 if given_back else bounds.min_replicas  # what an autoscaler's least was is its owner's
            if to < 1 or not least <= to <= bounds.max_replicas:
                self.violated(f"replicas out of bounds: {attempt}")
        self._undone_at_most_once(attempt, snapshot.attempts)

    def _undone_at_most_once(self, attempt: Attempt, everything: Iterable[Attempt]) -> None:
        if isinstance(attempt.intent, UndoIntent) and attempt.target.kind is Workload.STATEFUL_SET:
            self.violated(f"an undo of a StatefulSet: {attempt}")
        same = [a for a in everything if a.incident_id == attempt.incident_id and _spent(a)]
        if sum(isinstance(a.intent, UndoIntent) for a in same) > 1:
            self.violated(f"a second undo in one incident: {attempt}")

    def _within_limits(self, attempt: Attempt, everything: Iterable[Attempt], limits: Limits) -> None:
        in_flight = [a for a in everything if a.state.in_flight]
        spent = [a for a in everything if _spent(a) and not a.returning]
        here = [a for a in spent if a.target == attempt.target]
        now = attempt.intended_at
        if attempt.returning:  # spends nothing, has no cooldown, and begins only where nothing else is done
            spent = here = []
        counts = {
            "in flight on the target": (sum(a.target == attempt.target for a in in_flight), 1),
            "in flight": (len(in_flight), limits.at_once),
            "on the target": (_since(here, now - limits.target_per), limits.target_actions),
            "on the target in a day": (_since(here, now - limits.day), limits.target_per_day),
            "in all": (_since(spent, now - limits.overall_per), limits.overall_actions),
            "within the cooldown": (
                sum((a.ended_at or a.intended_at) + limits.cooldown > now for a in here if a != attempt),
                0,
            ),
        }
        for name, (count, most) in counts.items():
            if count > most:
                self.violated(f"{count} of {most} actions {name}: {attempt}")

    def _recovered(self, attempt: Attempt, policy: Policy) -> None:
        """The last samples were given so by Prometheus, are good, and show the time after settling."""
        playbook = policy.playbooks.get(self._incident(attempt.incident_id).alert)
        if playbook is None:
            return
        criterion = playbook.verify
        judged = _apart(attempt.samples, criterion)
        given = {
            (at, value): scraped
            for target, at, value, scraped in self._stage.metrics.given
            if target == attempt.target
        }
        if len(judged) < criterion.samples:
            self.violated(f"recovered by {len(judged)} samples: {attempt}")
        for sample in judged:
            value = sample.value
            if value is None or not criterion.good.holds(value) or (sample.at, value) not in given:
                self.violated(f"recovered by no good sample: {sample} {attempt}")
            elif self._clock_is_sound_since(attempt) and attempt.rolled_out_at is not None:
                settled = attempt.rolled_out_at - self._stage.clock_is_off_by + criterion.settle
                if given[sample.at, value] < settled:
                    self.violated(f"recovered by a sample from before it settled: {sample} {attempt}")

    def _clock_is_sound_since(self, attempt: Attempt) -> bool:
        return not any(at >= self._known_since[attempt.id] for at in self._clock_set_at)

    # ------------------------------------------------ after every happening

    def whole(self) -> None:
        """Everything that can be seen at rest. Raises Violation."""
        incidents = self._stage.journal.incidents(limit=10_000)
        open_on = Counter(incident.target for incident in incidents if incident.phase not in OVER)
        in_flight = Counter(a.target for a in self._snapshot().attempts if a.state.in_flight)
        for name, counted in (("open incidents", open_on), ("attempts in flight", in_flight)):
            for target, count in counted.items():
                if count > 1:
                    self.violated(f"{count} {name} on {target}")
        self._alerts_are_decided()
        self._timelines_hold(incidents)
        self.raise_violations()

    def raise_violations(self) -> None:
        if self._violations:
            raise Violation("\n".join(self._violations))

    def all_ended(self) -> None:
        """When time goes on and nothing is in the way, every incident comes to its end."""
        for incident in self._stage.journal.incidents(limit=10_000):
            if incident.phase not in RESTING:
                self.violated(f"does not end: {incident}")
        for attempt in self._snapshot().attempts:
            if attempt.state.in_flight:
                self.violated(f"left in flight: {attempt}")
        self.whole()

    def _alerts_are_decided(self) -> None:
        with self._stage.journal.reading() as tx:
            found = {
                (row.fingerprint, row.starts_at): row
                for row in tx._db.execute(
                    select(
                        episodes.c.fingerprint,
                        episodes.c.starts_at,
                        episodes.c.reason,
                        episodes.c.incident_id,
                    )
                )
            }
        for alert in self._accepted:
            row = found.get(alert)
            if row is None or not row.reason:
                self.violated(f"accepted and lost: {alert}")
            elif row.reason in WITH_AN_INCIDENT and row.incident_id is None:
                self.violated(f"{row.reason}, but of no incident: {alert}")

    def _timelines_hold(self, incidents: Iterable[Incident]) -> None:
        for incident in incidents:
            if incident.id in self._closed_and_sound:
                continue
            story = self._stage.journal.story(incident.id)
            if story is None or story.broken_at is not None:
                self.violated(f"the timeline of incident {incident.id} does not hold")
            elif incident.phase is Phase.CLOSED:
                self._closed_and_sound.add(incident.id)

    # ------------------------------------------------ reading

    def _snapshot(self) -> Snapshot:
        with self._stage.journal.reading() as tx:
            rows = tx._db.execute(select(attempts_table).order_by(attempts_table.c.id)).all()
            return Snapshot(tuple(attempt_from(row) for row in rows), tx.pauses())

    def _incident(self, number: int) -> Incident:
        with self._stage.journal.reading() as tx:
            found = tx.incident(number)
        assert found is not None
        return found


def _apart(samples: Sequence[Sample], criterion: Criterion) -> list[Sample]:
    """The last samples that prove recovery, the latest first: two of one moment are one."""
    found: list[Sample] = []
    for sample in reversed(samples):
        if len(found) < criterion.samples and not (
            found and timedelta() <= found[-1].at - sample.at < criterion.every
        ):
            found.append(sample)
    return found


def _spent(attempt: Attempt) -> bool:
    return attempt.state is not AttemptState.WITHDRAWN


def _since(attempts: Iterable[Attempt], moment: datetime) -> int:
    return sum(attempt.intended_at > moment for attempt in attempts)
