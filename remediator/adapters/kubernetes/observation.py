"""Raw objects -> Observation: values, no judgement.

Each secondary read may have failed on its own; what follows from it is then None, and `unreadable` says
why. Nothing that could not be read is ever reported as empty.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from remediator.adapters.kubernetes.objects import (
    Json,
    condition,
    controlled_by,
    controller_of,
    digest_of,
    generation_of,
    images_of,
    items,
    mapping,
    name_of,
    number,
    text,
    uid_of,
    value_at,
    wanted_replicas,
)
from remediator.adapters.kubernetes.quantities import usage_of
from remediator.adapters.kubernetes.revisions import (
    REVISION,
    History,
    revision_of,
)
from remediator.adapters.kubernetes.status import deadline_exceeded, ready_replicas, rolled_out, rolled_out_at
from remediator.core.facts import Observation, PodSeen

OPT_IN_LABEL = "remediator/enabled"
OUR_NAME = "remediator"
_GITOPS_ANNOTATIONS = ("argocd.argoproj.io/tracking-id",)
_GITOPS_LABELS = (
    "argocd.argoproj.io/instance",
    "kustomize.toolkit.fluxcd.io/name",
    "helm.toolkit.fluxcd.io/name",
)
_KILLED = 137

Listing = list[Json] | str
"""The objects of a list, or why they could not be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Everything that was read about one Deployment."""

    deployment: Json
    at: datetime
    replica_sets: Listing
    pods: Listing
    hpas: Listing
    metrics: Listing


def observation_from(reading: Reading) -> Observation:
    deployment = reading.deployment
    unreadable: dict[str, str] = {}
    history = _history(reading)
    pods = _current_pods(reading, history)
    done, detail = rolled_out(deployment)
    labels = mapping(deployment, "metadata", "labels")
    return Observation(
        at=reading.at,
        uid=uid_of(deployment),
        generation=generation_of(deployment),
        template_digest=digest_of(deployment),
        replicas=wanted_replicas(deployment),
        ready=ready_replicas(deployment),
        opted_in=labels.get(OPT_IN_LABEL) == "true",
        ourselves=labels.get("app.kubernetes.io/name") == OUR_NAME,
        paused=value_at(deployment, "spec", "paused") is True,
        rolled_out=done,
        rolled_out_at=rolled_out_at(deployment) if done else None,
        rollout_detail=detail,
        progress_deadline_exceeded=deadline_exceeded(deployment),
        revision=_revision(deployment),
        images=images_of(deployment),
        hpas=_hpas(reading, unreadable),
        pods=_pods(pods, unreadable),
        usage=_usage(pods, reading.metrics, unreadable),
        gitops=_gitops_marks(deployment),
        controller=_controller(deployment),
        **_past(history, reading.at, unreadable),
        unreadable=unreadable,
    )


def _history(reading: Reading) -> History | str:
    if isinstance(reading.replica_sets, str):
        return reading.replica_sets
    return History(reading.deployment, controlled_by(reading.replica_sets, uid_of(reading.deployment)))


def _past(history: History | str, now: datetime, unreadable: dict[str, str]) -> Json:
    if isinstance(history, str):
        unreadable["previous"] = unreadable["template_changed"] = history
        return {}
    changed = history.template_changed(now)
    if changed is None:
        unreadable["template_changed"] = "the objects carry no creation times"
    return {"previous": history.previous(), "template_changed": changed}


def _current_pods(reading: Reading, history: History | str) -> Listing:
    """The pods of the current template that are in use; those of older ReplicaSets have their own story."""
    if isinstance(history, str):
        return history
    if isinstance(reading.pods, str):
        return reading.pods
    current = history.current()
    if current is None:
        return "the current template has no ReplicaSet yet"
    return [pod for pod in controlled_by(reading.pods, uid_of(current)) if _active(pod)]


def _active(pod: Json) -> bool:
    """As the ReplicaSet controller counts: evicted, finished and leaving pods have been replaced."""
    leaving = value_at(pod, "metadata", "deletionTimestamp") is not None
    return not leaving and text(pod, "status", "phase") not in {"Succeeded", "Failed"}


def _pods(pods: Listing, unreadable: dict[str, str]) -> tuple[PodSeen, ...] | None:
    if isinstance(pods, str):
        unreadable["pods"] = pods
        return None
    return tuple(_pod_seen(pod) for pod in pods)


def _pod_seen(pod: Json) -> PodSeen:
    containers = [*items(pod, "status", "initContainerStatuses"), *items(pod, "status", "containerStatuses")]
    waiting = [text(container, "state", "waiting", "reason") for container in containers]
    scheduled = condition(pod, "PodScheduled")
    unplaced = scheduled.get("status") == "False" and scheduled.get("reason") == "Unschedulable"
    return PodSeen(
        name=name_of(pod),
        ready=condition(pod, "Ready").get("status") == "True",
        waiting=tuple(dict.fromkeys(reason for reason in waiting if reason)),
        oom_killed=any(_oom_killed(container) for container in containers),
        unschedulable=(text(scheduled, "message") or "no node was found") if unplaced else None,
        restarts=sum(number(container, "restartCount") for container in containers),
    )


def _oom_killed(container: Json) -> bool:
    """Both marks are needed: 137 alone may be a probe's kill, the reason alone a child's end long before."""
    ends = [mapping(container, state, "terminated") for state in ("state", "lastState")]
    return any(end.get("reason") == "OOMKilled" and end.get("exitCode") == _KILLED for end in ends)


def _usage(pods: Listing, metrics: Listing, unreadable: dict[str, str]) -> float | None:
    if isinstance(pods, str) or isinstance(metrics, str):
        unreadable["usage"] = metrics if isinstance(metrics, str) else str(pods)
        return None
    usage, why = usage_of(pods, metrics)
    if usage is None:
        unreadable["usage"] = why
    return usage


def _hpas(reading: Reading, unreadable: dict[str, str]) -> tuple[str, ...] | None:
    if isinstance(reading.hpas, str):
        unreadable["hpas"] = reading.hpas
        return None
    name = name_of(reading.deployment)
    return tuple(sorted(name_of(hpa) for hpa in reading.hpas if _scales(hpa, name)))


def _scales(hpa: Json, deployment: str) -> bool:
    scaled = mapping(hpa, "spec", "scaleTargetRef")
    group = text(scaled, "apiVersion").rpartition("/")[0]
    return (
        scaled.get("kind") == "Deployment"
        and scaled.get("name") == deployment
        and group in {"apps", "extensions", ""}
    )


def _gitops_marks(deployment: Json) -> tuple[str, ...]:
    annotations = mapping(deployment, "metadata", "annotations")
    labels = mapping(deployment, "metadata", "labels")
    marks = [f"annotation {key}={annotations[key]}" for key in _GITOPS_ANNOTATIONS if key in annotations]
    return (*marks, *(f"label {key}={labels[key]}" for key in _GITOPS_LABELS if key in labels))


def _controller(deployment: Json) -> str | None:
    owner = controller_of(deployment)
    return f"{text(owner, 'kind')}/{text(owner, 'name')}" if owner else None


def _revision(deployment: Json) -> int | None:
    annotated = REVISION in mapping(deployment, "metadata", "annotations")
    return revision_of(deployment) if annotated else None
