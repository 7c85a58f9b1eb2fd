"""How a rollout replaces pods: maxSurge and maxUnavailable resolved as the Deployment controller does.

Source: kubernetes pkg/controller/deployment/util/deployment_util.go, ResolveFenceposts: surge rounds up,
unavailable rounds down, and when both come to nothing, one pod may be missing.
"""

from __future__ import annotations

import re
from typing import Any

from remediator.adapters.kubernetes.objects import Json, mapping, text, wanted_replicas
from remediator.core.seen import Strategy

_DEFAULT = "25%"
_PERCENT = re.compile(r"(\d{1,9})%")


def strategy_of(deployment: Json) -> Strategy:
    replicas = wanted_replicas(deployment)
    kind = text(deployment, "spec", "strategy", "type") or "RollingUpdate"
    if kind == "Recreate":
        return Strategy(kind=kind, missing=replicas)
    rolling = mapping(deployment, "spec", "strategy", "rollingUpdate")
    surge = count_of(rolling.get("maxSurge", _DEFAULT), replicas, up=True)
    missing = count_of(rolling.get("maxUnavailable", _DEFAULT), replicas, up=False)
    if not surge and not missing:
        missing = 1
    return Strategy(kind=kind, missing=min(missing, replicas))


def count_of(given: Any, replicas: int, *, up: bool) -> int:
    """A number, or a share of the replicas; what is neither counts as the default."""
    if isinstance(given, int) and not isinstance(given, bool):
        return given
    percent = _PERCENT.fullmatch(given) if isinstance(given, str) else None
    share = int(percent[1]) if percent else int(_DEFAULT.rstrip("%"))
    return (replicas * share + (99 if up else 0)) // 100
