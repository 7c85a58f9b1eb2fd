"""How the pods of one Deployment behave: traffic, latency, errors, score, usage, and what each fault does.

Pure: pods and seconds go in, numbers come out; the same course of events gives the same numbers. Traffic is
shared by the ready pods and counters advance with it. A fault that sits in a process belongs to the pods
that existed when it was injected, so that a restart cures it; a fault of the world stays.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

FAULTS = ("leak", "overload", "lost_process", "incurable")
IN_PODS = frozenset({"leak", "lost_process"})  # these live in processes

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, float("inf"))
# Share of operations up to each bound: p99 is about 46 ms when healthy and about 1.25 s when overloaded.
_HEALTHY = (0.40, 0.75, 0.96, 0.996, 0.9995, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0)
_SATURATED = (0.02, 0.05, 0.10, 0.20, 0.35, 0.60, 0.85, 0.988, 0.9995, 1.0, 1.0)
_MEAN_SECONDS = {_HEALTHY: 0.010, _SATURATED: 0.330}

_BASE_ERRORS, _LEAK_ERRORS, _BAD_IMAGE_ERRORS = 0.001, 0.12, 0.02
_LEAK_RISES_IN = 45.0
_SCORE, _LEAK_SCORE, _SATURATED_SCORE, _BAD_IMAGE_SCORE, _INCURABLE_SCORE = 98.0, 97.0, 96.5, 62.0, 70.0
_CPU, _SATURATED_CPU, _MEMORY = 0.40, 0.95, 0.50
_MINIMUM_SCORE = 95.0
_VIOLATION_EVERY = 15.0


@dataclass(frozen=True)
class Traffic:
    """Operations per second that a Deployment is offered, and what one pod can serve while overloaded."""

    offered: float = 1500.0
    overload: float = 2800.0
    capacity_per_pod: float = 600.0


@dataclass(frozen=True)
class PodState:
    """What the cluster says about a pod, reduced to what matters here."""

    namespace: str
    name: str
    uid: str
    image: str
    ready: bool
    terminating: bool = False
    restarts: int = 0
    limits: tuple[tuple[float, float], ...] = ()  # per container: cpu cores, memory bytes; 0 is no limit
    containers: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()


@dataclass
class Counters:
    """Counters of one process; they begin at 0, so that the first error is seen by rate()."""

    errors: float = 0.0
    violations: float = 0.0
    seconds: float = 0.0
    buckets: list[float] = field(default_factory=lambda: [0.0] * len(BUCKETS))


@dataclass
class Workload:
    """One Deployment; durations are in the node's own time, which the lab's speed has multiplied already."""

    namespace: str
    deployment: str
    traffic: Traffic = field(default_factory=Traffic)
    pods: dict[str, PodState] = field(default_factory=dict)  # by name
    faults: dict[str, frozenset[str]] = field(default_factory=dict)  # fault -> the uids it sits in
    _counters: dict[tuple[str, int], Counters] = field(default_factory=dict)
    _leaving: dict[str, tuple[PodState, float]] = field(default_factory=dict)  # and until when
    _leaking_since: float = 0.0
    _now: float = 0.0

    def see(self, pods: list[PodState], *, linger: float = 0.0) -> None:
        """Take the cluster's present pods. One that served and goes answers scrapes a little longer."""
        present = {pod.name: pod for pod in pods}
        for name, before in self.pods.items():
            after = present.get(name)
            if linger and self.serving(before) and (after is None or after.terminating):
                self._leaving.setdefault(name, (before, self._now + linger))
        self._leaving = {name: entry for name, entry in self._leaving.items() if entry[1] > self._now}
        self.pods = present
        alive = {(pod.uid, pod.restarts) for pod in (*pods, *(pod for pod, _ in self._leaving.values()))}
        self._counters = {life: counters for life, counters in self._counters.items() if life in alive}

    def inject(self, fault: str) -> None:
        if fault not in FAULTS:
            raise ValueError(f"no such fault: {fault}; there are {', '.join(FAULTS)}")
        self.faults[fault] = (
            frozenset(pod.uid for pod in self.pods.values()) if fault in IN_PODS else frozenset()
        )
        if fault == "leak":
            self._leaking_since = self._now

    def clear(self, fault: str | None = None) -> None:
        if fault is None:
            self.faults.clear()
        else:
            self.faults.pop(fault, None)

    def lost(self, pod: PodState) -> bool:
        return pod.uid in self.faults.get("lost_process", ())

    def serving(self, pod: PodState) -> bool:
        return pod.ready and not self.lost(pod)

    def pod(self, name: str) -> PodState | None:
        """The pod that answers by this name, also while it is leaving."""
        leaving = self._leaving.get(name)
        return leaving[0] if leaving else self.pods.get(name)

    def taking_traffic(self) -> list[PodState]:
        return [pod for pod in self.pods.values() if self.serving(pod) and not pod.terminating]

    def saturated(self) -> bool:
        """Offered load is above what the ready pods can serve; only ever during an overload."""
        capacity = len(self.taking_traffic()) * self.traffic.capacity_per_pod
        return "overload" in self.faults and self.traffic.overload > capacity

    def advance(self, now: float, *, traffic_scale: float = 1.0) -> None:
        """Let time pass up to `now`; the scale brings traffic to the clock that `rate()` will see."""
        elapsed, self._now = max(0.0, now - self._now) if self._now else 0.0, max(now, self._now)
        pods = self.taking_traffic()
        if not pods:
            return
        offered = self.traffic.overload if "overload" in self.faults else self.traffic.offered
        per_pod = offered / len(pods)
        shares = _HEALTHY
        if self.saturated():
            per_pod, shares = self.traffic.capacity_per_pod, _SATURATED
        for pod in pods:
            done = per_pod * elapsed * traffic_scale
            counters = self.counters(pod)
            counters.errors += done * self.error_ratio(pod)
            counters.seconds += done * _MEAN_SECONDS[shares]
            for index, share in enumerate(shares):
                counters.buckets[index] += done * share
            if self.score(pod) < _MINIMUM_SCORE:
                counters.violations += elapsed / _VIOLATION_EVERY

    def counters(self, pod: PodState) -> Counters:
        return self._counters.setdefault((pod.uid, pod.restarts), Counters())

    def error_ratio(self, pod: PodState) -> float:
        ratio = _BAD_IMAGE_ERRORS if bad_image(pod) else _BASE_ERRORS
        if pod.uid in self.faults.get("leak", ()):
            grown = min(1.0, (self._now - self._leaking_since) / _LEAK_RISES_IN)
            ratio = max(ratio, _BASE_ERRORS + (_LEAK_ERRORS - _BASE_ERRORS) * grown)
        return ratio

    def score(self, pod: PodState) -> float:
        base = _SCORE
        if bad_image(pod):
            base = _BAD_IMAGE_SCORE
        elif "incurable" in self.faults:
            base = _INCURABLE_SCORE
        elif self.saturated():
            base = _SATURATED_SCORE
        elif pod.uid in self.faults.get("leak", ()):
            base = _LEAK_SCORE
        return round(base + self._drift(pod, "score"), 2)

    def swarms(self, pod: PodState) -> int:
        return round(4 + 3 * self._drift(pod, "swarms"))

    def usage(self, pod: PodState) -> tuple[float, float]:
        """Share of the cpu and memory limits in use."""
        drift = self._drift(pod, "usage") / 20
        cpu = _SATURATED_CPU if self.saturated() else _CPU + drift
        return cpu, _MEMORY + drift

    def _drift(self, pod: PodState, what: str) -> float:
        """Say -0.5 to 0.5, the same for the same pod and minute: numbers that live, and tests that repeat."""
        seed = f"{pod.uid}/{what}/{int(self._now // 60)}".encode()
        return int.from_bytes(hashlib.sha256(seed).digest()[:4], "big") / 2**32 - 0.5


def bad_image(pod: PodState) -> bool:
    tag = pod.image.rsplit("/", 1)[-1].partition(":")[2]
    return "bad" in tag
