"""The object store: what etcd and the registry of an API server do for its clients.

Gives every write a global resourceVersion, every object a uid and a creationTimestamp, bumps
generations, refuses writes on stale knowledge, splits status from spec, does nothing for a
write that changes nothing, and remembers recent changes for watches.

Objects handed out are the stored ones and must not be changed: clone() first. All methods
take the lock; a control loop that reads and then writes holds `store.lock` around both.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections import deque
from dataclasses import dataclass
from itertools import takewhile
from random import choices
from typing import TYPE_CHECKING, Any

from remediator.lab.cluster import defaults, validation
from remediator.lab.cluster.errors import (
    ApiError,
    already_exists,
    bad_request,
    conflict,
    expired,
    forbidden,
    invalid,
    not_found,
    uid_conflict,
    wrong,
)
from remediator.lab.cluster.objects import clone, name_of, namespace_of, rfc3339, same, without_nulls
from remediator.lab.cluster.resources import DEPLOYMENTS, NAMESPACES, PODS, RESOURCES, Json, Resource

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

HISTORY = 10_000  # changes a watch can start behind
SUFFIX = "bcdfghjklmnpqrstvwxz2456789"  # what Kubernetes makes generated names of
Key = tuple[str, str]


@dataclass(frozen=True)
class Change:
    version: int
    type: str  # ADDED, MODIFIED, DELETED
    resource: Resource
    obj: Json
    before: Json | None


def suffix(length: int = 5) -> str:
    return "".join(choices(SUFFIX, k=length))


class Store:
    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.clock = clock
        self.version = 100
        self._objects: dict[str, dict[Key, Json]] = {resource.qualified: {} for resource in RESOURCES}
        self._changes: deque[Change] = deque(maxlen=HISTORY)
        self._forgotten = self.version  # newest change that fell out of the history

    # ------------------------------------------------------------ reading

    def get(self, resource: Resource, namespace: str, name: str) -> Json:
        with self.lock:
            found = self._objects[resource.qualified].get((namespace, name))
        if found is None:
            raise not_found(resource, name)
        return found

    def find(self, resource: Resource, namespace: str, name: str) -> Json | None:
        with self.lock:
            return self._objects[resource.qualified].get((namespace, name))

    def list(self, resource: Resource, namespace: str = "") -> Sequence[Json]:
        """All objects of a kind, in a namespace or everywhere, ordered as a real list is."""
        with self.lock:
            stored = self._objects[resource.qualified]
            keys = sorted(key for key in stored if not namespace or key[0] == namespace)
            return [stored[key] for key in keys]

    def changes_since(self, version: int) -> Sequence[Change]:
        with self.lock:
            if version < self._forgotten:
                raise expired()
            newer = takewhile(lambda change: change.version > version, reversed(self._changes))
            return tuple(newer)[::-1]

    # ------------------------------------------------------------ writing

    def create(self, resource: Resource, namespace: str, obj: Json, *, dry_run: bool = False) -> Json:
        with self.lock:
            fresh = self._prepared(resource, namespace, obj)
            name = name_of(fresh)
            self._check_namespace(resource, namespace)
            if (namespace, name) in self._objects[resource.qualified]:
                raise already_exists(resource, name)
            defaults.fill_in(resource, fresh)
            validation.check(resource, fresh, None)
            return fresh if dry_run else self._commit("ADDED", resource, fresh, None)

    def _prepared(self, resource: Resource, namespace: str, obj: Json) -> Json:
        fresh: Json = without_nulls(clone(obj))
        meta = fresh.setdefault("metadata", {})
        if meta.get("resourceVersion"):
            raise ApiError(500, "", "resourceVersion should not be set on objects to be created")
        if resource.namespaced and meta.setdefault("namespace", namespace) != namespace:
            message = "the namespace of the provided object does not match the namespace sent on the request"
            raise bad_request(message)
        if not meta.get("name") and meta.get("generateName"):
            meta["name"] = f"{meta['generateName']}{suffix()}"
        if not meta.get("name"):
            raise bad_request("name or generateName is required")
        fresh.update(apiVersion=resource.api_version, kind=resource.kind)
        for owned_by_server in ("managedFields", "selfLink", "deletionTimestamp", "generation"):
            meta.pop(owned_by_server, None)
        meta.update(uid=str(uuid.uuid4()), creationTimestamp=rfc3339(self.clock()))
        if resource.spec_is_versioned:
            meta["generation"] = 1
        if "status" in resource.subresources:
            fresh["status"] = _first_status(resource)
        return fresh

    def _check_namespace(self, resource: Resource, namespace: str) -> None:
        if not resource.namespaced:
            return
        if (namespace_obj := self.get(NAMESPACES, "", namespace))["metadata"].get("deletionTimestamp"):
            name = name_of(namespace_obj)
            raise forbidden(
                f"unable to create new content in namespace {name} because it is being terminated"
            )

    def update(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        change: Callable[[Json], Json],
        *,
        status: bool = False,
        dry_run: bool = False,
        uid_is_precondition: bool = False,
    ) -> Json:
        """Store `change(current)`; a resourceVersion in it must be the current one.

        `status=True` writes through the status subresource: only the status may change. A full
        PUT makes a uid in its body a precondition (409); in a patch it is a field that may not change (422).
        """
        with self.lock:
            old = self.get(resource, namespace, name)
            new: Json = without_nulls(change(clone(old)))
            meta = new.setdefault("metadata", {})
            self._check_preconditions(resource, old, meta, uid_is_precondition)
            new.update(apiVersion=resource.api_version, kind=resource.kind)
            _restore_server_fields(meta, old["metadata"])
            _split_status(resource, new, old, status=status)
            defaults.fill_in(resource, new)
            validation.check(resource, new, old)
            if same(new, old):
                return old
            if _moves_generation(resource, new, old):
                meta["generation"] = old["metadata"]["generation"] + 1
            if dry_run:
                return new
            if meta.get("deletionTimestamp") and _may_vanish(resource, new):
                return self._remove(resource, new)
            return self._commit("MODIFIED", resource, new, old)

    def _check_preconditions(self, resource: Resource, old: Json, meta: Json, uid_first: bool) -> None:
        name = name_of(old)
        if meta.get("name", name) != name:
            message = f"the name of the object ({meta['name']}) does not match the name on the URL ({name})"
            raise bad_request(message)
        if meta.get("namespace", namespace_of(old)) != namespace_of(old):
            message = "the namespace of the provided object does not match the namespace sent on the request"
            raise bad_request(message)
        uid = old["metadata"]["uid"]
        if uid_first and meta.get("uid", uid) != uid:
            raise uid_conflict(resource, name, meta["uid"], uid)
        version = str(meta.get("resourceVersion") or "")
        if not version and resource.needs_version_on_update:
            cause = wrong("metadata.resourceVersion", 0, "must be specified for an update")
            raise invalid(resource.plural, resource.group, name, [cause])
        if version not in {"", "0", old["metadata"]["resourceVersion"]}:
            raise conflict(resource, name)

    def delete(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        *,
        grace: int | None = None,
        dry_run: bool = False,
    ) -> tuple[Json, bool]:
        """Delete, or mark as being deleted; returns the object and whether it is gone already."""
        with self.lock:
            old = self.get(resource, namespace, name)
            seconds = _grace(resource, old, grace)
            if seconds == 0 and _may_vanish(resource, old, asked=True):
                return (old if dry_run else self._remove(resource, old)), True
            if dry_run or old["metadata"].get("deletionTimestamp"):
                return old, False
            new = clone(old)
            new["metadata"]["deletionTimestamp"] = rfc3339(self.clock() + seconds)
            new["metadata"]["deletionGracePeriodSeconds"] = seconds
            if resource is NAMESPACES:
                new["status"] = {"phase": "Terminating"}
            return self._commit("MODIFIED", resource, new, old), False

    def remove(self, resource: Resource, namespace: str, name: str) -> None:
        """Take the object away, whatever it waits for: the kubelet's and the collector's last word."""
        with self.lock:
            found = self.find(resource, namespace, name)
            if found is not None:
                self._remove(resource, found)

    def _remove(self, resource: Resource, obj: Json) -> Json:
        self._objects[resource.qualified].pop((namespace_of(obj), name_of(obj)), None)
        self.version += 1
        last = {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(self.version)}}
        self._publish(Change(self.version, "DELETED", resource, last, obj))
        return last

    def _commit(self, kind: str, resource: Resource, obj: Json, before: Json | None) -> Json:
        self.version += 1
        obj["metadata"]["resourceVersion"] = str(self.version)
        self._objects[resource.qualified][namespace_of(obj), name_of(obj)] = obj
        self._publish(Change(self.version, kind, resource, obj, before))
        return obj

    def _publish(self, change: Change) -> None:
        if len(self._changes) == HISTORY:
            self._forgotten = self._changes[0].version
        self._changes.append(change)
        self.changed.notify_all()


def _first_status(resource: Resource) -> Json:
    if resource is PODS:
        return {"phase": "Pending"}
    if resource is NAMESPACES:
        return {"phase": "Active"}
    return {}


def _restore_server_fields(meta: Json, old: Json) -> None:
    """Fields a client may send but not set. uid and creationTimestamp are checked later, if sent."""
    meta.pop("managedFields", None)
    for field in ("uid", "creationTimestamp"):
        meta.setdefault(field, old[field])
    server_only = ("name", "namespace", "generation", "resourceVersion", "deletionTimestamp")
    for field in (*server_only, "deletionGracePeriodSeconds", "generateName"):
        meta.pop(field, None)
        if field in old:
            meta[field] = old[field]


def _split_status(resource: Resource, new: Json, old: Json, *, status: bool) -> None:
    if "status" not in resource.subresources:
        return
    if status:
        kept = new.get("status", {})
        new_meta = new["metadata"]
        new.clear()
        new.update({**old, "metadata": {**old["metadata"], **_status_metadata(new_meta)}, "status": kept})
    elif "status" in old:
        new["status"] = old["status"]
    else:
        new.pop("status", None)


def _status_metadata(meta: Json) -> dict[str, Any]:
    """A write to the status may change annotations, as in Kubernetes; everything else stays."""
    return {"annotations": meta["annotations"]} if meta.get("annotations") else {}


def _moves_generation(resource: Resource, new: Json, old: Json) -> bool:
    if not resource.spec_is_versioned:
        return False
    if not same(new.get("spec"), old.get("spec")):
        return True
    annotations = (new["metadata"].get("annotations"), old["metadata"].get("annotations"))
    return resource is DEPLOYMENTS and not same(*annotations)


def _grace(resource: Resource, obj: Json, asked: int | None) -> int:
    """Only a pod that runs on a node is deleted gracefully."""
    if resource is not PODS or not obj["spec"].get("nodeName"):
        return 0
    if asked is not None:
        return max(0, asked)
    return int(obj["spec"].get("terminationGracePeriodSeconds", 30))


def _may_vanish(resource: Resource, obj: Json, *, asked: bool = False) -> bool:
    if resource is NAMESPACES or obj["metadata"].get("finalizers"):
        return False
    return asked or resource is not PODS
