"""Events: what the control loops say about an object where `kubectl describe` looks.

Repeating an event raises the count of the first one, as Kubernetes' recorder does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from remediator.lab.cluster.errors import ApiError
from remediator.lab.cluster.objects import name_of, namespace_of, rfc3339
from remediator.lab.cluster.resources import EVENTS

if TYPE_CHECKING:
    from remediator.lab.cluster.resources import Json
    from remediator.lab.cluster.store import Store

KEPT = 2_000


class EventRecorder:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._said: dict[tuple[str, str, str], tuple[str, str]] = {}

    def normal(self, source: str, about: Json, reason: str, message: str) -> None:
        self._record("Normal", source, about, reason, message)

    def warning(self, source: str, about: Json, reason: str, message: str) -> None:
        self._record("Warning", source, about, reason, message)

    def _record(self, kind: str, source: str, about: Json, reason: str, message: str) -> None:
        key = (about["metadata"]["uid"], reason, message)
        where = self._said.get(key)
        now = rfc3339(self._store.clock())
        with self._store.lock:
            if where and self._store.find(EVENTS, *where):
                self._store.update(EVENTS, *where, lambda event: _again(event, now))
                return
            fresh = _event(about, now, kind=kind, source=source, reason=reason, message=message)
            try:
                event = self._store.create(EVENTS, namespace_of(about), fresh)
            except ApiError:
                return  # the namespace is going away, and its events with it
        if len(self._said) >= KEPT:
            self._said.clear()
        self._said[key] = (namespace_of(event), name_of(event))


def _again(event: Json, now: str) -> Json:
    return {**event, "count": int(event.get("count", 1)) + 1, "lastTimestamp": now}


def _event(about: Json, now: str, *, kind: str, source: str, reason: str, message: str) -> Json:
    return {
        "metadata": {"generateName": f"{name_of(about)}."},
        "involvedObject": {
            "apiVersion": about["apiVersion"],
            "kind": about["kind"],
            "name": name_of(about),
            "namespace": namespace_of(about),
            "uid": about["metadata"]["uid"],
            "resourceVersion": about["metadata"]["resourceVersion"],
        },
        "type": kind,
        "reason": reason,
        "message": message,
        "source": {"component": source},
        "reportingComponent": source,
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }
