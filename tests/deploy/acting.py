"""The whole of what the adapter does to a target, and which permission each of its requests needs."""

from __future__ import annotations

import re
import uuid
from datetime import UTC, datetime
from urllib.parse import urlsplit

from requests import PreparedRequest

from remediator.adapters.kubernetes import KubernetesCluster
from remediator.core.actions import Intent, RestartIntent, ScaleIntent, Target, UndoIntent, restart_timestamp
from remediator.core.announcements import Announcement
from remediator.core.execution import RolloutState, Sent
from remediator.core.facts import Observation
from tests import builders
from tests.waiting import eventually

_PATH = re.compile(
    r"/apis?/((?P<group>[^/]+)/)?v\d\w*/namespaces/(?P<namespace>[^/]+)"
    r"/(?P<resource>[^/]+)(/(?P<name>[^/]+)(?P<subresource>/[^/]+)?)?"
)

Need = tuple[str, str, str, str | None]
"""Verb, group, resource, name."""


def need_of(request: PreparedRequest) -> Need | None:
    """The permission that a request to a namespace needs; None for one that everybody may send."""
    path = urlsplit(request.url or "").path
    found = _PATH.fullmatch(path)
    if found is None:
        assert path in {"/version", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"}, path
        return None
    verb = {"GET": "get" if found["name"] else "list", "PATCH": "patch", "POST": "create"}[
        request.method or ""
    ]
    return verb, found["group"] or "", found["resource"] + (found["subresource"] or ""), found["name"]


def seen(cluster: KubernetesCluster, target: Target) -> Observation:
    found = cluster.observe(target)
    assert isinstance(found, Observation), found
    return found


def an_announcement(target: Target, number: int = 7) -> Announcement:
    at = datetime.now(UTC)
    return builders.an_announcement(
        number=number, target=target, incident=number, opened_at=at, at=at, digest=uuid.uuid4().hex
    )


def restart(now: Observation) -> RestartIntent:
    return RestartIntent(
        uid=now.uid,
        generation=now.generation,
        template_digest=now.template_digest,
        restarted_at=restart_timestamp(datetime.now(UTC)),
    )


def undo(now: Observation) -> UndoIntent:
    assert now.previous, "there is nothing to go back to"
    to = now.previous[0]
    return UndoIntent(
        uid=now.uid,
        generation=now.generation,
        template_digest=now.template_digest,
        replica_set_uid=to.replica_set_uid,
        revision=to.number,
        target_digest=to.digest,
    )


def scale(now: Observation) -> ScaleIntent:
    return ScaleIntent(
        uid=now.uid,
        generation=now.generation,
        replicas_from=now.replicas,
        replicas_to=3 if now.replicas == 2 else 2,
    )


def carry_out(cluster: KubernetesCluster, target: Target, intent: Intent) -> Sent:
    """Recognise, send, recognise again and wait for the rollout, as the flow does."""
    before = datetime.now(UTC)
    cluster.recognise(target, intent)
    sent = cluster.send(target, intent)
    cluster.recognise(target, intent)
    if sent.generation is not None:
        generation = sent.generation

        def complete() -> bool:
            how = cluster.rollout(target, intent, generation=generation, since=before)
            return how.state is RolloutState.COMPLETE

        eventually(complete)
    return sent
