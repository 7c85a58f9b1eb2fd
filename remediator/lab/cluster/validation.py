"""The rules of the API server that a client of Deployments can run into.

Everything wrong is reported at once as one 422, as the real server does. This is not the
whole of Kubernetes' validation: fields that no control loop here reads are taken as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from remediator.lab.cluster.errors import forbidden_field, invalid, required, wrong
from remediator.lab.cluster.objects import name_of, same
from remediator.lab.cluster.resources import AUTOSCALERS, DEPLOYMENTS, PODS, REPLICA_SETS, STATEFUL_SETS
from remediator.lab.cluster.selectors import by_selector

if TYPE_CHECKING:
    from remediator.lab.cluster.resources import Json, Resource

Causes = list[dict[str, str]]


def check(resource: Resource, obj: Json, old: Json | None) -> None:
    """Raise 422 with every cause when `obj` may not be stored in place of `old`."""
    causes: Causes = []
    if old is not None:
        causes += _immutable_metadata(obj, old)
    if resource in (DEPLOYMENTS, REPLICA_SETS, STATEFUL_SETS):
        causes += _workload(obj["spec"])
        if old is not None and not same(obj["spec"].get("selector"), old["spec"].get("selector")):
            causes.append(wrong("spec.selector", obj["spec"].get("selector"), "field is immutable"))
    if resource is AUTOSCALERS:
        causes += _autoscaler(obj["spec"])
    if resource is DEPLOYMENTS:
        causes += _strategy(obj["spec"]["strategy"])
    if resource is PODS:
        causes += _containers("spec", obj["spec"])
        if old is not None:
            causes += _pod_update(obj["spec"], old["spec"])
    if causes:
        raise invalid(resource.kind, resource.group, name_of(obj), causes)


def replicas_cause(value: Any) -> Causes:
    if isinstance(value, bool) or not isinstance(value, int):
        return [wrong("spec.replicas", value, "must be an integer")]
    if value < 0:
        return [wrong("spec.replicas", value, "must be greater than or equal to 0")]
    return []


def _autoscaler(spec: Json) -> Causes:
    least, most = spec["minReplicas"], spec.get("maxReplicas", 0)
    causes: Causes = []
    if least < 1:
        causes.append(wrong("spec.minReplicas", least, "must be greater than or equal to 1"))
    if most < 1:
        causes.append(wrong("spec.maxReplicas", most, "must be greater than 0"))
    elif most < least:
        why = "must be greater than or equal to `minReplicas`"
        causes.append(wrong("spec.maxReplicas", most, why))
    return causes


def _immutable_metadata(obj: Json, old: Json) -> Causes:
    return [
        wrong(f"metadata.{field}", obj["metadata"].get(field), "field is immutable")
        for field in ("uid", "creationTimestamp")
        if obj["metadata"].get(field) != old["metadata"].get(field)
    ]


def _workload(spec: Json) -> Causes:
    causes = replicas_cause(spec["replicas"])
    selector = spec.get("selector")
    if not selector:
        causes.append(required("spec.selector"))
    template = spec["template"]
    if not by_selector(selector)({"metadata": template.get("metadata") or {}}):
        labels = (template.get("metadata") or {}).get("labels")
        causes.append(
            wrong("spec.template.metadata.labels", labels, "`selector` does not match template `labels`")
        )
    return causes + _containers("spec.template.spec", template["spec"])


def _containers(path: str, spec: Json) -> Causes:
    containers = spec.get("containers")
    if not containers:
        return [required(f"{path}.containers")]
    causes: Causes = []
    names: set[str] = set()
    for index, container in enumerate(containers):
        where = f"{path}.containers[{index}]"
        causes += [required(f"{where}.{field}") for field in ("name", "image") if not container.get(field)]
        if container.get("name") in names:
            duplicate = {
                "reason": "FieldValueDuplicate",
                "message": f'Duplicate value: "{container["name"]}"',
            }
            causes.append({**duplicate, "field": f"{where}.name"})
        names.add(str(container.get("name")))
    return causes


def _strategy(strategy: Json) -> Causes:
    if strategy["type"] == "Recreate" and strategy.get("rollingUpdate"):
        why = "may not be specified when strategy `type` is 'Recreate'"
        return [forbidden_field("spec.strategy.rollingUpdate", why)]
    if strategy["type"] not in {"Recreate", "RollingUpdate"}:
        return [wrong("spec.strategy.type", strategy["type"], "must be Recreate or RollingUpdate")]
    rolling = strategy.get("rollingUpdate") or {}
    if rolling.get("maxSurge") in (0, "0%") and rolling.get("maxUnavailable") in (0, "0%"):
        why = "may not be 0 when `maxSurge` is 0"
        return [wrong("spec.strategy.rollingUpdate.maxUnavailable", 0, why)]
    return []


def _pod_update(spec: Json, old: Json) -> Causes:
    def comparable(spec: Json) -> Json:
        """Only images, tolerations and the node (set by binding) may change in a running pod's spec."""
        containers = [{**container, "image": ""} for container in spec.get("containers") or []]
        return {**spec, "containers": containers, "tolerations": None, "nodeName": None}

    if same(comparable(spec), comparable(old)):
        return []
    why = "pod updates may not change fields other than `spec.containers[*].image` and `spec.tolerations`"
    return [forbidden_field("spec", why)]
