"""An autoscaler's `minReplicas`: where an intent to set it stands, how it is written, and what came of it.

The autoscaler is found by what it scales, in the list that observations read too: so the last look also sees
one that came beside it, and no permission to get single ones is needed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote

from remediator.adapters.kubernetes.listing import Forbidden, Lists
from remediator.adapters.kubernetes.objects import Json, name_of, text, uid_of, wanted_replicas
from remediator.adapters.kubernetes.owners import autoscaler_seen, scales
from remediator.adapters.kubernetes.patches import MERGE_PATCH, Write
from remediator.core.actions import MinimumIntent, Target
from remediator.core.execution import Standing


class NoList(Exception):
    """The autoscalers could not be listed. Nothing was sent."""

    def __init__(self, why: str) -> None:
        super().__init__(f"autoscalers: {why}")
        self.forbidden = isinstance(why, Forbidden)


@dataclass(frozen=True, slots=True, kw_only=True)
class Autoscalers:
    """The autoscalers of one workload, and the API version that served them."""

    version: str
    found: tuple[Json, ...]

    def standing(self, intent: MinimumIntent) -> tuple[Standing, str]:
        """Where the intent stands, and why."""
        ours = self.ours(intent)
        if ours is None:
            return (
                Standing.CHANGED,
                f"autoscaler {intent.autoscaler} was deleted, made anew, or scales another",
            )
        seen = autoscaler_seen(ours)
        if seen.minimum == intent.replicas_to:
            return Standing.APPLIED, f"minReplicas of {seen.name} is {seen.minimum}, as intended"
        if seen.minimum != intent.replicas_from:
            detail = f"somebody set minReplicas {seen.minimum} on {seen.name}, it was {intent.replicas_from}"
            return Standing.CHANGED, detail
        if len(self.found) > 1:
            return Standing.CHANGED, f"autoscaler {', '.join(map(name_of, self.found))}: no longer one alone"
        if seen.owner:
            return Standing.CHANGED, f"autoscaler {seen}: somebody would write it back"
        return Standing.SENDABLE, f"minReplicas of {seen.name} is {seen.minimum}, as before"

    def ours(self, intent: MinimumIntent) -> Json | None:
        return next((one for one in self.found if uid_of(one) == intent.autoscaler_uid), None)

    def write(self, target: Target, intent: MinimumIntent) -> Write:
        """Preconditions on the very version of the autoscaler that was looked at."""
        version = text(self.ours(intent), "metadata", "resourceVersion")
        path = (
            f"/apis/autoscaling/{self.version}/namespaces/{quote(target.namespace)}/horizontalpodautoscalers"
        )
        body = {
            "metadata": {"uid": intent.autoscaler_uid, "resourceVersion": version},
            "spec": {"minReplicas": intent.replicas_to},
        }
        return Write(path=f"{path}/{quote(intent.autoscaler)}", content_type=MERGE_PATCH, body=body)

    def overridden(self, intent: MinimumIntent) -> str | None:
        """What somebody changed after our write, or None while it still stands."""
        standing, why = self.standing(intent)
        return None if standing is Standing.APPLIED else f"after our write: {why}"


Find = Callable[[], Autoscalers]
"""Reads the autoscalers of a workload; raises NoList."""


def autoscalers_of_target(lists: Lists, target: Target) -> Autoscalers:
    """Raises NoList."""
    listed = lists.autoscalers(quote(target.namespace))
    if isinstance(listed, str):
        raise NoList(listed)
    found = tuple(hpa for hpa in listed if scales(hpa, target.kind, target.name))
    return Autoscalers(version=lists.autoscaling_version, found=found)


def not_asked_for(deployment: Json, intent: MinimumIntent) -> str | None:
    """The autoscaler looks every 15 s or so, and only then asks for as many as its least."""
    wanted = wanted_replicas(deployment)
    if wanted >= intent.replicas_to:
        return None
    asked = f"autoscaler {intent.autoscaler} to ask for {intent.replicas_to} replicas"
    return f"waiting for {asked}, {wanted} are wanted"
