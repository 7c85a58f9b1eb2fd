"""The values around the decision: the situation goes in, one decision with its reason comes out."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from remediator.core.actions import Action, Intent, Target
from remediator.core.facts import Facts, Observation, Unseen
from remediator.core.incidents import RETURN_STEP, Attempt, Incident, Pause
from remediator.core.policy import Playbook, TargetPolicy
from remediator.core.reasons import Reason
from remediator.core.verification import Sample


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """When an incident on a target began: the storm guardrail counts these."""

    target: Target
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What the journal knows beyond this incident, read in the transaction that decides."""

    attempts: tuple[Attempt, ...] = ()
    """All attempts, on any target, as far back as the policy's longest limit, and all in flight."""
    openings: tuple[Opening, ...] = ()
    """The newest of them; never fewer than make a storm, if there were as many."""
    in_storm: frozenset[Target] = frozenset()
    """Targets whose incidents the storm guardrail holds; not all of them when there are very many."""
    pauses: tuple[Pause, ...] = ()
    breaker_reset_at: datetime | None = None
    """When a person last closed the breaker: failures before it no longer count."""
    watchdog_at: datetime | None = None
    """When the Watchdog was last heard; None when it never was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """Everything the decision may look at."""

    incident: Incident
    firing: bool
    """Whether any alert of the incident is firing, as far as Alertmanager told us."""
    playbook: Playbook
    target_policy: TargetPolicy
    seen: Observation | Unseen
    facts: Facts
    condition: Sample
    """The playbook's verification query, asked now."""
    tried: tuple[Attempt, ...] = ()
    history: History = field(default_factory=History)


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    step: int
    action: Action
    intent: Intent
    reason: Reason = Reason.STEP_APPLIES
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Not now. `until` is when to look again at the latest, None when nobody can know."""

    reason: Reason
    detail: str
    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Escalate:
    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ignore:
    """Close without having done anything."""

    reason: Reason
    detail: str


Decision = Act | Hold | Escalate | Ignore


A_RETURN = (RETURN_STEP, "the return of a scale-up")
"""What a person is asked to approve of a returning incident: all of its steps."""


def meaning(action: str) -> str:
    """How a command says which action it means, so that no other is approved that waits by then."""
    return f'--action "{action}"'


@dataclass(frozen=True, slots=True, kw_only=True)
class StepVerdict:
    """Why a step is the one to take, or is not."""

    step: int
    action: Action
    reason: Reason
    detail: str
    to: str = ""
    """Of a chosen undo: where to. It is another one once there is a newer revision."""

    @property
    def chosen(self) -> bool:
        return self.reason is Reason.STEP_APPLIES

    @property
    def asks_for(self) -> tuple[int, str]:
        """What a person is asked to approve: which step, and what it does."""
        return A_RETURN if self.step == RETURN_STEP else (self.step, f"{self.action}{self.to}")


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardrailVerdict:
    """What one guardrail says; None means it lets the action pass."""

    guardrail: str
    objection: Hold | Escalate | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A decision with everything that was weighed for it."""

    decision: Decision
    steps: tuple[StepVerdict, ...]
    guardrails: tuple[GuardrailVerdict, ...]

    @property
    def chosen(self) -> StepVerdict | None:
        """The step that would be taken."""
        return next((step for step in self.steps if step.chosen), None)
