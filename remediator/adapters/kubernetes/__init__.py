"""The Kubernetes API behind `ports.Cluster`: observe, recognise, send, follow the rollout.

    connection.py    HTTP, bounded; the one place that writes     credentials.py  who we are, where it is
    objects.py       looking into raw JSON, template digests      quantities.py   250m, 1.5Gi, usage/limit
    observation.py   objects -> Observation                       revisions.py    the rollout history
    patches.py       intent -> request                            delivery.py     sending it, the outcome
    standing.py      has an intent been applied?                  selectors.py    of which objects to list
    listing.py       lists in pages and versions                  pods.py         a pod's status
    owners.py        GitOps, operators, autoscalers               strategy.py     how a rollout replaces pods
    status.py        how far a rollout is                         stateful.py     what only a StatefulSet has
    evidence.py      Events and logs, for the story               access.py       what we may do here
    announcing.py    our own Events on the target                 autoscalers.py  minReplicas: standing, write

A call takes at most a handful of time-outs; silence and refusal are values, never exceptions.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from urllib.parse import quote

from remediator.adapters.kubernetes.access import Needs, Reviewer
from remediator.adapters.kubernetes.announcing import announce
from remediator.adapters.kubernetes.answers import Answer, NoAnswer
from remediator.adapters.kubernetes.autoscalers import Autoscalers, NoList, autoscalers_of_target
from remediator.adapters.kubernetes.connection import Connection
from remediator.adapters.kubernetes.credentials import Unconfigured, load_access
from remediator.adapters.kubernetes.delivery import Sender
from remediator.adapters.kubernetes.evidence import EvidenceReader
from remediator.adapters.kubernetes.listing import Listing, Lists
from remediator.adapters.kubernetes.objects import (
    Json,
    controlled_by,
    generation_of,
    items,
    stop_on,
    uid_of,
)
from remediator.adapters.kubernetes.observation import Reading, current_pods, observation_from
from remediator.adapters.kubernetes.patches import workload_path
from remediator.adapters.kubernetes.selectors import selector_of
from remediator.adapters.kubernetes.standing import Further, Unread, standing_of
from remediator.adapters.kubernetes.status import judge_rollout
from remediator.core.actions import Intent, MinimumIntent, Target, Workload
from remediator.core.announcements import Announcement, Told
from remediator.core.execution import Recognition, Rollout, RolloutState, Sent, Standing
from remediator.core.facts import Observation, Unseen
from remediator.core.permissions import CREATE_EVENTS, AccessReview
from remediator.core.reasons import Reason

__all__ = ["Connection", "KubernetesCluster", "Unconfigured"]

_OK = 200
_UNAUTHORIZED = 401
_FORBIDDEN = 403
_NOT_FOUND = 404
_PARALLEL_READS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class _Early:
    """Reads that need nothing of the Deployment, under way beside the read of it."""

    hpas: Future[Listing]
    budgets: Future[Listing]


class KubernetesCluster:
    """Implements `ports.Cluster`. Safe to share between threads; to be built after a fork."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._reviewer = Reviewer(connection)
        self._readers = ThreadPoolExecutor(_PARALLEL_READS, thread_name_prefix="kubernetes-read")
        self._lists = Lists(connection)
        self._evidence = EvidenceReader(connection)

    @classmethod
    def from_environment(
        cls, kubeconfig: str | None = None, *, connect_timeout: float = 3.0, read_timeout: float = 10.0
    ) -> KubernetesCluster:
        """From a kubeconfig, the pod's service account or the default kubeconfig. Raises Unconfigured."""
        load = partial(load_access, kubeconfig)
        return cls(Connection(load, connect_timeout=connect_timeout, read_timeout=read_timeout))

    def close(self) -> None:
        self._readers.shutdown()
        self._evidence.close()
        self._connection.close()

    def ping(self) -> str | None:
        """None when the API server answers, else why it does not."""
        try:
            answer = self._connection.get("/version")
        except NoAnswer as silence:
            return str(silence)
        return None if answer.ok else answer.words

    def review(self, needs: Needs, *, within: timedelta) -> AccessReview:
        """Which of these permissions we lack; what is missing is then part of each observation."""
        return self._reviewer.review(needs, within=within)

    def observe(self, target: Target, *, logs: bool = False) -> Observation | Unseen:
        namespace = quote(target.namespace)
        early = _Early(
            hpas=self._readers.submit(self._lists.autoscalers, namespace),
            budgets=self._readers.submit(self._lists.budgets, namespace),
        )
        try:
            answer = self._connection.get(workload_path(target))
        except NoAnswer as silence:
            return Unseen(reason=Reason.CLUSTER_UNREACHABLE, detail=str(silence))
        if answer.status != _OK:
            return _unseen(answer)
        seen = observation_from(self._reading(target, answer, early, logs=logs))
        return replace(seen, missing_permissions=self._reviewer.missing(target))

    def recognise(self, target: Target, intent: Intent) -> Recognition:
        try:
            answer = self._connection.get(workload_path(target))
            if answer.status == _NOT_FOUND:
                return Recognition(
                    standing=Standing.CHANGED, detail=f"the {target.kind} was deleted", at=answer.at
                )
            if answer.status != _OK:
                return _unrecognised(answer)
            standing, why = standing_of(answer.body, intent, self._further(target))
        except (NoAnswer, NoList, Unread) as failure:
            return Recognition(standing=Standing.UNREACHABLE, detail=str(failure))
        applied = generation_of(answer.body) if standing is Standing.APPLIED else None
        stop = stop_on(answer.body, now=answer.at) if standing is Standing.SENDABLE else None
        return Recognition(standing=standing, detail=why, generation=applied, at=answer.at, stop=stop)

    def send(self, target: Target, intent: Intent, *, cause: str = "") -> Sent:
        return Sender(self._connection, target, self._further(target), cause=cause).send(intent)

    def announce(self, one: Announcement) -> Told:
        if CREATE_EVENTS in self._reviewer.missing(one.target):
            return Told.FORBIDDEN
        return announce(self._connection, one)

    def rollout(self, target: Target, intent: Intent, *, generation: int, since: datetime) -> Rollout:
        try:
            answer = self._connection.get(workload_path(target))
            autoscalers = self._autoscalers(target) if isinstance(intent, MinimumIntent) else None
        except (NoAnswer, NoList) as silence:
            return Rollout(state=RolloutState.UNREACHABLE, detail=str(silence))
        if answer.status == _NOT_FOUND:
            return Rollout(state=RolloutState.FAILED, detail=f"the {target.kind} was deleted")
        if answer.status != _OK:
            return Rollout(state=RolloutState.UNREACHABLE, detail=answer.words)
        return judge_rollout(answer.body, intent, generation=generation, since=since, autoscalers=autoscalers)

    def _reading(self, target: Target, answer: Answer, early: _Early, *, logs: bool) -> Reading:
        """The lists that need the selector, side by side: the time to act is counted in milliseconds."""
        selector = selector_of(answer.body)
        gathering = self._evidence.begin(target, answer.body, logs=logs)
        if selector is None:
            why: Listing = f"the {target.kind}'s selector cannot be read"
            revisions = pods = metrics = why
        else:
            namespace, query = quote(target.namespace), {"labelSelector": selector}
            listing_pods = self._readers.submit(
                self._lists.all, f"/api/v1/namespaces/{namespace}/pods", query
            )
            measuring = self._readers.submit(self._lists.metrics, namespace, query)
            revisions = self._lists.all(_revisions_path(target), query)
            pods = listing_pods.result()
            gathering.read_logs(current_pods(answer.body, revisions, pods))
            metrics = measuring.result()
        ours = controlled_by(_known(revisions), uid_of(answer.body))
        theirs = [pod for one in (answer.body, *ours) for pod in controlled_by(_known(pods), uid_of(one))]
        return Reading(
            workload=answer.body,
            at=answer.at,
            revisions=revisions,
            pods=pods,
            metrics=metrics,
            hpas=early.hpas.result(),
            budgets=early.budgets.result(),
            events=gathering.events([answer.body, *ours, *theirs]),
            logs=gathering.logs(),
        )

    def _further(self, target: Target) -> Further:
        return Further(
            replica_sets=partial(self._owned_replica_sets, target),
            autoscalers=partial(self._autoscalers, target),
        )

    def _autoscalers(self, target: Target) -> Autoscalers:
        return autoscalers_of_target(self._lists, target)

    def _owned_replica_sets(self, target: Target, deployment: Json) -> list[Json]:
        query = {"labelSelector": selector_of(deployment) or ""}
        answer = self._connection.get(_revisions_path(target), query)
        if answer.status != _OK:
            raise Unread(answer)
        return controlled_by(items(answer.body, "items"), uid_of(deployment))


def _known(found: Listing) -> list[Json]:
    return [] if isinstance(found, str) else found


def _revisions_path(target: Target) -> str:
    kept_in = "replicasets" if target.kind is Workload.DEPLOYMENT else "controllerrevisions"
    return f"/apis/apps/v1/namespaces/{quote(target.namespace)}/{kept_in}"


def _unrecognised(answer: Answer) -> Recognition:
    return Recognition(
        standing=Standing.UNREACHABLE, detail=answer.words, at=answer.at, again_after=answer.again_after
    )


def _unseen(answer: Answer) -> Unseen:
    if answer.status == _NOT_FOUND:
        return Unseen(reason=Reason.TARGET_NOT_FOUND, detail=answer.words)
    if answer.status == _UNAUTHORIZED:
        return Unseen(reason=Reason.UNAUTHENTICATED, detail=answer.words)
    if answer.status == _FORBIDDEN:
        return Unseen(reason=Reason.FORBIDDEN, detail=answer.words)
    return Unseen(reason=Reason.CLUSTER_UNREACHABLE, detail=answer.words)
