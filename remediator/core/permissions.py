"""What we need to be allowed to do, in Kubernetes' words: a verb on a resource, and what for.

The adapter needs exactly these; a test records its requests and compares. An access review says
which of them are missing, and a step that needs a missing one is refused before it is tried.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import assert_never

from remediator.core.actions import Action, RollingRestart, RolloutUndo, Scale, Target


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
        resource="pods",
        group="metrics.k8s.io",
        named=False,
        because="the fact resource_pressure: usage against the limits",
    ),
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
WRITE_DEPLOYMENT = Permission(
    verb="patch",
    resource="deployments",
    group="apps",
    because="rolling restart and rollout undo: change the pod template",
)


WRITES = (READ_SCALE, WRITE_SCALE, WRITE_DEPLOYMENT)


def needed_by(action: Action) -> tuple[Permission, ...]:
    """What carrying out an action needs beyond the reads."""
    match action:
        case Scale():
            return (READ_SCALE, WRITE_SCALE)
        case RollingRestart() | RolloutUndo():
            return (WRITE_DEPLOYMENT,)
        case _ as never:
            assert_never(never)


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
