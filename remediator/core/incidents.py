"""What we own on one target, from the first firing alert to the end, and the attempts within it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType

from remediator.core.actions import ACTION_KINDS, Intent, Target, kind_of
from remediator.core.reasons import Reason
from remediator.core.verification import Sample, Verdict


class Phase(StrEnum):
    """Where an incident is. `escalated` waits for a person and keeps automation off the target.

    `returning` is over for everybody but us: a scale-up of it is still to be given back. It does not own
    the target, so another incident may open; while a return is carried out it does.
    """

    DECIDING = "deciding"
    ACTING = "acting"
    ROLLING_OUT = "rolling_out"
    VERIFYING = "verifying"
    RETURNING = "returning"
    ESCALATED = "escalated"
    CLOSED = "closed"


TRANSITIONS: Mapping[Phase, frozenset[Phase]] = MappingProxyType(
    {
        Phase.DECIDING: frozenset(
            {Phase.DECIDING, Phase.ACTING, Phase.RETURNING, Phase.ESCALATED, Phase.CLOSED}
        ),
        Phase.ACTING: frozenset(
            {Phase.ACTING, Phase.ROLLING_OUT, Phase.DECIDING, Phase.RETURNING, Phase.ESCALATED}
        ),
        Phase.ROLLING_OUT: frozenset(
            {Phase.ROLLING_OUT, Phase.VERIFYING, Phase.DECIDING, Phase.ACTING, Phase.ESCALATED, Phase.CLOSED}
        ),
        Phase.VERIFYING: frozenset(
            {
                Phase.VERIFYING,
                Phase.DECIDING,
                Phase.ACTING,
                Phase.RETURNING,
                Phase.ESCALATED,
                Phase.CLOSED,
            }
        ),
        Phase.RETURNING: frozenset({Phase.RETURNING, Phase.ACTING, Phase.CLOSED}),
        Phase.ESCALATED: frozenset({Phase.CLOSED}),
        Phase.CLOSED: frozenset(),
    }
)

WORKING_PHASES = (Phase.DECIDING, Phase.ACTING, Phase.ROLLING_OUT, Phase.VERIFYING, Phase.RETURNING)
"""The phases a worker of this build can advance. Others are a person's turn, or a newer build's."""


OVER = (Phase.RETURNING, Phase.CLOSED)
"""The phases in which an incident does not own its target: another may be opened on it."""


class IllegalTransition(Exception):
    """A programming error: an incident was moved between phases that do not follow each other."""


def check_transition(before: Phase, after: Phase) -> None:
    """Raise IllegalTransition unless `after` may follow `before`."""
    if after not in TRANSITIONS[before]:
        raise IllegalTransition(f"{before} -> {after}")


class AttemptState(StrEnum):
    """`withdrawn`: it is certain that nothing was sent. `abandoned`: given up, what happened is unknown."""

    INTENDED = "intended"
    APPLIED = "applied"
    ROLLED_OUT = "rolled_out"
    JUDGED = "judged"
    WITHDRAWN = "withdrawn"
    ABANDONED = "abandoned"

    @property
    def in_flight(self) -> bool:
        return self in (AttemptState.INTENDED, AttemptState.APPLIED, AttemptState.ROLLED_OUT)


RETURN_STEP = -1
"""The step of an attempt that gives a scale-up back, or takes that back: no step of the playbook."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One execution of a step. All but returns spend budget, unless withdrawn."""

    id: int
    incident_id: int
    target: Target
    step: int
    """Index of the step in the playbook's list."""
    intent: Intent
    state: AttemptState
    intended_at: datetime
    tries: int = 0
    maybe_sent: bool = False
    """Set before each sending, cleared by an answer that rules an effect out."""
    applied_at: datetime | None = None
    applied_generation: int | None = None
    rolled_out_at: datetime | None = None
    ended_at: datetime | None = None
    verdict: Verdict | None = None
    reason: Reason | None = None
    ready_before: int = 0
    """Ready replicas when it was intended."""
    value_before: float | None = None
    """What our own query said when it was intended."""
    samples: tuple[Sample, ...] = ()

    @property
    def returning(self) -> bool:
        return self.step == RETURN_STEP

    @property
    def kind(self) -> str:
        """The word in the journal and the metrics: `return`, or the kind of its action."""
        return "return" if self.returning else kind_of(self.intent)


ATTEMPT_KINDS = (*ACTION_KINDS, "return")


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    id: int
    target: Target
    alert: str
    """Name of the alert whose playbook drives the incident."""
    phase: Phase
    opened_at: datetime
    alert_started_at: datetime
    phase_since: datetime
    held_since: datetime | None = None
    """Since when the deciding phase has been held without a break."""
    hold_reason: Reason | None = None
    well_since: datetime | None = None
    """Since when our own query has said, before any action, that the service is well."""
    approved_by: str | None = None
    approved_step: int | None = None
    """The step that waits for approval, or has it once `approved_by` is set."""
    approved_action: str | None = None
    """What that step was to do when a person was asked: after a reload its number may be another one's."""
    approval_refused_by: str | None = None
    return_to: int | None = None
    """The replica count before our scale-up, to which it is returned."""
    closed_at: datetime | None = None
    reason: Reason | None = None
    """Why it was closed or escalated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """The kill switch: who stopped what, why, and until when (None: until somebody resumes)."""

    id: int
    scope: str
    """`all`, `namespace:NAME`, `target:NAMESPACE/NAME` or `playbook:ALERT`."""
    by: str
    why: str
    since: datetime
    until: datetime | None = None

    def covers(self, target: Target, alert: str, now: datetime) -> bool:
        if self.until is not None and now >= self.until:
            return False
        scopes = ("all", f"namespace:{target.namespace}", f"target:{target}", f"playbook:{alert}")
        return self.scope in scopes


@dataclass(frozen=True, slots=True, kw_only=True)
class Storm:
    """Many targets that began to alert at once: one escalation for all of them."""

    id: int
    began_at: datetime
    detail: str


BREAKER = "breaker"
"""Who engages the pause that the breaker sets."""
