"""The floor of acting: the same HTTP calls in the same order and side by side, by a bare urllib3.

A POST that stands for the notification; our query; the Deployment beside autoscalers and budgets; then
ReplicaSets, pods, usage and Events side by side; the Deployment again, a dry run, the PATCH. Nothing is
looked at, decided or stored.
"""

from __future__ import annotations

import statistics
import time
from concurrent.futures import Future, ThreadPoolExecutor

import urllib3

_PATCH = b'[{"op": "test", "path": "/metadata/uid", "value": "x"}]'
_READS = 200
_JSON = {"Content-Type": "application/json"}


class Floor:
    def __init__(self, url: str) -> None:
        self._url = url
        self._pool = urllib3.PoolManager(maxsize=16)
        self._threads = ThreadPoolExecutor(10)

    def chain(self, target: str) -> float:
        """Returns the seconds until the PATCH was sent and answered."""
        namespace, _, name = target.partition("/")
        deployment = f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}"
        core, selected = f"/api/v1/namespaces/{namespace}", f"?labelSelector=app%3D{name}&limit=500"
        began = time.monotonic()
        self._ask("POST", "/webhook", b"x" * 1000)
        self._ask("POST", "/api/v1/query", b"query=x")
        early = self._beside(
            f"/apis/autoscaling/v2/namespaces/{namespace}/horizontalpodautoscalers?limit=500",
            f"/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets?limit=500",
        )
        self._ask("GET", deployment)
        late = self._beside(
            f"{core}/events?fieldSelector=involvedObject.uid%3DDeployment-{name}&limit=200",
            f"{core}/events?fieldSelector=type%3DWarning&limit=200",
            f"{core}/pods{selected}",
            f"/apis/metrics.k8s.io/v1beta1/namespaces/{namespace}/pods{selected}",
        )
        self._ask("GET", f"/apis/apps/v1/namespaces/{namespace}/replicasets{selected}")
        for future in (*early, *late):
            future.result()
        self._ask("GET", deployment)
        self._ask("PATCH", f"{deployment}?fieldManager=floor&dryRun=All", _PATCH)
        self._ask("PATCH", f"{deployment}?fieldManager=floor", _PATCH)
        return time.monotonic() - began

    def one_call(self) -> float:
        """Returns the seconds of one read, the median: what the stub itself costs is within."""
        took = []
        for _ in range(_READS):
            began = time.monotonic()
            self._ask("GET", "/apis/apps/v1/namespaces/bench/deployments/app")
            took.append(time.monotonic() - began)
        return statistics.median(took)

    def _beside(self, *paths: str) -> list[Future[None]]:
        return [self._threads.submit(self._ask, "GET", path) for path in paths]

    def _ask(self, method: str, path: str, body: bytes | None = None) -> None:
        _ = self._pool.request(method, self._url + path, body=body, headers=_JSON).data
