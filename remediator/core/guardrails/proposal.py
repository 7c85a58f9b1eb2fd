"""What a guardrail is asked about, and what it may answer."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from remediator.core.decisions import Escalate, Hold, Situation, StepVerdict
from remediator.core.policy import Limits, Policy

Objection = Hold | Escalate | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """What a guardrail judges: the situation and the step that would be taken, if any applies."""

    situation: Situation
    step: StepVerdict | None
    policy: Policy
    now: datetime

    @property
    def limits(self) -> Limits:
        return self.policy.limits
