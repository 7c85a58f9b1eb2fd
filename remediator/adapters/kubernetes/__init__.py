"""The Kubernetes API behind `ports.Cluster`: observe, recognise, send, follow the rollout.

    connection.py    HTTP, bounded; the one place that writes     credentials.py  who we are, where it is
    objects.py       looking into raw JSON, template digests      quantities.py   250m, 1.5Gi, usage/limit
    observation.py   objects -> Observation                       revisions.py    the rollout history
    patches.py       intent -> request                            delivery.py     sending it, the outcome
    status.py        how far a rollout is                         selectors.py    of which objects to list
    access.py        what we may do here

A call takes at most a handful of time-outs; silence and refusal are values, never exceptions.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from urllib.parse import quote

from remediator.adapters.kubernetes.access import Needs, Reviewer
from remediator.adapters.kubernetes.connection import Answer, Connection, NoAnswer
from remediator.adapters.kubernetes.credentials import Unconfigured, load_access
from remediator.adapters.kubernetes.delivery import Sender, Unread, standing_of
from remediator.adapters.kubernetes.objects import Json, controlled_by, generation_of, items, uid_of
from remediator.adapters.kubernetes.observation import Listing, Reading, observation_from
from remediator.adapters.kubernetes.patches import deployment_path
from remediator.adapters.kubernetes.selectors import selector_of
from remediator.adapters.kubernetes.status import judge_rollout
from remediator.core.actions import Intent, Target
from remediator.core.execution import Recognition, Rollout, RolloutState, Sent, Standing
from remediator.core.facts import Observation, Unseen
from remediator.core.permissions import AccessReview
from remediator.core.reasons import Reason

__all__ = ["Connection", "KubernetesCluster", "Unconfigured"]

_OK = 200
_FORBIDDEN = (401, 403)
_NOT_FOUND = 404
_PARALLEL_READS = 4


class KubernetesCluster:
    """Implements `ports.Cluster`. Safe to share between threads; to be built after a fork."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._reviewer = Reviewer(connection)
        self._readers = ThreadPoolExecutor(_PARALLEL_READS, thread_name_prefix="kubernetes-read")
        # Which versions this API server serves is learned once; another is tried on a 404.
        self._hpa_versions = ["v2", "v1"]
        self._metrics_versions = ["v1", "v1beta1"]

    @classmethod
    def from_environment(
        cls, kubeconfig: str | None = None, *, connect_timeout: float = 3.0, read_timeout: float = 10.0
    ) -> KubernetesCluster:
        """From a kubeconfig, the pod's service account or the default kubeconfig. Raises Unconfigured."""
        load = partial(load_access, kubeconfig)
        return cls(Connection(load, connect_timeout=connect_timeout, read_timeout=read_timeout))

    def close(self) -> None:
        self._readers.shutdown()
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

    def observe(self, target: Target) -> Observation | Unseen:
        hpas = self._readers.submit(self._hpas, target.namespace)
        try:
            answer = self._connection.get(deployment_path(target))
        except NoAnswer as silence:
            return Unseen(reason=Reason.CLUSTER_UNREACHABLE, detail=str(silence))
        if answer.status != _OK:
            return _unseen(answer)
        seen = observation_from(self._reading(target, answer, hpas))
        return replace(seen, missing_permissions=self._reviewer.missing(target))

    def recognise(self, target: Target, intent: Intent) -> Recognition:
        try:
            answer = self._connection.get(deployment_path(target))
            if answer.status == _NOT_FOUND:
                return Recognition(
                    standing=Standing.CHANGED, detail="the Deployment was deleted", at=answer.at
                )
            if answer.status != _OK:
                return Recognition(standing=Standing.UNREACHABLE, detail=answer.words, at=answer.at)
            standing, why = standing_of(answer.body, intent, partial(self._owned_replica_sets, target))
        except (NoAnswer, Unread) as failure:
            return Recognition(standing=Standing.UNREACHABLE, detail=str(failure))
        applied = generation_of(answer.body) if standing is Standing.APPLIED else None
        return Recognition(standing=standing, detail=why, generation=applied, at=answer.at)

    def send(self, target: Target, intent: Intent) -> Sent:
        return Sender(self._connection, target, partial(self._owned_replica_sets, target)).send(intent)

    def rollout(self, target: Target, intent: Intent, *, generation: int, since: datetime) -> Rollout:
        try:
            answer = self._connection.get(deployment_path(target))
        except NoAnswer as silence:
            return Rollout(state=RolloutState.UNREACHABLE, detail=str(silence))
        if answer.status == _NOT_FOUND:
            return Rollout(state=RolloutState.FAILED, detail="the Deployment was deleted")
        if answer.status != _OK:
            return Rollout(state=RolloutState.UNREACHABLE, detail=answer.words)
        return judge_rollout(answer.body, intent, generation=generation, since=since)

    def _reading(self, target: Target, answer: Answer, hpas: Future[Listing]) -> Reading:
        """The lists that need the selector, side by side: the time to act is counted in milliseconds."""
        selector = selector_of(answer.body)
        if selector is None:
            why: Listing = "the Deployment's selector cannot be read"
            return Reading(
                deployment=answer.body,
                at=answer.at,
                replica_sets=why,
                pods=why,
                metrics=why,
                hpas=hpas.result(),
            )
        namespace = quote(target.namespace)
        query = {"labelSelector": selector}
        pods = self._readers.submit(self._list, f"/api/v1/namespaces/{namespace}/pods", query)
        metrics = self._readers.submit(self._metrics, namespace, query)
        replica_sets = self._list(_replica_sets_path(target), query)
        return Reading(
            deployment=answer.body,
            at=answer.at,
            replica_sets=replica_sets,
            pods=pods.result(),
            metrics=metrics.result(),
            hpas=hpas.result(),
        )

    def _owned_replica_sets(self, target: Target, deployment: Json) -> list[Json]:
        query = {"labelSelector": selector_of(deployment) or ""}
        answer = self._connection.get(_replica_sets_path(target), query)
        if answer.status != _OK:
            raise Unread(answer)
        return controlled_by(items(answer.body, "items"), uid_of(deployment))

    def _hpas(self, namespace: str) -> Listing:
        path = f"/apis/autoscaling/{{version}}/namespaces/{quote(namespace)}/horizontalpodautoscalers"
        return self._list_any(path, self._hpa_versions, {})

    def _metrics(self, namespace: str, query: dict[str, str]) -> Listing:
        path = f"/apis/metrics.k8s.io/{{version}}/namespaces/{namespace}/pods"
        found = self._list_any(path, self._metrics_versions, query)
        return f"no pod metrics: {found}" if isinstance(found, str) else found

    def _list_any(self, path: str, versions: list[str], query: dict[str, str]) -> Listing:
        """The list in the first version that is served; that one is asked first from then on."""
        failure = ""
        for version in tuple(versions):
            found, status = self._listed(path.format(version=version), query)
            if status != _NOT_FOUND:
                versions.sort(key=lambda known, served=version: known != served)  # type: ignore[misc]
                return found
            failure = failure or str(found)
        return failure

    def _list(self, path: str, query: dict[str, str]) -> Listing:
        return self._listed(path, query)[0]

    def _listed(self, path: str, query: dict[str, str]) -> tuple[Listing, int | None]:
        try:
            answer = self._connection.get(path, query)
        except NoAnswer as silence:
            return str(silence), None
        if answer.status != _OK:
            return answer.words, answer.status
        if "items" not in answer.body:
            return "the API server's answer is no list", answer.status
        return items(answer.body, "items"), answer.status


def _replica_sets_path(target: Target) -> str:
    return f"/apis/apps/v1/namespaces/{quote(target.namespace)}/replicasets"


def _unseen(answer: Answer) -> Unseen:
    if answer.status == _NOT_FOUND:
        return Unseen(reason=Reason.TARGET_NOT_FOUND, detail=answer.words)
    if answer.status in _FORBIDDEN:
        return Unseen(reason=Reason.FORBIDDEN, detail=answer.words)
    return Unseen(reason=Reason.CLUSTER_UNREACHABLE, detail=answer.words)
