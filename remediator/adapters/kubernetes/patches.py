"""Intent -> the request that carries it out, with its preconditions inside.

The end state is that of `kubectl rollout restart`, `rollout undo` and `scale`; what is added are the
JSON-Patch `test`s and, for /scale, uid and resourceVersion, so that the API server itself refuses when
somebody was faster. Sources: kubectl pkg/polymorphichelpers/objectrestarter.go and rollback.go,
pkg/scale/scale.go.
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
    mapping,
    template_of,
    text,
    value_at,
)
from remediator.adapters.kubernetes.revisions import REVISION, REVISION_HISTORY
from remediator.core.actions import RestartIntent, ScaleIntent, Target, UndoIntent

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"

_KEPT_BY_THE_DEPLOYMENT = (
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    REVISION_HISTORY,
    "deployment.kubernetes.io/desired-replicas",
    "deployment.kubernetes.io/max-replicas",
    "deprecated.deployment.rollback.to",
)
"""Annotations that an undo does not take from the ReplicaSet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    path: str
    content_type: str
    body: Any


def deployment_path(target: Target) -> str:
    return f"/apis/apps/v1/namespaces/{quote(target.namespace)}/deployments/{quote(target.deployment)}"


def restart_write(target: Target, intent: RestartIntent, live: Json) -> Write:
    """The timestamp is the intent's, so that sending again changes nothing."""
    annotations = "/spec/template/metadata/annotations"
    absent = not isinstance(value_at(template_of(live), "metadata", "annotations"), dict)
    body = [
        *_unchanged(intent),
        *([{"op": "add", "path": annotations, "value": {}}] if absent else []),
        {"op": "add", "path": f"{annotations}/{_escaped(RESTARTED_AT)}", "value": intent.restarted_at},
    ]
    return Write(path=deployment_path(target), content_type=JSON_PATCH, body=body)


def undo_write(target: Target, intent: UndoIntent, live: Json, replica_set: Json) -> Write:
    template = deepcopy(template_of(replica_set))
    mapping(template, "metadata", "labels").pop(HASH_LABEL, None)
    body = [
        *_unchanged(intent),
        {"op": "replace", "path": "/spec/template", "value": template},
        {"op": "add", "path": "/metadata/annotations", "value": _undone_annotations(live, replica_set)},
    ]
    return Write(path=deployment_path(target), content_type=JSON_PATCH, body=body)


def scale_write(target: Target, intent: ScaleIntent, scale: Json) -> Write:
    """Preconditions on the very version of /scale whose replicas were looked at."""
    body = {
        "metadata": {"uid": intent.uid, "resourceVersion": text(scale, "metadata", "resourceVersion")},
        "spec": {"replicas": intent.replicas_to},
    }
    return Write(path=f"{deployment_path(target)}/scale", content_type=MERGE_PATCH, body=body)


def _unchanged(intent: RestartIntent | UndoIntent) -> list[Json]:
    """Generation moves with spec and annotations only; resourceVersion moves with each crash of a pod."""
    return [
        {"op": "test", "path": "/metadata/uid", "value": intent.uid},
        {"op": "test", "path": "/metadata/generation", "value": intent.generation},
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
