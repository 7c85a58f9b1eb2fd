"""How far a rollout is, in the words a person would use.

`completion` follows `kubectl rollout status` (pkg/polymorphichelpers/rollout_status.go): the change
observed, all replicas updated, the old ones gone, the new ones available. `rolled_out` asks something
else: whether the last rollout came to its end once; pods that become unready later do not reopen it.
"""

from __future__ import annotations

from datetime import datetime

from remediator.adapters.kubernetes.autoscalers import Autoscalers, not_asked_for
from remediator.adapters.kubernetes.objects import (
    RESTARTED_AT,
    Json,
    condition,
    digest_of,
    generation_of,
    is_stateful,
    kind_of,
    mapping,
    moment,
    number,
    parse_time,
    restarted_at,
    template_of,
    text,
    uid_of,
    value_at,
    wanted_replicas,
)
from remediator.adapters.kubernetes.revisions import ROLLED_OUT
from remediator.adapters.kubernetes.stateful import complete, missing
from remediator.core.actions import Intent, MinimumIntent, RestartIntent, ScaleIntent, UndoIntent
from remediator.core.execution import Rollout, RolloutState

DEADLINE_EXCEEDED = "ProgressDeadlineExceeded"
LONGEST_WORDS = 256
_SAYS_NOTHING = ("", "DeploymentPaused", "DeploymentResumed")
"""Reasons of the Progressing condition that leave it to the counts."""


def ready_replicas(deployment: Json) -> int:
    return number(deployment, "status", "readyReplicas")


def deadline_exceeded(deployment: Json) -> bool:
    return text(condition(deployment, "Progressing"), "reason") == DEADLINE_EXCEEDED


def replica_failure(deployment: Json) -> str | None:
    """Why the controller cannot create pods, in its own words: a quota, an admission webhook."""
    failure = condition(deployment, "ReplicaFailure")
    if failure.get("status") != "True":
        return None
    return " ".join(text(failure, "message").split())[:LONGEST_WORDS] or "it does not say why"


def rolled_out(deployment: Json) -> tuple[bool, str]:
    """Whether the last rollout came to its end, and how far it is."""
    lacking = _observed(deployment) or _updated(deployment)
    if lacking:
        return False, lacking
    reason = text(condition(deployment, "Progressing"), "reason")
    unavailable = _available(deployment)
    if reason == ROLLED_OUT or (reason in _SAYS_NOTHING and not unavailable):
        return True, _complete(deployment)
    return False, unavailable or f"the controller says {reason or 'nothing'} of its progress"


def rolled_out_at(deployment: Json) -> datetime | None:
    """When the last rollout ended. Scaling and failing pods leave this time alone."""
    progress = condition(deployment, "Progressing")
    return moment(progress, "lastUpdateTime") if progress.get("reason") == ROLLED_OUT else None


def judge_rollout(
    deployment: Json,
    intent: Intent,
    *,
    generation: int,
    since: datetime,
    autoscalers: Autoscalers | None = None,
) -> Rollout:
    """How far the rollout of our write is; with `autoscalers` where it was written to one of them."""
    ready = ready_replicas(deployment)
    if uid_of(deployment) != intent.uid:
        return Rollout(
            state=RolloutState.FAILED,
            detail=f"the {kind_of(deployment)} was deleted and made anew",
            ready=ready,
        )
    if foreign := overridden(deployment, intent, autoscalers):
        return Rollout(state=RolloutState.OVERRIDDEN, detail=foreign, ready=ready)
    # Any later generation includes ours, so having observed the present one is having observed ours.
    lacking = _observed(deployment, at_least=generation)
    if isinstance(intent, MinimumIntent):
        lacking = lacking or not_asked_for(deployment, intent)
    if lacking:
        return Rollout(state=RolloutState.WAITING, detail=lacking, ready=ready)
    if is_stateful(deployment):
        return _judge_stateful(deployment, intent, ready)
    if failed := _deadline_passed(deployment, since):
        return Rollout(state=RolloutState.FAILED, detail=failed, ready=ready)
    lacking = _updated(deployment) or _available(deployment)
    if lacking:
        return Rollout(state=RolloutState.WAITING, detail=lacking, ready=ready)
    return Rollout(state=RolloutState.COMPLETE, detail=_complete(deployment), ready=ready)


def _judge_stateful(stateful: Json, intent: Intent, ready: int) -> Rollout:
    """It has no deadline of its own: what hangs is waited for as long as the policy says."""
    lacking = missing(stateful, template=not isinstance(intent, ScaleIntent | MinimumIntent))
    if lacking:
        return Rollout(state=RolloutState.WAITING, detail=lacking, ready=ready)
    return Rollout(state=RolloutState.COMPLETE, detail=complete(stateful), ready=ready)


def overridden(deployment: Json, intent: Intent, autoscalers: Autoscalers | None = None) -> str | None:
    """What somebody changed after our write, or None while what we wrote still stands."""
    match intent:
        case MinimumIntent():
            return autoscalers.overridden(intent) if autoscalers else None
        case ScaleIntent(replicas_to=wanted):
            live = wanted_replicas(deployment)
            return None if live == wanted else f"somebody set {live} replicas after our {wanted}"
        case RestartIntent(restarted_at=written, template_digest=digest):
            if digest_of(deployment) != digest:
                return "somebody changed the template after our restart"
            if restarted_at(deployment) == parse_time(written):
                return None
            live_mark = text(template_of(deployment), "metadata", "annotations", RESTARTED_AT)
            return (
                f"somebody changed the template: {RESTARTED_AT} is {live_mark or 'gone'}, ours was {written}"
            )
        case UndoIntent(target_digest=digest, revision=revision):
            if digest_of(deployment) == digest:
                return None
            return f"somebody changed the template after our undo to revision {revision}"


def _deadline_passed(deployment: Json, since: datetime) -> str | None:
    """The controller leaves an old verdict in place until it sees progress; that one is not about us."""
    if not deadline_exceeded(deployment):
        return None
    progress = condition(deployment, "Progressing")
    said_at = moment(progress, "lastUpdateTime")
    if said_at is None or said_at <= since:
        return None
    return f"progress deadline exceeded: {text(progress, 'message') or 'no progress'}"


def _observed(deployment: Json, at_least: int = 0) -> str | None:
    wanted = max(generation_of(deployment), at_least)
    seen = number(deployment, "status", "observedGeneration")
    if seen >= wanted:
        return None
    return f"waiting for the controller to observe generation {wanted}, it is at {seen}"


def _updated(deployment: Json) -> str | None:
    wanted, status = wanted_replicas(deployment), mapping(deployment, "status")
    updated, replicas = number(status, "updatedReplicas"), number(status, "replicas")
    if updated < wanted:
        return f"{updated} of {wanted} new replicas have been updated{_paused(deployment)}"
    if updated > wanted:
        return f"{updated - wanted} surplus replicas are still to be terminated"
    if replicas > updated:
        return f"{replicas - updated} old replicas are still to be terminated{_paused(deployment)}"
    return None


def _available(deployment: Json) -> str | None:
    status = mapping(deployment, "status")
    updated, available = number(status, "updatedReplicas"), number(status, "availableReplicas")
    return f"{available} of {updated} updated replicas are available" if available < updated else None


def _paused(deployment: Json) -> str:
    return " (rollouts are paused)" if value_at(deployment, "spec", "paused") is True else ""


def _complete(deployment: Json) -> str:
    return (
        f"rollout complete: {number(deployment, 'status', 'updatedReplicas')} of "
        f"{wanted_replicas(deployment)} replicas updated, {ready_replicas(deployment)} ready"
    )
