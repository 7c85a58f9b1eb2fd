"""What the API server fills in when a field is left out, for the kinds whose absence matters.

Deployments and ReplicaSets get the same pod template defaults, so that a template written by
a user and one read back from history are equal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from remediator.lab.cluster.resources import (
    AUTOSCALERS,
    DEPLOYMENTS,
    DISRUPTION_BUDGETS,
    PODS,
    REPLICA_SETS,
    STATEFUL_SETS,
)

if TYPE_CHECKING:
    from remediator.lab.cluster.resources import Json, Resource

DEFAULT_MODE = 0o644
# Fields of a pod that the server cannot tell from absent when they are zero, and leaves out.
ZERO_IS_ABSENT = {
    *("hostNetwork", "hostPID", "hostIPC", "stdin", "stdinOnce", "tty", "readOnly"),
    *("hostPort", "initialDelaySeconds"),
}


def fill_in(resource: Resource, obj: Json) -> None:
    """Set the defaults of this kind on `obj`, in place."""
    if resource is DEPLOYMENTS:
        _deployment(obj.setdefault("spec", {}))
    elif resource is REPLICA_SETS:
        obj.setdefault("spec", {}).setdefault("replicas", 1)
        _template(obj["spec"])
    elif resource is STATEFUL_SETS:
        _stateful(obj.setdefault("spec", {}))
    elif resource is PODS:
        _pod(obj.setdefault("spec", {}))
    elif resource is AUTOSCALERS:
        obj.setdefault("spec", {}).setdefault("minReplicas", 1)
    elif resource is DISRUPTION_BUDGETS:
        obj.setdefault("spec", {})


def _deployment(spec: Json) -> None:
    spec.setdefault("replicas", 1)
    strategy = spec.setdefault("strategy", {})
    if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", "25%")
        rolling.setdefault("maxSurge", "25%")
    spec.setdefault("revisionHistoryLimit", 10)
    spec.setdefault("progressDeadlineSeconds", 600)
    _template(spec)


def _stateful(spec: Json) -> None:
    spec.setdefault("replicas", 1)
    spec.setdefault("podManagementPolicy", "OrderedReady")
    strategy = spec.setdefault("updateStrategy", {})
    if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
        strategy.setdefault("rollingUpdate", {}).setdefault("partition", 0)
    spec.setdefault("revisionHistoryLimit", 10)
    _template(spec)


def _template(spec: Json) -> None:
    template = spec.setdefault("template", {})
    template.setdefault("metadata", {}).pop("creationTimestamp", None)
    _pod(template.setdefault("spec", {}))


def _without_zeroes(value: Any, field: str = "") -> Any:
    """Without empty strings and the zeroes above; maps of free keys keep their empty values."""
    if isinstance(value, list):
        return [_without_zeroes(item) for item in value]
    if not isinstance(value, dict) or field in {"nodeSelector", "matchLabels"}:
        return value
    absent = {key for key, item in value.items() if item == "" or (key in ZERO_IS_ABSENT and not item)}
    return {key: _without_zeroes(item, key) for key, item in value.items() if key not in absent}


def _pod(spec: Json) -> None:
    bare = _without_zeroes(spec)
    spec.clear()
    spec.update(bare)
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("securityContext", {})
    spec.setdefault("schedulerName", "default-scheduler")
    for container in [*(spec.get("containers") or []), *(spec.get("initContainers") or [])]:
        _container(container)
    for volume in spec.get("volumes") or []:
        _volume(volume)


def _container(container: Json) -> None:
    container.setdefault("resources", {})
    container.setdefault("terminationMessagePath", "/dev/termination-log")
    container.setdefault("terminationMessagePolicy", "File")
    container.setdefault("imagePullPolicy", _pull_policy(str(container.get("image", ""))))
    for port in container.get("ports") or []:
        port.setdefault("protocol", "TCP")
    for variable in container.get("env") or []:
        field = (variable.get("valueFrom") or {}).get("fieldRef")
        if field:
            field.setdefault("apiVersion", "v1")
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        if container.get(probe):
            _probe(container[probe])


def _pull_policy(image: str) -> str:
    name = image.rsplit("/", 1)[-1]
    latest = "@" not in name and (":" not in name or name.endswith(":latest"))
    return "Always" if latest else "IfNotPresent"


def _probe(probe: Json) -> None:
    for field, value in (
        ("timeoutSeconds", 1),
        ("periodSeconds", 10),
        ("successThreshold", 1),
        ("failureThreshold", 3),
    ):
        probe.setdefault(field, value)
    if probe.get("httpGet"):
        probe["httpGet"].setdefault("scheme", "HTTP")
        probe["httpGet"].setdefault("path", "/")


def _volume(volume: Json) -> None:
    for source in ("configMap", "secret", "downwardAPI", "projected"):
        if volume.get(source):
            volume[source].setdefault("defaultMode", DEFAULT_MODE)
    if not volume.keys() - {"name"}:
        volume["emptyDir"] = {}
