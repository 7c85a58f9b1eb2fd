"""What a worker reads and writes about the incident it has claimed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import and_, case, or_, select, update

from remediator.adapters.journal.announcing import Announcing
from remediator.adapters.journal.records import attempt_from, incident_from, pause_from, sample_to_record
from remediator.adapters.journal.schema import attempts, episodes, gate, incidents, is_about, pauses
from remediator.adapters.journal.statements import (
    ATTEMPTS,
    FIRING,
    IN_FLIGHT,
    INCIDENT,
    LAST_TIMES,
    NEW_ATTEMPT,
    PAUSES,
    RECENT_ATTEMPTS,
    SAVE_INCIDENT,
    UPDATE_ATTEMPT,
    held,
    keep_last_applied,
)
from remediator.core.actions import Target, intent_to_record
from remediator.core.alerts import Alert, AlertStatus
from remediator.core.decisions import History
from remediator.core.incidents import Attempt, AttemptState, Incident, Pause, Phase, check_transition
from remediator.core.intake import Admission
from remediator.core.policy import Limits
from remediator.core.reasons import Reason
from remediator.ports import Claim, LeaseLost


class Transaction(Announcing):
    """One transaction: all of it is recorded, or nothing."""

    def lock_decisions(self) -> None:
        """Wait until no other transaction decides. SQLite has only one writer anyway."""
        if self._dialect != "sqlite":
            self._db.execute(select(gate.c.id).with_for_update()).all()

    def refresh(self, claim: Claim) -> Incident:
        """The incident as it is now. Raises LeaseLost."""
        row = self._db.execute(INCIDENT, held(claim)).one_or_none()
        if row is None:
            raise LeaseLost(f"incident {claim.incident.id}")
        self._tails.setdefault(row.id, (row.last_seq, row.last_hash))
        incident = incident_from(row)
        self._targets[row.id] = incident.target
        return incident

    def incident(self, number: int) -> Incident | None:
        """An incident by its number."""
        query = select(incidents).where(incidents.c.id == number)
        row = self._db.execute(query if self._only_reads else query.with_for_update()).one_or_none()
        return incident_from(row) if row else None

    def note_person(self, number: int, *, now: datetime, **changes: Any) -> None:
        """Write what a person said about an incident, and make it due."""
        self._db.execute(
            update(incidents)
            .where(incidents.c.id == number)
            .values(**changes, next_at=now, signals=incidents.c.signals + 1)
        )

    def firing(self, incident_id: int) -> bool:
        """Whether an alert of the incident is firing."""
        return self._db.execute(FIRING, {"at_id": incident_id}).first() is not None

    def attempts_of(self, incident_id: int) -> tuple[Attempt, ...]:
        """The attempts of the incident, oldest first."""
        return tuple(attempt_from(row) for row in self._db.execute(ATTEMPTS, {"at_id": incident_id}))

    def history(self, limits: Limits, *, now: datetime) -> History:
        """What the guardrails need to know of the past, all targets."""
        last = self._db.execute(LAST_TIMES).one()
        recent = self._db.execute(RECENT_ATTEMPTS, {"at_since": now - limits.longest})
        return History(
            attempts=tuple(attempt_from(row) for row in recent),
            openings=self.openings(limits, now=now),
            in_storm=self.in_storm(limits),
            pauses=self.pauses(),
            breaker_reset_at=last.breaker_reset_at,
            watchdog_at=last.watchdog_at,
        )

    def pauses(self) -> tuple[Pause, ...]:
        """The pauses nobody has ended, oldest first."""
        return tuple(pause_from(row) for row in self._db.execute(PAUSES))

    def intend(self, attempt: Attempt) -> Attempt:
        """Write a new attempt as intended; returns it with its number."""
        values = {
            "incident_id": attempt.incident_id,
            "namespace": attempt.target.namespace,
            "deployment": attempt.target.name,
            "target_kind": attempt.target.kind.value,
            "step": attempt.step,
            "kind": attempt.kind,
            "intent": intent_to_record(attempt.intent),
            "intended_at": attempt.intended_at,
            "ready_before": attempt.ready_before,
            "value_before": attempt.value_before,
            **_progress(attempt),
        }
        row = self._db.execute(NEW_ATTEMPT, values).one()
        return replace(attempt, id=row.id)

    def update_attempt(self, attempt: Attempt) -> None:
        """Write the attempt's present state."""
        self._db.execute(UPDATE_ATTEMPT, {"at_id": attempt.id, **_progress(attempt)})
        if attempt.state is AttemptState.APPLIED:
            self._keep_last_applied(attempt)

    def _keep_last_applied(self, attempt: Attempt) -> None:
        applied = {
            "namespace": attempt.target.namespace,
            "deployment": attempt.target.name,
            "target_kind": attempt.target.kind.value,
            "kind": attempt.kind,
            "at": attempt.applied_at,
        }
        self._db.execute(keep_last_applied(self._dialect), applied)

    def abandon_attempts(
        self, incident_id: int, reason: Reason, *, now: datetime
    ) -> Sequence[tuple[str, str]]:
        """End what is in flight without reading it: abandoned, or withdrawn if it was never sent."""
        never_sent = and_(attempts.c.state == AttemptState.INTENDED.value, attempts.c.maybe_sent.is_(False))
        ended = self._db.execute(
            update(attempts)
            .where(attempts.c.incident_id == incident_id, IN_FLIGHT)
            .values(
                state=case((never_sent, AttemptState.WITHDRAWN.value), else_=AttemptState.ABANDONED.value),
                ended_at=now,
                reason=reason.value,
            )
            .returning(attempts.c.kind, attempts.c.state)
        )
        return [(row.kind, row.state) for row in ended]

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
        """Move the incident to a phase, or keep it there, and release the lease unless `keep`.

        Raises LeaseLost, and IllegalTransition.
        """
        check_transition(claim.incident.phase, phase)
        if phase is not claim.incident.phase:
            changes = {
                "phase_since": now,
                "held_since": None,
                "hold_reason": None,
                "well_since": None,
                **changes,
            }
        if not keep:
            changes |= {"lease_owner": None, "lease_until": 0}
        if claim.incident.id in self._grown:
            self._grown.remove(claim.incident.id)
            changes |= self._tail_of(claim.incident.id)
        row = self._db.execute(
            SAVE_INCIDENT,
            {
                **held(claim),
                "at_signals": claim.signals,
                "at_now": now,
                "at_next": next_at,
                "phase": phase.value,
                "claims": 0,
                **changes,
            },
        ).one_or_none()
        if row is None:
            raise LeaseLost(f"incident {claim.incident.id}")
        return replace(claim, incident=incident_from(row), claims=0, intended=None)

    def returning_on(self, target: Target) -> Incident | None:
        """The incident of the target whose scale-up is still to be given back, between two steps of that."""
        query = select(incidents).where(
            is_about(incidents, target),
            incidents.c.phase == Phase.RETURNING.value,
        )
        row = self._db.execute(query.with_for_update()).one_or_none()
        return incident_from(row) if row else None

    def end_return(self, incident_id: int) -> None:
        """Close a returning incident whoever has it leased: its worker's write is void from here on."""
        self._db.execute(
            update(incidents)
            .where(incidents.c.id == incident_id, incidents.c.phase == Phase.RETURNING.value)
            .values(
                phase=Phase.CLOSED.value,
                return_to=None,
                fence=incidents.c.fence + 1,
                lease_owner=None,
                lease_until=0,
            )
        )

    def unattended_alert(
        self, incident_id: int, target: Target, *, other_than: str, playbooks: Iterable[str]
    ) -> Admission | None:
        """A firing alert of another playbook on the target that has had no incident but this closed one."""
        query = (
            select(episodes)
            .where(
                is_about(episodes, target),
                episodes.c.firing,
                # One that had its own, earlier incident waits until Alertmanager sends it again.
                or_(episodes.c.incident_id == incident_id, episodes.c.incident_id.is_(None)),
                episodes.c.alert != other_than,
                episodes.c.alert.in_(list(playbooks)),
            )
            .order_by(episodes.c.id)
            .limit(1)
        )
        row = self._db.execute(query).one_or_none()
        if row is None:
            return None
        alert = Alert(
            fingerprint=row.fingerprint,
            status=AlertStatus.FIRING,
            labels=row.labels,
            annotations={},
            starts_at=row.starts_at,
        )
        return Admission(alert=alert, reason=Reason.STILL_FIRING, target=target)

    def adopt_episodes(self, incident_id: int, admission: Admission) -> None:
        """Hand the target's firing episodes of that alert over to a new incident."""
        if admission.target is None:
            raise ValueError("an incident needs a target")
        self._db.execute(
            update(episodes)
            .where(
                is_about(episodes, admission.target),
                episodes.c.alert == admission.alert.name,
                episodes.c.firing,
            )
            .values(incident_id=incident_id, reason=admission.reason.value)
        )

    def engage_pause(self, *, scope: str, by: str, why: str, until: datetime | None, now: datetime) -> int:
        """Stop acting within the scope; returns the pause's number."""
        values = {"scope": scope, "by": by, "why": why, "since": now, "until": until}
        row = self._db.execute(pauses.insert().returning(pauses.c.id), values).one()
        number: int = row.id
        return number


def _progress(attempt: Attempt) -> dict[str, Any]:
    return {
        "state": attempt.state.value,
        "tries": attempt.tries,
        "maybe_sent": attempt.maybe_sent,
        "applied_at": attempt.applied_at,
        "applied_generation": attempt.applied_generation,
        "rolled_out_at": attempt.rolled_out_at,
        "ended_at": attempt.ended_at,
        "verdict": attempt.verdict.value if attempt.verdict else None,
        "reason": attempt.reason.value if attempt.reason else None,
        "samples": [sample_to_record(sample) for sample in attempt.samples],
    }
