"""What we may do to a Deployment, StatefulSet, or the autoscaler that owns its replicas; bounded when built.

An action says what is wanted; an intent says exactly what will be sent, against which state of the
object. The intent is journaled before the API write, so that after a crash the object itself tells
whether it happened.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, assert_never

_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_DNS_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


class Workload(StrEnum):
    """The kinds of workload we may touch, as Kubernetes writes them. A kind's `label` names it in alerts."""

    DEPLOYMENT = "Deployment"
    STATEFUL_SET = "StatefulSet"

    @property
    def label(self) -> str:
        """`deployment` or `statefulset`: in alerts, policies, queries, and for kubectl."""
        return self.value.lower()


@dataclass(frozen=True, slots=True, order=True)
class Target:
    """The workload we may touch: a Deployment unless it says otherwise."""

    namespace: str
    name: str
    kind: Workload = Workload.DEPLOYMENT

    def __post_init__(self) -> None:
        if not _DNS_LABEL.fullmatch(self.namespace) or not _DNS_SUBDOMAIN.fullmatch(self.name):
            raise ValueError(f"{self.namespace!r}/{self.name!r} is not a Kubernetes name")

    def __str__(self) -> str:
        """`namespace/name` of a Deployment, else with the kind between: as it is shown and typed."""
        if self.kind is Workload.DEPLOYMENT:
            return f"{self.namespace}/{self.name}"
        return f"{self.namespace}/{self.kind.label}/{self.name}"

    @classmethod
    def parse(cls, text: str) -> Target:
        """The reverse of `str`. Raises ValueError."""
        namespace, *kind, name = text.split("/") if text.count("/") in {1, 2} else ("", "")
        found = next((one for one in Workload if [one.label] == kind), Workload.DEPLOYMENT)
        if kind and kind != [found.label]:
            raise ValueError(f"{kind[0]!r} is not one of {', '.join(one.label for one in Workload)}")
        return cls(namespace, name, found)


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
    returns: bool = True
    """Whether a scale-up is given back once the service has stayed well."""
    raises_minimum: bool = False
    """Whether an autoscaler's `minReplicas` may be raised instead, where one owns the replica count."""

    def __post_init__(self) -> None:
        if self.to < 1:
            raise ValueError("a workload is never scaled below 1 replica")

    def __str__(self) -> str:
        otherwise = ", or an autoscaler's minReplicas" if self.raises_minimum else ""
        return f"scale {'down' if self.down else 'up'} to {self.to}{otherwise}"


@dataclass(frozen=True, slots=True)
class SetMinimum:
    """What a scale-up comes to under an autoscaler: its `minReplicas`, in one direction only."""

    to: int
    down: bool = False

    def __post_init__(self) -> None:
        if self.to < 1:
            raise ValueError("an autoscaler's minReplicas is never set below 1")

    def __str__(self) -> str:
        return f"{'lower' if self.down else 'raise'} the autoscaler's minReplicas to {self.to}"


Action = RollingRestart | RolloutUndo | Scale | SetMinimum


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


@dataclass(frozen=True, slots=True, kw_only=True)
class MinimumIntent:
    """Set `minReplicas` of the Deployment's one autoscaler; `uid` and `generation` are the Deployment's."""

    uid: str
    generation: int
    autoscaler: str
    autoscaler_uid: str
    replicas_from: int
    replicas_to: int


CountIntent = ScaleIntent | MinimumIntent
"""What changes how many replicas there are, and is given back."""

Intent = RestartIntent | UndoIntent | CountIntent

_INTENTS: dict[str, type[Intent]] = {
    "restart": RestartIntent,
    "undo": UndoIntent,
    "scale": ScaleIntent,
    "raise_min": MinimumIntent,
}


def kind_of(thing: Action | Intent) -> str:
    """`restart`, `undo`, `scale` or `raise_min`: the word in the policy, the journal and the metrics."""
    match thing:
        case RollingRestart() | RestartIntent():
            return "restart"
        case RolloutUndo() | UndoIntent():
            return "undo"
        case Scale() | ScaleIntent():
            return "scale"
        case SetMinimum() | MinimumIntent():
            return "raise_min"
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
        case MinimumIntent():
            verb = "raise" if intent.replicas_to > intent.replicas_from else "lower"
            counts = f"from {intent.replicas_from} to {intent.replicas_to}"
            return f"{verb} minReplicas of autoscaler {intent.autoscaler} {counts}"
        case _ as never:
            assert_never(never)


def in_words(intent: CountIntent, count: int) -> str:
    """A count as the intent means it: replicas, or an autoscaler's least."""
    return f"minReplicas {count}" if isinstance(intent, MinimumIntent) else f"{count} replicas"


def change_cause(intent: Intent, *, alert: str, incident: int, at: datetime) -> str:
    """What `kubectl rollout history` shows beside the revision that this makes.

    The annotation stays on the Deployment, so a later change that does not set its own inherits it: the time
    tells whose it was.
    """
    return f"remediator: {describe(intent)} for {alert} (incident {incident}, {at:%Y-%m-%dT%H:%M:%SZ})"


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
