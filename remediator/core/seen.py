"""What was seen around a target, as values: its pods and their ends, its autoscalers, its strategy.

No judgement: what follows from it is said by `facts`. None always means: could not be read.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a container last ended, when that was no success."""

    container: str
    reason: str
    """As the kubelet says it: Error, OOMKilled, ContainerCannotRun."""
    exit_code: int
    at: datetime | None = None
    restarts: int = 0

    @property
    def out_of_memory(self) -> bool:
        """Both marks count: 137 alone may be a probe's kill, the reason alone a child's end long before."""
        return self.reason == "OOMKilled" and self.exit_code == _KILLED

    def __str__(self) -> str:
        when = f" at {self.at:%H:%M:%S}" if self.at else ""
        return f"{self.container} ended with {self.exit_code} ({self.reason}){when}, {self.restarts} restarts"


_KILLED = 137


@dataclass(frozen=True, slots=True, kw_only=True)
class PodSeen:
    """One pod of the current template."""

    name: str
    ready: bool
    waiting: tuple[str, ...] = ()
    """Waiting reasons of its containers and init containers, e.g. CrashLoopBackOff."""
    endings: tuple[Ending, ...] = ()
    unschedulable: str | None = None
    """The scheduler's message when it finds no node."""
    restarts: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberedPod:
    """A pod of a StatefulSet: its place in the order, and what was seen of it."""

    number: int
    """Counted from 0, wherever the names begin to count."""
    pod: PodSeen


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """How a StatefulSet goes about its pods, which are numbered, and replaced from the last to the first."""

    on_delete: bool = False
    """Whether it replaces a pod only once somebody deletes it."""
    partition: int = 0
    """Pods with a lower number keep their template."""
    one_by_one: bool = True
    """OrderedReady: nothing is added, replaced or taken away while a pod is not ready. Else Parallel."""
    unready: tuple[NumberedPod, ...] | None = None
    """The pods that are not ready, of whatever template, by number."""
    drops_volumes: bool = False
    """Whether the volumes of a pod that is scaled away are deleted with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Autoscaler:
    """A HorizontalPodAutoscaler on the target."""

    name: str
    minimum: int = 1
    maximum: int
    current: int = 0
    desired: int = 0
    """What it last asked for; 0 while it has asked for nothing."""
    owner: str | None = None
    """Who made it and would change it back, e.g. `ScaledObject/web`."""
    uid: str = ""

    @property
    def growing(self) -> bool:
        """Whether it is about to add pods."""
        return self.desired > self.current

    def __str__(self) -> str:
        wants = f", wants {self.desired} of now {self.current}" if self.desired else ""
        made = f", made by {self.owner}" if self.owner else ""
        return f"{self.name} ({self.minimum} to {self.maximum} replicas{wants}{made})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Strategy:
    """How a change of the template replaces the pods."""

    kind: str = "RollingUpdate"
    missing: int = 0
    """How many pods it may take away before their successors are ready."""

    @property
    def words(self) -> str:
        if self.kind == "Recreate":
            return "strategy Recreate takes every pod away before the first new one starts"
        if self.kind == "OnDelete":
            return "strategy OnDelete replaces a pod only once somebody deletes it"
        return f"a rollout may take {self.missing} pods away before their successors are ready"


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """A ReplicaSet that the Deployment could go back to. `digest` leaves out hash and `restartedAt`."""

    replica_set_uid: str
    number: int
    digest: str
    images: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Between:
    """A moment known only within bounds."""

    earliest: datetime
    latest: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class EventSeen:
    """A Kubernetes Event about the Deployment, a ReplicaSet or a pod of it."""

    at: datetime | None
    """When it last happened."""
    about: str
    """`kind/name`."""
    kind: str
    """Normal or Warning."""
    reason: str
    message: str
    count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSeen:
    """The last lines of a container that crashed."""

    pod: str
    container: str
    lines: tuple[str, ...]
