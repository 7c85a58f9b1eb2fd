"""The scheduler and the kubelet of the one simulated node: what happens to a pod, and when.

A pod's fate is chosen by the tag of its first container's image:

    ...crash      CrashLoopBackOff, exit code 1, restart count rising
    ...oom        last state OOMKilled (137), then CrashLoopBackOff
    ...imagepull  ImagePullBackOff
    ...pending    stays Pending, PodScheduled=False, reason Unschedulable
    ...slow       Ready after 8 s
    anything else Ready after 0.2 s

The annotation `lab/health: "down"` on a pod takes away its readiness while its containers keep
running: a process that is there and does not answer. Only the first container suffers the fate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from remediator.lab.cluster.objects import annotations_of, clone, name_of, namespace_of, rfc3339, uid_of
from remediator.lab.cluster.podstatus import (
    FATES,
    qos_class,
    ready_status,
    unschedulable_status,
    waiting_status,
)
from remediator.lab.cluster.resources import PODS

if TYPE_CHECKING:
    from remediator.lab.cluster.events import EventRecorder
    from remediator.lab.cluster.pace import Pace
    from remediator.lab.cluster.resources import Json
    from remediator.lab.cluster.store import Store

NODE = "lab-node"
HEALTH = "lab/health"
RESTARTS_WHEN_FIRST_SEEN = 3  # a pod that is found crash-looping has been at it for a while


def fate(pod: Json) -> str:
    tag = str(pod["spec"]["containers"][0]["image"]).rsplit(":", 1)[-1]
    return next((word for word in FATES if tag.endswith(word)), "ready")


@dataclass
class Life:
    """When things happened to one pod, on the monotonic clock (its status has whole seconds only)."""

    seen: float
    scheduled: float | None = None
    asked_to_stop: float | None = None


class Kubelet:
    def __init__(self, store: Store, events: EventRecorder, pace: Pace) -> None:
        self._store = store
        self._events = events
        self._pace = pace
        self._lives: dict[str, Life] = {}

    def sync_all(self) -> None:
        pods = self._store.list(PODS)
        for listed in pods:
            with self._store.lock:
                pod = self._store.find(PODS, namespace_of(listed), name_of(listed))
                if pod is not None:
                    self._sync(pod)
        gone = self._lives.keys() - {uid_of(pod) for pod in pods}
        for uid in gone:
            del self._lives[uid]

    def _sync(self, pod: Json) -> None:
        now = self._pace.now()
        life = self._lives.setdefault(uid_of(pod), Life(now))
        if pod["metadata"].get("deletionTimestamp"):
            self._stop(pod, life, now)
            return
        how = fate(pod)
        if how == "pending":
            if now - life.seen >= self._pace.lasts(self._pace.ready_seconds):
                self._leave_unscheduled(pod)
            return
        if life.scheduled is None:
            life.scheduled = now
            pod = self._bind(pod)
        self._run(pod, how, now - life.scheduled)

    def _stop(self, pod: Json, life: Life, now: float) -> None:
        if life.asked_to_stop is None:
            life.asked_to_stop = now
        stops_at_once = pod["metadata"].get("deletionGracePeriodSeconds") == 0
        if stops_at_once or now - life.asked_to_stop >= self._pace.lasts(self._pace.stop_seconds):
            self._store.remove(PODS, namespace_of(pod), name_of(pod))

    def _leave_unscheduled(self, pod: Json) -> None:
        if not pod["status"].get("conditions"):
            status = unschedulable_status(pod, self._timestamp())
            self._write(pod, status)
            text = status["conditions"][0]["message"]
            self._events.warning("default-scheduler", pod, "FailedScheduling", text)

    def _bind(self, pod: Json) -> Json:
        if pod["spec"].get("nodeName"):
            return pod
        bound = clone(pod)
        bound["spec"]["nodeName"] = NODE
        stored = self._store.update(PODS, namespace_of(pod), name_of(pod), lambda _old: bound)
        text = f"Successfully assigned {namespace_of(pod)}/{name_of(pod)} to {NODE}"
        self._events.normal("default-scheduler", stored, "Scheduled", text)
        return self._write(stored, waiting_status(stored, self._timestamp(), "ContainerCreating"))

    def _run(self, pod: Json, how: str, age: float) -> None:
        """Good or bad, nothing is known of a pod before its containers had time to start."""
        if age < self._pace.lasts(self._pace.slow_seconds if how == "slow" else self._pace.ready_seconds):
            return
        if how == "imagepull":
            self._pull_forever(pod)
        elif how in {"crash", "oom"}:
            self._crash(pod, how, age)
        else:
            self._serve(pod)

    def _pull_forever(self, pod: Json) -> None:
        image = pod["spec"]["containers"][0]["image"]
        text = f'Back-off pulling image "{image}"'
        if _waiting_reason(pod) != "ImagePullBackOff":
            self._write(pod, waiting_status(pod, self._timestamp(), "ImagePullBackOff", text))
            self._events.warning("kubelet", pod, "Failed", f'Failed to pull image "{image}": not found')
            self._events.warning("kubelet", pod, "BackOff", text)

    def _crash(self, pod: Json, how: str, age: float) -> None:
        restarts = RESTARTS_WHEN_FIRST_SEEN + int(age / self._pace.lasts(self._pace.back_off_seconds))
        known = pod["status"].get("containerStatuses") or [{}]
        if _waiting_reason(pod) == "CrashLoopBackOff" and known[0].get("restartCount") == restarts:
            return
        container = pod["spec"]["containers"][0]["name"]
        text = f"back-off restarting failed container {container} in pod {name_of(pod)}_{namespace_of(pod)}"
        last = {
            "exitCode": 137 if how == "oom" else 1,
            "reason": "OOMKilled" if how == "oom" else "Error",
            "startedAt": self._timestamp(),
            "finishedAt": self._timestamp(),
        }
        status = waiting_status(
            pod, self._timestamp(), "CrashLoopBackOff", text, restarts=restarts, last=last
        )
        self._write(pod, status)
        self._events.warning("kubelet", pod, "BackOff", f"Back-off restarting failed container {container}")

    def _serve(self, pod: Json) -> None:
        down = annotations_of(pod).get(HEALTH) == "down"
        known = next(
            (found["status"] for found in pod["status"].get("conditions") or [] if found["type"] == "Ready"),
            "",
        )
        first_time = pod["status"].get("phase") != "Running"
        if first_time or known != ("False" if down else "True"):
            self._write(pod, ready_status(pod, self._timestamp(), ready=not down))
            if down:
                text = "Readiness probe failed: the process does not answer"
                self._events.warning("kubelet", pod, "Unhealthy", text)
            elif first_time:
                for container in pod["spec"]["containers"]:
                    self._events.normal("kubelet", pod, "Started", f"Started container {container['name']}")

    def _timestamp(self) -> str:
        return rfc3339(self._store.clock())

    def _write(self, pod: Json, status: Json) -> Json:
        status = {**status, "qosClass": qos_class(pod)}
        return self._store.update(
            PODS, namespace_of(pod), name_of(pod), lambda current: {**current, "status": status}, status=True
        )


def _waiting_reason(pod: Json) -> str:
    statuses = pod["status"].get("containerStatuses") or [{}]
    return str(((statuses[0].get("state") or {}).get("waiting") or {}).get("reason", ""))
