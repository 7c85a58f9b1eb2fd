"""Faults a test or the demo can switch on: what goes wrong between a client and its API server.

A fault matches by method and by a part of the path, and wears off after `times` requests:

    latency         answer after `seconds`
    hang            accept and never answer, until cleared or the client leaves
    reset_before    drop the connection, nothing was done
    reset_after     do it, then drop the connection: the client cannot know
    401 403 409 422 429 500 503     refuse so, nothing was done
"""

from __future__ import annotations

import threading
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from remediator.lab.cluster.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

CONFLICT = (
    "Operation cannot be fulfilled: the object has been modified; "
    "please apply your changes to the latest version and try again"
)
REFUSALS: dict[str, tuple[int, str, str]] = {
    "401": (401, "Unauthorized", "Unauthorized"),
    "403": (403, "Forbidden", "forbidden: the lab was told to refuse this"),
    "409": (409, "Conflict", CONFLICT),
    "422": (422, "Invalid", "the server rejected our request due to an error in our request"),
    "429": (
        429,
        "TooManyRequests",
        "the server has received too many requests and has asked us to try again later",
    ),
    "500": (500, "InternalError", "Internal error occurred: the lab was told to fail"),
    "503": (503, "ServiceUnavailable", "the server is currently unable to handle the request"),
}
BEHAVIOURS = ("latency", "hang", "reset_before", "reset_after")


@dataclass
class Fault:
    fault: str
    method: str = ""  # empty: any
    path: str = ""  # a part of the path with its query; empty: any
    times: int | None = None  # None: until cleared
    seconds: float = 1.0  # of latency, or in Retry-After
    hits: int = 0

    def __post_init__(self) -> None:
        self.fault = str(self.fault)
        if self.fault not in BEHAVIOURS and self.fault not in REFUSALS:
            known = ", ".join((*BEHAVIOURS, *REFUSALS))
            raise ValueError(f"unknown fault {self.fault!r}; there are: {known}")

    def matches(self, method: str, path: str) -> bool:
        spent = self.times is not None and self.hits >= self.times
        return not spent and self.method.upper() in {"", method} and self.path in path

    def refusal(self) -> ApiError | None:
        if self.fault not in REFUSALS:
            return None
        code, reason, message = REFUSALS[self.fault]
        if self.fault not in {"429", "503"}:
            return ApiError(code, reason, message)
        wait = max(1, round(self.seconds))
        headers = {"Retry-After": str(wait)}
        return ApiError(code, reason, message, details={"retryAfterSeconds": wait}, headers=headers)


class FaultSwitches:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self.released = threading.Event()  # set when hanging requests may go on

    def replace(self, wanted: Iterable[Mapping[str, Any]]) -> None:
        """Switch these on and all others off; ValueError or TypeError when one makes no sense."""
        known = {field.name for field in fields(Fault)} - {"hits"}
        fresh = []
        for spec in wanted:
            if unknown := set(spec) - known:
                raise ValueError(f"unknown key {min(unknown)!r} in a fault; there are: {sorted(known)}")
            fresh.append(Fault(**spec))
        self.clear()
        with self._lock:
            self._faults = fresh

    def clear(self) -> None:
        with self._lock:
            self._faults = []
            self.released.set()
            self.released = threading.Event()

    def meet(self, method: str, path: str) -> list[Fault]:
        """The faults this request runs into: every latency, and the first of the others."""
        met: list[Fault] = []
        with self._lock:
            for fault in self._faults:
                if fault.matches(method, path) and (fault.fault == "latency" or not _ends(met)):
                    fault.hits += 1
                    met.append(fault)
        return met

    def all(self) -> list[dict[str, Any]]:
        with self._lock:
            return [asdict(fault) for fault in self._faults]


def _ends(met: list[Fault]) -> bool:
    return any(fault.fault != "latency" for fault in met)
