"""The guardrails that look at what was: actions, incidents that began, when the Watchdog was heard."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from remediator.core.actions import Target
from remediator.core.decisions import History, Hold
from remediator.core.durations import format_duration
from remediator.core.guardrails.proposal import Objection, Proposal
from remediator.core.incidents import Attempt, AttemptState
from remediator.core.policy import Limits
from remediator.core.reasons import Reason
from remediator.core.verification import Verdict


def one_action_per_target(p: Proposal) -> Objection:
    """No other action on this target is in flight."""
    for attempt in p.situation.history.attempts:
        if attempt.state.in_flight and attempt.target == p.situation.incident.target:
            return Hold(reason=Reason.ACTION_IN_FLIGHT, detail=f"attempt {attempt.id} is {attempt.state}")
    return None


def cooldown(p: Proposal) -> Objection:
    """The last action on this target was long enough ago."""
    latest = max((a.ended_at or a.intended_at for a in _on_target(p)), default=None)
    if latest is None or p.now >= latest + p.limits.cooldown:
        return None
    until = latest + p.limits.cooldown
    return Hold(reason=Reason.COOLDOWN, detail=f"the last action ended at {latest:%H:%M:%S}", until=until)


def target_budget(p: Proposal) -> Objection:
    """The target has actions left in its window and for the day."""
    limits = p.limits
    times = [a.intended_at for a in _on_target(p)]
    return _over(times, limits.target_actions, limits.target_per, Reason.TARGET_BUDGET, p.now) or _over(
        times, limits.target_per_day, limits.day, Reason.TARGET_DAILY_BUDGET, p.now
    )


def overall_budget(p: Proposal) -> Objection:
    """All targets together have actions left."""
    times = [a.intended_at for a in _spent(p.situation.history.attempts)]
    return _over(times, p.limits.overall_actions, p.limits.overall_per, Reason.OVERALL_BUDGET, p.now)


def at_once(p: Proposal) -> Objection:
    """No more than so many actions are in flight, all targets together."""
    in_flight = sum(attempt.state.in_flight for attempt in p.situation.history.attempts)
    if in_flight < p.limits.at_once:
        return None
    return Hold(reason=Reason.TOO_MANY_AT_ONCE, detail=f"{in_flight} of {p.limits.at_once} in flight")


def storm(p: Proposal) -> Objection:
    """When many targets begin to alert at once, the cause is elsewhere: all of them are one escalation."""
    alerting = stormy(p.situation.history, p.limits, now=p.now)
    if alerting is None:
        return None
    return Hold(reason=Reason.STORM, detail=alerting)


def monitoring(p: Proposal) -> Objection:
    """The Watchdog, once heard, has to be heard again and again: else we are blind."""
    heard, patience = p.situation.history.watchdog_at, p.limits.watchdog
    if heard is None or p.now < heard + patience:
        return None
    detail = f"last heard at {heard:%Y-%m-%d %H:%M:%S} UTC, more than {format_duration(patience)} ago"
    return Hold(reason=Reason.BLIND, detail=detail)


def stormy(history: History, limits: Limits, *, now: datetime) -> str | None:
    """What makes it a storm, or None.

    It lasts while enough targets began to alert just now or are still held by it: that time has passed does
    not make the cause another one.
    """
    since = now - limits.storm_within
    alerting = {opening.target for opening in history.openings if opening.at > since} | history.in_storm
    if len(alerting) < limits.storm_targets:
        return None
    within = format_duration(limits.storm_within)
    return f"{len(alerting)} targets or more began to alert within {within}, or the storm still holds them"


def breaker_trips(
    attempts: Iterable[Attempt], limits: Limits, *, reset_at: datetime | None, now: datetime
) -> str | None:
    """Why the breaker has to open now, or None. Unknown counts as not recovered."""
    since = max(now - limits.breaker_within, reset_at or now - limits.breaker_within)
    failures = [
        attempt
        for attempt in attempts
        if attempt.ended_at is not None
        and attempt.ended_at > since
        and attempt.state is not AttemptState.WITHDRAWN
        and attempt.verdict is not Verdict.RECOVERED
    ]
    if len(failures) < limits.breaker_not_recovered:
        return None
    return f"{len(failures)} actions did not bring recovery within {format_duration(limits.breaker_within)}"


def _spent(attempts: Iterable[Attempt]) -> list[Attempt]:
    """A return is bounded by the scale-up that it gives back: it must not use up a remedy."""
    return [a for a in attempts if a.state is not AttemptState.WITHDRAWN and not a.returning]


def _on_target(p: Proposal) -> list[Attempt]:
    wanted: Target = p.situation.incident.target
    return [attempt for attempt in _spent(p.situation.history.attempts) if attempt.target == wanted]


def _over(times: list[datetime], most: int, per: timedelta, reason: Reason, now: datetime) -> Hold | None:
    """A hold until enough of the `times` have left the window of length `per`."""
    inside = sorted(moment for moment in times if moment > now - per)
    if len(inside) < most:
        return None
    until = inside[len(inside) - most] + per
    return Hold(
        reason=reason, detail=f"{len(inside)} of {most} actions in {format_duration(per)}", until=until
    )
