"""What only a StatefulSet has: numbered pods, a revision for each template, and how far its rollout is.

`missing` follows `kubectl rollout status` (pkg/polymorphichelpers/rollout_status.go): all pods ready, those
from the partition on updated, and the new revision taken for the current one, which the controller does when
the last pod is ready. OnDelete, which kubectl has no answer for, has no rollout of its own.
"""

from __future__ import annotations

import re
from datetime import datetime

from remediator.adapters.kubernetes.listing import Listing
from remediator.adapters.kubernetes.objects import (
    Json,
    condition,
    controlled_by,
    digest_of,
    images_of,
    items,
    mapping,
    moment,
    name_of,
    number,
    text,
    uid_of,
    value_at,
    wanted_replicas,
)
from remediator.adapters.kubernetes.pods import active, pod_seen
from remediator.adapters.kubernetes.revisions import created
from remediator.adapters.kubernetes.strategy import count_of
from remediator.core.seen import Between, NumberedPod, Order, Revision, Strategy

REVISION_LABEL = "controller-revision-hash"
ON_DELETE = "OnDelete"
_NUMBER = re.compile(r"-(\d{1,9})$")
_OF_THE_STRATEGY = "$patch"
"""A revision is kept as a patch that replaces the template; that word of it is no part of the template."""


def partition_of(stateful: Json) -> int:
    return number(stateful, "spec", "updateStrategy", "rollingUpdate", "partition")


def on_delete(stateful: Json) -> bool:
    return text(stateful, "spec", "updateStrategy", "type") == ON_DELETE


def strategy_of_stateful(stateful: Json) -> Strategy:
    """One pod at a time is away, unless the newer `maxUnavailable` says more, in a number or a share.

    A share rounds down, and one pod may always be missing: kubernetes
    pkg/controller/statefulset/stateful_set_utils.go, getStatefulSetMaxUnavailable.
    """
    if on_delete(stateful):
        return Strategy(kind=ON_DELETE)
    replicas = wanted_replicas(stateful)
    given = value_at(stateful, "spec", "updateStrategy", "rollingUpdate", "maxUnavailable")
    missing = 1 if given is None else max(1, count_of(given, replicas, up=False))
    return Strategy(missing=min(missing, replicas))


def order_of(stateful: Json, pods: Listing) -> Order:
    retention = mapping(stateful, "spec", "persistentVolumeClaimRetentionPolicy")
    return Order(
        on_delete=on_delete(stateful),
        partition=partition_of(stateful),
        one_by_one=text(stateful, "spec", "podManagementPolicy") != "Parallel",
        unready=None if isinstance(pods, str) else _unready(stateful, controlled_by(pods, uid_of(stateful))),
        drops_volumes=bool(items(stateful, "spec", "volumeClaimTemplates"))
        and text(retention, "whenScaled") == "Delete",
    )


def _unready(stateful: Json, pods: list[Json]) -> tuple[NumberedPod, ...]:
    """Also one that is leaving: it is waited for as well. A finished one is about to be replaced."""
    numbered = [NumberedPod(number=_number(stateful, pod), pod=pod_seen(pod)) for pod in pods]
    return tuple(sorted((one for one in numbered if not one.pod.ready), key=lambda one: one.number))


def _number(stateful: Json, pod: Json) -> int:
    """Its place from 0 on; `spec.ordinals.start` says where the names begin."""
    found = _NUMBER.search(name_of(pod))
    return int(found[1]) - number(stateful, "spec", "ordinals", "start") if found else 0


def pods_in_use(stateful: Json, pods: Listing) -> Listing:
    """The pods that are meant to be as they are: of an older revision only where nothing replaces them."""
    if isinstance(pods, str):
        return pods
    if not observed(stateful):
        return "the current template has no revision yet"
    update, partition = text(stateful, "status", "updateRevision"), partition_of(stateful)
    return [
        pod
        for pod in controlled_by(pods, uid_of(stateful))
        if active(pod)
        and (
            on_delete(stateful)
            or _number(stateful, pod) < partition
            or mapping(pod, "metadata", "labels").get(REVISION_LABEL) == update
        )
    ]


def observed(stateful: Json) -> bool:
    generation = number(stateful, "metadata", "generation")
    return 0 < generation <= number(stateful, "status", "observedGeneration")


