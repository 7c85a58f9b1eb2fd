"""The arithmetic of a rollout, as pure functions over a Deployment and its ReplicaSets.

How many pods the new ReplicaSet may have now, how many old ones may go, and what the
Deployment's status says about it. Same rules as Kubernetes: surge is rounded up, unavailable
is rounded down, and both zero means one may be unavailable.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from remediator.lab.cluster.resources import Json


def desired(obj: Json) -> int:
    return int(obj["spec"].get("replicas", 1))


def counted(obj: Json, field: str) -> int:
    return int((obj.get("status") or {}).get(field) or 0)


def total(replica_sets: Iterable[Json]) -> int:
    return sum(desired(replica_set) for replica_set in replica_sets)


def total_counted(replica_sets: Iterable[Json], field: str) -> int:
    return sum(counted(replica_set, field) for replica_set in replica_sets)


def _resolved(value: int | str, of: int, *, up: bool) -> int:
    if isinstance(value, int):
        return value
    share = float(value.rstrip("%")) * of / 100
    return math.ceil(share) if up else math.floor(share)


def is_rolling(deployment: Json) -> bool:
    return bool(deployment["spec"]["strategy"]["type"] == "RollingUpdate")


def max_surge(deployment: Json) -> int:
    if not is_rolling(deployment):
        return 0
    surge = deployment["spec"]["strategy"]["rollingUpdate"]["maxSurge"]
    return _resolved(surge, desired(deployment), up=True)


def max_unavailable(deployment: Json) -> int:
    wanted = desired(deployment)
    if not is_rolling(deployment) or wanted == 0:
        return 0
    allowed = _resolved(deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"], wanted, up=False)
    if allowed == 0 and max_surge(deployment) == 0:
        allowed = 1
    return min(allowed, wanted)


def size_of_new(deployment: Json, new: Json | None, everything: Iterable[Json]) -> int:
    """How many replicas the new ReplicaSet may have at this moment."""
    have, wanted = (desired(new) if new else 0), desired(deployment)
    if not is_rolling(deployment) or have > wanted:
        return wanted
    room = wanted + max_surge(deployment) - total(everything)
    return have if room <= 0 else have + min(room, wanted - have)


def sizes_of_old(deployment: Json, new: Json, old: list[Json]) -> dict[str, int]:
    """New sizes of the old ReplicaSets, by name; broken pods go first, then the oldest."""
    everything = [*old, new]
    min_available = desired(deployment) - max_unavailable(deployment)
    new_unavailable = desired(new) - counted(new, "availableReplicas")
    may_go = total(everything) - min_available - new_unavailable
    sizes = {replica_set["metadata"]["name"]: desired(replica_set) for replica_set in old}
    if may_go <= 0:
        return sizes
    for replica_set in old:
        broken = desired(replica_set) - counted(replica_set, "availableReplicas")
        gone = max(0, min(may_go, broken))
        sizes[replica_set["metadata"]["name"]] -= gone
        may_go -= gone
    spare = total_counted(everything, "availableReplicas") - min_available
    for replica_set in old:
        name = replica_set["metadata"]["name"]
        gone = max(0, min(spare, sizes[name]))
        sizes[name] -= gone
        spare -= gone
    return sizes


def proportional_sizes(deployment: Json, active: list[Json], annotated: dict[str, int]) -> dict[str, int]:
    """Spread a change of size over the ReplicaSets of a rollout under way, as each one's share."""
    wanted = desired(deployment)
    allowed = wanted + max_surge(deployment) if wanted else 0
    to_add = allowed - total(active)
    ordered = sorted(active, key=desired, reverse=True)
    sizes = {replica_set["metadata"]["name"]: desired(replica_set) for replica_set in ordered}
    left = to_add
    for replica_set in ordered:
        name, have = replica_set["metadata"]["name"], desired(replica_set)
        share = round(have * allowed / max(1, annotated.get(name, allowed))) - have if wanted else -have
        step = min(share, left) if to_add > 0 else max(share, left)
        sizes[name] = max(0, have + step)
        left -= step
    if ordered and left:
        first = ordered[0]["metadata"]["name"]
        sizes[first] = max(0, sizes[first] + left)
    return sizes


def status_counts(deployment: Json, new: Json | None, everything: list[Json]) -> dict[str, int]:
    """The numbers of the Deployment's status; a zero is left out, as the real server leaves it out."""
    available = total_counted(everything, "availableReplicas")
    counts = {
        "replicas": total_counted(everything, "replicas"),
        "updatedReplicas": counted(new, "replicas") if new else 0,
        "readyReplicas": total_counted(everything, "readyReplicas"),
        "availableReplicas": available,
        "unavailableReplicas": max(0, total(everything) - available),
    }
    found = {field: value for field, value in counts.items() if value}
    return {"observedGeneration": deployment["metadata"]["generation"], **found}


def is_complete(deployment: Json, counts: dict[str, int]) -> bool:
    wanted = desired(deployment)
    fields = ("updatedReplicas", "replicas", "availableReplicas")
    return all(counts.get(field, 0) == wanted for field in fields)


def has_progressed(counts: dict[str, int], before: Json) -> bool:
    def rose(field: str) -> bool:
        return counts.get(field, 0) > int(before.get(field) or 0)

    def old_pods(source: Json) -> int:
        return int(source.get("replicas") or 0) - int(source.get("updatedReplicas") or 0)

    return (
        old_pods(counts) < old_pods(before)
        or rose("updatedReplicas")
        or rose("readyReplicas")
        or rose("availableReplicas")
    )
