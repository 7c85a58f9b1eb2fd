"""Kubernetes quantities (`250m`, `1.5Gi`, `2e3`) as numbers, and what share of its limits a pod uses.

The grammar is that of k8s.io/apimachinery/pkg/api/resource/quantity.go.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from remediator.adapters.kubernetes.objects import Json, items, mapping, moment, name_of, text

_QUANTITY = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))(?:([eE][+-]?\d{1,3})|([numkMGTPE]|[KMGTPE]i))?")
_DECIMAL = {"n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
FRESH = timedelta(minutes=5)
"""How old a measurement may be; metrics-server measures four times a minute."""
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


def usage_of(pods: list[Json], metrics: list[Json], now: datetime) -> tuple[float | None, str]:
    """The mean over the pods of the highest usage/limit of cpu and memory, or None and why."""
    ours = {name_of(pod): pod for pod in pods}
    measured = [item for item in metrics if name_of(item) in ours]
    if not measured:
        return None, "there are no metrics of the current pods"
    fresh = [item for item in measured if (at := moment(item, "timestamp")) and now - at <= FRESH]
    if not fresh:
        return None, f"the metrics of the current pods are older than {FRESH.total_seconds() / 60:.0f} min"
    shares = [_share_of(ours[name_of(item)], item) for item in fresh]
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
