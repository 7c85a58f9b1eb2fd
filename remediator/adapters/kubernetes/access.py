"""What we may do here, as the API server itself says: SelfSubjectAccessReviews.

Every authenticated user may ask. The answers are kept; what was missing is asked again whenever a
decision would rest on it, so that a Role that was mended in the meantime counts at once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta

from remediator.adapters.kubernetes.answers import NoAnswer
from remediator.adapters.kubernetes.connection import Connection
from remediator.adapters.kubernetes.objects import Json, value_at
from remediator.core.actions import Target
from remediator.core.permissions import AccessReview, Permission

REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
_AGAIN_WITHIN = timedelta(seconds=3)

Needs = Mapping[Target, Sequence[Permission]]
_Question = tuple[str, str | None, Permission]
"""Namespace, name if it matters, permission: two targets of a namespace share the question about a list."""


class _Unanswered(Exception):
    """The API server did not say."""


class Reviewer:
    """Safe to share between threads."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._missing: dict[Target, tuple[Permission, ...]] = {}

    def review(self, needs: Needs, *, within: timedelta) -> AccessReview:
        """Ask for each need of each target. What is not answered in that time stays as it was known."""
        answers, unanswered = self._ask(needs, within)
        with self._lock:
            known = self._missing
            self._missing = {
                target: missing
                for target, wanted in needs.items()
                if (missing := _missing(answers, target, wanted, known.get(target, ())))
            }
            return AccessReview(missing=self._missing, unanswered=unanswered)

    def missing(self, target: Target) -> tuple[Permission, ...]:
        """What the last review missed here and is still missing. Asks only where something was."""
        known = self._missing.get(target, ())
        if not known:
            return ()
        answers, _ = self._ask({target: known}, _AGAIN_WITHIN)
        missing = _missing(answers, target, known, known)
        with self._lock:
            self._missing = {**self._missing, target: missing}
        return missing

    def _ask(self, needs: Needs, within: timedelta) -> tuple[dict[_Question, bool], str | None]:
        answers: dict[_Question, bool] = {}
        deadline = time.monotonic() + within.total_seconds()
        for question in dict.fromkeys(_questions(needs)):
            try:
                answers[question] = self._allowed(question, deadline)
            except _Unanswered as silence:
                return answers, str(silence)  # the others would fail in the same way, each after its time-out
        return answers, None

    def _allowed(self, question: _Question, deadline: float) -> bool:
        if time.monotonic() >= deadline:
            raise _Unanswered("there was no time to ask for everything")
        try:
            answer = self._connection.ask(REVIEWS, _review_of(question))
        except NoAnswer as silence:
            raise _Unanswered(str(silence)) from None
        allowed = value_at(answer.body, "status", "allowed")
        if not answer.ok or not isinstance(allowed, bool):
            raise _Unanswered(answer.words)
        return allowed


def _missing(
    answers: Mapping[_Question, bool],
    target: Target,
    wanted: Sequence[Permission],
    known: Sequence[Permission],
) -> tuple[Permission, ...]:
    """A question without an answer leaves it at what was known before."""
    return tuple(one for one in wanted if not answers.get(_question(target, one), one not in known))


def _questions(needs: Needs) -> list[_Question]:
    return [_question(target, permission) for target, wanted in needs.items() for permission in wanted]


def _question(target: Target, permission: Permission) -> _Question:
    return target.namespace, target.name if permission.named else None, permission


def _review_of(question: _Question) -> Json:
    namespace, name, permission = question
    resource, _, subresource = permission.resource.partition("/")
    attributes = {
        "namespace": namespace,
        "name": name,
        "verb": permission.verb,
        "group": permission.group,
        "resource": resource,
        "subresource": subresource,
    }
    return {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {key: value for key, value in attributes.items() if value}},
    }
