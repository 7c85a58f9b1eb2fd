"""Kubernetes quantities (`250m`, `1.5Gi`, `2e3`) as numbers, and what share of its limits a pod uses.

The grammar is that of k8s.io/apimachinery/pkg/api/resource/quantity.go.
"""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from typing import Any

from remediator.adapters.kubernetes.objects import Json, items, mapping, name_of, text

_QUANTITY = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))(?:([eE][+-]?\d{1,3})|([numkMGTPE]|[KMGTPE]i))?")
_DECIMAL = {"n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_MEASURED = ("cpu", "memory")


def parse_quantity(written: Any) -> Decimal | None:
    """The number, or None when it is no quantity. A JSON number is one too."""
    if isinstance(written, bool) or not isinstance(written, str | int | float):
        return None
    matched = _QUANTITY.fullmatch(str(written).strip())
    if matched is None:
        return None
    digits, exponent, suffix = matched.groups()
    try:
        value = Decimal(digits + (exponent or ""))
    except InvalidOperation:
        return None
    if suffix in _BINARY:
        return value * (1 << _BINARY[suffix])
    return value.scaleb(_DECIMAL[suffix]) if suffix else value


def usage_of(pods: list[Json], metrics: list[Json]) -> tuple[float | None, str]:
    """The mean over the pods of the highest usage/limit of cpu and memory, or None and why."""
    measured = {name_of(item): item for item in metrics}
    if not any(name_of(pod) in measured for pod in pods):
        return None, "there are no metrics of the current pods"
    shares = [_share_of(pod, measured[name_of(pod)]) for pod in pods if name_of(pod) in measured]
    known = [share for share in shares if share is not None]
    if not known:
        return None, "no container has a cpu or memory limit"
    return sum(known) / len(known), ""


def _share_of(pod: Json, measured: Json) -> float | None:
    limits = {
        name: mapping(container, "resources", "limits")
        for field in ("containers", "initContainers")
        for container in items(pod, "spec", field)
        if (name := text(container, "name"))
    }
    shares = [
        float(used / limit)
        for container in items(measured, "containers")
        for resource in _MEASURED
        if (limit := parse_quantity(limits.get(text(container, "name"), {}).get(resource)))
        and limit > 0
        and (used := parse_quantity(mapping(container, "usage").get(resource))) is not None
    ]
    return max(shares, default=None)
