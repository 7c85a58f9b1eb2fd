"""What to do with one alert of a notification: open an incident, join one, or say why not."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from remediator.core.actions import Target, Workload
from remediator.core.alerts import Alert, plausible
from remediator.core.policy import Policy
from remediator.core.reasons import Reason

WATCHDOG = "Watchdog"
"""The alert that always fires, so that its silence says that alerts do not reach us."""

OPENS = frozenset({Reason.INCIDENT_OPENED, Reason.STILL_FIRING})
"""Admissions that begin an incident."""

_KINDS = {kind.label: kind for kind in Workload}


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownEpisode:
    """What the journal has of an alert's episode, or of an unfinished earlier one of its fingerprint."""

    starts_at: datetime
    firing: bool
    incident_id: int | None
    closed_at: datetime | None
    """When that incident was closed; None while it is open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    alert: Alert
    reason: Reason
    target: Target | None = None


def target_of(alert: Alert) -> Target | None:
    """The workload the alert names. There is no default namespace, and no guessing between two kinds."""
    named = [(kind, alert.labels[label]) for label, kind in _KINDS.items() if alert.labels.get(label)]
    if len(named) != 1:
        return None
    ((kind, name),) = named
    try:
        return Target(alert.labels.get("namespace", ""), name, kind)
    except ValueError:
        return None


def admit(
    alert: Alert, policy: Policy, *, known: KnownEpisode | None, open_incident: int | None, now: datetime
) -> Admission:
    """Say what becomes of one alert. `known` is the closest episode, `open_incident` the target's."""
    if alert.name == WATCHDOG:
        return Admission(alert=alert, reason=Reason.WATCHDOG)
    target = target_of(alert)
    if not plausible(alert, now):
        return Admission(alert=alert, reason=Reason.IMPLAUSIBLE_TIME)
    if target is None:
        return Admission(alert=alert, reason=Reason.NO_TARGET)
    if not alert.firing:
        told = known is not None and not known.firing
        return Admission(alert=alert, reason=Reason.REPEATED if told else Reason.RESOLVED, target=target)
    return Admission(
        alert=alert, reason=_firing(alert, policy, target, known, open_incident, now), target=target
    )


def _firing(  # noqa: PLR0917 - private, and called once
    alert: Alert,
    policy: Policy,
    target: Target,
    known: KnownEpisode | None,
    open_incident: int | None,
    now: datetime,
) -> Reason:
    if target not in policy.targets:
        return Reason.UNKNOWN_TARGET
    if policy.playbook_for(alert.name, target) is None:
        return Reason.NO_PLAYBOOK
    if open_incident is not None:
        same = known is not None and known.firing and known.incident_id == open_incident
        return Reason.REPEATED if same else Reason.INCIDENT_JOINED
    if known is None or known.closed_at is None or alert.starts_at > known.closed_at:
        return Reason.INCIDENT_OPENED
    if now < known.closed_at + policy.limits.cooldown:
        return Reason.JUST_CLOSED
    return Reason.STILL_FIRING
