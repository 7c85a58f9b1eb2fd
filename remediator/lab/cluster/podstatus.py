"""The statuses of pods, shaped as a kubelet writes them.

A condition keeps its lastTransitionTime while its status stays the same, and a running
container keeps its startedAt: readers tell "since when" from these.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from remediator.lab.cluster.objects import condition, uid_of

if TYPE_CHECKING:
    from remediator.lab.cluster.resources import Json

FATES = ("crash", "oom", "imagepull", "pending", "slow")


def unschedulable_status(pod: Json, now: str) -> Json:
    text = "0/1 nodes are available: 1 Insufficient memory."
    refused = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": text}
    return {"phase": "Pending", "conditions": [_condition(pod, now, refused)]}


def waiting_status(
    pod: Json, now: str, reason: str, message: str = "", *, restarts: int = 0, last: Json | None = None
) -> Json:
    """The first container waits; the others run, unless everything is still being created."""
    waiting: Json = {"waiting": {"reason": reason, **({"message": message} if message else {})}}
    first, *others = pod["spec"]["containers"]
    creating = reason == "ContainerCreating"
    statuses = [_container(first, waiting, ready=False, restarts=restarts, last=last)]
    for container in others:
        state = waiting if creating else _running(pod, container["name"], now)
        statuses.append(_container(container, state, ready=not creating))
    return {
        "phase": "Running" if restarts else "Pending",
        "conditions": _conditions(pod, now, ready=False, unready=[first["name"]]),
        **_where(pod, now),
        **_init_containers(pod, now),
        "containerStatuses": statuses,
    }


def ready_status(pod: Json, now: str, *, ready: bool) -> Json:
    containers = pod["spec"]["containers"]
    return {
        "phase": "Running",
        "conditions": _conditions(pod, now, ready=ready, unready=[c["name"] for c in containers]),
        **_where(pod, now),
        **_init_containers(pod, now),
        "containerStatuses": [_container(c, _running(pod, c["name"], now), ready=ready) for c in containers],
    }


def qos_class(pod: Json) -> str:
    resources = [container.get("resources") or {} for container in pod["spec"]["containers"]]
    if not any(found.get("requests") or found.get("limits") for found in resources):
        return "BestEffort"
    guaranteed = all(
        (found.get("limits") or {}).keys() >= {"cpu", "memory"}
        and (found.get("requests") or found["limits"]) == found["limits"]
        for found in resources
    )
    return "Guaranteed" if guaranteed else "Burstable"


def _condition(pod: Json, now: str, fresh: Json) -> Json:
    before = condition(pod, fresh["type"])
    unmoved = before is not None and before["status"] == fresh["status"]
    return {**fresh, "lastTransitionTime": before["lastTransitionTime"] if before and unmoved else now}


def _conditions(pod: Json, now: str, *, ready: bool, unready: list[str]) -> list[Json]:
    why = {}
    if not ready:
        named = " ".join(unready)
        why = {"reason": "ContainersNotReady", "message": f"containers with unready status: [{named}]"}
    answer = "True" if ready else "False"
    return [
        _condition(pod, now, fresh)
        for fresh in (
            {"type": "Initialized", "status": "True"},
            {"type": "PodScheduled", "status": "True"},
            {"type": "ContainersReady", "status": answer, **why},
            {"type": "Ready", "status": answer, **why},
        )
    ]


def _running(pod: Json, container: str, now: str) -> Json:
    for known in (pod.get("status") or {}).get("containerStatuses") or []:
        if known["name"] == container and "running" in known["state"]:
            return dict(known["state"])
    return {"running": {"startedAt": now}}


def _container(
    container: Json, state: Json, *, ready: bool, restarts: int = 0, last: Json | None = None
) -> Json:
    return {
        "name": container["name"],
        "image": container["image"],
        "imageID": "",
        "ready": ready,
        "started": "running" in state,
        "restartCount": restarts,
        "state": state,
        "lastState": {"terminated": last} if last else {},
    }


def _where(pod: Json, now: str) -> Json:
    known = pod.get("status") or {}
    address = known.get("podIP") or _address(pod)
    started = known.get("startTime") or now
    return {"hostIP": "127.0.0.1", "podIP": address, "podIPs": [{"ip": address}], "startTime": started}


def _address(pod: Json) -> str:
    number = int(uid_of(pod).replace("-", "")[:4], 16)
    return f"10.244.{number >> 8}.{number & 255}"


def _init_containers(pod: Json, now: str) -> Json:
    containers = pod["spec"].get("initContainers") or []
    if not containers:
        return {}
    known = (pod.get("status") or {}).get("initContainerStatuses")
    done = {"terminated": {"exitCode": 0, "reason": "Completed", "startedAt": now, "finishedAt": now}}
    return {"initContainerStatuses": known or [_container(c, done, ready=True) for c in containers]}
