"""A pod's status -> what was seen of it: waiting reasons, failed ends, whether a node was found.

Init containers count like the others: a pod that cannot get past one fares no better.
"""

from __future__ import annotations

from remediator.adapters.kubernetes.objects import (
    Json,
    condition,
    items,
    mapping,
    moment,
    name_of,
    number,
    text,
    value_at,
)
from remediator.core.seen import Ending, PodSeen


def pod_seen(pod: Json) -> PodSeen:
    containers = [*items(pod, "status", "initContainerStatuses"), *items(pod, "status", "containerStatuses")]
    waiting = [text(container, "state", "waiting", "reason") for container in containers]
    scheduled = condition(pod, "PodScheduled")
    unplaced = scheduled.get("status") == "False" and scheduled.get("reason") == "Unschedulable"
    return PodSeen(
        name=name_of(pod),
        ready=condition(pod, "Ready").get("status") == "True",
        waiting=tuple(dict.fromkeys(reason for reason in waiting if reason)),
        endings=tuple(end for container in containers if (end := _ending(container))),
        unschedulable=(text(scheduled, "message") or "no node was found") if unplaced else None,
        restarts=sum(number(container, "restartCount") for container in containers),
    )


def active(pod: Json) -> bool:
    """As a controller counts: evicted, finished and leaving pods have been replaced, or are about to be."""
    leaving = value_at(pod, "metadata", "deletionTimestamp") is not None
    return not leaving and text(pod, "status", "phase") not in {"Succeeded", "Failed"}


def _ending(container: Json) -> Ending | None:
    """Its last end, if it failed: of now, or of the run before this one."""
    for state in ("state", "lastState"):
        ended = mapping(container, state, "terminated")
        if ended and ended.get("exitCode") != 0:
            return Ending(
                container=text(container, "name"),
                reason=text(ended, "reason"),
                exit_code=number(ended, "exitCode"),
                at=moment(ended, "finishedAt"),
                restarts=number(container, "restartCount"),
            )
    return None
