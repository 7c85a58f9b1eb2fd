"""The Deployment controller: turns Deployments into ReplicaSets, one rollout at a time.

`sync` looks at one Deployment and takes the next step Kubernetes' controller would take:
find or create the ReplicaSet of the present template, give it its revision, move replicas
within maxSurge and maxUnavailable, and say in the status how it goes. It keeps no state but
when each rollout last progressed, which the status holds in whole seconds only.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from remediator.lab.cluster import revisions, rollout
from remediator.lab.cluster.conditions import RolloutConditions
from remediator.lab.cluster.errors import ApiError
from remediator.lab.cluster.objects import (
    clone,
    controlled_by,
    has_controller,
    name_of,
    namespace_of,
    owner_reference,
    uid_of,
)
from remediator.lab.cluster.resources import DEPLOYMENTS, PODS, REPLICA_SETS
from remediator.lab.cluster.rollout import counted, desired
from remediator.lab.cluster.selectors import by_selector

if TYPE_CHECKING:
    from remediator.lab.cluster.events import EventRecorder
    from remediator.lab.cluster.pace import Pace
    from remediator.lab.cluster.resources import Json
    from remediator.lab.cluster.store import Store

SOURCE = "deployment-controller"


class DeploymentController:
    def __init__(self, store: Store, events: EventRecorder, pace: Pace) -> None:
        self._store = store
        self._events = events
        self._conditions = RolloutConditions(store, pace)

    def sync_all(self) -> None:
        for listed in self._store.list(DEPLOYMENTS):
            with self._store.lock:  # per Deployment, so that a request waits for one step at most
                deployment = self._store.find(DEPLOYMENTS, namespace_of(listed), name_of(listed))
                if deployment and not deployment["metadata"].get("deletionTimestamp"):
                    with suppress(ApiError):  # its namespace goes away, and the others do not wait
                        self.sync(deployment)

    def sync(self, deployment: Json) -> None:
        owned = self._owned(deployment)
        if self._conditions.note_pause(deployment):
            deployment = self._fresh(deployment)
        new = revisions.current_replica_set(deployment, owned)
        if deployment["spec"].get("paused") or self._was_scaled(deployment, owned):
            if new:
                new = self._number(deployment, new, owned)
                owned = self._owned(deployment)
            self._resize_all(deployment, new, owned)
            self._conditions.write(self._fresh(deployment), self._owned(deployment), rolling=False)
            return
        step = self._roll if rollout.is_rolling(deployment) else self._recreate
        step(deployment, new, owned)
        deployment, owned = self._fresh(deployment), self._owned(deployment)
        self._conditions.write(deployment, owned, rolling=True)
        if rollout.is_complete(deployment, self._fresh(deployment)["status"]):
            self._forget_old(deployment, owned)

    def _fresh(self, deployment: Json) -> Json:
        return self._store.get(DEPLOYMENTS, namespace_of(deployment), name_of(deployment))

    def _owned(self, deployment: Json) -> list[Json]:
        """Its ReplicaSets, the oldest first; an orphan its selector matches is adopted."""
        selects = by_selector(deployment["spec"]["selector"])
        owned = []
        for replica_set in self._store.list(REPLICA_SETS, namespace_of(deployment)):
            if controlled_by(replica_set, uid_of(deployment)):
                owned.append(replica_set)
            elif selects(replica_set) and not has_controller(replica_set):
                adopted = clone(replica_set)
                adopted["metadata"].setdefault("ownerReferences", []).append(owner_reference(deployment))
                owned.append(self._write(adopted))
        return sorted(owned, key=revisions.by_age)

    def _write(self, replica_set: Json) -> Json:
        return self._store.update(
            REPLICA_SETS, namespace_of(replica_set), name_of(replica_set), lambda _old: replica_set
        )

    # ------------------------------------------------------------ the new ReplicaSet

    def _new_replica_set(self, deployment: Json, new: Json | None, owned: list[Json]) -> Json:
        """The ReplicaSet of the present template, created when there is none, with its revision set."""
        if new is not None:
            return self._number(deployment, new, owned)
        number = max((revisions.revision(replica_set) for replica_set in owned), default=0) + 1
        fresh = self._create(deployment, number, owned)
        self._conditions.created(deployment, name_of(fresh))
        self._stamp(deployment, number)
        if desired(fresh):
            said = f"Scaled up replica set {name_of(fresh)} to {desired(fresh)}"
            self._events.normal(SOURCE, deployment, "ScalingReplicaSet", said)
        return fresh

    def _create(self, deployment: Json, number: int, owned: list[Json]) -> Json:
        for collisions in range(100):
            fresh = revisions.new_replica_set(deployment, number, collisions)
            fresh["spec"]["replicas"] = rollout.size_of_new(deployment, None, owned)
            if self._store.find(REPLICA_SETS, namespace_of(deployment), name_of(fresh)) is None:
                break
        return self._store.create(REPLICA_SETS, namespace_of(deployment), fresh)

    def _number(self, deployment: Json, new: Json, owned: list[Json]) -> Json:
        others = [revisions.revision(rs) for rs in owned if uid_of(rs) != uid_of(new)]
        numbered = clone(new)
        revisions.copy_annotations(deployment, numbered)
        revisions.renumber(numbered, max(others, default=0) + 1)
        if deployment["spec"].get("minReadySeconds") != numbered["spec"].get("minReadySeconds"):
            numbered["spec"]["minReadySeconds"] = deployment["spec"].get("minReadySeconds", 0)
        stored = self._write(numbered)
        self._conditions.found(deployment, name_of(stored))
        self._stamp(deployment, revisions.revision(stored))
        return stored

    def _stamp(self, deployment: Json, number: int) -> None:
        """Write the revision onto the Deployment, through its status: that moves no generation."""

        def stamped(current: Json) -> Json:
            current["metadata"].setdefault("annotations", {})[revisions.REVISION] = str(number)
            return current

        where = namespace_of(deployment), name_of(deployment)
        self._store.update(DEPLOYMENTS, *where, stamped, status=True)

    # ------------------------------------------------------------ moving replicas

    def _roll(self, deployment: Json, new: Json | None, owned: list[Json]) -> None:
        new = self._new_replica_set(deployment, new, owned)
        old = [replica_set for replica_set in owned if uid_of(replica_set) != uid_of(new)]
        size = rollout.size_of_new(deployment, new, [*old, new])
        if size != desired(new):
            self._resize(deployment, new, size)
        elif total_old := rollout.total(old):
            sizes = rollout.sizes_of_old(deployment, new, old)
            if sum(sizes.values()) != total_old:
                for replica_set in old:
                    self._resize(deployment, replica_set, sizes[name_of(replica_set)])

    def _recreate(self, deployment: Json, new: Json | None, owned: list[Json]) -> None:
        old = [replica_set for replica_set in owned if new is None or uid_of(replica_set) != uid_of(new)]
        if rollout.total(old):
            for replica_set in old:
                self._resize(deployment, replica_set, 0)
            return
        if any(self._has_pods(replica_set) for replica_set in old):
            return
        new = self._new_replica_set(deployment, new, owned)
        self._resize(deployment, new, desired(deployment))

    def _has_pods(self, replica_set: Json) -> bool:
        return any(
            controlled_by(pod, uid_of(replica_set))
            and pod["status"].get("phase") not in {"Failed", "Succeeded"}
            for pod in self._store.list(PODS, namespace_of(replica_set))
        )

    def _was_scaled(self, deployment: Json, owned: list[Json]) -> bool:
        """Somebody changed spec.replicas since the active ReplicaSets were last sized."""
        noted = [
            replica_set["metadata"].get("annotations", {}).get(revisions.DESIRED_REPLICAS)
            for replica_set in owned
            if desired(replica_set)
        ]
        return any(size is not None and size != str(desired(deployment)) for size in noted)

    def _resize_all(self, deployment: Json, new: Json | None, owned: list[Json]) -> None:
        active = [replica_set for replica_set in owned if desired(replica_set)]
        if len(active) <= 1:
            only = active[0] if active else new or (owned[-1] if owned else None)
            if only is not None:
                self._resize(deployment, only, desired(deployment))
        elif new is not None and self._is_saturated(deployment, new):
            for replica_set in active:
                if uid_of(replica_set) != uid_of(new):
                    self._resize(deployment, replica_set, 0)
        elif rollout.is_rolling(deployment):
            noted = {name_of(rs): self._noted_maximum(rs) for rs in active}
            sizes = rollout.proportional_sizes(deployment, active, noted)
            for replica_set in active:
                self._resize(deployment, replica_set, sizes[name_of(replica_set)])

    def _is_saturated(self, deployment: Json, new: Json) -> bool:
        noted = new["metadata"].get("annotations", {}).get(revisions.DESIRED_REPLICAS)
        sizes = {desired(new), counted(new, "availableReplicas"), desired(deployment)}
        return len(sizes) == 1 and noted == str(desired(deployment))

    def _noted_maximum(self, replica_set: Json) -> int:
        return int(replica_set["metadata"].get("annotations", {}).get(revisions.MAX_REPLICAS, "0"))

    def _resize(self, deployment: Json, replica_set: Json, size: int) -> None:
        resized = clone(replica_set)
        resized["spec"]["replicas"] = size
        revisions.annotate_sizes(deployment, resized)
        self._write(resized)
        if size != desired(replica_set):
            way = "up" if size > desired(replica_set) else "down"
            said = f"Scaled {way} replica set {name_of(replica_set)} to {size}"
            self._events.normal(SOURCE, deployment, "ScalingReplicaSet", said)

    # ------------------------------------------------------------ history

    def _forget_old(self, deployment: Json, owned: list[Json]) -> None:
        """Keep revisionHistoryLimit old ReplicaSets; the lowest revisions go first."""
        new = revisions.current_replica_set(deployment, owned)
        old = [rs for rs in owned if new is None or uid_of(rs) != uid_of(new)]
        excess = len(old) - int(deployment["spec"].get("revisionHistoryLimit", 10))
        for replica_set in sorted(old, key=revisions.revision)[: max(0, excess)]:
            if desired(replica_set) or counted(replica_set, "replicas"):
                continue
            try:
                self._store.delete(REPLICA_SETS, namespace_of(replica_set), name_of(replica_set))
            except ApiError:  # somebody else deleted it
                continue
