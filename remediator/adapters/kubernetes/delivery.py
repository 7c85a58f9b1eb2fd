"""Carrying out an intent: look, dry-run, write once, and say what certainly or possibly happened.

Nothing here writes but through `Connection.patch`, and only `_delivered` calls it.
"""

from __future__ import annotations

from remediator.adapters.kubernetes.answers import Answer, NoAnswer
from remediator.adapters.kubernetes.autoscalers import NoList
from remediator.adapters.kubernetes.connection import Connection
from remediator.adapters.kubernetes.objects import digest_of, generation_of, number, stop_on, uid_of
from remediator.adapters.kubernetes.patches import (
    JSON_PATCH,
    Write,
    restart_write,
    scale_write,
    still_holds,
    undo_write,
    workload_path,
)
from remediator.adapters.kubernetes.standing import (
    Further,
    Unread,
    count_standing,
    moved,
    standing_of,
    undone_to,
)
from remediator.core.actions import (
    Intent,
    MinimumIntent,
    RestartIntent,
    ScaleIntent,
    Target,
    UndoIntent,
)
from remediator.core.execution import Delivery, Sent, Standing
from remediator.core.reasons import Reason

SCALE_TRIES = 5
_OK = 200
_FORBIDDEN = 403
_NOT_FOUND = 404
_TIMEOUT = 408
_SERVER_ERROR = 500


class Sender:
    """Sends one intent to one target."""

    def __init__(self, connection: Connection, target: Target, further: Further, *, cause: str = "") -> None:
        self._connection = connection
        self._target = target
        self._further = further
        self._cause = cause

    def send(self, intent: Intent) -> Sent:
        try:
            if isinstance(intent, ScaleIntent):
                return self._send_scale(intent)
            if isinstance(intent, MinimumIntent):
                return self._send_minimum(intent)
            return self._send_template(intent)
        except Unread as error:
            return _unread(error.answer)
        except (NoAnswer, NoList) as silence:
            # Only reads let it through: what went wrong with a write has been told by `_delivered`.
            detail = f"nothing was sent: {silence}"
            if isinstance(silence, NoList) and silence.forbidden:
                return Sent(delivery=Delivery.REFUSED, detail=detail, reason=Reason.FORBIDDEN)
            return Sent(delivery=Delivery.NOT_SENT, detail=detail)

    def _send_template(self, intent: RestartIntent | UndoIntent) -> Sent:
        looked = self._look()
        live = looked.body
        if uid_of(live) != intent.uid or generation_of(live) != intent.generation:
            return _conflict(moved(live, intent)[1])
        if stop := stop_on(live, now=looked.at):
            return _conflict(f"nothing was sent: {stop.detail}", looked)
        if isinstance(intent, RestartIntent):
            return self._delivered(intent, restart_write(self._target, intent, live, cause=self._cause))
        replica_set = undone_to(intent, self._further.replica_sets(live))
        if replica_set is None or digest_of(live) != intent.template_digest:
            return _conflict(f"the template or the ReplicaSet of revision {intent.revision} changed")
        write = undo_write(self._target, intent, live, replica_set, cause=self._cause)
        return self._delivered(intent, write)

    def _send_scale(self, intent: ScaleIntent) -> Sent:
        """On a conflict look and decide again: the object's version moves with each crash of a pod.

        The Scale is read first and its version sent: whatever changes the object after that is refused.
        """
        path = f"{workload_path(self._target)}/scale"
        sent = _conflict("not looked at yet")
        for _ in range(SCALE_TRIES):
            answer = self._connection.get(path)
            if answer.status != _OK:
                return _unread(answer)
            replicas = number(answer.body, "spec", "replicas")
            standing, why = count_standing(replicas, intent)
            if uid_of(answer.body) != intent.uid or standing is not Standing.SENDABLE:
                return _conflict(f"{why}; nothing was sent")
            looked = self._look()
            standing, why = standing_of(looked.body, intent, self._further)
            if standing is not Standing.SENDABLE:
                return _conflict(f"{why}; nothing was sent", looked)
            if stop := stop_on(looked.body, now=looked.at):
                return _conflict(f"nothing was sent: {stop.detail}", looked)
            sent = self._delivered(intent, scale_write(self._target, intent, answer.body))
            if sent.delivery is not Delivery.CONFLICT:
                break
        return sent

    def _send_minimum(self, intent: MinimumIntent) -> Sent:
        """On a conflict look and decide again: the autoscaler's version moves with each status it writes.

        The Deployment is read last, since its marks are no part of that version.
        """
        sent = _conflict("not looked at yet")
        for _ in range(SCALE_TRIES):
            autoscalers = self._further.autoscalers()
            standing, why = autoscalers.standing(intent)
            if standing is not Standing.SENDABLE:
                return _conflict(f"{why}; nothing was sent")
            looked = self._look()
            if uid_of(looked.body) != intent.uid:
                return _conflict("the Deployment was deleted and made anew; nothing was sent")
            if stop := stop_on(looked.body, now=looked.at):
                return _conflict(f"nothing was sent: {stop.detail}", looked)
            sent = self._delivered(intent, autoscalers.write(self._target, intent))
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
                return self._refused(write, answer, dry_run=dry_run)
        return Sent(
            delivery=Delivery.APPLIED,
            detail=answer.words,
            generation=_generation_after(intent, answer),
            at=answer.at,
        )

    def _refused(self, write: Write, answer: Answer, *, dry_run: bool) -> Sent:
        detail = f"{_stage(dry_run)}: {answer.words}"
        match answer.status:
            case 409 | 404:
                return _conflict(detail, answer)
            case 422 if self._has_moved(write):
                return _conflict(detail, answer)
            case 401 | 429:
                return _not_sent(detail, answer)
            case status if status >= _SERVER_ERROR or status == _TIMEOUT:
                unsure = Delivery.NOT_SENT if dry_run else Delivery.UNCLEAR
                return Sent(delivery=unsure, detail=detail, at=answer.at, again_after=answer.again_after)
        return _refusal(detail, answer)

    def _has_moved(self, write: Write) -> bool:
        """A 422 is a failed `test` if the object is no longer the tested one. In doubt it is."""
        if write.content_type != JSON_PATCH:
            return False  # the preconditions of the others fail with 409
        try:
            return not still_holds(write, self._look().body)
        except (NoAnswer, Unread):
            return True

    def _look(self) -> Answer:
        answer = self._connection.get(workload_path(self._target))
        if answer.status != _OK:
            raise Unread(answer)
        return answer