def missing(stateful: Json, *, template: bool = True) -> str | None:
    """What the rollout still lacks; without `template`, what the replica count lacks."""
    wanted = wanted_replicas(stateful)
    ready, there = number(stateful, "status", "readyReplicas"), number(stateful, "status", "replicas")
    if there > wanted:
        return f"{there - wanted} surplus replicas are still to be terminated"
    if ready < wanted:
        return f"{ready} of {wanted} replicas are ready"
    available = value_at(stateful, "status", "availableReplicas")  # not before Kubernetes 1.22
    if isinstance(available, int) and available < wanted:
        return f"{available} of {wanted} replicas are available"
    return _outdated(stateful) if template else None


def rolled_out_stateful(stateful: Json) -> tuple[bool, str]:
    """Whether the last rollout came to its end once, and how far it is."""
    wanted, there = wanted_replicas(stateful), number(stateful, "status", "replicas")
    if not observed(stateful):
        return False, "the controller has not observed the last change"
    if there != wanted:
        return False, f"{there} pods are there, {wanted} are wanted"
    lacking = None if on_delete(stateful) else _outdated(stateful)
    return lacking is None, lacking or complete(stateful)


def _outdated(stateful: Json) -> str | None:
    status, partition = mapping(stateful, "status"), partition_of(stateful)
    wanted = max(0, wanted_replicas(stateful) - partition)
    updated = number(status, "updatedReplicas")
    if updated < wanted:
        return f"{updated} of {wanted} pods have been updated"
    if not partition and text(status, "currentRevision") != text(status, "updateRevision"):
        return f"the last of {wanted} updated pods is not ready yet"
    return None


def complete(stateful: Json) -> str:
    ready = number(stateful, "status", "readyReplicas")
    updated, wanted = number(stateful, "status", "updatedReplicas"), wanted_replicas(stateful)
    return f"rollout complete: {updated} of {wanted} replicas updated, {ready} ready"


def last_ready_at(pods: list[Json]) -> datetime | None:
    """When the newest pod became ready: there is no other trace of when a rollout ended."""
    newest = max(pods, key=lambda pod: text(pod, "metadata", "creationTimestamp"), default=None)
    ready = condition(newest, "Ready") if newest else {}
    return moment(ready, "lastTransitionTime") if ready.get("status") == "True" else None


class StatefulHistory:
    """The ControllerRevisions of one StatefulSet.

    One that is used again gets a new number and forgets the old, so that only a history of which no number
    is missing tells for certain when its newest template came.
    """

    def __init__(self, stateful: Json, revisions: list[Json]) -> None:
        self._stateful = stateful
        self._digest = digest_of(stateful)
        ours = [(number(one, "revision"), one) for one in controlled_by(revisions, uid_of(stateful))]
        self._newest_first = sorted(ours, key=lambda one: one[0], reverse=True)

    def revision(self) -> int | None:
        """The number of the template in force."""
        update = text(self._stateful, "status", "updateRevision")
        return next((count for count, one in self._newest_first if name_of(one) == update), None)

    def previous(self) -> tuple[Revision, ...]:
        """The newest of each other template, newest first."""
        found: dict[str, Revision] = {}
        for count, one in self._newest_first:
            kept = _template_kept(one)
            digest = digest_of(kept)
            if digest != self._digest and digest not in found:
                found[digest] = Revision(
                    replica_set_uid=uid_of(one), number=count, digest=digest, images=images_of(kept)
                )
        return tuple(found.values())

    def template_changed(self, now: datetime) -> Between | None:
        """When the present template, restarts aside, became the current one: exact, or within bounds."""
        same: list[Json] = []
        others: list[Json] = []
        for _, one in self._newest_first:
            if others or digest_of(_template_kept(one)) != self._digest:
                others.append(one)
            else:
                same.append(one)
        births = [birth for one in (*others, *same[-1:]) if (birth := created(one))]
        earliest = max(births, default=created(self._stateful))
        if earliest is None:
            return None
        numbers = sorted(count for count, _ in self._newest_first)
        whole = numbers == list(range(1, len(numbers) + 1))
        exact = bool(same) and whole and created(same[-1]) == earliest
        return Between(earliest=earliest, latest=earliest if exact else max(earliest, now))


def _template_kept(revision: Json) -> Json:
    template = mapping(revision, "data", "spec", "template")
    return {"spec": {"template": {key: value for key, value in template.items() if key != _OF_THE_STRATEGY}}}
