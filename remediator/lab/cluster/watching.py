"""Watches: the stream of changes a client asked for, as the API server streams it.

Yields one JSON document per event: first the state as it is (when no resourceVersion was
given, or `sendInitialEvents` asks for it, then closed by a bookmark), then every change. An
object that stops matching the selectors is a DELETED to this watcher, one that starts is ADDED.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from remediator.lab.cluster.api import Place, shown
from remediator.lab.cluster.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from remediator.lab.cluster.resources import Json
    from remediator.lab.cluster.store import Change, Store

LONGEST = 1800.0
BEAT = 0.5  # how often an idle watch looks whether its client is still there


def watch(
    store: Store, place: Place, query: dict[str, str], matches: Callable[[Json], bool]
) -> Iterator[Json | None]:
    """Events for this watcher; None now and then when there is nothing to say."""
    version = query.get("resourceVersion", "")
    initial = query.get("sendInitialEvents") == "true"
    ends = time.monotonic() + float(query.get("timeoutSeconds") or LONGEST)
    if initial or version in {"", "0"}:
        with store.lock:
            present = [obj for obj in store.list(place.resource, place.namespace) if matches(obj)]
            seen = store.version
        for obj in present:
            yield {"type": "ADDED", "object": shown(place, obj)}
        if initial:
            yield _bookmark(place, seen)
    else:
        seen = int(version)
    yield from _changes(store, place, matches, seen, ends)


def _changes(
    store: Store, place: Place, matches: Callable[[Json], bool], seen: int, ends: float
) -> Iterator[Json | None]:
    while (left := ends - time.monotonic()) > 0:
        with store.lock:
            if store.version <= seen:
                store.changed.wait(min(left, BEAT))
        try:
            changes = store.changes_since(seen)
        except ApiError as error:  # too far behind
            yield {"type": "ERROR", "object": error.status()}
            return
        for change in changes:
            seen = change.version
            if change.resource is place.resource and (event := _event(change, place, matches)):
                yield event
        yield None


def _event(change: Change, place: Place, matches: Callable[[Json], bool]) -> Json | None:
    now = change.type != "DELETED" and matches(change.obj)
    before = change.before is not None and matches(change.before)
    if not now and not before:
        return None
    kind = "DELETED" if not now else "MODIFIED" if before else "ADDED"
    return {"type": kind, "object": shown(place, change.obj)}


def _bookmark(place: Place, version: int) -> Json:
    meta = {
        "resourceVersion": str(version),
        "creationTimestamp": None,
        "annotations": {"k8s.io/initial-events-end": "true"},
    }
    kind = {"kind": place.resource.kind, "apiVersion": place.resource.at(place.version)}
    return {"type": "BOOKMARK", "object": {**kind, "metadata": meta}}
