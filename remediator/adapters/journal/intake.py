"""What the webhook writes: notifications, episodes, and the incidents they begin."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import func, select, tuple_, update

from remediator.adapters.journal.connection import insert_into
from remediator.adapters.journal.schema import episodes, incidents, notifications, refused_alerts
from remediator.adapters.journal.timeline import Timeline
from remediator.core.actions import Target
from remediator.core.alerts import Notification
from remediator.core.incidents import Phase
from remediator.core.intake import Admission, KnownEpisode

T = TypeVar("T")

_CHUNK = 400  # SQLite takes 32,766 parameters in a statement


class Intake(Timeline):
    """The part of a transaction that the webhook needs."""

    def record_notification(self, notification: Notification, *, body: str, now: datetime) -> int:
        """Keep the body, or count it once more; returns its number."""
        statement = insert_into(notifications, self._dialect).values(
            digest=hashlib.sha256(body.encode()).hexdigest(),
            received_at=now,
            last_received_at=now,
            times=1,
            group_key=notification.group_key,
            receiver=notification.receiver,
            alerts=len(notification.alerts),
            truncated_alerts=notification.truncated_alerts,
            body=body,
        )
        row = self._db.execute(
            statement.on_conflict_do_update(
                index_elements=["digest"],
                set_={
                    "times": notifications.c.times + 1,
                    "last_received_at": statement.excluded.last_received_at,
                },
            ).returning(notifications.c.id)
        ).one()
        number: int = row.id
        if notification.refused:
            refused = insert_into(refused_alerts, self._dialect).on_conflict_do_nothing()
            for chunk in _chunks(notification.refused):
                self._db.execute(
                    refused,
                    [
                        {
                            "notification_id": number,
                            "alert_index": item.index,
                            "reason": item.reason.value,
                            "detail": item.detail,
                        }
                        for item in chunk
                    ],
                )
        return number

    def known_episodes(self, notification: Notification) -> Mapping[int, KnownEpisode]:
        """By index of the alert: its episode, or the unfinished earlier one of the same fingerprint."""
        fingerprints = {alert.fingerprint for alert in notification.alerts}
        found: dict[str, list[Any]] = {}
        columns = (episodes.c.fingerprint, episodes.c.starts_at, episodes.c.firing, episodes.c.incident_id)
        query = select(*columns, incidents.c.closed_at).outerjoin(
            incidents, episodes.c.incident_id == incidents.c.id
        )
        for chunk in _chunks(sorted(fingerprints)):
            for row in self._db.execute(query.where(episodes.c.fingerprint.in_(chunk))):
                found.setdefault(row.fingerprint, []).append(row)
        known: dict[int, KnownEpisode] = {}
        for index, alert in enumerate(notification.alerts):
            rows = found.get(alert.fingerprint, [])
            exact = [row for row in rows if row.starts_at == alert.starts_at]
            unfinished = [row for row in rows if row.firing]
            for episode in (exact or unfinished)[:1]:
                known[index] = KnownEpisode(
                    starts_at=episode.starts_at,
                    firing=episode.firing,
                    incident_id=episode.incident_id,
                    closed_at=episode.closed_at,
                )
        return known

    def open_incidents(self, targets: Iterable[Target]) -> Mapping[Target, int]:
        """The open incident of each target that has one."""
        found: dict[Target, int] = {}
        pair = tuple_(incidents.c.namespace, incidents.c.deployment)
        query = select(incidents.c.id, incidents.c.namespace, incidents.c.deployment).where(
            incidents.c.phase != Phase.CLOSED
        )
        for chunk in _chunks(sorted(set(targets))):
            pairs = [(target.namespace, target.deployment) for target in chunk]
            for row in self._db.execute(query.where(pair.in_(pairs))):
                found[Target(row.namespace, row.deployment)] = row.id
        return found

    def create_incident(self, admission: Admission, *, now: datetime) -> int:
        """Begin an incident, due at once. At most one per target can be open: the index says so."""
        if admission.target is None:
            raise ValueError("an incident needs a target")
        row = self._db.execute(
            incidents.insert().returning(incidents.c.id),
            {
                "namespace": admission.target.namespace,
                "deployment": admission.target.deployment,
                "alert": admission.alert.name,
                "phase": Phase.DECIDING.value,
                "opened_at": now,
                "alert_started_at": admission.alert.starts_at,
                "phase_since": now,
                "next_at": now,
            },
        ).one()
        number: int = row.id
        return number

    def put_episodes(
        self,
        admissions: Sequence[tuple[Admission, int | None]],
        *,
        known: Mapping[int, KnownEpisode],
        now: datetime,
    ) -> None:
        """Write the episodes of a notification's alerts with the incident each belongs to."""
        moved = [
            {"fingerprint": admission.alert.fingerprint, "starts_at": known[index].starts_at}
            for index, (admission, _) in enumerate(admissions)
            if index in known and known[index].starts_at != admission.alert.starts_at
        ]
        rows = [_episode(admission, incident_id, now) for admission, incident_id in admissions]
        statement = insert_into(episodes, self._dialect)
        statement = statement.on_conflict_do_update(
            index_elements=["fingerprint", "starts_at"],
            set_={
                "firing": statement.excluded.firing,
                "last_seen": statement.excluded.last_seen,
                "resolved_at": statement.excluded.resolved_at,
                "reason": statement.excluded.reason,
                "incident_id": func.coalesce(statement.excluded.incident_id, episodes.c.incident_id),
            },
        )
        for chunk in _chunks(rows):
            self._db.execute(statement, chunk)
        for item in moved:  # Alertmanager moved startsAt: the earlier row is over, this one goes on
            self._db.execute(
                update(episodes)
                .where(
                    episodes.c.fingerprint == item["fingerprint"],
                    episodes.c.starts_at == item["starts_at"],
                    episodes.c.firing,
                )
                .values(firing=False, resolved_at=now)
            )

    def wake(self, incident_id: int, *, now: datetime) -> None:
        """Make the incident due, also when a worker is busy with it."""
        self._db.execute(
            update(incidents)
            .where(incidents.c.id == incident_id)
            .values(next_at=now, signals=incidents.c.signals + 1)
        )


def _episode(admission: Admission, incident_id: int | None, now: datetime) -> dict[str, Any]:
    alert, target = admission.alert, admission.target
    return {
        "fingerprint": alert.fingerprint,
        "starts_at": alert.starts_at,
        "alert": alert.name,
        "namespace": target.namespace if target else None,
        "deployment": target.deployment if target else None,
        "labels": dict(alert.labels),
        "firing": alert.firing,
        "first_seen": now,
        "last_seen": now,
        "resolved_at": None if alert.firing else now,
        "reason": admission.reason.value,
        "incident_id": incident_id,
    }


def _chunks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), _CHUNK):
        yield items[start : start + _CHUNK]
