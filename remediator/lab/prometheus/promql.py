"""Evaluates the subset of PromQL that alert rules and recovery checks are written in, at one instant.

`promql_parser` parses (it declares itself compatible with Prometheus 2.45), this module walks the tree.
Ranges are open at the left, as in Prometheus 3. Whatever is not in the subset (subqueries, `@`, topk, ...)
raises `UnsupportedError` with its name: an answer that may be wrong is worse than none.
`tests/lab/test_promql_real.py` holds it against promtool.
"""

from __future__ import annotations

import math
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import promql_parser as ast

from remediator.lab.prometheus import functions
from remediator.lab.prometheus.operators import (
    ARITHMETIC,
    COMPARISON,
    SETS,
    Element,
    ExecutionError,
    Matching,
    Vector,
    binary,
    unique,
    without_name,
)
from remediator.lab.prometheus.series import NAME, LabelMatcher, SeriesStore, Window, labels_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Value = Vector | float | list[Window]
# Pairs, because the parser's enumerations are not hashable.
_OPS = (
    (ast.MatchOp.Equal, "="),
    (ast.MatchOp.NotEqual, "!="),
    (ast.MatchOp.Re, "=~"),
    (ast.MatchOp.NotRe, "!~"),
)
_CARDS = (
    (ast.VectorMatchCardinality.OneToOne, "OneToOne"),
    (ast.VectorMatchCardinality.ManyToOne, "ManyToOne"),
    (ast.VectorMatchCardinality.OneToMany, "OneToMany"),
    (ast.VectorMatchCardinality.ManyToMany, "ManyToMany"),
)


class ParseError(ValueError):
    """The text is not PromQL."""


class UnsupportedError(ExecutionError):
    """Valid PromQL that this stand-in does not know."""


@lru_cache(maxsize=512)
def parse(text: str) -> ast.Expr:
    try:
        parsed: ast.Expr = ast.parse(text)
    except ValueError as error:
        raise ParseError(f"parse error: {error}") from None
    return parsed


def evaluate(text: str, store: SeriesStore, at: int, *, lookback_ms: int | None = None) -> Value:
    """Value of an expression at `at` (milliseconds): a number, an instant vector or a matrix."""
    return _Evaluation(store, at, lookback_ms).value(parse(text))


class _Evaluation:
    def __init__(self, store: SeriesStore, at: int, lookback_ms: int | None) -> None:
        self.store = store
        self.at = at
        self.lookback_ms = lookback_ms

    def value(self, node: ast.Expr) -> Value:
        visit = _NODES.get(type(node))
        if visit is None:
            raise UnsupportedError(f"not supported here: {type(node).__name__}")
        return visit(self, node)

    def vector(self, node: Any) -> Vector:
        value = self.value(node)
        if not isinstance(value, list) or (value and isinstance(value[0], Window)):
            raise ExecutionError(f"expected an instant vector: {node.prettify()}")
        return value  # type: ignore[return-value]  # a list without Windows is a vector

    def scalar(self, node: Any) -> float:
        value = self.value(node)
        if isinstance(value, list):
            raise ExecutionError(f"expected a number: {node.prettify()}")
        return value

    def instant(self, node: ast.VectorSelector) -> Vector:
        found = self.store.instant(_matchers(node), self.at - _offset(node), self.lookback_ms)
        return [Element(one.labels, one.point.value) for one in found]

    def window(self, node: ast.MatrixSelector) -> list[Window]:
        end = self.at - _offset(node.vector_selector)
        return self.store.window(_matchers(node.vector_selector), end - _ms(node.range), end)

    def negated(self, value: Value) -> Value:
        if not isinstance(value, list):
            return -value
        return unique(
            [Element(without_name(one.labels), -one.value) for one in value if isinstance(one, Element)]
        )

    def aggregate(self, node: ast.AggregateExpr) -> Vector:
        op = str(node.op)
        if op not in functions.AGGREGATIONS:
            raise UnsupportedError(f"not supported here: the aggregation {op}")
        modifier = node.modifier
        by = modifier is None or modifier.type == ast.AggModifierType.By
        return functions.aggregate(
            op, self.vector(node.expr), tuple(modifier.labels) if modifier else (), by=by
        )

    def binary(self, node: ast.BinaryExpr) -> Vector | float:
        op = str(node.op).removesuffix(" bool")
        if op not in ARITHMETIC and op not in COMPARISON and op not in SETS:
            raise UnsupportedError(f"not supported here: the operator {op}")
        left, right = self.value(node.lhs), self.value(node.rhs)
        if _is_matrix(left) or _is_matrix(right):
            raise ExecutionError("binary operators need numbers or instant vectors")
        return binary(op, left, right, _matching(node.modifier))  # type: ignore[arg-type]  # no matrices, just checked

    def call(self, node: ast.Call) -> Value:
        name: str = node.func.name
        if name in functions.RANGE_FUNCTIONS:
            return self.over_range(name, node.args[0])
        known = _CALLS.get(name)
        if known is None:
            raise UnsupportedError(f"not supported here: the function {name}()")
        return known(self, node.args)

    def over_range(self, name: str, node: Any) -> Vector:
        if not isinstance(node, ast.MatrixSelector):
            raise UnsupportedError(f"not supported here: {name}() over anything but a range selector")
        result = []
        for window in self.window(node):
            value = functions.RANGE_FUNCTIONS[name](window)
            if value is not None:
                labels = window.labels if name in functions.KEEPS_NAME else without_name(window.labels)
                result.append(Element(labels, value))
        return unique(result)

    def absent(self, args: list[Any]) -> Vector:
        return [] if self.vector(args[0]) else [Element(_equalities(args[0]), 1.0)]

    def absent_over_time(self, args: list[Any]) -> Vector:
        if not isinstance(args[0], ast.MatrixSelector):
            raise UnsupportedError(
                "not supported here: absent_over_time() over anything but a range selector"
            )
        return [] if self.window(args[0]) else [Element(_equalities(args[0].vector_selector), 1.0)]

    def timestamp(self, args: list[Any]) -> Vector:
        node = args[0]
        if not isinstance(node, ast.VectorSelector):  # of a computed vector it is the time of evaluation
            return self.each(node, lambda _: self.at / 1000)
        found = self.store.instant(_matchers(node), self.at - _offset(node), self.lookback_ms)
        return unique([Element(without_name(one.labels), one.point.at / 1000) for one in found])

    def quantile(self, args: list[Any]) -> Vector:
        return functions.histogram_quantile(self.scalar(args[0]), self.vector(args[1]))

    def to_scalar(self, args: list[Any]) -> float:
        vector = self.vector(args[0])
        return vector[0].value if len(vector) == 1 else math.nan

    def clamped(self, args: list[Any], pick: Callable[[float, float], float]) -> Vector:
        bound = self.scalar(args[1])
        return self.each(args[0], lambda value: pick(value, bound))

    def each(self, node: Any, compute: Callable[[float], float]) -> Vector:
        return unique([Element(without_name(one.labels), compute(one.value)) for one in self.vector(node)])


