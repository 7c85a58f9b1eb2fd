"""The simulated control plane: one thread that lets all control loops take their turns.

A round is made when something changed, and every BEAT seconds because time passes (pods get
ready, deadlines run out). Each loop takes the store's lock for one object at a time.
"""

from __future__ import annotations

import threading
import time
import traceback
from typing import TYPE_CHECKING

from remediator.lab.cluster.autoscaler import AutoscalerController
from remediator.lab.cluster.collector import GarbageCollector
from remediator.lab.cluster.controller import DeploymentController
from remediator.lab.cluster.events import EventRecorder
from remediator.lab.cluster.objects import rfc3339
from remediator.lab.cluster.pods import NODE, Kubelet
from remediator.lab.cluster.replicasets import ReplicaSetController
from remediator.lab.cluster.resources import NAMESPACES, NODES
from remediator.lab.cluster.statefulsets import StatefulSetController

if TYPE_CHECKING:
    from remediator.lab.cluster.pace import Pace
    from remediator.lab.cluster.store import Store

BEAT = 0.1
BREATH = 0.01  # between two rounds, so that requests get their turn under constant change


class ControlPlane:
    def __init__(self, store: Store, pace: Pace) -> None:
        self._store = store
        events = EventRecorder(store)
        self._loops = (
            AutoscalerController(store, events),
            DeploymentController(store, events, pace),
            ReplicaSetController(store, events, pace),
            StatefulSetController(store, events),
            Kubelet(store, events, pace),
            GarbageCollector(store),
        )
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lab-control-plane", daemon=True)

    def start(self) -> None:
        self._seed()
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        with self._store.lock:
            self._store.changed.notify_all()
        self._thread.join()

    def round(self) -> None:
        """Every loop takes one turn."""
        for loop in self._loops:
            loop.sync_all()

    def _run(self) -> None:
        while not self._stopping.is_set():
            seen = self._store.version
            try:
                self.round()
            except Exception:  # noqa: BLE001  # a cluster outlives a bad object; the next round tries again
                traceback.print_exc()
            time.sleep(BREATH)
            with self._store.lock:
                if self._store.version == seen:
                    self._store.changed.wait(BEAT)

    def _seed(self) -> None:
        for name in ("default", "kube-node-lease", "kube-public", "kube-system"):
            self._store.create(NAMESPACES, "", {"metadata": {"name": name}})
        self._store.create(NODES, "", {"metadata": {"name": NODE}, "spec": {}})
        size = {"cpu": "64", "memory": "256Gi", "pods": "1000"}
        ready = {
            "type": "Ready",
            "status": "True",
            "reason": "KubeletReady",
            "lastTransitionTime": rfc3339(self._store.clock()),
        }
        status = {"capacity": size, "allocatable": size, "conditions": [ready]}
        self._store.update(NODES, "", NODE, lambda node: {**node, "status": status}, status=True)
