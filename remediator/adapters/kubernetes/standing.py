"""Where an intent stands, by the live object alone: that decides after a crash or a time-out. Reads only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from remediator.adapters.kubernetes.answers import Answer
from remediator.adapters.kubernetes.autoscalers import Find
from remediator.adapters.kubernetes.objects import (
    Json,
    digest_of,
    generation_of,
    kind_of,
    name_of,
    parse_time,
    restarted_at,
    uid_of,
    wanted_replicas,
)
from remediator.core.actions import Intent, MinimumIntent, RestartIntent, ScaleIntent, UndoIntent
from remediator.core.execution import Standing

ReplicaSets = Callable[[Json], list[Json]]
"""Reads the ReplicaSets a Deployment controls; raises Unread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Further:
    """What is read beside the Deployment, where an intent asks for it."""

    replica_sets: ReplicaSets
    autoscalers: Find


class Unread(Exception):
    """Something that had to be read was answered with an error."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.words)
        self.answer = answer


def standing_of(live: Json, intent: Intent, further: Further) -> tuple[Standing, str]:
    """Where the intent stands, and why."""
    if uid_of(live) != intent.uid:
        return Standing.CHANGED, f"the {kind_of(live)} was deleted and made anew"
    match intent:
        case RestartIntent():
            return _restart_standing(live, intent)
        case UndoIntent():
            return _undo_standing(live, intent, further.replica_sets)
        case ScaleIntent():
            return _scale_standing(live, intent, further.autoscalers)
        case MinimumIntent():
            return further.autoscalers().standing(intent)


def _restart_standing(live: Json, intent: RestartIntent) -> tuple[Standing, str]:
    there, ours = restarted_at(live), parse_time(intent.restarted_at)
    if there is not None and there == ours:
        return Standing.APPLIED, f"restarted at {intent.restarted_at}, as intended"
    if generation_of(live) == intent.generation:
        # Whatever the annotation says was there before: a clock that runs ahead wrote it.
        return Standing.SENDABLE, f"still at generation {intent.generation}"
    if there is not None and ours is not None and there > ours:
        return Standing.APPLIED, f"restarted later than intended, at {there:%Y-%m-%dT%H:%M:%SZ}"
    return moved(live, intent)


def _undo_standing(live: Json, intent: UndoIntent, replica_sets: ReplicaSets) -> tuple[Standing, str]:
    digest = digest_of(live)
    if digest == intent.target_digest:
        return Standing.APPLIED, f"the template is that of revision {intent.revision}"
    if digest != intent.template_digest:
        return Standing.CHANGED, "the template is neither the one before our undo nor the one after"
    if generation_of(live) != intent.generation:
        return moved(live, intent)
    if undone_to(intent, replica_sets(live)) is None:
        return Standing.CHANGED, f"the ReplicaSet of revision {intent.revision} is gone or was changed"
    return Standing.SENDABLE, f"still at generation {intent.generation}"


def _scale_standing(live: Json, intent: ScaleIntent, autoscalers: Find) -> tuple[Standing, str]:
    """The same count may have been somebody's word in between, or be an autoscaler's by now."""
    standing, why = count_standing(wanted_replicas(live), intent)
    if standing is not Standing.SENDABLE:
        return standing, why
    if generation_of(live) != intent.generation:
        return moved(live, intent)
    if found := autoscalers().found:
        return Standing.CHANGED, f"autoscaler {', '.join(map(name_of, found))} scales it by now"
    return standing, why


def count_standing(replicas: int, intent: ScaleIntent) -> tuple[Standing, str]:
    """By the count alone."""
    if replicas == intent.replicas_to:
        return Standing.APPLIED, f"{replicas} replicas are wanted, as intended"
    if replicas == intent.replicas_from:
        return Standing.SENDABLE, f"{replicas} replicas are wanted, as before"
    return Standing.CHANGED, f"somebody set {replicas} replicas, it was {intent.replicas_from}"


def moved(live: Json, intent: RestartIntent | UndoIntent | ScaleIntent) -> tuple[Standing, str]:
    return (
        Standing.CHANGED,
        f"somebody changed the {kind_of(live)}: generation {generation_of(live)}, it was {intent.generation}",
    )


def undone_to(intent: UndoIntent, replica_sets: list[Json]) -> Json | None:
    """The ReplicaSet to go back to, if it is still there and still what was decided upon."""
    for rs in replica_sets:
        if uid_of(rs) == intent.replica_set_uid and digest_of(rs) == intent.target_digest:
            return rs
    return None
