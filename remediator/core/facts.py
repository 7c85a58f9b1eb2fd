"""What was observed about a target, and the facts that follow from it.

An adapter reports an Observation: values, no judgement. `facts_from` judges it: each fact is true,
false or unknown (None), with the evidence in words. Unknown never satisfies a step's `when`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from remediator.core.permissions import Permission
from remediator.core.reasons import Reason


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


@dataclass(frozen=True, slots=True, kw_only=True)
class PodSeen:
    """One pod of the current template."""

    name: str
    ready: bool
    waiting: tuple[str, ...] = ()
    """Waiting reasons of its containers and init containers, e.g. CrashLoopBackOff."""
    oom_killed: bool = False
    """A container's last end was OOMKilled with exit code 137."""
    unschedulable: str | None = None
    """The scheduler's message when it finds no node."""
    restarts: int = 0


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
class Observation:
    """A Deployment as it was at `at` (the API server's clock). None always means: could not be read."""

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
    rolled_out: bool = True
    """Whether the last rollout came to its end. Pods that fail afterwards do not reopen it."""
    rolled_out_at: datetime | None = None
    """When it did, by the API server's clock."""
    rollout_detail: str = ""
    progress_deadline_exceeded: bool = False
    template_changed: Between | None = None
    """When the present template, restarts aside, became the current one."""
    revision: int | None = None
    images: tuple[str, ...] = ()
    previous: tuple[Revision, ...] | None = None
    """Older revisions whose template differs, restarts aside; newest first."""
    pods: tuple[PodSeen, ...] | None = None
    usage: float | None = None
    """Mean over the pods of the highest usage/limit of cpu and memory; None where there is no limit."""
    hpas: tuple[str, ...] | None = None
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
    """The Deployment could not be observed at all."""

    reason: Reason
    detail: str


def facts_from(seen: Observation, *, alert_started_at: datetime, rules: FactRules) -> Facts:
    """Judge what was seen. Every fact is present."""
    return {
        Fact.RECENT_ROLLOUT: _recent_rollout(seen, alert_started_at, rules.recent_rollout),
        Fact.PREVIOUS_REVISION: _previous_revision(seen),
        Fact.ROLLOUT_IN_PROGRESS: Finding(not seen.rolled_out, seen.rollout_detail or "rollout complete"),
        Fact.ROLLOUT_STUCK: Finding(
            seen.progress_deadline_exceeded and not seen.rolled_out,
            "progress deadline exceeded"
            if seen.progress_deadline_exceeded
            else "within its progress deadline",
        ),
        Fact.CRASH_LOOPING: _waiting(seen, ("CrashLoopBackOff",), "crash looping"),
        Fact.IMAGE_PULL_FAILING: _waiting(
            seen, ("ImagePullBackOff", "ErrImagePull", "InvalidImageName"), "unable to pull their image"
        ),
        Fact.OOM_KILLED: _pods(seen, "out of memory", lambda pod: pod.oom_killed),
        Fact.UNSCHEDULABLE: _pods(seen, "unschedulable", lambda pod: pod.unschedulable is not None),
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
        Fact.SINGLE_REPLICA: Finding(seen.replicas == 1, f"{seen.replicas} replicas wanted"),
    }


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


def _waiting(seen: Observation, reasons: tuple[str, ...], words: str) -> Finding:
    return _pods(seen, words, lambda pod: any(reason in pod.waiting for reason in reasons))


def _pods(seen: Observation, words: str, matches: Callable[[PodSeen], bool]) -> Finding:
    if seen.pods is None:
        return Finding(None, _why_unknown(seen, "pods"))
    hit = [pod.name for pod in seen.pods if matches(pod)]
    return Finding(bool(hit), f"{len(hit)} of {len(seen.pods)} pods of the current template {words}")


def _resource_pressure(seen: Observation, limit: float) -> Finding:
    if seen.usage is None:
        return Finding(None, _why_unknown(seen, "usage"))
    return Finding(seen.usage >= limit, f"usage is {seen.usage:.0%} of the limit on average")


def _hpa(seen: Observation) -> Finding:
    if seen.hpas is None:
        return Finding(None, _why_unknown(seen, "hpas"))
    return Finding(bool(seen.hpas), ", ".join(seen.hpas) or "no HorizontalPodAutoscaler")


def _why_unknown(seen: Observation, field_name: str) -> str:
    return seen.unreadable.get(field_name, "not observed")


def _ago(span: timedelta) -> str:
    seconds = span.total_seconds()
    if seconds < 120:  # noqa: PLR2004 - below two minutes seconds read better
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min"
