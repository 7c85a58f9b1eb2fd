"""The running node: follows the cluster's pods, lets time pass, keeps the ledger and publishes usage.

One thread polls the cluster and advances the workloads, besides one HTTP server per port. Compressed time
is real time multiplied by the speed; traffic stays per real second, so that `rate()` shows the runbook's
1,500 operations.
"""

from __future__ import annotations

import tempfile
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import requests

from remediator.lab.listener import Listener
from remediator.lab.node.faces import requests_to
from remediator.lab.node.kubeapi import KubeApi
from remediator.lab.node.ledger import Ledger
from remediator.lab.node.pods import matches, pod_metrics, read_pod
from remediator.lab.node.workload import Traffic, Workload

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from remediator.lab.node.workload import PodState

# Prometheus drops a target up to 5 s after discovery does, whatever its refresh_interval: in compressed time
# that is minutes in which a pod that left in good health would look dead.
_PROMETHEUS_DROPS_AFTER = 6.0
_POLL, _SHORTEST_POLL, _FRESH = 2.0, 0.2, 0.05
_RECORD_EVERY = 15.0
_SHORTEST_USAGE_INTERVAL = 1.0
_DOWN = {"lab/health": "down"}


class LabNode:
    """A simulated BIZRA node; a context manager."""

    def __init__(
        self,
        *,
        kubeconfig: Path | str,
        deployments: Sequence[tuple[str, str]],
        speed: float = 1.0,
        data: Path | str | None = None,
        traffic: Traffic | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        http_port: int = 0,
        metrics_port: int = 0,
    ) -> None:
        if not deployments:
            raise ValueError("a node needs at least one Deployment to follow")
        self.speed = speed
        self.workloads = [Workload(namespace, name, traffic or Traffic()) for namespace, name in deployments]
        self.lock = threading.RLock()
        self._api = KubeApi(Path(kubeconfig))
        self._closing = ExitStack()
        if data is None:
            data = self._closing.enter_context(tempfile.TemporaryDirectory(prefix="lab-node-data-"))
        self._ledger = Ledger(Path(data))
        self.database = self._ledger.path
        ports = (port, http_port, metrics_port)
        self._listeners = [Listener(host, number, requests_to(self)) for number in ports]
        self.url, self.http_url, self.metrics_url = (listener.url for listener in self._listeners)
        self.sd_url = f"{self.url}/sd"
        self._stopped = threading.Event()
        self._threads: list[threading.Thread] = []
        self._recorded_at = self._published_at = self._polled_at = 0.0
        self._polling = threading.Lock()
        self._linger = _PROMETHEUS_DROPS_AFTER * speed if speed > 1 else 0.0
        self._selectors: dict[tuple[str, str], dict[str, str]] = {}
        self._published: set[tuple[str, str]] = set()

    def __enter__(self) -> Self:
        with suppress(requests.RequestException):  # the cluster may come later
            self.poll()
        for run in (*(listener.listen for listener in self._listeners), self._live):
            thread = threading.Thread(target=run, daemon=True, name="lab-node")
            thread.start()
            self._threads.append(thread)
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for listener in self._listeners:
            listener.close()
        for thread in self._threads:
            thread.join(timeout=10)
        self._ledger.close()
        self._api.__exit__()
        self._closing.close()

    def _live(self) -> None:
        pause = max(_SHORTEST_POLL, _POLL / self.speed)
        while not self._stopped.wait(pause):
            with suppress(requests.RequestException, KeyError):  # unreachable: the last known pods go on
                self.poll()
            self.advance()
            self._record()
            self._publish()

    def poll(self) -> None:
        """Look at the cluster's pods once."""
        with self._polling:
            existing = {
                namespace: self._pods(namespace)
                for namespace in {workload.namespace for workload in self.workloads}
            }
            for workload in self.workloads:
                wanted = self._selector(workload)
                pods = [pod for pod in existing[workload.namespace] if matches(pod, wanted)]
                with self.lock:
                    workload.see([read_pod(pod) for pod in pods], linger=self._linger)
            self._polled_at = time.monotonic()

    def refresh(self) -> None:
        """Look again if the last look is old: discovery that lags by compressed minutes would lie."""
        if time.monotonic() - self._polled_at > _FRESH:
            with suppress(requests.RequestException, KeyError):
                self.poll()

    def _pods(self, namespace: str) -> list[dict[str, Any]]:
        try:
            return self._api.pods(namespace)
        except requests.HTTPError as error:
            if error.response.status_code != requests.codes.not_found:
                raise
            return []

    def _selector(self, workload: Workload) -> dict[str, str] | None:
        """The Deployment's matchLabels, which never change; None while it does not exist."""
        key = (workload.namespace, workload.deployment)
        if key not in self._selectors:
            try:
                deployment = self._api.deployment(*key)
            except requests.HTTPError as error:
                if error.response.status_code != requests.codes.not_found:
                    raise
                return None
            self._selectors[key] = deployment["spec"]["selector"].get("matchLabels") or {}
        return self._selectors[key]

    def advance(self) -> None:
        """Let the workloads' time pass up to this moment."""
        now = time.monotonic() * self.speed
        with self.lock:
            for workload in self.workloads:
                workload.advance(now, traffic_scale=1 / self.speed)

    def _record(self) -> None:
        if time.monotonic() - self._recorded_at < _RECORD_EVERY / self.speed:
            return
        self._recorded_at = time.monotonic()
        with self.lock:
            rows = [
                (workload.score(pod), workload.namespace, workload.deployment, pod.name)
                for workload, pod in self._serving()
            ]
        self._ledger.append(rows)

    def _publish(self) -> None:
        if time.monotonic() - self._published_at < max(_SHORTEST_USAGE_INTERVAL, _RECORD_EVERY / self.speed):
            return
        self._published_at = time.monotonic()
        with self.lock:
            metrics = [pod_metrics(workload, pod, time.time()) for workload, pod in self._serving()]
        present = {(one["metadata"]["namespace"], one["metadata"]["name"]) for one in metrics}
        for namespace, name in self._published - present:
            self._api.delete_usage(namespace, name)
        for one in metrics:
            self._api.write_usage(one)
        self._published = present

    def _serving(self) -> Iterable[tuple[Workload, PodState]]:
        return (
            (workload, pod)
            for workload in self.workloads
            for pod in workload.pods.values()
            if workload.serving(pod)
        )

    def _workload(self, namespace: str, deployment: str) -> Workload:
        for workload in self.workloads:
            if (workload.namespace, workload.deployment) == (namespace, deployment):
                return workload
        raise KeyError(f"{namespace}/{deployment}")

    def inject(self, namespace: str, deployment: str, fault: str) -> None:
        """Break a Deployment; faults that sit in processes hit the pods that exist now."""
        workload = self._workload(namespace, deployment)
        with suppress(requests.RequestException):
            self.poll()
        with self.lock:
            workload.inject(fault)
        if fault == "lost_process":
            self._tell_pods(workload, _DOWN)

    def clear(
        self, namespace: str | None = None, deployment: str | None = None, fault: str | None = None
    ) -> None:
        """Take faults back: one, all of a Deployment, or all."""
        chosen = self.workloads if namespace is None else [self._workload(namespace, deployment or "")]
        for workload in chosen:
            with self.lock:
                lost = "lost_process" in workload.faults
                workload.clear(fault)
                found_again = lost and "lost_process" not in workload.faults
            if found_again:
                self._tell_pods(workload, dict.fromkeys(_DOWN))

    def _tell_pods(self, workload: Workload, annotations: dict[str, str | None] | dict[str, str]) -> None:
        """Let a cluster that understands it take the pods out of rotation."""
        for pod in list(workload.pods.values()):
            self._api.annotate(pod.namespace, pod.name, dict(annotations))

    def faults(self) -> list[dict[str, str]]:
        with self.lock:
            return [
                {"namespace": workload.namespace, "deployment": workload.deployment, "fault": fault}
                for workload in self.workloads
                for fault in workload.faults
            ]
