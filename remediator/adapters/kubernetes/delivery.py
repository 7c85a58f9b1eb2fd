"""Carrying out an intent: look, dry-run, write once, and say what certainly or possibly happened.

`recognise_from` judges by the live object alone where an intent stands; that is what decides after a
crash or a time-out. Nothing here writes but through `Connection.patch`, and only `_delivered` calls it.
"""

from __future__ import annotations

from collections.abc import Callable

from remediator.adapters.kubernetes.connection import Answer, Connection, NoAnswer
from remediator.adapters.kubernetes.objects import (
    Json,
    digest_of,
    generation_of,
    number,
    parse_time,
    restarted_at,
    uid_of,
    wanted_replicas,
)
from remediator.adapters.kubernetes.patches import (
    Write,
    deployment_path,
    restart_write,
    scale_write,
    undo_write,
)
from remediator.core.actions import Intent, RestartIntent, ScaleIntent, Target, UndoIntent
from remediator.core.execution import Delivery, Sent, Standing
from remediator.core.reasons import Reason

SCALE_TRIES = 5
_OK = 200
_UNAUTHORIZED = 401
_FORBIDDEN = 403
_NOT_FOUND = 404
_TIMEOUT = 408
_SERVER_ERROR = 500

ReplicaSets = Callable[[Json], list[Json]]
"""Reads the ReplicaSets a Deployment controls; raises Unread."""


