"""Intent -> the request that carries it out, with its preconditions inside.

The end state is that of `kubectl rollout restart`, `rollout undo` and `scale`; what is added are the
JSON-Patch `test`s of what was looked at and, for /scale, uid and resourceVersion, so that the API server
itself refuses when somebody was faster, and the cause of a new revision, for `kubectl rollout history`.
Sources: kubectl pkg/polymorphichelpers/objectrestarter.go and rollback.go, pkg/scale/scale.go.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from remediator.adapters.kubernetes.objects import (
    HASH_LABEL,
    RESTARTED_AT,
    Json,
    is_stateful,
    mapping,
    template_of,
    text,
    value_at,
)
from remediator.adapters.kubernetes.revisions import REVISION, REVISION_HISTORY
from remediator.core.actions import RestartIntent, ScaleIntent, Target, UndoIntent
from remediator.core.marks import PAUSED, PAUSED_UNTIL

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"

_KEPT_BY_THE_DEPLOYMENT = (
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    REVISION_HISTORY,
    "deployment.kubernetes.io/desired-replicas",
    "deployment.kubernetes.io/max-replicas",
    "deprecated.deployment.rollback.to",
    PAUSED,
    PAUSED_UNTIL,
)
"""Annotations that an undo does not take from the ReplicaSet. The last two are ours and not kubectl's: a
ReplicaSet keeps copies of what was long since taken off the Deployment, and a pause must not come back so."""

CHANGE_CAUSE = "kubernetes.io/change-cause"
"""The Deployment controller copies it to the ReplicaSet of the revision, where it stays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    path: str
    content_type: str
    body: Any


def workload_path(target: Target) -> str:
    return f"/apis/apps/v1/namespaces/{quote(target.namespace)}/{target.kind.label}s/{quote(target.name)}"


def restart_write(target: Target, intent: RestartIntent, live: Json, *, cause: str = "") -> Write:
    """The timestamp is the intent's, so that sending again changes nothing."""
    annotations = "/spec/template/metadata/annotations"
    absent = not isinstance(value_at(template_of(live), "metadata", "annotations"), dict)
    body = [
        *_unchanged(intent, live),
        *([{"op": "add", "path": annotations, "value": {}}] if absent else []),
        {"op": "add", "path": f"{annotations}/{_escaped(RESTARTED_AT)}", "value": intent.restarted_at},
        *_caused(live, cause),
    ]
    return Write(path=workload_path(target), content_type=JSON_PATCH, body=body)


def undo_write(
    target: Target, intent: UndoIntent, live: Json, replica_set: Json, *, cause: str = ""
) -> Write:
    template = deepcopy(template_of(replica_set))
    mapping(template, "metadata", "labels").pop(HASH_LABEL, None)
    annotations = _undone_annotations(live, replica_set) | ({CHANGE_CAUSE: cause} if cause else {})
    body = [
        *_unchanged(intent, live),
        {"op": "replace", "path": "/spec/template", "value": template},
        {"op": "add", "path": "/metadata/annotations", "value": annotations},
    ]
    return Write(path=workload_path(target), content_type=JSON_PATCH, body=body)


def scale_write(target: Target, intent: ScaleIntent, scale: Json) -> Write:
    """Preconditions on the very version of /scale whose replicas were looked at."""
    body = {
        "metadata": {"uid": intent.uid, "resourceVersion": text(scale, "metadata", "resourceVersion")},
        "spec": {"replicas": intent.replicas_to},
    }
    return Write(path=f"{workload_path(target)}/scale", content_type=MERGE_PATCH, body=body)


def still_holds(write: Write, live: Json) -> bool:
    """Whether every `test` of a JSON Patch is true of the object."""
    return all(
        value_at(live, *operation["path"].split("/")[1:]) == operation["value"]
        for operation in write.body
        if operation["op"] == "test"
    )


def _unchanged(intent: RestartIntent | UndoIntent, live: Json) -> list[Json]:
    """Generation moves with spec and a Deployment's annotations; resourceVersion with each crash of a pod."""
    return [
        {"op": "test", "path": "/metadata/uid", "value": intent.uid},
        {"op": "test", "path": "/metadata/generation", "value": intent.generation},
        *(
            {"op": "test", "path": f"/metadata/{field}", "value": value_at(live, "metadata", field)}
            for field in _marked_in(live)
        ),
    ]


def _marked_in(live: Json) -> list[str]:
    """Where a person may opt out or pause without moving the generation.

    That annotations are absent cannot be tested; so their first one shows in the version of the object only.
    """
    annotated = mapping(live, "metadata", "annotations")
    further = [] if not is_stateful(live) else ["annotations" if annotated else "resourceVersion"]
    return ["labels", *further]


def _caused(live: Json, cause: str) -> list[Json]:
    if not cause:
        return []
    annotations = "/metadata/annotations"
    absent = not isinstance(value_at(live, "metadata", "annotations"), dict)
    return [
        *([{"op": "add", "path": annotations, "value": {}}] if absent else []),
        {"op": "add", "path": f"{annotations}/{_escaped(CHANGE_CAUSE)}", "value": cause},
    ]


def _undone_annotations(live: Json, replica_set: Json) -> Json:
    mine = mapping(live, "metadata", "annotations")
    theirs = mapping(replica_set, "metadata", "annotations")
    return {
        **{key: value for key, value in mine.items() if key in _KEPT_BY_THE_DEPLOYMENT},
        **{key: value for key, value in theirs.items() if key not in _KEPT_BY_THE_DEPLOYMENT},
    }


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")