_CALLS: dict[str, Callable[[_Evaluation, list[Any]], Value]] = {
    "absent": _Evaluation.absent,
    "absent_over_time": _Evaluation.absent_over_time,
    "abs": lambda run, args: run.each(args[0], abs),
    "clamp_max": lambda run, args: run.clamped(args, lambda value, bound: min(bound, value)),
    "clamp_min": lambda run, args: run.clamped(args, lambda value, bound: max(bound, value)),
    "histogram_quantile": _Evaluation.quantile,
    "scalar": _Evaluation.to_scalar,
    "time": lambda run, _: run.at / 1000,
    "timestamp": _Evaluation.timestamp,
    "vector": lambda run, args: [Element((), run.scalar(args[0]))],
}


_NODES: dict[type, Callable[[_Evaluation, Any], Value]] = {
    ast.NumberLiteral: lambda _, node: float(node.val),
    ast.ParenExpr: lambda run, node: run.value(node.expr),
    ast.UnaryExpr: lambda run, node: run.negated(run.value(node.expr)),
    ast.VectorSelector: _Evaluation.instant,
    ast.MatrixSelector: _Evaluation.window,
    ast.AggregateExpr: _Evaluation.aggregate,
    ast.BinaryExpr: _Evaluation.binary,
    ast.Call: _Evaluation.call,
}


def _named(pairs: Iterable[tuple[Any, str]], member: Any) -> str:
    return next(name for one, name in pairs if one == member)


def _is_matrix(value: Value) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], Window)


def _ms(span: timedelta) -> int:
    return round(span / timedelta(milliseconds=1))


def _offset(node: ast.VectorSelector) -> int:
    if node.at is not None:
        raise UnsupportedError("not supported here: the @ modifier")
    return _ms(node.offset) if node.offset is not None else 0


def _matchers(node: ast.VectorSelector) -> list[LabelMatcher]:
    if node.matchers.or_matchers:
        raise UnsupportedError("not supported here: `or` between label matchers")
    matchers = [LabelMatcher(one.name, _named(_OPS, one.op), one.value) for one in node.matchers.matchers]
    if node.name and not any(one.name == NAME for one in matchers):
        matchers.append(LabelMatcher(NAME, "=", node.name))
    return matchers


def _equalities(node: Any) -> tuple[tuple[str, str], ...]:
    """Labels that absent() can know: those with exactly one matcher, an equality."""
    while isinstance(node, ast.ParenExpr):
        node = node.expr
    if not isinstance(node, ast.VectorSelector):
        return ()
    matchers = [one for one in _matchers(node) if one.name != NAME]
    names = [one.name for one in matchers]
    return labels_of(
        {one.name: one.value for one in matchers if one.op == "=" and names.count(one.name) == 1}
    )


def _matching(modifier: ast.BinModifier | None) -> Matching:
    if modifier is None:
        return Matching()
    if (modifier.fill_values.lhs, modifier.fill_values.rhs) != (None, None):
        raise UnsupportedError("not supported here: fill values")
    labels = modifier.matching
    return Matching(
        on=labels is not None and labels.type == ast.LabelModifierType.Include,
        labels=tuple(labels.labels) if labels is not None else (),
        card=_named(_CARDS, modifier.card),
        include=tuple(modifier.group_labels or ()),
        return_bool=modifier.return_bool,
    )
