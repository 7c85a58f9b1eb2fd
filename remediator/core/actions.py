"""The three things we may do to a Deployment, as data, bounded when built.

An action says what is wanted; an intent says exactly what will be sent, against which state of the
object. The intent is journaled before the API write, so that after a crash the object itself tells
whether it happened.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, assert_never

_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_DNS_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


@dataclass(frozen=True, slots=True, order=True)
class Target:
    """The Deployment we may touch."""

    namespace: str
    deployment: str

    def __post_init__(self) -> None:
        if not _DNS_LABEL.fullmatch(self.namespace) or not _DNS_SUBDOMAIN.fullmatch(self.deployment):
            raise ValueError(f"{self.namespace!r}/{self.deployment!r} is not a Kubernetes name")

    def __str__(self) -> str:
        return f"{self.namespace}/{self.deployment}"


@dataclass(frozen=True, slots=True)
class RollingRestart:
    def __str__(self) -> str:
        return "rolling restart"


@dataclass(frozen=True, slots=True)
class RolloutUndo:
    def __str__(self) -> str:
        return "rollout undo"


@dataclass(frozen=True, slots=True)
class Scale:
    """Scale to a replica count, in one direction only: a step meant to help never takes capacity away."""

    to: int
    down: bool = False

    def __post_init__(self) -> None:
        if self.to < 1:
            raise ValueError("a Deployment is never scaled below 1 replica")

    def __str__(self) -> str:
        return f"scale {'down' if self.down else 'up'} to {self.to}"


Action = RollingRestart | RolloutUndo | Scale


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartIntent:
    """Set the template annotation `kubectl.kubernetes.io/restartedAt` to `restarted_at`.

    The rest of the template, by its digest, is to stay as it is: a later change is somebody else's.
    """

    uid: str
    generation: int
    template_digest: str
    restarted_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoIntent:
    """Put back the template of one ReplicaSet. Digests leave out hash and `restartedAt`."""

    uid: str
    generation: int
    template_digest: str
    replica_set_uid: str
    revision: int
    target_digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleIntent:
    uid: str
    generation: int
    replicas_from: int
    replicas_to: int


Intent = RestartIntent | UndoIntent | ScaleIntent

_INTENTS: dict[str, type[RestartIntent | UndoIntent | ScaleIntent]] = {
    "restart": RestartIntent,
    "undo": UndoIntent,
    "scale": ScaleIntent,
}


def kind_of(thing: Action | Intent) -> str:
    """`restart`, `undo` or `scale`: the word in the policy, the journal and the metrics."""
    match thing:
        case RollingRestart() | RestartIntent():
            return "restart"
        case RolloutUndo() | UndoIntent():
            return "undo"
        case Scale() | ScaleIntent():
            return "scale"
        case _ as never:
            assert_never(never)


ACTION_KINDS = tuple(_INTENTS)


def describe(intent: Intent) -> str:
    """What will be sent, in words."""
    match intent:
        case RestartIntent():
            return "rolling restart"
        case UndoIntent():
            return f"rollout undo to revision {intent.revision}"
        case ScaleIntent():
            return f"scale from {intent.replicas_from} to {intent.replicas_to} replicas"
        case _ as never:
            assert_never(never)


def intent_to_record(intent: Intent) -> dict[str, Any]:
    """The intent as JSON values, for the journal."""
    return {"kind": kind_of(intent), **asdict(intent)}


def intent_from_record(record: dict[str, Any]) -> Intent:
    """The reverse of `intent_to_record`."""
    fields = {key: value for key, value in record.items() if key != "kind"}
    return _INTENTS[record["kind"]](**fields)


def restart_timestamp(now: datetime) -> str:
    """The value kubectl would write, in UTC: RFC 3339 with one-second resolution."""
    return now.strftime("%Y-%m-%dT%H:%M:%SZ")
