"""The flow of an incident: receive, decide, act, wait, verify, close. Read this first.

`receive` runs in the webhook's request and only writes the journal. `advance` runs in a worker that has
claimed the incident: one phase, one short step, one transaction that records it. Waiting is a row with
a time, never a thread. What was intended is journaled before it is sent, and the live object says
whether it was.

    deciding ──> acting ──> rolling_out ──> verifying ──> closed
       ^  |         |            |              |
       |  |         v            v              v
       |  |      (deciding: withdrawn, failed or not recovered: the next step)
       |  └────> closed (well without us)      escalated ──> closed (acknowledged)
       held, looked at again                           (a scale-up: returning ──> acting ... ──> closed)
"""

from __future__ import annotations

from datetime import datetime
from typing import assert_never

from remediator.core.alerts import Notification
from remediator.core.decisions import Escalate
from remediator.core.incidents import Phase
from remediator.core.reasons import Reason
from remediator.lifecycle.act import act
from remediator.lifecycle.close import escalate
from remediator.lifecycle.decide import decide
from remediator.lifecycle.explain import Foresight, foresee
from remediator.lifecycle.receive import Receipt, receive
from remediator.lifecycle.returning import give_back, keep
from remediator.lifecycle.verify import verify
from remediator.lifecycle.wait import wait
from remediator.lifecycle.world import Pace, World
from remediator.ports import Claim

__all__ = ["MOST_CLAIMS", "Foresight", "Lifecycle", "Pace", "Receipt", "World"]

MOST_CLAIMS = 10
"""Claims without progress after which an incident is poisoned: something in it kills the worker."""


class Lifecycle:
    """The flow over one world: a journal, a cluster, metrics and the policy in force."""

    def __init__(self, world: World) -> None:
        self.world = world

    def receive(self, notification: Notification, *, body: str, now: datetime) -> Receipt:
        """Journal a notification and what becomes of each alert. Raises JournalUnavailable."""
        return receive(self.world, notification, body=body, now=now)

    def foresee(self, notification: Notification, *, now: datetime) -> list[Foresight]:
        """Say what would happen to each alert now. Nothing is written, nothing is done."""
        return foresee(self.world, notification, now=now)

    def advance(self, claim: Claim, *, now: datetime) -> Claim | None:
        """Do the next step of a claimed incident. A claim that comes back is due at once, still leased.

        Raises LeaseLost and JournalUnavailable; nothing was recorded then.
        """
        world = self.world
        if claim.claims > MOST_CLAIMS:
            detail = f"{claim.claims - 1} claims without progress in phase {claim.incident.phase}"
            with world.journal.transaction() as tx:
                for kind, state in tx.abandon_attempts(claim.incident.id, Reason.POISONED, now=now):
                    tx.count("attempts", {"action": kind, "outcome": state})
                if claim.incident.phase is Phase.RETURNING:  # it may not own the target any more
                    keep(tx, claim, Reason.POISONED, detail, now=now)
                else:
                    escalate(tx, claim, Escalate(reason=Reason.POISONED, detail=detail), now=now)
            return None
        match claim.incident.phase:
            case Phase.DECIDING:
                return decide(world, claim, now=now)
            case Phase.ACTING:
                return act(world, claim, now=now)
            case Phase.ROLLING_OUT:
                return wait(world, claim, now=now)
            case Phase.VERIFYING:
                return verify(world, claim, now=now)
            case Phase.RETURNING:
                return give_back(world, claim, now=now)
            case Phase.ESCALATED | Phase.CLOSED:
                raise ValueError(f"nothing to advance in phase {claim.incident.phase}")
            case _ as never:
                assert_never(never)
