"""The StatefulSet controller: numbered pods, made from the first to the last and replaced from the last on.

The traps of the real thing are kept. With OrderedReady nothing is done while a pod is not ready, not even to
replace that very pod, also after the template was put back: somebody has to delete it. A revision that is
used again gets a new number. OnDelete replaces nothing. `sync` takes one step.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from remediator.lab.cluster.errors import ApiError
from remediator.lab.cluster.objects import (
    annotations_of,
    clone,
    controlled_by,
    is_ready,
    labels_of,
    name_of,
    namespace_of,
    owner_reference,
    same,
    uid_of,
)
from remediator.lab.cluster.resources import CONTROLLER_REVISIONS, PODS, STATEFUL_SETS
from remediator.lab.cluster.revisions import template_hash, template_without_hash
from remediator.lab.cluster.rollout import desired

if TYPE_CHECKING:
    from remediator.lab.cluster.events import EventRecorder
    from remediator.lab.cluster.resources import Json
    from remediator.lab.cluster.store import Store

SOURCE = "statefulset-controller"
REVISION = "controller-revision-hash"
POD_NAME = "statefulset.kubernetes.io/pod-name"


class StatefulSetController:
    def __init__(self, store: Store, events: EventRecorder) -> None:
        self._store = store
        self._events = events

    def sync_all(self) -> None:
        for listed in self._store.list(STATEFUL_SETS):
            with self._store.lock, suppress(ApiError):  # it, or its namespace, goes away
                stateful = self._store.find(STATEFUL_SETS, namespace_of(listed), name_of(listed))
                if stateful and not stateful["metadata"].get("deletionTimestamp"):
                    self.sync(stateful)

    def sync(self, stateful: Json) -> None:
        revisions = self._revisions(stateful)
        update = self._update_revision(stateful, revisions)
        known = {name_of(one): one for one in (*revisions, update)}
        current = known.get((stateful.get("status") or {}).get("currentRevision", ""), update)
        self._step(stateful, current, update)
        self._write_status(stateful, current, update)
        self._forget_old(stateful, known)

    # ------------------------------------------------------------ revisions

    def _revisions(self, stateful: Json) -> list[Json]:
        """Its revisions, the oldest first."""
        owned = [
            one
            for one in self._store.list(CONTROLLER_REVISIONS, namespace_of(stateful))
            if controlled_by(one, uid_of(stateful))
        ]
        return sorted(owned, key=_number)

    def _update_revision(self, stateful: Json, revisions: list[Json]) -> Json:
        """The revision of the present template: made, or taken up again under a new number."""
        wanted = template_without_hash(stateful["spec"]["template"])
        number = max(map(_number, revisions), default=0) + 1
        equal = [one for one in revisions if same(template_without_hash(_template(one)), wanted)]
        if not equal:
            fresh = _new_revision(stateful, number)
            return self._store.create(CONTROLLER_REVISIONS, namespace_of(stateful), fresh)
        if equal[-1] is revisions[-1]:
            return equal[-1]
        where = namespace_of(stateful), name_of(equal[-1])
        return self._store.update(CONTROLLER_REVISIONS, *where, lambda old: {**old, "revision": number})

    def _forget_old(self, stateful: Json, known: dict[str, Json]) -> None:
        """Keep revisionHistoryLimit revisions beside those that are in use; the lowest go first."""
        status = self._fresh(stateful)["status"]
        used = {labels_of(pod).get(REVISION) for pod in self._pods(stateful).values()}
        used |= {status["currentRevision"], status["updateRevision"]}
        old = sorted((one for name, one in known.items() if name not in used), key=_number)
        for one in old[: max(0, len(old) - int(stateful["spec"].get("revisionHistoryLimit", 10)))]:
            self._store.delete(CONTROLLER_REVISIONS, namespace_of(one), name_of(one))

    # ------------------------------------------------------------ pods

    def _pods(self, stateful: Json) -> dict[int, Json]:
        prefix = f"{name_of(stateful)}-"
        return {
            int(name_of(pod).removeprefix(prefix)): pod
            for pod in self._store.list(PODS, namespace_of(stateful))
            if controlled_by(pod, uid_of(stateful)) and name_of(pod).removeprefix(prefix).isdecimal()
        }

    def _step(self, stateful: Json, current: Json, update: Json) -> None:
        """Add, take away or replace: one pod at a time, or with Parallel all that are missing at once."""
        pods, one_by_one = self._pods(stateful), _one_by_one(stateful)
        for number in range(desired(stateful)):
            pod = pods.get(number)
            if pod is None:
                below = number < _partition(stateful)
                self._create(stateful, number, current if below else update)
            if one_by_one and (pod is None or not is_ready(pod) or _is_leaving(pod)):
                return
        if self._shrink(stateful, pods) or _on_delete(stateful):
            return
        for number in range(desired(stateful) - 1, _partition(stateful) - 1, -1):
            pod = pods.get(number)
            if pod is None or _is_leaving(pod):
                return
            if labels_of(pod).get(REVISION) != name_of(update):
                self._delete(stateful, pod)
                return
            if not is_ready(pod):
                return

    def _shrink(self, stateful: Json, pods: dict[int, Json]) -> bool:
        """Take away what is too much, the last first; whether that is still to be waited for."""
        surplus = [pods[number] for number in sorted(pods, reverse=True) if number >= desired(stateful)]
        unready = [pods[number] for number in sorted(pods) if not is_ready(pods[number])]
        for pod in surplus:
            waits = not is_ready(pod) and uid_of(pod) != uid_of(unready[0])
            if _one_by_one(stateful) and (_is_leaving(pod) or waits):
                return True
            self._delete(stateful, pod)
            if _one_by_one(stateful):
                return True
        return bool(surplus)

    def _create(self, stateful: Json, number: int, revision: Json) -> None:
        fresh = _new_pod(stateful, number, revision)
        try:
            self._store.create(PODS, namespace_of(stateful), fresh)
        except ApiError as error:  # the old one of that name is still leaving, or the namespace is
            self._events.warning(SOURCE, stateful, "FailedCreate", error.message)
            return
        said = f"create Pod {name_of(fresh)} in StatefulSet {name_of(stateful)} successful"
        self._events.normal(SOURCE, stateful, "SuccessfulCreate", said)

    def _delete(self, stateful: Json, pod: Json) -> None:
        if _is_leaving(pod):
            return
        self._store.delete(PODS, namespace_of(pod), name_of(pod))
        said = f"delete Pod {name_of(pod)} in StatefulSet {name_of(stateful)} successful"
        self._events.normal(SOURCE, stateful, "SuccessfulDelete", said)

    # ------------------------------------------------------------ status

    def _fresh(self, stateful: Json) -> Json:
        return self._store.get(STATEFUL_SETS, namespace_of(stateful), name_of(stateful))

    def _write_status(self, stateful: Json, current: Json, update: Json) -> None:
        before = self._fresh(stateful).get("status") or {}
        there = self._pods(stateful).values()  # also those that leave
        pods = [pod for pod in there if not _is_leaving(pod)]
        of = [labels_of(pod).get(REVISION) for pod in pods]
        ready = sum(is_ready(pod) for pod in pods)
        status: Json = {
            "observedGeneration": stateful["metadata"]["generation"],
            "replicas": len(there),
            "readyReplicas": ready,
            "availableReplicas": ready,
            "currentReplicas": of.count(name_of(current)),
            "updatedReplicas": of.count(name_of(update)),
            "currentRevision": name_of(current),
            "updateRevision": name_of(update),
            "collisionCount": 0,
        }
        whole = {status["updatedReplicas"], status["readyReplicas"], status["replicas"]}
        if not _on_delete(stateful) and whole == {desired(stateful)}:
            status |= {"currentRevision": name_of(update), "currentReplicas": status["updatedReplicas"]}
        if status != before:
            where = namespace_of(stateful), name_of(stateful)
            self._store.update(STATEFUL_SETS, *where, lambda old: {**old, "status": status}, status=True)


def _number(revision: Json) -> int:
    return int(revision["revision"])


def _template(revision: Json) -> Json:
    return {key: value for key, value in revision["data"]["spec"]["template"].items() if key != "$patch"}


def _new_revision(stateful: Json, number: int) -> Json:
    template = clone(stateful["spec"]["template"])
    hashed = template_hash(template, 0)
    return {
        "metadata": {
            "name": f"{name_of(stateful)}-{hashed}",
            "labels": {**template["metadata"]["labels"], "controller.kubernetes.io/hash": hashed},
            "annotations": dict(annotations_of(stateful)),
            "ownerReferences": [owner_reference(stateful)],
        },
        "revision": number,
        "data": {"spec": {"template": {**template, "$patch": "replace"}}},
    }


def _new_pod(stateful: Json, number: int, revision: Json) -> Json:
    template, name = clone(_template(revision)), f"{name_of(stateful)}-{number}"
    meta = template.get("metadata") or {}
    labels = {**(meta.get("labels") or {}), REVISION: name_of(revision), POD_NAME: name}
    annotations = {"annotations": meta["annotations"]} if meta.get("annotations") else {}
    owners = [owner_reference(stateful)]
    domain = {"hostname": name, "subdomain": stateful["spec"].get("serviceName", "")}
    return {
        "metadata": {"name": name, "labels": labels, "ownerReferences": owners, **annotations},
        "spec": {**template["spec"], **{key: value for key, value in domain.items() if value}},
    }


def _is_leaving(pod: Json) -> bool:
    return bool(pod["metadata"].get("deletionTimestamp"))


def _one_by_one(stateful: Json) -> bool:
    return bool(stateful["spec"]["podManagementPolicy"] == "OrderedReady")


def _on_delete(stateful: Json) -> bool:
    return bool(stateful["spec"]["updateStrategy"]["type"] == "OnDelete")


def _partition(stateful: Json) -> int:
    rolling = stateful["spec"]["updateStrategy"].get("rollingUpdate") or {}
    return int(rolling.get("partition") or 0)
