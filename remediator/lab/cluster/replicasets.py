"""The ReplicaSet controller: as many pods as asked for, and the counts in the status."""

from __future__ import annotations

from typing import TYPE_CHECKING

from remediator.lab.cluster.errors import ApiError
from remediator.lab.cluster.objects import (
    clone,
    condition,
    controlled_by,
    is_ready,
    name_of,
    namespace_of,
    owner_reference,
    seconds_of,
    uid_of,
)
from remediator.lab.cluster.resources import PODS, REPLICA_SETS
from remediator.lab.cluster.rollout import desired

if TYPE_CHECKING:
    from remediator.lab.cluster.events import EventRecorder
    from remediator.lab.cluster.pace import Pace
    from remediator.lab.cluster.resources import Json
    from remediator.lab.cluster.store import Store

SOURCE = "replicaset-controller"


class ReplicaSetController:
    def __init__(self, store: Store, events: EventRecorder, pace: Pace) -> None:
        self._store = store
        self._events = events
        self._pace = pace

    def sync_all(self) -> None:
        for listed in self._store.list(REPLICA_SETS):
            with self._store.lock:
                replica_set = self._store.find(REPLICA_SETS, namespace_of(listed), name_of(listed))
                if replica_set is None:
                    continue
                if not replica_set["metadata"].get("deletionTimestamp"):
                    self._match_size(replica_set)
                self._write_status(replica_set)

    def _active(self, replica_set: Json) -> list[Json]:
        return [
            pod
            for pod in self._store.list(PODS, namespace_of(replica_set))
            if controlled_by(pod, uid_of(replica_set))
            and not pod["metadata"].get("deletionTimestamp")
            and pod["status"].get("phase") not in {"Failed", "Succeeded"}
        ]

    def _match_size(self, replica_set: Json) -> None:
        pods = self._active(replica_set)
        missing = desired(replica_set) - len(pods)
        for _ in range(missing):
            try:
                pod = self._store.create(PODS, namespace_of(replica_set), _pod_of(replica_set))
            except ApiError as error:  # the namespace is going away
                self._events.warning(SOURCE, replica_set, "FailedCreate", error.message)
                return
            self._events.normal(SOURCE, replica_set, "SuccessfulCreate", f"Created pod: {name_of(pod)}")
        for pod in sorted(pods, key=_worth)[: max(0, -missing)]:
            self._store.delete(PODS, namespace_of(pod), name_of(pod))
            self._events.normal(SOURCE, replica_set, "SuccessfulDelete", f"Deleted pod: {name_of(pod)}")

    def _write_status(self, replica_set: Json) -> None:
        pods = self._active(replica_set)
        counts = {
            "fullyLabeledReplicas": len(pods),
            "readyReplicas": sum(is_ready(pod) for pod in pods),
            "availableReplicas": sum(self._is_available(pod, replica_set) for pod in pods),
        }
        status = {
            "observedGeneration": replica_set["metadata"]["generation"],
            "replicas": len(pods),
            **{field: value for field, value in counts.items() if value},
        }
        if replica_set.get("status") != status:
            self._store.update(
                REPLICA_SETS,
                namespace_of(replica_set),
                name_of(replica_set),
                lambda current: {**current, "status": status},
                status=True,
            )

    def _is_available(self, pod: Json, replica_set: Json) -> bool:
        soak = int(replica_set["spec"].get("minReadySeconds") or 0)
        ready = condition(pod, "Ready")
        if ready is None or ready["status"] != "True":
            return False
        ready_for = self._store.clock() - seconds_of(ready["lastTransitionTime"])
        return not soak or ready_for >= self._pace.lasts(soak)


def _pod_of(replica_set: Json) -> Json:
    template = clone(replica_set["spec"]["template"])
    meta = template.get("metadata") or {}
    kept = {field: meta[field] for field in ("labels", "annotations") if meta.get(field)}
    generated = {
        "generateName": f"{name_of(replica_set)}-",
        "ownerReferences": [owner_reference(replica_set)],
    }
    return {"metadata": {**generated, **kept}, "spec": template["spec"]}


def _worth(pod: Json) -> tuple[bool, bool, float]:
    """Pods to give up first: not on a node, then not ready, then the newest."""
    created = seconds_of(pod["metadata"]["creationTimestamp"])
    return bool(pod["spec"].get("nodeName")), is_ready(pod), -created
