"""Raw objects -> Observation: values, no judgement.

Each secondary read may have failed on its own; what follows from it is then None, and `unreadable` says
why. Nothing that could not be read is ever reported as empty.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from remediator.adapters.kubernetes.listing import Listing
from remediator.adapters.kubernetes.objects import (
    Json,
    condition,
    controlled_by,
    digest_of,
    generation_of,
    images_of,
    is_stateful,
    kind_of,
    mapping,
    marks_of,
    name_of,
    opted_in,
    template_of,
    text,
    uid_of,
    value_at,
    wanted_replicas,
)
from remediator.adapters.kubernetes.owners import autoscalers_of, budgets_on, gitops_marks, owner_of
from remediator.adapters.kubernetes.pods import active, pod_seen
from remediator.adapters.kubernetes.quantities import usage_of
from remediator.adapters.kubernetes.revisions import (
    REVISION,
    History,
    revision_of,
)
from remediator.adapters.kubernetes.stateful import (
    StatefulHistory,
    last_ready_at,
    order_of,
    pods_in_use,
    rolled_out_stateful,
    strategy_of_stateful,
)
from remediator.adapters.kubernetes.status import (
    deadline_exceeded,
    ready_replicas,
    replica_failure,
    rolled_out,
    rolled_out_at,
)
from remediator.adapters.kubernetes.strategy import strategy_of
from remediator.core.facts import Autoscaler, Observation, PodSeen
from remediator.core.seen import EventSeen, LogSeen

OUR_NAME = "remediator"


Seen = TypeVar("Seen")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Everything that was read about one workload."""

    workload: Json
    at: datetime
    revisions: Listing
    """ReplicaSets of a Deployment, ControllerRevisions of a StatefulSet."""
    pods: Listing
    hpas: Listing
    metrics: Listing
    budgets: Listing
    events: tuple[EventSeen, ...] | str
    logs: tuple[LogSeen, ...] | str


def observation_from(reading: Reading) -> Observation:
    workload = reading.workload
    unreadable: dict[str, str] = {}
    own = _stateful if is_stateful(workload) else _deployment
    pods, past, fields = own(reading)
    labels = mapping(workload, "metadata", "labels")
    return Observation(
        at=reading.at,
        uid=uid_of(workload),
        generation=generation_of(workload),
        template_digest=digest_of(workload),
        replicas=wanted_replicas(workload),
        ready=ready_replicas(workload),
        opted_in=opted_in(workload),
        ourselves=labels.get("app.kubernetes.io/name") == OUR_NAME,
        marks=marks_of(workload),
        images=images_of(workload),
        hpas=_hpas(reading, unreadable),
        pods=_pods(pods, unreadable),
        usage=_usage(pods, reading.metrics, reading.at, unreadable),
        budgets=_budgets(reading, unreadable),
        events=_evidence("events", reading.events, unreadable),
        logs=_evidence("logs", reading.logs, unreadable),
        gitops=gitops_marks(workload),
        controller=owner_of(workload),
        **fields,
        **_past(past, reading.at, unreadable),
        unreadable=unreadable,
    )


def _deployment(reading: Reading) -> tuple[Listing, History | str, Json]:
    """What only a Deployment has: its current pods, its past, and further fields of the observation."""
    deployment = reading.workload
    history = _history_of(deployment, reading.revisions)
    done, detail = rolled_out(deployment)
    fields = {
        "paused": value_at(deployment, "spec", "paused") is True,
        "rolled_out": done,
        "rolled_out_at": rolled_out_at(deployment) if done else None,
        "rollout_detail": detail,
        "progress_deadline_exceeded": _deadline_exceeded(deployment, history),
        "replica_failure": replica_failure(deployment),
        "strategy": strategy_of(deployment),
        "revision": _revision(deployment),
    }
    return _pods_of(history, reading.pods), history, fields


