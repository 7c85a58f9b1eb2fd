"""Storm: many targets that alert at once are one escalation, and end together or one by one.

What the storm guardrail holds is not handed to a person each by itself. The storm is, once. Its incidents
close by themselves when our own query says well; when too few are left it is over, and the rest is decided
as ever.
"""

from __future__ import annotations

from datetime import datetime

from remediator.core.decisions import History
from remediator.core.guardrails import stormy
from remediator.core.incidents import Incident, Phase
from remediator.core.policy import Limits
from remediator.core.reasons import Reason
from remediator.lifecycle.world import World
from remediator.ports import Journal, JournalTransaction

AT_ONCE = 100
"""Incidents closed in one transaction."""


def join_storm(tx: JournalTransaction, incident_id: int, detail: str, *, now: datetime) -> int:
    """The storm that holds the incident; if it is the first one held, a person is told of the storm."""
    number, began = tx.begin_storm(detail, now=now)
    if began:
        tx.append(incident_id, "storm", Reason.STORM, f"storm {number} was handed over: {detail}", now=now)
        tx.count("storms", {})
        tx.count("escalations", {"reason": Reason.STORM})
    return number


def in_storm(world: World, incident: Incident, *, now: datetime) -> bool:
    """Whether the incident is one of those that a storm holds, and the storm goes on."""
    if incident.hold_reason is not Reason.STORM:
        return False
    with world.journal.reading() as tx:
        return _goes_on(tx, world.policy().limits, now=now)


def settle_storm(world: World, *, now: datetime) -> bool:
    """End the storm when it is one no longer; whether it ended just now."""
    with world.journal.reading() as tx:
        if tx.storm() is None:
            return False
    limits = world.policy().limits
    with world.journal.transaction() as tx:
        tx.lock_decisions()
        return not _goes_on(tx, limits, now=now) and tx.end_storm(by="", now=now)


def _goes_on(tx: JournalTransaction, limits: Limits, *, now: datetime) -> bool:
    seen = History(openings=tx.openings(limits, now=now), in_storm=tx.in_storm(limits))
    return stormy(seen, limits, now=now) is not None


def acknowledge_storm(journal: Journal, *, by: str, now: datetime) -> int | None:
    """Close everything that the storm holds, and the storm; how many incidents, or None without a storm."""
    closed = 0
    while True:
        with journal.transaction() as tx:
            tx.lock_decisions()
            held = tx.held_by_storm(most=AT_ONCE)
            for incident in held:
                tx.append(incident.id, "closed", Reason.ACKNOWLEDGED, f"with the storm, by {by}", now=now)
                end = {"phase": Phase.CLOSED.value, "reason": Reason.ACKNOWLEDGED.value, "closed_at": now}
                tx.note_person(incident.id, now=now, **end)
                tx.count("closed", {"reason": Reason.ACKNOWLEDGED})
            closed += len(held)
            if len(held) < AT_ONCE:
                return closed if tx.end_storm(by=by, now=now) else None
