"""What was observed about a target, and the facts that follow from it.

An adapter reports an Observation: values, no judgement. `facts_from` judges it: each fact is true,
false or unknown (None), with the evidence in words. Unknown never satisfies a step's `when`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from remediator.core.failing import crashing, failing, out_of_memory, pulling_in_vain
from remediator.core.marks import Mark
from remediator.core.permissions import Permission
from remediator.core.reasons import Reason
from remediator.core.seen import Autoscaler, Between, EventSeen, LogSeen, Order, PodSeen, Revision, Strategy

__all__ = [
    "Autoscaler",
    "Between",
    "Fact",
    "FactRules",
    "Facts",
    "Finding",
    "Observation",
    "Order",
    "PodSeen",
    "Revision",
    "Strategy",
    "Unseen",
    "facts_from",
]


class Fact(StrEnum):
    RECENT_ROLLOUT = "recent_rollout"
    PREVIOUS_REVISION = "previous_revision"
    ROLLOUT_IN_PROGRESS = "rollout_in_progress"
    ROLLOUT_STUCK = "rollout_stuck"
    CRASH_LOOPING = "crash_looping"
    IMAGE_PULL_FAILING = "image_pull_failing"
    OOM_KILLED = "oom_killed"
    UNSCHEDULABLE = "unschedulable"
    RESOURCE_PRESSURE = "resource_pressure"
    HPA = "hpa"
    GITOPS_OWNED = "gitops_owned"
    OPERATOR_OWNED = "operator_owned"
    PAUSED = "paused"
    SINGLE_REPLICA = "single_replica"


@dataclass(frozen=True, slots=True)
class Finding:
    """One fact: true, false or unknown, and why we think so."""

    truth: bool | None
    because: str


Facts = Mapping[Fact, Finding]


@dataclass(frozen=True, slots=True, kw_only=True)
class FactRules:
    """The numbers of the policy's `facts` section."""

    recent_rollout: timedelta = timedelta(minutes=60)
    resource_pressure: float = 0.8
    """Share of the limit, averaged over the pods, from which usage is pressure."""
    usage_query: str | None = None
    """PromQL for that share, asked where the API server has no pod metrics."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """A target as it was at `at` (the API server's clock). None always means: could not be read."""

    at: datetime
    uid: str
    generation: int
    template_digest: str
    replicas: int
    ready: int
    opted_in: bool
    ourselves: bool = False
    """Whether it is the remediator's own Deployment."""
    paused: bool = False
    marks: tuple[Mark, ...] = ()
    """A person's stop of ours, written on the Deployment."""
    rolled_out: bool = True
    """Whether the last rollout came to its end. Pods that fail afterwards do not reopen it."""
    rolled_out_at: datetime | None = None
    """When it did, by the API server's clock."""
    rollout_detail: str = ""
    progress_deadline_exceeded: bool = False
    """Of the present rollout: an older one's verdict stays in the status until there is progress."""
    replica_failure: str | None = None
    """Why pods cannot even be created: a quota, an admission webhook."""
    strategy: Strategy = field(default_factory=Strategy)
    order: Order | None = None
    """Of a StatefulSet; a Deployment's pods have none."""
    template_changed: Between | None = None
    """When the present template, restarts aside, became the current one."""
    revision: int | None = None
    images: tuple[str, ...] = ()
    previous: tuple[Revision, ...] | None = None
    """Older revisions whose template differs, restarts aside; newest first."""
    pods: tuple[PodSeen, ...] | None = None
    usage: float | None = None
    """Mean over the pods of the highest usage/limit of cpu and memory; None where there is no limit."""
    usage_from: str = ""
    """Empty for the API server's pod metrics, else who says it."""
    hpas: tuple[Autoscaler, ...] | None = None
    budgets: tuple[str, ...] | None = None
    """PodDisruptionBudgets on its pods, in words. They do not bound rolling updates."""
    events: tuple[EventSeen, ...] | None = None
    """Recent ones of the Deployment, its ReplicaSets and pods, the latest first."""
    logs: tuple[LogSeen, ...] | None = None
    """Of containers that crashed; None also where the policy does not want them."""
    gitops: tuple[str, ...] = ()
    """Marks of a GitOps tool."""
    controller: str | None = None
    """The owner that controls the Deployment, `kind/name`."""
    missing_permissions: tuple[Permission, ...] = ()
    """What the API server says we may not do here, of what the policy needs."""
    unreadable: Mapping[str, str] = field(default_factory=dict)
    """What could not be read, by field name, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unseen:
    """The target could not be observed at all."""

    reason: Reason
    detail: str


def facts_from(seen: Observation, *, alert_started_at: datetime, rules: FactRules) -> Facts:
    """Judge what was seen. Every fact is present."""
    return {
        Fact.RECENT_ROLLOUT: _recent_rollout(seen, alert_started_at, rules.recent_rollout),
        Fact.PREVIOUS_REVISION: _previous_revision(seen),
        Fact.ROLLOUT_IN_PROGRESS: Finding(not seen.rolled_out, seen.rollout_detail or "rollout complete"),
        Fact.ROLLOUT_STUCK: _rollout_stuck(seen),
        Fact.CRASH_LOOPING: _pods(seen, "crash looping", lambda pod: crashing(pod, seen.at)),
        Fact.IMAGE_PULL_FAILING: _pods(seen, "unable to pull their image", pulling_in_vain),
        Fact.OOM_KILLED: _pods(seen, "out of memory", lambda pod: out_of_memory(pod, seen.at)),
        Fact.UNSCHEDULABLE: _unschedulable(seen),
        Fact.RESOURCE_PRESSURE: _resource_pressure(seen, rules.resource_pressure),
        Fact.HPA: _hpa(seen),
        Fact.GITOPS_OWNED: Finding(bool(seen.gitops), ", ".join(seen.gitops) or "no mark of a GitOps tool"),
        Fact.OPERATOR_OWNED: Finding(
            seen.controller is not None,
            f"controlled by {seen.controller}" if seen.controller else "no controlling owner",
        ),
        Fact.PAUSED: Finding(
            seen.paused, "rollouts are paused" if seen.paused else "rollouts are not paused"
        ),
        Fact.SINGLE_REPLICA: Finding(
            seen.replicas == 1, f"{seen.replicas} replicas wanted; {seen.strategy.words}"
        ),
    }


def with_usage(seen: Observation, share: float | None, why_not: str) -> Observation:
    """What Prometheus says of the usage, where the API server has no pod metrics."""
    if share is None or not math.isfinite(share) or share < 0:
        why = f"{_why_unknown(seen, 'usage')}; Prometheus: {why_not or f'{share} is no share'}"
        return replace(seen, unreadable={**seen.unreadable, "usage": why})
    rest = {name: why for name, why in seen.unreadable.items() if name != "usage"}
    return replace(seen, usage=share, usage_from="Prometheus", unreadable=rest)


def _recent_rollout(seen: Observation, alert_started_at: datetime, window: timedelta) -> Finding:
    changed = seen.template_changed
    if changed is None:
        return Finding(None, _why_unknown(seen, "template_changed"))
    if changed.earliest > alert_started_at:
        return Finding(False, "the template changed after the alert started")
    opens = alert_started_at - window
    if changed.latest < opens:
        return Finding(
            False, f"the template last changed {_ago(alert_started_at - changed.latest)} before the alert"
        )
    if changed.earliest >= opens and changed.latest <= alert_started_at:
        return Finding(
            True, f"the template changed {_ago(alert_started_at - changed.earliest)} before the alert"
        )
    return Finding(
        None, "when the template became current is known only roughly (an older revision came back)"
    )


def _previous_revision(seen: Observation) -> Finding:
    if seen.previous is None:
        return Finding(None, _why_unknown(seen, "previous"))
    if not seen.previous:
        return Finding(False, "no older revision has a different template")
    newest = seen.previous[0]
    return Finding(True, f"revision {newest.number} differs ({', '.join(newest.images)})")


def _rollout_stuck(seen: Observation) -> Finding:
    """A rollout whose pods cannot be created will not move, however far its deadline is."""
    if seen.order is not None:
        return _order_stuck(seen, seen.order)
    why = "progress deadline exceeded" if seen.progress_deadline_exceeded else "within its progress deadline"
    if seen.replica_failure is not None:
        why = f"{why}; pods cannot be created: {seen.replica_failure}"
    stuck = seen.progress_deadline_exceeded or seen.replica_failure is not None
    return Finding(stuck and not seen.rolled_out, why)


def _order_stuck(seen: Observation, order: Order) -> Finding:
    """A StatefulSet has no deadline: it waits for a pod that fails for ever."""
    if seen.rolled_out:
        return Finding(False, "no rollout is in progress")
    if order.unready is None:
        return Finding(None, _why_unknown(seen, "pods"))
    current = {pod.name for pod in seen.pods or ()}
    for one in order.unready:
        # In parallel only what is new already is waited for: the old pods are replaced as they are.
        waits = order.one_by_one or one.pod.name in current
        if waits and (why := failing(one.pod, seen.at)):
            return Finding(True, f"it waits for {why}")
    return Finding(False, "no pod that it waits for is failing")


def _pods(seen: Observation, words: str, why: Callable[[PodSeen], str | None]) -> Finding:
    """A fact that holds when it holds for any pod; the first one's `why` is quoted."""
    if seen.pods is None:
        return Finding(None, _why_unknown(seen, "pods"))
    hits = [said for pod in seen.pods if (said := why(pod))]
    detail = f"{len(hits)} of {len(seen.pods)} pods of the current template {words}"
    return Finding(bool(hits), f"{detail}: {hits[0]}" if hits else detail)


def _unschedulable(seen: Observation) -> Finding:
    """No node has room, or no quota."""
    if seen.replica_failure is not None and "quota" in seen.replica_failure:
        return Finding(True, f"pods cannot be created: {seen.replica_failure}")
    return _pods(seen, "unschedulable", lambda pod: pod.unschedulable)


def _resource_pressure(seen: Observation, limit: float) -> Finding:
    if seen.usage is None:
        return Finding(None, _why_unknown(seen, "usage"))
    where = f", says {seen.usage_from}" if seen.usage_from else ""
    return Finding(seen.usage >= limit, f"usage is {seen.usage:.0%} of the limit on average{where}")


def _hpa(seen: Observation) -> Finding:
    if seen.hpas is None:
        return Finding(None, _why_unknown(seen, "hpas"))
    said = ", ".join(map(str, seen.hpas))
    if len(seen.hpas) > 1:
        return Finding(True, f"{len(seen.hpas)} autoscalers work against each other: {said}")
    return Finding(bool(seen.hpas), said or "no HorizontalPodAutoscaler")


def _why_unknown(seen: Observation, field_name: str) -> str:
    return seen.unreadable.get(field_name, "not observed")


def _ago(span: timedelta) -> str:
    """In the largest unit of which there are at least two."""
    seconds = span.total_seconds()
    for unit, size in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
