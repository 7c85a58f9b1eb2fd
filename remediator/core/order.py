"""What the order of a StatefulSet forbids: changes that it would not carry out, or never to the end.

Its controller touches nothing while a pod is not ready (OrderedReady), not even to replace that very pod, so
a change would wait for a person who deletes the pod. Sources: kubernetes
pkg/controller/statefulset/stateful_set_control.go, updateStatefulSet; kubernetes/kubernetes#67250.
"""

from __future__ import annotations

from datetime import datetime

from remediator.core.actions import Scale, SetMinimum
from remediator.core.facts import Observation
from remediator.core.failing import failing
from remediator.core.reasons import Reason
from remediator.core.seen import NumberedPod, Order

Refusal = tuple[Reason, str]


def restart_refusal(seen: Observation) -> Refusal | None:
    """Why a restart would not reach every pod."""
    order = seen.order
    if order is None:
        return None
    if order.on_delete:
        return Reason.ON_DELETE, "its update strategy is OnDelete: delete its pods one by one"
    if order.partition:
        return Reason.PARTITIONED, f"the partition is {order.partition}, of {seen.replicas} pods"
    return _waits(seen, order, keeps=seen.replicas)


def undo_refusal(seen: Observation) -> Refusal:
    """Why the rollout of a StatefulSet is not undone, and how a person does it."""
    back = next(iter(seen.previous or ()), None)
    if back is None:
        return Reason.STATEFUL_NOT_UNDONE, "no older revision with another template is known either"
    by_hand = f"kubectl rollout undo --to-revision={back.number}, then delete the pods that are not ready"
    return Reason.STATEFUL_NOT_UNDONE, f"by hand, when the data allows it: {by_hand}"


def scale_refusal(seen: Observation, action: Scale | SetMinimum) -> Refusal | None:
    """Why a change of the replica count would not be carried out, or would cost data."""
    order = seen.order
    if order is None:
        return None
    if action.down and (dropped := volumes_refusal(seen)):
        return dropped
    return _waits(seen, order, keeps=action.to if action.down else seen.replicas)


def volumes_refusal(seen: Observation) -> Refusal | None:
    """Why no pod may be scaled away."""
    if seen.order is None or not seen.order.drops_volumes:
        return None
    return Reason.VOLUMES_WOULD_GO, "persistentVolumeClaimRetentionPolicy.whenScaled is Delete"


def _waits(seen: Observation, order: Order, *, keeps: int) -> Refusal | None:
    """What it would wait for: of the pods that go only those behind the first that is not ready."""
    if not order.one_by_one:
        return None
    if order.unready is None:
        why = seen.unreadable.get("pods", "not observed")
        return Reason.FACT_UNKNOWN, f"whether a pod is not ready is unknown: {why}"
    stays = [one for one in order.unready if one.number < keeps]
    goes = [one for one in order.unready if one.number >= keeps]
    held_by = (*stays, *(goes[1:] if not stays else ()))
    if not held_by:
        return None
    return Reason.WAITS_FOR_POD, _words(held_by[0], seen.at)


def _words(one: NumberedPod, now: datetime) -> str:
    why = failing(one.pod, now) or f"{one.pod.name} is not ready"
    return f"{why}; once the cause is mended: kubectl delete pod {one.pod.name}"
