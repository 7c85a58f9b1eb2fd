"""The kinds this API server knows, and what is special about each.

One Resource per stored kind; `versions` lists the served API versions, the preferred one
first (objects are stored once, whatever the version they were written in). `spec_is_versioned`
says whether `metadata.generation` counts spec changes; Deployments also count annotation
changes, as Kubernetes' Deployment strategy does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True)
class Resource:
    plural: str
    kind: str
    group: str = ""
    versions: tuple[str, ...] = ("v1",)
    short: tuple[str, ...] = ()
    namespaced: bool = True
    subresources: tuple[str, ...] = ()
    spec_is_versioned: bool = False
    needs_version_on_update: bool = False
    typed: bool = True  # False: like a custom resource, it has no strategic merge patch
    in_all: bool = False  # part of `kubectl get all`

    @property
    def qualified(self) -> str:
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def api_version(self) -> str:
        return self.at(self.versions[0])

    def at(self, version: str) -> str:
        return f"{self.group}/{version}" if self.group else version


NAMESPACES = Resource("namespaces", "Namespace", short=("ns",), namespaced=False, subresources=("status",))
NODES = Resource("nodes", "Node", short=("no",), namespaced=False, subresources=("status",))
PODS = Resource("pods", "Pod", short=("po",), subresources=("status", "log"), in_all=True)
EVENTS = Resource("events", "Event", short=("ev",))
CONFIG_MAPS = Resource("configmaps", "ConfigMap", short=("cm",))
SERVICES = Resource("services", "Service", short=("svc",), in_all=True)
DEPLOYMENTS = Resource(
    "deployments",
    "Deployment",
    "apps",
    short=("deploy",),
    subresources=("status", "scale"),
    spec_is_versioned=True,
    in_all=True,
)
REPLICA_SETS = Resource(
    "replicasets",
    "ReplicaSet",
    "apps",
    short=("rs",),
    subresources=("status", "scale"),
    spec_is_versioned=True,
    in_all=True,
)
STATEFUL_SETS = Resource(
    "statefulsets",
    "StatefulSet",
    "apps",
    short=("sts",),
    subresources=("status", "scale"),
    spec_is_versioned=True,
    in_all=True,
)
CONTROLLER_REVISIONS = Resource("controllerrevisions", "ControllerRevision", "apps")
AUTOSCALERS = Resource(
    "horizontalpodautoscalers",
    "HorizontalPodAutoscaler",
    "autoscaling",
    versions=("v2", "v1"),
    short=("hpa",),
    subresources=("status",),
    in_all=True,
)
DISRUPTION_BUDGETS = Resource(
    "poddisruptionbudgets",
    "PodDisruptionBudget",
    "policy",
    short=("pdb",),
    subresources=("status",),
    spec_is_versioned=True,
    needs_version_on_update=True,
)
LEASES = Resource("leases", "Lease", "coordination.k8s.io", needs_version_on_update=True)
POD_METRICS = Resource("pods", "PodMetrics", "metrics.k8s.io", versions=("v1beta1",), typed=False)

RESOURCES = (
    NAMESPACES,
    NODES,
    PODS,
    EVENTS,
    CONFIG_MAPS,
    SERVICES,
    DEPLOYMENTS,
    REPLICA_SETS,
    STATEFUL_SETS,
    CONTROLLER_REVISIONS,
    AUTOSCALERS,
    DISRUPTION_BUDGETS,
    LEASES,
    POD_METRICS,
)

# Asked by POST only and never stored.
ACCESS_REVIEWS = Resource(
    "selfsubjectaccessreviews", "SelfSubjectAccessReview", "authorization.k8s.io", namespaced=False
)

SCALABLE = (DEPLOYMENTS, REPLICA_SETS, STATEFUL_SETS)


def find(group: str, version: str, plural: str) -> Resource | None:
    for resource in (*RESOURCES, ACCESS_REVIEWS):
        if (resource.group, resource.plural) == (group, plural) and version in resource.versions:
            return resource
    return None


def groups() -> dict[str, list[str]]:
    """Every named API group with its versions, the preferred one first."""
    found: dict[str, list[str]] = {}
    for resource in (*RESOURCES, ACCESS_REVIEWS):
        if resource.group:
            served = found.setdefault(resource.group, [])
            served += [version for version in resource.versions if version not in served]
    return found
