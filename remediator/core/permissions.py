"""What we need to be allowed to do, in Kubernetes' words: a verb on a resource, and what for.

The adapter needs exactly these; a test records its requests and compares. An access review says
which of them are missing, and a step that needs a missing one is refused before it is tried.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import assert_never

from remediator.core.actions import Action, RollingRestart, RolloutUndo, Scale, SetMinimum, Target, Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class Permission:
    verb: str
    resource: str
    """With its subresource, e.g. `deployments/scale`."""
    group: str = ""
    named: bool = True
    """Whether it can be limited to the target's name; a list cannot."""
    because: str = field(compare=False)

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}" + (f" ({self.group})" if self.group else "")


READS = (
    Permission(
        verb="get",
        resource="deployments",
        group="apps",
        because="look before every decision and every write, and follow the rollout",
    ),
    Permission(
        verb="list",
        resource="replicasets",
        group="apps",
        named=False,
        because="the rollout history: what came when, what to go back to, which pods are current",
    ),
    Permission(
        verb="list",
        resource="pods",
        named=False,
        because="the facts crash_looping, image_pull_failing, oom_killed and unschedulable",
    ),
    Permission(
        verb="list",
        resource="horizontalpodautoscalers",
        group="autoscaling",
        named=False,
        because="the fact hpa: replicas that an autoscaler owns are left alone",
    ),
    Permission(
        verb="list",
        resource="poddisruptionbudgets",
        group="policy",
        named=False,
        because="the story: how many evictions the service can bear",
    ),
    Permission(
        verb="list",
        resource="pods",
        group="metrics.k8s.io",
        named=False,
        because="the fact resource_pressure: usage against the limits",
    ),
    Permission(
        verb="list",
        resource="events",
        named=False,
        because="the story: what Kubernetes said of the Deployment, its ReplicaSets and pods",
    ),
)
_OF_STATEFUL_SETS = {"deployments": "statefulsets", "replicasets": "controllerrevisions"}


def _of(kind: Workload, permission: Permission) -> Permission:
    """The same permission for another kind of workload."""
    resource, slash, subresource = permission.resource.partition("/")
    if kind is Workload.DEPLOYMENT or resource not in _OF_STATEFUL_SETS:
        return permission
    return replace(permission, resource=f"{_OF_STATEFUL_SETS[resource]}{slash}{subresource}")


READ_LOGS = Permission(
    verb="get",
    resource="pods/log",
    named=False,
    because="the story: the last lines of a crashed container, since the policy wants them",
)
READ_SCALE = Permission(
    verb="get",
    resource="deployments/scale",
    group="apps",
    because="scale: the replica count and the version to start from",
)
WRITE_SCALE = Permission(
    verb="patch", resource="deployments/scale", group="apps", because="scale: set the replica count"
)
WRITE_MINIMUM = Permission(
    verb="patch",
    resource="horizontalpodautoscalers",
    group="autoscaling",
    named=False,  # the autoscaler is found by what it scales; its name is whatever its owner chose
    because="under_hpa: raise_min: set minReplicas; RBAC cannot limit that to one field or one autoscaler",
)
WRITE_DEPLOYMENT = Permission(
    verb="patch",
    resource="deployments",
    group="apps",
    because="rolling restart and rollout undo: change the pod template",
)


CREATE_EVENTS = Permission(
    verb="create",
    resource="events",
    named=False,
    because="optional: Events on the target tell what was done and why, for kubectl describe",
)

WRITE_STATEFUL_SET = replace(
    _of(Workload.STATEFUL_SET, WRITE_DEPLOYMENT), because="rolling restart: change the pod template"
)

WRITES = (
    READ_SCALE,
    WRITE_SCALE,
    _of(Workload.STATEFUL_SET, READ_SCALE),
    _of(Workload.STATEFUL_SET, WRITE_SCALE),
    WRITE_MINIMUM,
    WRITE_DEPLOYMENT,
    WRITE_STATEFUL_SET,
)


def reads_of(kind: Workload) -> tuple[Permission, ...]:
    """What looking at a target of this kind needs."""
    return tuple(_of(kind, permission) for permission in READS)


def needed_by(action: Action, kind: Workload = Workload.DEPLOYMENT) -> tuple[Permission, ...]:
    """What carrying out an action on a target of this kind needs beyond the reads."""
    match action:
        case Scale():
            return (_of(kind, READ_SCALE), _of(kind, WRITE_SCALE))
        case SetMinimum():
            return (WRITE_MINIMUM,)
        case RolloutUndo() if kind is Workload.STATEFUL_SET:
            return ()  # it is never done
        case RollingRestart() | RolloutUndo():
            return (WRITE_DEPLOYMENT if kind is Workload.DEPLOYMENT else WRITE_STATEFUL_SET,)
        case _ as never:
            assert_never(never)


def needed_for(action: Action, kind: Workload = Workload.DEPLOYMENT) -> tuple[Permission, ...]:
    """What a step may need, whichever way it comes to be carried out."""
    also = (WRITE_MINIMUM,) if isinstance(action, Scale) and action.raises_minimum else ()
    return (*needed_by(action, kind), *also)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessReview:
    """What the API server says we may not do on each target, of what was asked about."""

    missing: Mapping[Target, tuple[Permission, ...]] = field(default_factory=dict)
    unanswered: str | None = None
    """Why some questions have no answer; None when all have one."""

    @property
    def complaint(self) -> str | None:
        """What is missing, in words; None when nothing is."""
        said = [
            f"{target} lacks {', '.join(map(str, permissions))}"
            for target, permissions in sorted(self.missing.items())
            if permissions
        ]
        if self.unanswered:
            said.append(f"the access review is incomplete: {self.unanswered}")
        return "; ".join(said) or None
