"""A Deployment's status: its counts and the conditions Available and Progressing.

The traps of the real thing are kept: ProgressDeadlineExceeded stays until the rollout moves
again, even after the cause was undone; a scale does not touch Progressing; lastTransitionTime
moves with the status only, lastUpdateTime with every sign of progress.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from remediator.lab.cluster import revisions, rollout
from remediator.lab.cluster.objects import clone, condition, name_of, namespace_of, rfc3339, uid_of
from remediator.lab.cluster.resources import DEPLOYMENTS

if TYPE_CHECKING:
    from remediator.lab.cluster.pace import Pace
    from remediator.lab.cluster.resources import Json
    from remediator.lab.cluster.store import Store

Said = tuple[str, str, str, str]  # type, status, reason, message
NO_DEADLINE = 2**31 - 1
COMPLETE, TIMED_OUT, PAUSED = "NewReplicaSetAvailable", "ProgressDeadlineExceeded", "DeploymentPaused"


class RolloutConditions:
    def __init__(self, store: Store, pace: Pace) -> None:
        self._store = store
        self._pace = pace
        self._progressed: dict[str, float] = {}  # by Deployment uid, on the monotonic clock

    # ------------------------------------------------------------ single notes

    def created(self, deployment: Json, replica_set: str) -> None:
        text = f'Created new replica set "{replica_set}"'
        self._note(deployment, "True", "NewReplicaSetCreated", text)

    def found(self, deployment: Json, replica_set: str) -> None:
        if condition(deployment, "Progressing") is None:
            self._note(deployment, "True", "FoundNewReplicaSet", f'Found new replica set "{replica_set}"')

    def note_pause(self, deployment: Json) -> bool:
        """Say in Progressing that the Deployment was paused or resumed; a missed deadline stays said."""
        progressing = condition(deployment, "Progressing") or {}
        if not _has_deadline(deployment) or progressing.get("reason") == TIMED_OUT:
            return False
        paused, noted = bool(deployment["spec"].get("paused")), progressing.get("reason") == PAUSED
        if paused == noted:
            return False
        reason, text = (
            (PAUSED, "Deployment is paused") if paused else ("DeploymentResumed", "Deployment is resumed")
        )
        return self._note(deployment, "Unknown", reason, text)

    def _note(self, deployment: Json, status: str, reason: str, text: str) -> bool:
        if not _has_deadline(deployment):
            return False

        def noted(current: Json) -> Json:
            conditions = (current.get("status") or {}).get("conditions") or []
            current.setdefault("status", {})["conditions"] = self._set(
                current, conditions, ("Progressing", status, reason, text)
            )
            return current

        self._store.update(DEPLOYMENTS, namespace_of(deployment), name_of(deployment), noted, status=True)
        return True

    # ------------------------------------------------------------ the whole status

    def write(self, deployment: Json, owned: list[Json], *, rolling: bool) -> None:
        new = revisions.current_replica_set(deployment, owned)
        counts = rollout.status_counts(deployment, new, owned)
        before = deployment.get("status") or {}
        conditions = self._availability(deployment, counts, clone(before.get("conditions") or []))
        if not _has_deadline(deployment):
            conditions = [found for found in conditions if found["type"] != "Progressing"]
        elif rolling and not self._was_complete(counts, before):
            name = name_of(new) if new else name_of(deployment)
            conditions = self._progress(deployment, counts, conditions, name)
        status = {**counts, "conditions": conditions}
        if status != before:
            self._store.update(
                DEPLOYMENTS,
                namespace_of(deployment),
                name_of(deployment),
                lambda current: {**current, "status": status},
                status=True,
            )

    def _was_complete(self, counts: dict[str, int], before: Json) -> bool:
        progressing = condition({"status": before}, "Progressing")
        complete = progressing is not None and progressing["reason"] == COMPLETE
        return complete and counts.get("replicas", 0) == counts.get("updatedReplicas", 0)

    def _availability(self, deployment: Json, counts: dict[str, int], conditions: list[Json]) -> list[Json]:
        enough = rollout.desired(deployment) - rollout.max_unavailable(deployment)
        if counts.get("availableReplicas", 0) >= enough:
            said = ("Available", "True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
        else:
            said = (
                "Available",
                "False",
                "MinimumReplicasUnavailable",
                "Deployment does not have minimum availability.",
            )
        return self._set(deployment, conditions, said)

    def _progress(
        self, deployment: Json, counts: dict[str, int], conditions: list[Json], replica_set: str
    ) -> list[Json]:
        before = deployment.get("status") or {}
        if rollout.is_complete(deployment, counts):
            text = f'ReplicaSet "{replica_set}" has successfully progressed.'
            return self._set(deployment, conditions, ("Progressing", "True", COMPLETE, text))
        if rollout.has_progressed(counts, before):
            text = f'ReplicaSet "{replica_set}" is progressing.'
            said = ("Progressing", "True", "ReplicaSetUpdated", text)
            return self._set(deployment, conditions, said, even_if_same=True)
        if self._is_late(deployment):
            text = f'ReplicaSet "{replica_set}" has timed out progressing.'
            return self._set(deployment, conditions, ("Progressing", "False", TIMED_OUT, text))
        return conditions

    def _is_late(self, deployment: Json) -> bool:
        progressing = condition(deployment, "Progressing")
        if progressing is None or progressing["reason"] == COMPLETE:
            return False
        allowed = self._pace.lasts(float(deployment["spec"]["progressDeadlineSeconds"]))
        since = self._progressed.setdefault(uid_of(deployment), self._pace.now())
        return self._pace.now() - since > allowed

    def _set(
        self,
        deployment: Json,
        conditions: list[Json],
        said: Said,
        *,
        even_if_same: bool = False,
    ) -> list[Json]:
        """The conditions with this one set; same status and reason is no news, whatever the text."""
        kind, status, reason, text = said
        before = next((found for found in conditions if found["type"] == kind), None)
        if before and (before["status"], before["reason"]) == (status, reason) and not even_if_same:
            return conditions
        if kind == "Progressing":
            self._progressed[uid_of(deployment)] = self._pace.now()
        now = rfc3339(self._store.clock())
        unmoved = before is not None and before["status"] == status
        fresh = {
            "type": kind,
            "status": status,
            "lastUpdateTime": now,
            "lastTransitionTime": before["lastTransitionTime"] if before and unmoved else now,
            "reason": reason,
            "message": text,
        }
        return [*(found for found in conditions if found["type"] != kind), fresh]


def _has_deadline(deployment: Json) -> bool:
    return int(deployment["spec"].get("progressDeadlineSeconds") or NO_DEADLINE) != NO_DEADLINE
