"""What the webhook writes: notifications, episodes, and the incidents they begin."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from operator import itemgetter
from typing import Any

from sqlalchemy import Select, update

from remediator.adapters.journal.connection import insert_into
from remediator.adapters.journal.known import known_episodes, those_of
from remediator.adapters.journal.records import target_from
from remediator.adapters.journal.schema import (
    episodes,
    heard,
    refused_alerts,
)
from remediator.adapters.journal.statements import (
    keep_episodes,
    keep_notification,
    lock_open_incidents,
    new_incidents,
    open_incidents,
)
from remediator.adapters.journal.timeline import Timeline
from remediator.core.actions import Target
from remediator.core.alerts import Notification
from remediator.core.incidents import Phase
from remediator.core.intake import WATCHDOG, Admission, KnownEpisode
from remediator.ports import Overtaken


class Intake(Timeline):
    """The part of a transaction that the webhook needs."""

    def record_notification(self, notification: Notification, *, body: str, now: datetime) -> int:
        """Keep the body, or count it once more; returns its number."""
        row = self._db.execute(
            keep_notification(self._dialect),
            {
                "digest": hashlib.sha256(body.encode()).hexdigest(),
                "received_at": now,
                "last_received_at": now,
                "times": 1,
                "group_key": notification.group_key,
                "receiver": notification.receiver,
                "alerts": len(notification.alerts),
                "truncated_alerts": notification.truncated_alerts,
                "body": body,
            },
        ).one()
        number: int = row.id
        if notification.refused:
            refused = insert_into(refused_alerts, self._dialect).on_conflict_do_nothing()
            self._db.execute(
                refused,
                [
                    {
                        "notification_id": number,
                        "alert_index": item.index,
                        "reason": item.reason.value,
                        "detail": item.detail,
                    }
                    for item in notification.refused
                ],
            )
        return number

    def known_episodes(self, notification: Notification) -> Mapping[int, KnownEpisode]:
        """By index of the alert: its episode, or the unfinished earlier one of the same fingerprint."""
        asked = those_of(notification.alerts, self._dialect)
        found: dict[str, list[Any]] = {}
        for row in self._db.execute(known_episodes(self._dialect), asked):
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
        rows = self._rows_about(targets, open_incidents(self._dialect))
        return {target: row.id for target, row in rows}

    def lock_open_incidents(self, targets: Iterable[Target]) -> Mapping[Target, int]:
        """The same, and keep others from them until the end: before anything else of them is read."""
        found: dict[Target, int] = {}
        for target, row in self._rows_about(targets, lock_open_incidents(self._dialect)):
            found[target] = row.id
            self._tails[row.id] = (row.last_seq, row.last_hash)
            self._targets[row.id] = target
        return found

    def _rows_about(self, targets: Iterable[Target], query: Select[Any]) -> Iterator[tuple[Target, Any]]:
        wanted = {(target.namespace, target.name, target.kind.value): target for target in targets}
        asked = {
            "at_namespaces": sorted({namespace for namespace, _, _ in wanted}),
            "at_deployments": sorted({name for _, name, _ in wanted}),
        }
        for row in self._db.execute(query, asked):
            target = wanted.get((row.namespace, row.deployment, row.target_kind))
            if target is not None:
                yield target, row

    def create_incident(self, admission: Admission, *, now: datetime) -> int:
        """Begin an incident, due at once. Raises Overtaken."""
        (number,) = self.create_incidents([admission], now=now).values()
        return number

    def create_incidents(self, admissions: Iterable[Admission], *, now: datetime) -> Mapping[Target, int]:
        """Begin several, each on another target. At most one per target can be open: the index says so.

        By target, which is one order for all: no two transactions wait for each other. Raises Overtaken.
        """
        rows = [_incident(admission, now) for admission in admissions]
        if not rows:
            return {}
        rows.sort(key=itemgetter("namespace", "deployment", "target_kind"))
        found: dict[Target, int] = {}
        for row in self._db.execute(new_incidents(self._dialect), rows):
            target = target_from(row)
            found[target] = row.id
            self._tails[row.id] = (0, "")
            self._targets[row.id] = target
        if len(found) < len(rows):
            raise Overtaken("another transaction has begun an incident on the same target")
        return found

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
        rows: dict[tuple[str, datetime], dict[str, Any]] = {}
        for admission, incident_id in admissions:  # of one that is there twice the last counts
            row = _episode(admission, incident_id, now)
            earlier = rows.get(key := (row["fingerprint"], row["starts_at"]))
            if earlier is not None and incident_id is None:
                row["incident_id"] = earlier["incident_id"]
            rows[key] = row
        # In one order for all: no two transactions wait for each other.
        keep_episodes(self._dialect).run(self._db, [rows[key] for key in sorted(rows)])
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

    def hear_watchdog(self, *, now: datetime) -> None:
        """Keep when the Watchdog was last heard."""
        statement = insert_into(heard, self._dialect).values(name=WATCHDOG, at=now)
        self._db.execute(
            statement.on_conflict_do_update(index_elements=["name"], set_={"at": statement.excluded.at})
        )


def _incident(admission: Admission, now: datetime) -> dict[str, Any]:
    alert, target = admission.alert, admission.target
    if target is None:
        raise ValueError("an incident needs a target")
    return {
        "namespace": target.namespace,
        "deployment": target.name,
        "target_kind": target.kind.value,
        "alert": alert.name,
        "phase": Phase.DECIDING.value,
        "opened_at": now,
        "alert_started_at": alert.starts_at,
        "phase_since": now,
        "next_at": now,
    }


def _episode(admission: Admission, incident_id: int | None, now: datetime) -> dict[str, Any]:
    alert, target = admission.alert, admission.target
    return {
        "fingerprint": alert.fingerprint,
        "starts_at": alert.starts_at,
        "alert": alert.name,
        "namespace": target.namespace if target else None,
        "deployment": target.name if target else None,
        "target_kind": target.kind.value if target else None,
        "labels": dict(alert.labels),
        "firing": alert.firing,
        "first_seen": now,
        "last_seen": now,
        "resolved_at": None if alert.firing else now,
        "reason": admission.reason.value,
        "incident_id": incident_id,
    }
