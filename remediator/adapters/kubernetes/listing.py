"""Lists: whole or not at all, in pages, in the API version the server has.

What could not be read to its end is no list but the reason why: half a list would say "empty" of the rest.
"""

from __future__ import annotations

import time

from remediator.adapters.kubernetes.answers import NoAnswer
from remediator.adapters.kubernetes.connection import Connection
from remediator.adapters.kubernetes.objects import Json, items, text

PAGE = 500
NO_LIST = "the API server's answer is no list"
_OK = 200
_FORBIDDEN = 403
_NOT_FOUND = 404
_GONE = 410

Listing = list[Json] | str
"""The objects of a list, or why they could not be read."""


class Forbidden(str):
    """Why a list could not be read, where the reason is a permission that we lack."""

    __slots__ = ()


class Lists:
    """Safe to share between threads. Which versions the API server has is learned once."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        # Another version is tried on a 404.
        self._hpa_versions = ["v2", "v1"]
        self._metrics_versions = ["v1", "v1beta1"]
        self._budget_versions = ["v1", "v1beta1"]

    def autoscalers(self, namespace: str) -> Listing:
        path = f"/apis/autoscaling/{{version}}/namespaces/{namespace}/horizontalpodautoscalers"
        return self._any_version(path, self._hpa_versions, {})

    @property
    def autoscaling_version(self) -> str:
        """The version that the last list of autoscalers came in."""
        return self._hpa_versions[0]

    def metrics(self, namespace: str, query: dict[str, str]) -> Listing:
        path = f"/apis/metrics.k8s.io/{{version}}/namespaces/{namespace}/pods"
        found = self._any_version(path, self._metrics_versions, query)
        return f"no pod metrics: {found}" if isinstance(found, str) else found

    def budgets(self, namespace: str) -> Listing:
        path = f"/apis/policy/{{version}}/namespaces/{namespace}/poddisruptionbudgets"
        return self._any_version(path, self._budget_versions, {})

    def all(self, path: str, query: dict[str, str]) -> Listing:
        return self._pages(path, query)[0]

    def _any_version(self, path: str, versions: list[str], query: dict[str, str]) -> Listing:
        """The list in the first version that is served; that one is asked first from then on."""
        failure = ""
        for version in tuple(versions):
            found, status = self._pages(path.format(version=version), query)
            if status != _NOT_FOUND:
                versions.sort(key=lambda known, served=version: known != served)  # type: ignore[misc]
                return found
            failure = failure or str(found)
        return failure

    def _pages(self, path: str, query: dict[str, str]) -> tuple[Listing, int | None]:
        """Every page, in the time that one request may take. A token that ran out begins anew, once."""
        deadline = time.monotonic() + self._connection.patience
        found, status = self._from_the_beginning(path, query, deadline)
        if status == _GONE:
            found, status = self._from_the_beginning(path, query, deadline)
        return found, status

    def _from_the_beginning(
        self, path: str, query: dict[str, str], deadline: float
    ) -> tuple[Listing, int | None]:
        found: list[Json] = []
        page = {**query, "limit": str(PAGE)}
        while True:
            try:
                answer = self._connection.get(path, page, deadline=deadline)
            except NoAnswer as silence:
                return _cut(str(silence), found), None
            if answer.status != _OK:
                why = _cut(answer.words, found)
                return Forbidden(why) if answer.status == _FORBIDDEN else why, answer.status
            if "items" not in answer.body:
                return NO_LIST, answer.status
            found += items(answer.body, "items")
            token = text(answer.body, "metadata", "continue")
            if not token:
                return found, answer.status
            if time.monotonic() >= deadline:
                return _cut("there was no time for the rest", found), answer.status
            page = {**query, "limit": str(PAGE), "continue": token}


def _cut(why: str, found: list[Json]) -> str:
    return f"{why}, after {len(found)} objects of a longer list" if found else why
