"""PromQL's binary operators: arithmetic, comparisons, `and`/`or`/`unless`, and how two vectors are matched.

Follows Prometheus: arithmetic drops the metric name, a filtering comparison keeps it, `bool` drops it; two
series that match one is an error, never a silent choice.
"""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from remediator.lab.prometheus.series import NAME, Labels, labels_of

if TYPE_CHECKING:
    from collections.abc import Callable


class ExecutionError(ValueError):
    """The expression is valid but cannot be evaluated on these series."""


class Element(NamedTuple):
    """One series of an instant vector."""

    labels: Labels
    value: float


Vector = list[Element]


def _divide(left: float, right: float) -> float:
    if right == 0:
        if left == 0 or math.isnan(left):
            return math.nan
        return math.copysign(math.inf, left) * math.copysign(1, right)
    return left / right


def _modulo(left: float, right: float) -> float:
    return math.nan if right == 0 or math.isinf(left) else math.fmod(left, right)


def _power(left: float, right: float) -> float:
    try:
        return math.pow(left, right)
    except OverflowError:
        return math.inf
    except ValueError:
        return math.inf if left == 0 else math.nan


ARITHMETIC: dict[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": _divide,
    "%": _modulo,
    "^": _power,
    "atan2": math.atan2,
}
COMPARISON: dict[str, Callable[[float, float], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
    ">=": operator.ge,
    "<=": operator.le,
}
SETS = frozenset({"and", "or", "unless"})


@dataclass(frozen=True)
class Matching:
    """How series of the two sides find each other."""

    on: bool = False
    labels: tuple[str, ...] = ()
    card: str = "OneToOne"
    include: tuple[str, ...] = ()
    return_bool: bool = False

    def signature(self, labels: Labels) -> Labels:
        if self.on:
            return tuple(pair for pair in labels if pair[0] in self.labels)
        return tuple(pair for pair in labels if pair[0] not in self.labels and pair[0] != NAME)


def without_name(labels: Labels) -> Labels:
    return tuple(pair for pair in labels if pair[0] != NAME)


def unique(vector: Vector) -> Vector:
    """Refuse a vector in which dropping names made two series one."""
    if len({element.labels for element in vector}) != len(vector):
        raise ExecutionError("vector cannot contain metrics with the same labelset")
    return vector


def binary(op: str, left: Vector | float, right: Vector | float, matching: Matching) -> Vector | float:
    if isinstance(left, list) and isinstance(right, list):
        return _sets(op, left, right, matching) if op in SETS else _vectors(op, left, right, matching)
    if isinstance(left, list) and not isinstance(right, list):
        return _with_scalar(op, left, right, swapped=False, matching=matching)
    if isinstance(right, list) and not isinstance(left, list):
        return _with_scalar(op, right, left, swapped=True, matching=matching)
    assert not isinstance(left, list)
    assert not isinstance(right, list)
    if op in ARITHMETIC:
        return ARITHMETIC[op](left, right)
    return float(COMPARISON[op](left, right))


def _apply(op: str, left: float, right: float, kept: float, *, return_bool: bool) -> float | None:
    """Value of one pair, or None where a comparison filters it out."""
    if op in ARITHMETIC:
        return ARITHMETIC[op](left, right)
    if return_bool:
        return float(COMPARISON[op](left, right))
    return kept if COMPARISON[op](left, right) else None


def _with_scalar(op: str, vector: Vector, scalar: float, *, swapped: bool, matching: Matching) -> Vector:
    drops_name = op in ARITHMETIC or matching.return_bool
    result = []
    for element in vector:
        left, right = (scalar, element.value) if swapped else (element.value, scalar)
        value = _apply(op, left, right, element.value, return_bool=matching.return_bool)
        if value is not None:
            result.append(Element(without_name(element.labels) if drops_name else element.labels, value))
    return unique(result) if drops_name else result


def _sets(op: str, left: Vector, right: Vector, matching: Matching) -> Vector:
    if op == "or":
        seen = {matching.signature(element.labels) for element in left}
        return left + [element for element in right if matching.signature(element.labels) not in seen]
    seen = {matching.signature(element.labels) for element in right}
    return [element for element in left if (matching.signature(element.labels) in seen) is (op == "and")]


def _one_side(vector: Vector, matching: Matching, side: str) -> dict[Labels, Element]:
    by_signature: dict[Labels, Element] = {}
    for element in vector:
        signature = matching.signature(element.labels)
        if signature in by_signature:
            raise ExecutionError(
                f"found duplicate series for the match group {dict(signature)} on the {side} hand-side: "
                "many-to-many matching not allowed: matching labels must be unique on one side"
            )
        by_signature[signature] = element
    return by_signature


def _vectors(op: str, left: Vector, right: Vector, matching: Matching) -> Vector:
    swapped = matching.card == "OneToMany"
    many, one = (right, left) if swapped else (left, right)
    ones = _one_side(one, matching, "left" if swapped else "right")
    result: Vector = []
    taken: set[Labels] = set()
    for element in many:
        signature = matching.signature(element.labels)
        partner = ones.get(signature)
        if partner is None:
            continue
        first, second = (partner, element) if swapped else (element, partner)
        value = _apply(op, first.value, second.value, first.value, return_bool=matching.return_bool)
        if value is None:
            continue
        labels = _result_labels(op, element.labels, partner.labels, matching)
        identity = signature if matching.card == "OneToOne" else labels
        if identity in taken:
            raise ExecutionError(_ambiguous(matching))
        taken.add(identity)
        result.append(Element(labels, value))
    return result


def _ambiguous(matching: Matching) -> str:
    if matching.card == "OneToOne":
        return "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)"
    return "multiple matches for labels: grouping labels must ensure unique matches"


def _result_labels(op: str, many: Labels, one: Labels, matching: Matching) -> Labels:
    kept = dict(without_name(many) if op in ARITHMETIC or matching.return_bool else many)
    if matching.card == "OneToOne":
        kept = {name: value for name, value in kept.items() if (name in matching.labels) is matching.on}
    source = dict(one)
    for name in matching.include:
        kept[name] = source.get(name, "")  # labels_of() drops the empty ones
    return labels_of(kept)
