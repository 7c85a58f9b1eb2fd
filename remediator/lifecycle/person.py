"""What a person says to an incident: approve, reject, acknowledge."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from remediator.core.incidents import Incident, Phase
from remediator.core.policy import Policy
from remediator.core.reasons import Reason
from remediator.lifecycle.close import begin_waiting, keep_replicas
from remediator.lifecycle.storm import acknowledge_storm
from remediator.ports import Journal


@dataclass(frozen=True, slots=True, kw_only=True)
class Meant:
    """What a person has seen waiting, as far as they say."""

    step: int | None = None
    """Counted from 1, as it is shown."""
    action: str | None = None
    """In the words it is shown in."""

    def __str__(self) -> str:
        step = [] if self.step is None else [f"step {self.step}"]
        return ", ".join(step if self.action is None else [*step, self.action or "an action without a name"])


WHATEVER = Meant()
"""Whatever waits."""


class NotNow(Exception):
    """The incident is not where this can be said. The message says where it is."""


class Person:
    """A person's words, written into the journal; the workers act on them."""

    def __init__(self, journal: Journal, policy: Policy | None = None) -> None:
        self._journal = journal
        self._policy = policy
        """The policy in force; without it nothing can be begun."""

    def approve(self, number: int, *, by: str, now: datetime, meant: Meant = WHATEVER) -> str:
        """Agree to the step that waits for approval, if it is the one that is meant. Raises NotNow."""
        with self._journal.transaction() as tx:
            found = _require_approval(tx.incident(number), number, meant)
            step = _asked(found)
            tx.note_person(number, now=now, approved_by=by)
            tx.append(number, "approved", Reason.AWAITING_APPROVAL, f"{step}, by {by}", now=now)
        return f"{step}: approved by {by}"

    def reject(self, number: int, *, by: str, now: datetime, meant: Meant = WHATEVER) -> str:
        """Refuse what waits for approval, if it is what is meant: a step is escalated, a return is none.

        Raises NotNow.
        """
        with self._journal.transaction() as tx:
            found = _require_approval(tx.incident(number), number, meant)
            step = _asked(found)
            tx.note_person(number, now=now, approval_refused_by=by)
            tx.append(number, "rejected", Reason.APPROVAL_REFUSED, f"{step}, by {by}", now=now)
        then = "the replicas stay" if found.phase is Phase.RETURNING else "it will be escalated"
        return f"{step}: rejected by {by}; {then}"

    def acknowledge(self, number: int, *, by: str, now: datetime) -> str:
        """Close an escalated incident; an alert that waits on the target begins the next. Raises NotNow.

        Of a returning one: the replicas stay as they are.
        """
        reason = Reason.ACKNOWLEDGED
        with self._journal.transaction() as tx:
            incident = tx.incident(number)
            if incident is not None and incident.phase is Phase.RETURNING:
                keep_replicas(tx, incident, reason, f"by {by}", now=now)
                return f"acknowledged by {by}: the replicas stay"
            found = _require(incident, number, Phase.ESCALATED)
            tx.append(number, "closed", reason, f"by {by}", now=now)
            tx.note_person(number, now=now, phase=Phase.CLOSED.value, reason=reason.value, closed_at=now)
            tx.count("closed", {"reason": reason})
            following = begin_waiting(tx, found, self._policy, now=now) if self._policy else None
        told = f"acknowledged by {by} and closed"
        return f"{told}; incident {following} begins with an alert that waited" if following else told

    def acknowledge_storm(self, *, by: str, now: datetime) -> str:
        """Close the storm and everything that it holds. Raises NotNow."""
        closed = acknowledge_storm(self._journal, by=by, now=now)
        if closed is None:
            raise NotNow("there is no storm")
        return f"acknowledged by {by}: {closed} incidents closed"


def _asked(incident: Incident) -> str:
    """What waits for approval, in words: as it was decided, not as the policy file reads by now."""
    action = incident.approved_action or "of an older version, which will be asked for anew"
    return (
        action if incident.phase is Phase.RETURNING else f"step {(incident.approved_step or 0) + 1}, {action}"
    )


def _require_approval(incident: Incident | None, number: int, meant: Meant) -> Incident:
    found = _require(incident, number, Phase.DECIDING, Phase.RETURNING, hold=Reason.AWAITING_APPROVAL)
    step = None if found.phase is Phase.RETURNING else (found.approved_step or 0) + 1
    if meant.step not in {None, step} or meant.action not in {None, found.approved_action}:
        raise NotNow(f"incident {number} waits for {_asked(found)}, not for {meant}")
    return found


def _require(incident: Incident | None, number: int, *phases: Phase, hold: Reason | None = None) -> Incident:
    if incident is None:
        raise NotNow(f"there is no incident {number}")
    if incident.phase not in phases or (hold is not None and incident.hold_reason is not hold):
        held = f", held: {incident.hold_reason.sentence}" if incident.hold_reason else ""
        raise NotNow(f"incident {number} is {incident.phase}{held}")
    return incident
