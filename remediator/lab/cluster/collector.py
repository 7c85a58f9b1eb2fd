"""The garbage collector and the namespace controller: what goes away when its owner does."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from remediator.lab.cluster.objects import name_of, namespace_of, uid_of
from remediator.lab.cluster.resources import NAMESPACES, PODS, RESOURCES

if TYPE_CHECKING:
    from remediator.lab.cluster.resources import Json
    from remediator.lab.cluster.store import Store


class GarbageCollector:
    def __init__(self, store: Store) -> None:
        self._store = store

    def sync_all(self) -> None:
        with self._store.lock:
            self._collect_orphans()
            for namespace in self._store.list(NAMESPACES):
                if namespace["metadata"].get("deletionTimestamp"):
                    self._empty(name_of(namespace))

    def _collect_orphans(self) -> None:
        """Delete whatever names owners of which none exists any more."""
        everything = [(kind, obj) for kind in RESOURCES for obj in self._store.list(kind)]
        alive = {uid_of(obj) for _kind, obj in everything}
        for kind, obj in everything:
            owners = obj["metadata"].get("ownerReferences") or []
            if owners and not any(owner["uid"] in alive for owner in owners):
                self._store.delete(kind, namespace_of(obj), name_of(obj))

    def _empty(self, namespace: str) -> None:
        left = False
        for kind in RESOURCES:
            if not kind.namespaced:
                continue
            for obj in self._store.list(kind, namespace):
                left = True
                if kind is PODS and obj["metadata"].get("deletionTimestamp"):
                    continue
                self._store.delete(kind, namespace, name_of(obj))
        if not left:
            self._store.remove(NAMESPACES, "", namespace)


def orphan_dependents(store: Store, owner: Json) -> None:
    """`--cascade=orphan`: what the object owned stays, and belongs to nobody."""
    with store.lock:
        for kind in RESOURCES:
            for obj in store.list(kind, namespace_of(owner)):
                owners = obj["metadata"].get("ownerReferences") or []
                if any(found["uid"] == uid_of(owner) for found in owners):
                    store.update(kind, namespace_of(obj), name_of(obj), partial(_freed, uid_of(owner)))


def _freed(owner_uid: str, obj: Json) -> Json:
    owners = obj["metadata"]["ownerReferences"]
    obj["metadata"]["ownerReferences"] = [found for found in owners if found["uid"] != owner_uid]
    return obj
