"""Evidence that no decision rests on: recent Events, and the last lines of a container that crashed.

Read beside everything else, in threads of its own, and given up after a second: it is never waited for
longer. What could not be read is said, and nothing else happens.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from typing import TypeVar
from urllib.parse import quote

from remediator.adapters.kubernetes.announcing import is_ours
from remediator.adapters.kubernetes.answers import NoAnswer
from remediator.adapters.kubernetes.connection import Connection
from remediator.adapters.kubernetes.listing import NO_LIST
from remediator.adapters.kubernetes.objects import (
    Json,
    items,
    mapping,
    moment,
    name_of,
    number,
    text,
    uid_of,
)
from remediator.core.actions import Target
from remediator.core.seen import EventSeen, LogSeen

WITHIN = 1.0
"""Seconds from the beginning of an observation."""
MOST_READ = 200
"""Events of one list."""
MOST_LOGS = 2
LINES = 20
LONGEST_LINE = 200
_MOST_BYTES = 16 * 1024
_LONGEST_MESSAGE = 256
_OK = 200
_TOO_LATE = "there was no time to read it"

T = TypeVar("T")
Crash = tuple[str, str, bool]
"""Pod, container, and whether it was the run before the present one that crashed."""


class EvidenceReader:
    """Safe to share between threads."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="kubernetes-evidence")

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def begin(self, target: Target, deployment: Json, *, logs: bool) -> Gathering:
        return Gathering(self._connection, self._threads, target, deployment, logs=logs)


class Gathering:
    """The evidence for one observation, on its way."""

    def __init__(
        self,
        connection: Connection,
        threads: ThreadPoolExecutor,
        target: Target,
        deployment: Json,
        *,
        logs: bool,
    ) -> None:
        self._connection = connection
        self._threads = threads
        self._namespace = f"/api/v1/namespaces/{quote(target.namespace)}"
        self._deadline = time.monotonic() + WITHIN
        self._wanted = logs
        # All of the Deployment's own, and the warnings of the namespace: its pods are not known yet.
        self._events = [
            threads.submit(self._list, selector)
            for selector in (f"involvedObject.uid={uid_of(deployment)}", "type=Warning")
        ]
        self._logs: list[Future[LogSeen | str]] = []

    def read_logs(self, pods: Iterable[Json]) -> None:
        """Begin with the logs, if they are wanted: as soon as it is known who crashed."""
        crashes = crashed(pods)[:MOST_LOGS] if self._wanted else []
        self._logs = [self._threads.submit(self._log, crash) for crash in crashes]

    def events(self, about: Iterable[Json]) -> tuple[EventSeen, ...] | str:
        """Those about these objects, the latest first."""
        uids = {uid_of(thing) for thing in about}
        found: dict[str, Json] = {}
        for reading in self._events:
            listed = self._await(reading)
            if isinstance(listed, str):
                return listed
            found |= {
                uid_of(event): event
                for event in listed
                if text(event, "involvedObject", "uid") in uids and not is_ours(event)
            }
        latest = sorted(found.values(), key=_order)
        return tuple(_event_seen(event) for event in reversed(latest))

    def logs(self) -> tuple[LogSeen, ...] | str:
        found = [self._await(reading) for reading in self._logs]
        seen = tuple(one for one in found if isinstance(one, LogSeen))
        return seen or next((why for why in found if isinstance(why, str)), ())

    def _await(self, reading: Future[T | str]) -> T | str:
        try:
            return reading.result(timeout=max(0.0, self._deadline - time.monotonic()))
        except TimeoutError:
            return _TOO_LATE

    def _list(self, selector: str) -> list[Json] | str:
        query = {"fieldSelector": selector, "limit": str(MOST_READ)}
        try:
            answer = self._connection.get(f"{self._namespace}/events", query, deadline=self._deadline)
        except NoAnswer as silence:
            return str(silence)
        if answer.status != _OK:
            return answer.words
        return items(answer.body, "items") if "items" in answer.body else NO_LIST

    def _log(self, crash: Crash) -> LogSeen | str:
        pod, container, previous = crash
        query = {
            "container": container,
            "tailLines": str(LINES),
            "limitBytes": str(_MOST_BYTES),
            **({"previous": "true"} if previous else {}),
        }
        path = f"{self._namespace}/pods/{quote(pod)}/log"
        try:
            answer = self._connection.read_text(path, query, deadline=self._deadline)
        except NoAnswer as silence:
            return str(silence)
        if answer.status != _OK:
            return answer.words
        lines = answer.text.splitlines()[-LINES:]
        shown = tuple(_readable(line, LONGEST_LINE) for line in lines)
        return LogSeen(pod=pod, container=container, lines=shown)


def crashed(pods: Iterable[Json]) -> list[Crash]:
    """The containers that failed last, the most restarted first."""
    found: list[tuple[int, Crash]] = []
    for pod in pods:
        initial = items(pod, "status", "initContainerStatuses")
        for container in (*initial, *items(pod, "status", "containerStatuses")):
            for state, previous in (("state", False), ("lastState", True)):
                ended = mapping(container, state, "terminated")
                if ended and ended.get("exitCode") != 0:
                    crash = (name_of(pod), text(container, "name"), previous)
                    found.append((number(container, "restartCount"), crash))
                    break
    return [crash for _, crash in sorted(found, key=lambda one: -one[0])]


def _event_seen(event: Json) -> EventSeen:
    about = mapping(event, "involvedObject")
    return EventSeen(
        at=_last_seen(event),
        about=f"{text(about, 'kind')}/{text(about, 'name')}",
        kind=text(event, "type"),
        reason=text(event, "reason"),
        message=_readable(text(event, "message"), _LONGEST_MESSAGE),
        count=number(event, "series", "count") or number(event, "count") or 1,
    )


def _last_seen(event: Json) -> datetime | None:
    """Each recorder writes its own: the newer API has `series` and `eventTime`, the older `lastTimestamp`."""
    places = (
        ("series", "lastObservedTime"),
        ("lastTimestamp",),
        ("eventTime",),
        ("metadata", "creationTimestamp"),
    )
    return next((at for place in places if (at := moment(event, *place))), None)


def _order(event: Json) -> str:
    at = _last_seen(event)
    return at.isoformat() if at else ""


def _readable(line: str, longest: int) -> str:
    """Text of strangers on one line, without control characters."""
    shown = "".join(char if char.isprintable() else " " for char in line)
    return shown if len(shown) <= longest else f"{shown[: longest - 1]}…"
