"""Reconcile: ask Alertmanager what fires, beside being told. What was missed comes in as if it were sent.

The webhook stays the quick way. This is for what no webhook can say: alerts sent while we were down,
silences, and episodes whose end nobody told, e.g. because Alertmanager lost its memory in a restart.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

from remediator.core.alerts import Alert, AlertStatus, Notification
from remediator.core.intake import Admission, target_of
from remediator.core.reasons import Reason
from remediator.core.reconcile import Difference, Kept, Look, compare
from remediator.lifecycle.receive import receive
from remediator.lifecycle.world import World
from remediator.ports import Alertmanagers, JournalTransaction

AT_ONCE = 200
"""Alerts received in one transaction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciled:
    """What a round found."""

    looks: tuple[Look, ...]
    missed: int
    suppressed: int
    vanished: int

    @property
    def news(self) -> bool:
        return bool(self.missed or self.suppressed or self.vanished)


def reconcile(
    world: World, alertmanagers: Alertmanagers, *, receiver: str, every: timedelta, now: datetime
) -> Reconciled:
    """Look at every Alertmanager, and write into the journal what differs. Raises JournalUnavailable."""
    looks = tuple(alertmanagers.look())
    with world.journal.reading() as tx:
        kept = tx.kept_episodes(listed.alert for look in looks for listed in look.listed)
    against = partial(compare, looks, kept, receiver=receiver, every=every, now=now)
    difference = against(sendable=None)
    if difference.missed:
        difference = against(sendable=alertmanagers.sendable(receiver))
    for start in range(0, len(difference.missed), AT_ONCE):
        notification = _notification(difference.missed[start : start + AT_ONCE], receiver)
        receive(world, notification, body=_body(notification), now=now)
    _record(world, difference, now=now)
    return Reconciled(
        looks=looks,
        missed=len(difference.missed),
        suppressed=len(difference.suppressed),
        vanished=len(difference.vanished),
    )


def _record(world: World, difference: Difference, *, now: datetime) -> None:
    if difference.watchdog or difference.missing or difference.back:
        about = [one.incident_id for one in (*difference.missing, *difference.back)]
        with world.journal.transaction() as tx:
            tx.lock_incidents(number for number in about if number is not None)
            if difference.watchdog:
                tx.hear_watchdog(now=now)
            tx.mark_missing([one.id for one in difference.missing], since=now)
            tx.mark_missing([one.id for one in difference.back], since=None)
    over = [
        *(_over(alert, same, Reason.SUPPRESSED) for alert, same in difference.suppressed),
        *(_over(_alert_of(one), one, Reason.VANISHED) for one in difference.vanished),
    ]
    for start in range(0, len(over), AT_ONCE):
        with world.journal.transaction() as tx:
            _end(tx, over[start : start + AT_ONCE], now=now)


def _over(alert: Alert, same: Kept | None, reason: Reason) -> tuple[Admission, int | None]:
    """What ends one episode, and the open incident it belongs to."""
    starts_at = same.starts_at if same else alert.starts_at
    ended = replace(alert, status=AlertStatus.RESOLVED, starts_at=starts_at)
    owner = same.incident_id if same and same.incident_open else None
    return Admission(alert=ended, reason=reason, target=target_of(alert)), owner


def _alert_of(one: Kept) -> Alert:
    return Alert(
        fingerprint=one.fingerprint,
        status=AlertStatus.FIRING,
        labels={"alertname": one.alert},
        annotations={},
        starts_at=one.starts_at,
    )


def _end(tx: JournalTransaction, over: Sequence[tuple[Admission, int | None]], *, now: datetime) -> None:
    """Nothing fires here for us: record it, and let the incidents know, in the order that all keep to."""
    tx.lock_incidents(owner for _, owner in over if owner is not None)
    tx.put_episodes([(admission, None) for admission, _ in over], known={}, now=now)
    for admission, owner in over:
        tx.count("alerts", {"reason": admission.reason})
        if owner is not None:
            tx.append(owner, "resolved", admission.reason, admission.alert.name, now=now)
            tx.wake(owner)


def _notification(alerts: Sequence[Alert], receiver: str) -> Notification:
    return Notification(group_key="reconcile", receiver=receiver, alerts=tuple(alerts))


def _body(notification: Notification) -> str:
    """As Alertmanager would have posted it, so that it can be replayed."""
    alerts = [
        {
            "status": alert.status.value,
            "labels": dict(alert.labels),
            "annotations": dict(alert.annotations),
            "startsAt": alert.starts_at.isoformat(),
            "endsAt": "0001-01-01T00:00:00Z",
            "generatorURL": alert.generator_url,
            "fingerprint": alert.fingerprint,
        }
        for alert in notification.alerts
    ]
    envelope = {"version": "4", "groupKey": notification.group_key, "receiver": notification.receiver}
    return json.dumps({**envelope, "status": "firing", "truncatedAlerts": 0, "alerts": alerts})
