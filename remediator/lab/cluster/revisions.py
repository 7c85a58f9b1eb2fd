"""Revisions of a Deployment: which ReplicaSet is which, and the annotations that record it.

Follows what the Deployment controller documents: a ReplicaSet belongs to the current revision
when its template equals the Deployment's but for the pod-template-hash label; a ReplicaSet that
is used again gets a new revision number and keeps its old one in revision-history; the
Deployment's annotations are copied onto its ReplicaSet except those that describe the rollout.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from remediator.lab.cluster.objects import annotations_of, clone, name_of, owner_reference, pruned
from remediator.lab.cluster.rollout import desired, max_surge

if TYPE_CHECKING:
    from collections.abc import Iterable

    from remediator.lab.cluster.resources import Json

HASH_LABEL = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"
REVISION_HISTORY = "deployment.kubernetes.io/revision-history"
DESIRED_REPLICAS = "deployment.kubernetes.io/desired-replicas"
MAX_REPLICAS = "deployment.kubernetes.io/max-replicas"
NOT_COPIED = {
    "kubectl.kubernetes.io/last-applied-configuration",
    "deprecated.deployment.rollback.to",
    REVISION,
    REVISION_HISTORY,
    DESIRED_REPLICAS,
    MAX_REPLICAS,
}
HASH_LETTERS = "bcdfghjklmnpqrstvwxz2456789"


def template_without_hash(template: Json) -> Json:
    bare = clone(template)
    meta = bare.get("metadata") or {}
    (meta.get("labels") or {}).pop(HASH_LABEL, None)
    meta.pop("creationTimestamp", None)
    found: Json = pruned(bare)
    return found


def current_replica_set(deployment: Json, owned: Iterable[Json]) -> Json | None:
    """The oldest ReplicaSet with the Deployment's present template."""
    wanted = template_without_hash(deployment["spec"]["template"])
    for replica_set in sorted(owned, key=by_age):
        if template_without_hash(replica_set["spec"]["template"]) == wanted:
            return replica_set
    return None


def by_age(obj: Json) -> tuple[str, str]:
    return obj["metadata"]["creationTimestamp"], name_of(obj)


def revision(obj: Json) -> int:
    try:
        return int(annotations_of(obj).get(REVISION, "0"))
    except ValueError:
        return 0


def template_hash(template: Json, collisions: int) -> str:
    text = json.dumps([template_without_hash(template), collisions], sort_keys=True)
    number = int(hashlib.sha256(text.encode()).hexdigest()[:12], 16)
    letters = ""
    while len(letters) < 10:  # noqa: PLR2004  # as long as Kubernetes' own hashes
        number, at = divmod(number, len(HASH_LETTERS))
        letters += HASH_LETTERS[at]
    return letters


def new_replica_set(deployment: Json, number: int, collisions: int) -> Json:
    """The ReplicaSet for the Deployment's present template, not yet stored; no replicas yet."""
    template = clone(deployment["spec"]["template"])
    hashed = template_hash(template, collisions)
    template["metadata"].setdefault("labels", {})[HASH_LABEL] = hashed
    selector = clone(deployment["spec"]["selector"])
    selector.setdefault("matchLabels", {})[HASH_LABEL] = hashed
    fresh: Json = {
        "metadata": {
            "name": f"{name_of(deployment)}-{hashed}",
            "labels": dict(template["metadata"]["labels"]),
            "annotations": {},
            "ownerReferences": [owner_reference(deployment)],
        },
        "spec": {"replicas": 0, "selector": selector, "template": template},
    }
    if deployment["spec"].get("minReadySeconds"):
        fresh["spec"]["minReadySeconds"] = deployment["spec"]["minReadySeconds"]
    copy_annotations(deployment, fresh)
    fresh["metadata"]["annotations"][REVISION] = str(number)
    annotate_sizes(deployment, fresh)
    return fresh


def copy_annotations(deployment: Json, replica_set: Json) -> None:
    """Never removes one: what the ReplicaSet had when it was current is what undo restores."""
    copied = {key: value for key, value in annotations_of(deployment).items() if key not in NOT_COPIED}
    replica_set["metadata"].setdefault("annotations", {}).update(copied)


def renumber(replica_set: Json, number: int) -> None:
    found = replica_set["metadata"].setdefault("annotations", {})
    before = found.get(REVISION)
    if revision(replica_set) >= number:
        return
    found[REVISION] = str(number)
    if before is not None:
        history = found.get(REVISION_HISTORY, "")
        found[REVISION_HISTORY] = f"{history},{before}" if history else before


def annotate_sizes(deployment: Json, replica_set: Json) -> None:
    found = replica_set["metadata"].setdefault("annotations", {})
    found[DESIRED_REPLICAS] = str(desired(deployment))
    found[MAX_REPLICAS] = str(desired(deployment) + max_surge(deployment))
