"""The lab's own door, `/_lab/...`: what was asked, and what shall go wrong.

    GET    /_lab/healthz
    GET    /_lab/requests[?mutating=1]    what was asked; DELETE forgets it
    GET    /_lab/faults                   POST a list of faults to have these only; DELETE clears them
    GET    /_lab/denied                   POST a list of permissions to refuse; DELETE clears them

It needs no token and runs into no fault.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from remediator.lab.cluster.errors import ApiError, bad_request, method_not_allowed, no_such_path

if TYPE_CHECKING:
    from collections.abc import Callable

    from remediator.lab.cluster.access import AccessRules
    from remediator.lab.cluster.audit import RequestLog
    from remediator.lab.cluster.faults import FaultSwitches

PREFIX = "/_lab/"


class LabDoor:
    def __init__(self, log: RequestLog, faults: FaultSwitches, access: AccessRules) -> None:
        self._log = log
        self._faults = faults
        self._access = access

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> Any:
        match path.removeprefix(PREFIX), method:
            case "healthz", "GET":
                return "ok"
            case "requests", "GET":
                only_writes = query.get("mutating", "") not in {"", "0"}
                return self._log.mutating() if only_writes else self._log.all()
            case "requests", "DELETE":
                self._log.clear()
                return []
            case "faults", verb:
                return self._switch(verb, body, self._faults.replace, self._faults.all)
            case "denied", verb:
                return self._switch(verb, body, self._access.replace, self._access.all)
        raise no_such_path()

    def _switch(
        self, verb: str, body: Any, replace: Callable[[list[Any]], None], present: Callable[[], Any]
    ) -> Any:
        if verb == "DELETE":
            replace([])
        elif verb == "POST":
            _replace(replace, body if isinstance(body, list) else [body])
        elif verb != "GET":
            raise method_not_allowed()
        return present()


def _replace(replace: Callable[[list[Any]], None], wanted: list[Any]) -> None:
    try:
        replace(wanted)
    except (ValueError, TypeError) as error:
        raise _unusable(error) from error


def _unusable(error: Exception) -> ApiError:
    return bad_request(str(error))
