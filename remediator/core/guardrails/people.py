"""The guardrails that look at what people said: by a command, a mark on the object, or the policy."""

from __future__ import annotations

from remediator.core.decisions import Escalate, Hold, meaning
from remediator.core.facts import Observation
from remediator.core.guardrails.proposal import Objection, Proposal
from remediator.core.incidents import BREAKER, Pause
from remediator.core.marks import stop_by
from remediator.core.policy import Mode
from remediator.core.reasons import Reason


def paused(p: Proposal) -> Objection:
    """A person stopped us here, by a command or by a mark on the Deployment itself."""
    for pause in _pauses(p):
        if pause.by != BREAKER:
            return Hold(
                reason=Reason.PAUSED, detail=f"{pause.scope} by {pause.by}: {pause.why}", until=pause.until
            )
    seen = p.situation.seen
    # By the API server's clock as well: right before a write the mark is read by that one.
    stop = stop_by(seen.marks, now=min(p.now, seen.at)) if isinstance(seen, Observation) else None
    return Hold(reason=stop.reason, detail=stop.detail, until=stop.until) if stop else None


def breaker(p: Proposal) -> Objection:
    """Too many actions did not help; only a person closes the breaker again."""
    for pause in _pauses(p):
        if pause.by == BREAKER:
            return Hold(reason=Reason.BREAKER_OPEN, detail=pause.why, until=pause.until)
    return None


def change_window(p: Proposal) -> Objection:
    """The policy's change windows, if it has any, are open."""
    closed = p.policy.closed(p.now)
    return Hold(reason=Reason.OUTSIDE_CHANGE_WINDOW, detail=closed) if closed else None


def mode(p: Proposal) -> Objection:
    """Last, so that observe says what would really have been done, and nobody approves in vain."""
    wanted = p.policy.mode_for(p.situation.playbook)
    if wanted is Mode.AUTO or p.step is None:
        return None
    if wanted is Mode.OBSERVE:
        return Hold(reason=Reason.OBSERVE_MODE, detail=f"would have been: {p.step.action}{p.step.to}")
    incident = p.situation.incident
    if incident.approval_refused_by is not None:
        return Escalate(reason=Reason.APPROVAL_REFUSED, detail=f"by {incident.approval_refused_by}")
    asked = (incident.approved_step, incident.approved_action)
    if incident.approved_by is not None and asked == p.step.asks_for:
        return None
    _, means = p.step.asks_for
    detail = f"{p.step.action}{p.step.to}: remediator approve {incident.id} {meaning(means)}"
    return Hold(reason=Reason.AWAITING_APPROVAL, detail=detail)


def _pauses(p: Proposal) -> list[Pause]:
    incident = p.situation.incident
    return [
        pause for pause in p.situation.history.pauses if pause.covers(incident.target, incident.alert, p.now)
    ]
