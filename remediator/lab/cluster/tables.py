"""Tables: what `kubectl get` prints, since the API server decides the columns.

A client that asks for `as=Table` gets these columns for the kinds people look at, and
NAME and AGE for all others. Columns of priority 1 show with `-o wide` only.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from remediator.lab.cluster.objects import is_ready, name_of, seconds_of
from remediator.lab.cluster.rollout import counted, desired
from remediator.lab.cluster.selectors import as_query

if TYPE_CHECKING:
    from collections.abc import Sequence

    from remediator.lab.cluster.resources import Json

UNITS = ((86_400 * 2, 86_400, "d"), (3_600 * 3, 3_600, "h"), (120, 60, "m"))


def age(timestamp: str | None, now: float | None = None) -> str:
    if not timestamp:
        return "<unknown>"
    seconds = max(0, int((time.time() if now is None else now) - seconds_of(timestamp)))
    for least, unit, letter in UNITS:
        if seconds >= least:
            return f"{seconds // unit}{letter}"
    return f"{seconds}s"


def _age(obj: Json) -> str:
    return age(obj["metadata"].get("creationTimestamp"))


def _containers(obj: Json) -> list[Json]:
    found: list[Json] = obj["spec"]["template"]["spec"]["containers"]
    return found


def _pod_status(pod: Json) -> str:
    if pod["metadata"].get("deletionTimestamp"):
        return "Terminating"
    for status in pod["status"].get("containerStatuses") or []:
        waiting = status["state"].get("waiting") or status["state"].get("terminated")
        if waiting and waiting.get("reason"):
            return str(waiting["reason"])
    return str(pod["status"].get("phase", ""))


def _pod_ready(pod: Json) -> str:
    statuses = pod["status"].get("containerStatuses") or []
    return f"{sum(status['ready'] for status in statuses)}/{len(pod['spec']['containers'])}"


def _restarts(pod: Json) -> str:
    return str(sum(status["restartCount"] for status in pod["status"].get("containerStatuses") or []))


def _event_object(event: Json) -> str:
    about = event.get("involvedObject") or {}
    return f"{str(about.get('kind', '')).lower()}/{about.get('name', '')}"


def _autoscaled(autoscaler: Json) -> str:
    target = autoscaler["spec"].get("scaleTargetRef") or {}
    return f"{target.get('kind')}/{target.get('name')}"


def _controller(obj: Json) -> str:
    owner = next(iter(obj["metadata"].get("ownerReferences") or [{}]))
    return f"{str(owner.get('kind', '')).lower()}.apps/{owner.get('name', '')}"


def _joined(obj: Json, field: str) -> str:
    return ",".join(container[field] for container in _containers(obj))


NAME = ("Name", name_of)
AGE = ("Age", _age)
WIDE: list[tuple[str, Any]] = [
    ("Containers*", lambda obj: _joined(obj, "name")),
    ("Images*", lambda obj: _joined(obj, "image")),
    ("Selector*", lambda obj: as_query(obj["spec"].get("selector"))),
]

COLUMNS: dict[str, list[tuple[str, Any]]] = {
    "Deployment": [
        NAME,
        ("Ready", lambda obj: f"{counted(obj, 'readyReplicas')}/{desired(obj)}"),
        ("Up-to-date", lambda obj: counted(obj, "updatedReplicas")),
        ("Available", lambda obj: counted(obj, "availableReplicas")),
        AGE,
        *WIDE,
    ],
    "ReplicaSet": [
        NAME,
        ("Desired", desired),
        ("Current", lambda obj: counted(obj, "replicas")),
        ("Ready", lambda obj: counted(obj, "readyReplicas")),
        AGE,
        *WIDE,
    ],
    "StatefulSet": [
        NAME,
        ("Ready", lambda obj: f"{counted(obj, 'readyReplicas')}/{desired(obj)}"),
        AGE,
        *WIDE[:2],
    ],
    "ControllerRevision": [
        NAME,
        ("Controller", _controller),
        ("Revision", lambda obj: obj["revision"]),
        AGE,
    ],
    "Pod": [
        NAME,
        ("Ready", _pod_ready),
        ("Status", _pod_status),
        ("Restarts", _restarts),
        AGE,
        ("IP*", lambda obj: obj["status"].get("podIP", "<none>")),
        ("Node*", lambda obj: obj["spec"].get("nodeName", "<none>")),
    ],
    "Event": [
        ("Last Seen", lambda obj: age(obj.get("lastTimestamp") or obj["metadata"].get("creationTimestamp"))),
        ("Type", lambda obj: obj.get("type", "")),
        ("Reason", lambda obj: obj.get("reason", "")),
        ("Object", _event_object),
        ("Message", lambda obj: obj.get("message", "")),
    ],
    "Namespace": [NAME, ("Status", lambda obj: obj["status"].get("phase", "")), AGE],
    "Node": [NAME, ("Status", lambda obj: "Ready" if is_ready(obj) else "NotReady"), AGE],
    "HorizontalPodAutoscaler": [
        NAME,
        ("Reference", _autoscaled),
        ("MinPods", lambda obj: obj["spec"].get("minReplicas", 1)),
        ("MaxPods", lambda obj: obj["spec"].get("maxReplicas", "")),
        ("Replicas", lambda obj: counted(obj, "currentReplicas")),
        AGE,
    ],
}


def columns_of(kind: str) -> list[tuple[str, Any]]:
    return COLUMNS.get(kind, [NAME, AGE])


def table(
    kind: str, objects: Sequence[Json], meta: Json, *, whole_objects: bool, header: bool = True
) -> Json:
    """The objects as a Table; a watch sends the column definitions once, with its first event."""
    columns = columns_of(kind)
    definitions = [
        {
            "name": name.rstrip("*"),
            "type": "string",
            "format": "name" if name == "Name" else "",
            "description": "",
            "priority": 1 if name.endswith("*") else 0,
        }
        for name, _cell in columns
    ]
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": meta,
        "columnDefinitions": definitions if header else None,
        "rows": [
            {
                "cells": [cell(obj) for _name, cell in columns],
                "object": obj if whole_objects else _partial(obj),
            }
            for obj in objects
        ],
    }


def _partial(obj: Json) -> Json:
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": obj["metadata"]}
