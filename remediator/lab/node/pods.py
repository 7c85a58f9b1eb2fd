"""Between the cluster's JSON and the workload: reads a pod, writes its PodMetrics and its metrics page."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

from remediator.lab.node.workload import BUCKETS, PodState, Workload

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client import Metric

_SUFFIXES: dict[str, float] = {
    "m": 1e-3, "u": 1e-6, "n": 1e-9, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12,
    "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40,
}  # fmt: skip
_NO_LIMIT_CPU, _NO_LIMIT_MEMORY = 0.5, 512 * 2**20  # what usage is a share of where no limit is set


def quantity(text: str | float | None) -> float:
    """Value of a Kubernetes quantity; nothing is 0."""
    written = str(text or "0")
    for suffix in sorted(_SUFFIXES, key=len, reverse=True):
        if written.endswith(suffix):
            return float(written.removesuffix(suffix)) * _SUFFIXES[suffix]
    return float(written)


def matches(pod: dict[str, Any], labels: dict[str, str] | None) -> bool:
    """Whether the pod carries all these labels; no pod does where there is nothing to match."""
    carried = pod["metadata"].get("labels") or {}
    return labels is not None and bool(labels) and labels.items() <= carried.items()


def read_pod(pod: dict[str, Any]) -> PodState:
    metadata, spec, status = pod["metadata"], pod["spec"], pod.get("status") or {}
    conditions = {one["type"]: one["status"] for one in status.get("conditions") or []}
    containers = spec.get("containers") or []
    limits = [(one.get("resources") or {}).get("limits") or {} for one in containers]
    statuses = status.get("containerStatuses") or []
    return PodState(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        image=containers[0].get("image", "") if containers else "",
        ready=status.get("phase") == "Running" and conditions.get("Ready") == "True",
        terminating="deletionTimestamp" in metadata,
        restarts=sum(one.get("restartCount", 0) for one in statuses),
        limits=tuple((quantity(one.get("cpu")), quantity(one.get("memory"))) for one in limits),
        containers=tuple(one["name"] for one in containers),
        labels=tuple(sorted((metadata.get("labels") or {}).items())),
    )


def pod_metrics(workload: Workload, pod: PodState, now: float) -> dict[str, Any]:
    """Describe the pod's usage as metrics-server would."""
    cpu, memory = workload.usage(pod)
    return {
        "apiVersion": "metrics.k8s.io/v1beta1",
        "kind": "PodMetrics",
        "metadata": {"name": pod.name, "namespace": pod.namespace, "labels": dict(pod.labels)},
        "timestamp": datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "window": "15s",
        "containers": [
            {
                "name": name,
                "usage": {
                    "cpu": f"{round((limit[0] or _NO_LIMIT_CPU) * cpu * 1000)}m",
                    "memory": f"{round((limit[1] or _NO_LIMIT_MEMORY) * memory / 1024)}Ki",
                },
            }
            for name, limit in zip(pod.containers, pod.limits, strict=True)
        ],
    }


class _Page:
    """Collects one pod's metrics for prometheus_client."""

    def __init__(self, workload: Workload, pod: PodState) -> None:
        self.workload, self.pod = workload, pod

    def collect(self) -> Iterator[Metric]:
        counters = self.workload.counters(self.pod)
        yield GaugeMetricFamily(
            "ahsan_score", "Ahsan compliance score, 0 to 100.", self.workload.score(self.pod)
        )
        yield GaugeMetricFamily("hive_up", "1 while the hive mind works.", 1)
        yield GaugeMetricFamily("hive_active_swarms", "Swarms at work.", self.workload.swarms(self.pod))
        yield CounterMetricFamily("hive_errors_total", "Failed operations.", math.floor(counters.errors))
        yield CounterMetricFamily(
            "ahsan_violations_total", "Times the score was found below 95.", math.floor(counters.violations)
        )
        yield HistogramMetricFamily(
            "hive_operation_duration_seconds",
            "Duration of operations.",
            buckets=[
                (_bound(bound), math.floor(n)) for bound, n in zip(BUCKETS, counters.buckets, strict=True)
            ],
            sum_value=counters.seconds,
        )


def _bound(bound: float) -> str:
    return "+Inf" if bound == math.inf else str(bound)


def metrics_page(workload: Workload, pod: PodState) -> bytes:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Page(workload, pod))
    return generate_latest(registry)
