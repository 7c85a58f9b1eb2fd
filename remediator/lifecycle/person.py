"""What a person says to an incident: approve, reject, acknowledge."""

from __future__ import annotations

from datetime import datetime

from remediator.core.incidents import Incident, Phase
from remediator.core.reasons import Reason
from remediator.ports import Journal


class NotNow(Exception):
    """The incident is not where this can be said. The message says where it is."""


class Person:
    """A person's words, written into the journal; the workers act on them."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def approve(self, number: int, *, by: str, now: datetime) -> str:
        """Agree to the step that waits for approval. Raises NotNow."""
        with self._journal.transaction() as tx:
            incident = tx.incident(number)
            _require(incident, number, Phase.DECIDING, Reason.AWAITING_APPROVAL)
            tx.note_person(number, now=now, approved_by=by)
            tx.append(number, "approved", Reason.AWAITING_APPROVAL, f"by {by}", now=now)
        return f"approved by {by}"

    def reject(self, number: int, *, by: str, now: datetime) -> str:
        """Refuse the step that waits for approval: the incident is escalated. Raises NotNow."""
        with self._journal.transaction() as tx:
            incident = tx.incident(number)
            _require(incident, number, Phase.DECIDING, Reason.AWAITING_APPROVAL)
            tx.note_person(number, now=now, approval_refused_by=by)
            tx.append(number, "rejected", Reason.APPROVAL_REFUSED, f"by {by}", now=now)
        return f"rejected by {by}; it will be escalated"

    def acknowledge(self, number: int, *, by: str, now: datetime) -> str:
        """Close an escalated incident. Raises NotNow."""
        with self._journal.transaction() as tx:
            _require(tx.incident(number), number, Phase.ESCALATED, None)
            reason = Reason.ACKNOWLEDGED
            tx.append(number, "closed", reason, f"by {by}", now=now)
            tx.note_person(number, now=now, phase=Phase.CLOSED.value, reason=reason.value, closed_at=now)
            tx.count("closed", {"reason": reason})
        return f"acknowledged by {by} and closed"


def _require(incident: Incident | None, number: int, phase: Phase, hold: Reason | None) -> None:
    if incident is None:
        raise NotNow(f"there is no incident {number}")
    if incident.phase is not phase or (hold is not None and incident.hold_reason is not hold):
        held = f", held: {incident.hold_reason.sentence}" if incident.hold_reason else ""
        raise NotNow(f"incident {number} is {incident.phase}{held}")