def _stateful(reading: Reading) -> tuple[Listing, StatefulHistory | str, Json]:
    """The same of a StatefulSet. It cannot be paused, has no progress deadline, and says no failure."""
    stateful, revisions = reading.workload, reading.revisions
    history = revisions if isinstance(revisions, str) else StatefulHistory(stateful, revisions)
    pods = pods_in_use(stateful, reading.pods)
    done, detail = rolled_out_stateful(stateful)
    fields = {
        "rolled_out": done,
        "rolled_out_at": last_ready_at(pods) if done and not isinstance(pods, str) else None,
        "rollout_detail": detail,
        "strategy": strategy_of_stateful(stateful),
        "order": order_of(stateful, reading.pods),
        "revision": None if isinstance(history, str) else history.revision(),
    }
    return pods, history, fields


def _history_of(deployment: Json, replica_sets: Listing) -> History | str:
    if isinstance(replica_sets, str):
        return replica_sets
    return History(deployment, controlled_by(replica_sets, uid_of(deployment)))


def _past(history: History | StatefulHistory | str, now: datetime, unreadable: dict[str, str]) -> Json:
    if isinstance(history, str):
        unreadable["previous"] = unreadable["template_changed"] = history
        return {}
    changed = history.template_changed(now)
    if changed is None:
        unreadable["template_changed"] = "the objects carry no creation times"
    return {"previous": history.previous(), "template_changed": changed}


def current_pods(workload: Json, revisions: Listing, pods: Listing) -> list[Json]:
    """The pods of the current template that are in use, as far as they are known."""
    if is_stateful(workload):
        found = pods_in_use(workload, pods)
    else:
        found = _pods_of(_history_of(workload, revisions), pods)
    return [] if isinstance(found, str) else found


def _pods_of(history: History | str, pods: Listing) -> Listing:
    """The pods of the current template that are in use; those of older ReplicaSets have their own story."""
    if isinstance(history, str):
        return history
    if isinstance(pods, str):
        return pods
    current = history.current()
    if current is None:
        return "the current template has no ReplicaSet yet"
    return [pod for pod in controlled_by(pods, uid_of(current)) if active(pod)]


def _pods(pods: Listing, unreadable: dict[str, str]) -> tuple[PodSeen, ...] | None:
    if isinstance(pods, str):
        unreadable["pods"] = pods
        return None
    return tuple(pod_seen(pod) for pod in pods)


def _usage(pods: Listing, metrics: Listing, now: datetime, unreadable: dict[str, str]) -> float | None:
    if isinstance(pods, str) or isinstance(metrics, str):
        unreadable["usage"] = metrics if isinstance(metrics, str) else str(pods)
        return None
    usage, why = usage_of(pods, metrics, now)
    if usage is None:
        unreadable["usage"] = why
    return usage


def _hpas(reading: Reading, unreadable: dict[str, str]) -> tuple[Autoscaler, ...] | None:
    if isinstance(reading.hpas, str):
        unreadable["hpas"] = reading.hpas
        return None
    return autoscalers_of(kind_of(reading.workload), name_of(reading.workload), reading.hpas)


def _budgets(reading: Reading, unreadable: dict[str, str]) -> tuple[str, ...] | None:
    if isinstance(reading.budgets, str):
        unreadable["budgets"] = reading.budgets
        return None
    return budgets_on(mapping(template_of(reading.workload), "metadata", "labels"), reading.budgets)


def _evidence(
    name: str, found: tuple[Seen, ...] | str, unreadable: dict[str, str]
) -> tuple[Seen, ...] | None:
    if isinstance(found, str):
        unreadable[name] = found
        return None
    return found


def _deadline_exceeded(deployment: Json, history: History | str) -> bool:
    """The verdict names the ReplicaSet it is about; it stays until there is progress, also on another one."""
    if not deadline_exceeded(deployment):
        return False
    current = history.current() if isinstance(history, History) else None
    about = re.search(r'ReplicaSet "([^"]+)"', text(condition(deployment, "Progressing"), "message"))
    return current is None or about is None or about[1] == name_of(current)


def _revision(deployment: Json) -> int | None:
    annotated = REVISION in mapping(deployment, "metadata", "annotations")
    return revision_of(deployment) if annotated else None
