"""Who may do what: everything is allowed, but for what a test or the demo denies.

A denial names a verb, group, resource, subresource, namespace and name; a part left out means
any. SelfSubjectAccessReviews answer from the same list that requests are refused by.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from remediator.lab.cluster.errors import ApiError, forbidden

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from remediator.lab.cluster.api import Place

PARTS = ("verb", "group", "resource", "subresource", "namespace", "name")
VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch"}


class AccessRules:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._denied: list[dict[str, str]] = []

    def replace(self, denied: Iterable[Mapping[str, Any]]) -> None:
        fresh = [dict(denial) for denial in denied]
        for denial in fresh:
            if unknown := denial.keys() - set(PARTS):
                raise ValueError(f"unknown part {min(unknown)!r} in a denial; there are: {', '.join(PARTS)}")
        with self._lock:
            self._denied = fresh

    def all(self) -> list[dict[str, str]]:
        with self._lock:
            return list(self._denied)

    def allows(self, asked: Mapping[str, Any]) -> bool:
        return not any(
            all(str(asked.get(part) or "") == wanted for part, wanted in denial.items())
            for denial in self.all()
        )

    def refusal(self, place: Place, method: str, *, watching: bool) -> ApiError | None:
        asked = {
            "verb": _verb(method, named=bool(place.name), watching=watching),
            "group": place.resource.group,
            "resource": place.resource.plural,
            "subresource": place.subresource,
            "namespace": place.namespace,
            "name": place.name,
        }
        if self.allows(asked):
            return None
        plural = (
            f"{place.resource.plural}/{place.subresource}" if place.subresource else place.resource.plural
        )
        qualified = f"{plural}.{place.resource.group}" if place.resource.group else plural
        named = f' "{place.name}"' if place.name else ""
        scope = f'in the namespace "{place.namespace}"' if place.namespace else "at the cluster scope"
        message = (
            f'{qualified}{named} is forbidden: User "lab" cannot {asked["verb"]} resource "{plural}" '
            f'in API group "{place.resource.group}" {scope}'
        )
        return forbidden(message, {"name": place.name, "group": place.resource.group, "kind": plural})


def _verb(method: str, *, named: bool, watching: bool) -> str:
    if method == "GET":
        return "watch" if watching else "get" if named else "list"
    if method == "DELETE":
        return "delete" if named else "deletecollection"
    return VERBS.get(method, method.lower())
