"""What Alertmanager has against what the journal has: what was missed, what is silenced, what is gone.

Doubt closes nothing. An Alertmanager that does not answer, or has just started and so has not been told
everything again, says nothing about what it does not list; and what is missing has to be missing twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from remediator.core.alerts import Alert
from remediator.core.intake import WATCHDOG
from remediator.core.reasons import Reason

SETTLED = timedelta(minutes=5)
"""Prometheus tells everything again each minute: an Alertmanager that is up so long has been told."""
SAME = timedelta(milliseconds=1)
"""Alertmanager's API cuts `startsAt` to milliseconds, its webhook does not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One alert as Alertmanager's API lists it."""

    alert: Alert
    active: bool
    """Neither silenced nor inhibited."""
    receivers: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One look at one Alertmanager."""

    name: str
    trouble: str | None = None
    """Why there is no answer; then the rest says nothing."""
    up_since: datetime | None = None
    listed: tuple[Listed, ...] = ()

    def sound(self, now: datetime, *, every: timedelta) -> bool:
        """Whether what it does not list is not firing.

        Where the Watchdog is listed, Prometheus is known to tell it. It tells each alert once a minute: with
        the usual minute between looks, two of them later it has told all.
        """
        if self.trouble is not None:
            return False
        told = any(listed.alert.name == WATCHDOG for listed in self.listed)
        return self.up_since is not None and now - self.up_since >= (2 * every if told else SETTLED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """One episode as the journal has it."""

    id: int
    fingerprint: str
    starts_at: datetime
    alert: str
    firing: bool
    reason: Reason
    last_seen: datetime
    missing_since: datetime | None = None
    incident_id: int | None = None
    incident_open: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What to do about it."""

    missed: tuple[Alert, ...] = ()
    """Firing and not known: to be received."""
    suppressed: tuple[tuple[Alert, Kept | None], ...] = ()
    vanished: tuple[Kept, ...] = ()
    missing: tuple[Kept, ...] = ()
    """For the first time."""
    back: tuple[Kept, ...] = ()
    """Called missing before, and not any more."""
    watchdog: bool = False


@dataclass(slots=True)
class _Found:
    """One alert over all Alertmanagers."""

    alert: Alert
    active: bool = False
    routed: bool = False
    kept: list[Kept] = field(default_factory=list)


def compare(
    looks: Sequence[Look],
    kept: Iterable[Kept],
    *,
    receiver: str,
    sendable: frozenset[str] | None,
    every: timedelta,
    now: datetime,
) -> Difference:
    """Compare what was seen with what is known.

    `sendable` has the fingerprints that the remediation route lets pass now, None while that was not asked.
    `every` is the time between two looks: what was heard within it is newer than a look can be.
    """
    found = _merged(looks, receiver)
    gone: list[Kept] = []
    for episode in kept:
        if episode.fingerprint in found:
            found[episode.fingerprint].kept.append(episode)
        elif episode.firing:
            gone.append(episode)
    missed: list[Alert] = []
    suppressed: list[tuple[Alert, Kept | None]] = []
    for one in found.values():
        same = _same(one)
        firing = same is not None and same.firing
        if not one.active:
            if one.routed and (firing or same is None):
                suppressed.append((one.alert, same))
        elif alert := _missed(one.alert, same, every, now):
            if sendable is None or alert.fingerprint in sendable:
                missed.append(alert)
            elif same is None or same.reason is not Reason.SUPPRESSED:
                suppressed.append((alert, same))
    sound = bool(looks) and all(look.sound(now, every=every) for look in looks)
    missing = [one for one in gone if sound and now - one.last_seen > every]
    twice = every * 3 / 4
    vanished = [one for one in missing if one.missing_since and now - one.missing_since >= twice]
    there = [one for seen in found.values() for one in seen.kept] + [
        one for one in gone if one not in missing
    ]
    return Difference(
        missed=tuple(missed),
        suppressed=tuple(suppressed),
        vanished=tuple(vanished),
        missing=tuple(one for one in missing if one.missing_since is None),
        back=tuple(one for one in there if one.missing_since is not None),
        watchdog=any(listed.alert.name == WATCHDOG for look in looks for listed in look.listed),
    )


def _merged(looks: Sequence[Look], receiver: str) -> dict[str, _Found]:
    """By fingerprint: the earliest start of all, and active if one Alertmanager would send it to us."""
    found: dict[str, _Found] = {}
    for listed in (one for look in looks for one in look.listed if one.alert.name != WATCHDOG):
        alert = listed.alert
        one = found.setdefault(alert.fingerprint, _Found(alert))
        if alert.starts_at < one.alert.starts_at:
            one.alert = alert
        one.routed |= receiver in listed.receivers
        one.active |= listed.active and receiver in listed.receivers
    return found


def _same(one: _Found) -> Kept | None:
    """The journal's episode of this firing period, else an unfinished one of the same alert."""
    exact = [kept for kept in one.kept if abs(kept.starts_at - one.alert.starts_at) < SAME]
    return next(iter(exact + [kept for kept in one.kept if kept.firing]), None)


def _missed(alert: Alert, same: Kept | None, every: timedelta, now: datetime) -> Alert | None:
    """The alert as the journal has to hear of it, or None when it knows.

    The webhook has the first word: only after its `group_wait` does Alertmanager know whether it is muted.
    """
    if now - alert.starts_at < every:
        return None
    if same is None:
        return alert
    if same.firing:
        return alert if alert.starts_at >= same.starts_at + SAME else None
    if now - same.last_seen <= every:
        return None  # what ended just now may be listed a little longer
    return replace(alert, starts_at=same.starts_at)
