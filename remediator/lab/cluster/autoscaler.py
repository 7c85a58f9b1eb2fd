"""The HorizontalPodAutoscaler controller, as far as it needs no metrics: it keeps to minimum and maximum.

A workload below the minimum is scaled up to it, one above the maximum down to that; one that was scaled
to 0 is left alone. Nothing else is done, so a lowered minimum takes no pod away.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from remediator.lab.cluster.errors import ApiError
from remediator.lab.cluster.objects import name_of, namespace_of
from remediator.lab.cluster.resources import AUTOSCALERS, DEPLOYMENTS, STATEFUL_SETS

if TYPE_CHECKING:
    from remediator.lab.cluster.events import EventRecorder
    from remediator.lab.cluster.resources import Json
    from remediator.lab.cluster.store import Store

SOURCE = "horizontal-pod-autoscaler"


class AutoscalerController:
    def __init__(self, store: Store, events: EventRecorder) -> None:
        self._store = store
        self._events = events

    def sync_all(self) -> None:
        for listed in self._store.list(AUTOSCALERS):
            with self._store.lock, suppress(ApiError):  # the autoscaler or its target has gone meanwhile
                self._sync(self._store.get(AUTOSCALERS, namespace_of(listed), name_of(listed)))

    def _sync(self, autoscaler: Json) -> None:
        reference = autoscaler["spec"].get("scaleTargetRef") or {}
        scaled = {one.kind: one for one in (DEPLOYMENTS, STATEFUL_SETS)}.get(reference.get("kind", ""))
        if scaled is None:
            return
        where = namespace_of(autoscaler), reference["name"]
        present = self._store.get(scaled, *where)["spec"]["replicas"]
        least, most = autoscaler["spec"]["minReplicas"], autoscaler["spec"]["maxReplicas"]
        wanted = min(max(present, least), most)
        if not present or wanted == present:
            return
        self._store.update(scaled, *where, lambda old: {**old, "spec": {**old["spec"], "replicas": wanted}})
        self._store.update(
            AUTOSCALERS,
            namespace_of(autoscaler),
            name_of(autoscaler),
            lambda old: {**old, "status": {"currentReplicas": present, "desiredReplicas": wanted}},
            status=True,
        )
        bound = "below Spec.MinReplicas" if wanted > present else "above Spec.MaxReplicas"
        said = f"New size: {wanted}; reason: Current number of replicas {bound}"
        self._events.normal(SOURCE, autoscaler, "SuccessfulRescale", said)
