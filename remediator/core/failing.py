"""Whether one pod fails, and in which way: each answer is the evidence in words, or None."""

from __future__ import annotations

from datetime import datetime, timedelta

from remediator.core.seen import PodSeen

CANNOT_RUN = frozenset(
    {"CrashLoopBackOff", "CreateContainerConfigError", "CreateContainerError", "RunContainerError"}
)
"""Waiting reasons of a container that ends, or fails to start, again and again."""
CANNOT_PULL = frozenset(
    {
        "ImagePullBackOff",
        "ErrImagePull",
        "InvalidImageName",
        "ErrImageNeverPull",
        "ImageInspectError",
        "RegistryUnavailable",
        "SignatureValidationFailed",
    }
)
_REPEATED = 3
_LONGEST_BACKOFF = timedelta(minutes=5)
"""The kubelet's; a container that ended longer ago and was restarted has run since."""
_HISTORY = timedelta(hours=1)


def crashing(pod: PodSeen, now: datetime) -> str | None:
    """Also between two back-offs, while the container happens to run; and one that cannot even start."""
    waiting = next((reason for reason in pod.waiting if reason in CANNOT_RUN), None)
    last = next(iter(pod.endings), None)
    if waiting:
        return f"{pod.name} {waiting}" + (f", {last}" if last else "")
    for ending in pod.endings:
        again = ending.restarts >= _REPEATED and ending.at is not None
        if again and not pod.ready and now - ending.at <= _LONGEST_BACKOFF:  # type: ignore[operator]
            return f"{pod.name}, {ending}"
    return None


def pulling_in_vain(pod: PodSeen) -> str | None:
    waiting = next((reason for reason in pod.waiting if reason in CANNOT_PULL), None)
    return f"{pod.name} {waiting}" if waiting else None


def out_of_memory(pod: PodSeen, now: datetime) -> str | None:
    for ending in pod.endings:
        if ending.out_of_memory and (ending.at is None or now - ending.at <= _HISTORY):
            return f"{pod.name}, {ending}"
    return None


def failing(pod: PodSeen, now: datetime) -> str | None:
    """Why a pod will not become ready by waiting, as far as that shows."""
    unplaced = f"{pod.name}, unschedulable: {pod.unschedulable}" if pod.unschedulable else None
    return crashing(pod, now) or pulling_in_vain(pod) or unplaced