def _generation_after(intent: Intent, answer: Answer) -> int:
    match intent:
        case MinimumIntent():
            return intent.generation  # a lower bound: the Deployment changes when its autoscaler has looked
        case ScaleIntent():
            return intent.generation + 1  # a Scale has none; the object had the intent's, until our write
        case _:
            return generation_of(answer.body)


def _stage(dry_run: bool) -> str:
    return "dry run" if dry_run else "write"


def _conflict(detail: str, answer: Answer | None = None) -> Sent:
    return Sent(delivery=Delivery.CONFLICT, detail=detail, at=answer.at if answer else None)


def _refusal(detail: str, answer: Answer) -> Sent:
    reason = Reason.FORBIDDEN if answer.status == _FORBIDDEN else Reason.REFUSED_BY_CLUSTER
    return Sent(delivery=Delivery.REFUSED, detail=detail, reason=reason, at=answer.at)


def _unread(answer: Answer) -> Sent:
    """What an error while looking, before anything was sent, means for the sending."""
    detail = f"nothing was sent, reading first: {answer.words}"
    if answer.status == _NOT_FOUND:
        return _conflict(detail, answer)
    if answer.status == _FORBIDDEN:
        return _refusal(detail, answer)
    return _not_sent(detail, answer)


def _not_sent(detail: str, answer: Answer) -> Sent:
    return Sent(delivery=Delivery.NOT_SENT, detail=detail, at=answer.at, again_after=answer.again_after)