class Unread(Exception):
    """Something that had to be read was answered with an error."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.words)
        self.answer = answer


def standing_of(live: Json, intent: Intent, replica_sets: ReplicaSets) -> tuple[Standing, str]:
    """Where the intent stands, and why."""
    if uid_of(live) != intent.uid:
        return Standing.CHANGED, "the Deployment was deleted and made anew"
    match intent:
        case RestartIntent():
            return _restart_standing(live, intent)
        case UndoIntent():
            return _undo_standing(live, intent, replica_sets)
        case ScaleIntent():
            return _scale_standing(wanted_replicas(live), intent)


def _restart_standing(live: Json, intent: RestartIntent) -> tuple[Standing, str]:
    there, ours = restarted_at(live), parse_time(intent.restarted_at)
    if there is not None and there == ours:
        return Standing.APPLIED, f"restarted at {intent.restarted_at}, as intended"
    if generation_of(live) == intent.generation:
        # Whatever the annotation says was there before: a clock that runs ahead wrote it.
        return Standing.SENDABLE, f"still at generation {intent.generation}"
    if there is not None and ours is not None and there > ours:
        return Standing.APPLIED, f"restarted later than intended, at {there:%Y-%m-%dT%H:%M:%SZ}"
    return _moved(live, intent)


def _undo_standing(live: Json, intent: UndoIntent, replica_sets: ReplicaSets) -> tuple[Standing, str]:
    digest = digest_of(live)
    if digest == intent.target_digest:
        return Standing.APPLIED, f"the template is that of revision {intent.revision}"
    if digest != intent.template_digest:
        return Standing.CHANGED, "the template is neither the one before our undo nor the one after"
    if generation_of(live) != intent.generation:
        return _moved(live, intent)
    if undone_to(intent, replica_sets(live)) is None:
        return Standing.CHANGED, f"the ReplicaSet of revision {intent.revision} is gone or was changed"
    return Standing.SENDABLE, f"still at generation {intent.generation}"


def _scale_standing(replicas: int, intent: ScaleIntent) -> tuple[Standing, str]:
    if replicas == intent.replicas_to:
        return Standing.APPLIED, f"{replicas} replicas are wanted, as intended"
    if replicas == intent.replicas_from:
        return Standing.SENDABLE, f"{replicas} replicas are wanted, as before"
    return Standing.CHANGED, f"somebody set {replicas} replicas, it was {intent.replicas_from}"


def _moved(live: Json, intent: RestartIntent | UndoIntent) -> tuple[Standing, str]:
    return (
        Standing.CHANGED,
        f"somebody changed the Deployment: generation {generation_of(live)}, it was {intent.generation}",
    )


def undone_to(intent: UndoIntent, replica_sets: list[Json]) -> Json | None:
    """The ReplicaSet to go back to, if it is still there and still what was decided upon."""
    for rs in replica_sets:
        if uid_of(rs) == intent.replica_set_uid and digest_of(rs) == intent.target_digest:
            return rs
    return None


class Sender:
    """Sends one intent to one target."""

    def __init__(self, connection: Connection, target: Target, replica_sets: ReplicaSets) -> None:
        self._connection = connection
        self._target = target
        self._replica_sets = replica_sets

    def send(self, intent: Intent) -> Sent:
        try:
            if isinstance(intent, ScaleIntent):
                return self._send_scale(intent)
            return self._send_template(intent)
        except Unread as error:
            return _unread(error.answer)
        except NoAnswer as silence:
            # Only reads let it through: what went wrong with a write has been told by `_delivered`.
            return Sent(delivery=Delivery.NOT_SENT, detail=f"nothing was sent: {silence}")

    def _send_template(self, intent: RestartIntent | UndoIntent) -> Sent:
        live = self._deployment()
        if uid_of(live) != intent.uid or generation_of(live) != intent.generation:
            return _conflict(_moved(live, intent)[1])
        if isinstance(intent, RestartIntent):
            return self._delivered(intent, restart_write(self._target, intent, live))
        replica_set = undone_to(intent, self._replica_sets(live))
        if replica_set is None or digest_of(live) != intent.template_digest:
            return _conflict(f"the template or the ReplicaSet of revision {intent.revision} changed")
        return self._delivered(intent, undo_write(self._target, intent, live, replica_set))

    def _send_scale(self, intent: ScaleIntent) -> Sent:
        """On a conflict look and decide again: the object's version moves with each crash of a pod."""
        path = f"{deployment_path(self._target)}/scale"
        sent = _conflict("not looked at yet")
        for _ in range(SCALE_TRIES):
            answer = self._connection.get(path)
            if answer.status != _OK:
                return _unread(answer)
            replicas = number(answer.body, "spec", "replicas")
            standing, why = _scale_standing(replicas, intent)
            if uid_of(answer.body) != intent.uid or standing is not Standing.SENDABLE:
                return _conflict(f"{why}; nothing was sent")
            sent = self._delivered(intent, scale_write(self._target, intent, answer.body))
            if sent.delivery is not Delivery.CONFLICT:
                break
        return sent

    def _delivered(self, intent: Intent, write: Write) -> Sent:
        """The dry run first, then the one real PATCH."""
        for dry_run in (True, False):
            try:
                answer = self._connection.patch(
                    write.path, write.body, content_type=write.content_type, dry_run=dry_run
                )
            except NoAnswer as silence:
                certain = dry_run or not silence.sent
                return Sent(
                    delivery=Delivery.NOT_SENT if certain else Delivery.UNCLEAR,
                    detail=f"{_stage(dry_run)}: {silence}",
                )
            if not answer.ok:
                return self._refused(intent, answer, dry_run=dry_run)
        return Sent(
            delivery=Delivery.APPLIED,
            detail=answer.words,
            generation=self._generation_after(intent, answer),
            at=answer.at,
        )

    def _generation_after(self, intent: Intent, answer: Answer) -> int:
        if not isinstance(intent, ScaleIntent):
            return generation_of(answer.body)
        try:
            return generation_of(self._deployment())
        except (NoAnswer, Unread):
            # A Scale has no generation. It never decreases, and ours raised it: this is a lower bound.
            return intent.generation + 1

    def _refused(self, intent: Intent, answer: Answer, *, dry_run: bool) -> Sent:
        detail = f"{_stage(dry_run)}: {answer.words}"
        match answer.status:
            case 409 | 404:
                return _conflict(detail, answer)
            case 422 if self._has_moved(intent):
                return _conflict(detail, answer)
            case 429:
                return Sent(delivery=Delivery.NOT_SENT, detail=detail, at=answer.at)
            case status if status >= _SERVER_ERROR or status == _TIMEOUT:
                unsure = Delivery.NOT_SENT if dry_run else Delivery.UNCLEAR
                return Sent(delivery=unsure, detail=detail, at=answer.at)
        return _refusal(detail, answer)

    def _has_moved(self, intent: Intent) -> bool:
        """A 422 is a failed `test` if the object is no longer the tested one. In doubt it is."""
        if isinstance(intent, ScaleIntent):
            return False  # its preconditions fail with 409
        try:
            live = self._deployment()
        except (NoAnswer, Unread):
            return True
        return uid_of(live) != intent.uid or generation_of(live) != intent.generation

    def _deployment(self) -> Json:
        answer = self._connection.get(deployment_path(self._target))
        if answer.status != _OK:
            raise Unread(answer)
        return answer.body


def _stage(dry_run: bool) -> str:
    return "dry run" if dry_run else "write"


def _conflict(detail: str, answer: Answer | None = None) -> Sent:
    return Sent(delivery=Delivery.CONFLICT, detail=detail, at=answer.at if answer else None)


def _refusal(detail: str, answer: Answer) -> Sent:
    denied = answer.status in {_UNAUTHORIZED, _FORBIDDEN}
    reason = Reason.FORBIDDEN if denied else Reason.REFUSED_BY_CLUSTER
    return Sent(delivery=Delivery.REFUSED, detail=detail, reason=reason, at=answer.at)


def _unread(answer: Answer) -> Sent:
    """What an error while looking, before anything was sent, means for the sending."""
    detail = f"nothing was sent, reading first: {answer.words}"
    if answer.status == _NOT_FOUND:
        return _conflict(detail, answer)
    if answer.status in {_UNAUTHORIZED, _FORBIDDEN}:
        return _refusal(detail, answer)
    return Sent(delivery=Delivery.NOT_SENT, detail=detail, at=answer.at)
