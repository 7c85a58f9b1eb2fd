"""What a PromQL expression reads, and which labels its result can have."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import promql_parser as promql

_KEEPING = {"topk", "bottomk", "limitk", "limit_ratio"}  # aggregations that pick series as they are
_SCALARS = {"scalar", "time", "vector", "pi"}
_ABSENT = {"absent", "absent_over_time"}


@dataclass(frozen=True, slots=True)
class LabelSet:
    """The labels a result can have: these names or, with `all_but`, any label except these."""

    names: frozenset[str]
    all_but: bool = False

    def __contains__(self, name: str) -> bool:
        return (name in self.names) != self.all_but

    def only(self, names: frozenset[str]) -> LabelSet:
        return LabelSet(frozenset(name for name in names if name in self))

    def without(self, names: frozenset[str]) -> LabelSet:
        return LabelSet(self.names | names if self.all_but else self.names - names, self.all_but)

    def plus(self, names: frozenset[str]) -> LabelSet:
        return LabelSet(self.names - names if self.all_but else self.names | names, self.all_but)

    def both(self, other: LabelSet) -> LabelSet:
        if not other.all_but:
            return self.only(other.names)
        return self.without(other.names) if self.all_but else other.only(self.names)


NONE = LabelSet(frozenset())
ANY = LabelSet(frozenset(), all_but=True)


def parse(text: str) -> Any:
    """Parse PromQL. Raises ValueError with the parser's words."""
    try:
        return promql.parse(text)
    except (ValueError, TypeError) as error:
        raise ValueError(" ".join(str(error).split())) from None


def series_read(expr: Any) -> Iterator[str]:
    """The names of the series that an expression reads; "" for a selector that names none."""
    if isinstance(expr, promql.MatrixSelector):
        expr = expr.vector_selector
    if isinstance(expr, promql.VectorSelector):
        yield expr.name or _value_of(expr, "__name__")
    for child in _children(expr):
        yield from series_read(child)


def labels_of(expr: Any, recorded: Callable[[str], LabelSet | None]) -> LabelSet:
    """The labels a result can have; `recorded` answers for recorded series, with None for others."""
    match expr:
        case promql.VectorSelector():
            labels = recorded(expr.name or _value_of(expr, "__name__"))
            return ANY if labels is None else labels
        case promql.MatrixSelector():
            return labels_of(expr.vector_selector, recorded)
        case promql.AggregateExpr():
            return _aggregated(expr, recorded)
        case promql.Call():
            return _called(expr, recorded)
        case promql.BinaryExpr():
            return _joined(expr, recorded)
        case promql.ParenExpr() | promql.UnaryExpr() | promql.SubqueryExpr():
            return labels_of(expr.expr, recorded)
    return NONE


def _children(expr: Any) -> Iterator[Any]:
    match expr:
        case promql.AggregateExpr():
            yield expr.expr
            if expr.param is not None:
                yield expr.param
        case promql.Call():
            yield from expr.args
        case promql.BinaryExpr():
            yield from (expr.lhs, expr.rhs)
        case promql.ParenExpr() | promql.UnaryExpr() | promql.SubqueryExpr():
            yield expr.expr


def _aggregated(expr: Any, recorded: Callable[[str], LabelSet | None]) -> LabelSet:
    inner = labels_of(expr.expr, recorded)
    operator = str(expr.op)
    if operator in _KEEPING:
        return inner
    kept = NONE
    if expr.modifier is not None:
        names = frozenset(expr.modifier.labels)
        by = expr.modifier.type == promql.AggModifierType.By
        kept = inner.only(names) if by else inner.without(names)
    if operator == "count_values":
        kept = kept.plus(frozenset([expr.param.val]))
    return kept


def _called(expr: Any, recorded: Callable[[str], LabelSet | None]) -> LabelSet:
    name, args = expr.func.name, expr.args
    if name in _SCALARS:
        return NONE
    if name in _ABSENT:
        return _absent(args[0])
    vectors = [arg for arg in args if not isinstance(arg, promql.NumberLiteral | promql.StringLiteral)]
    inner = labels_of(vectors[0], recorded) if vectors else NONE
    if name in {"label_replace", "label_join"}:
        return inner.plus(frozenset([args[1].val]))
    return inner.without(frozenset(["le"])) if name == "histogram_quantile" else inner


def _absent(selector: Any) -> LabelSet:
    """`absent` makes its labels of what the selector demands."""
    while isinstance(selector, promql.ParenExpr):
        selector = selector.expr
    if isinstance(selector, promql.MatrixSelector):
        selector = selector.vector_selector
    if not isinstance(selector, promql.VectorSelector):
        return NONE
    equal = [one.name for one in selector.matchers.matchers if one.op == promql.MatchOp.Equal and one.value]
    return LabelSet(frozenset(name for name in equal if name != "__name__"))


def _joined(expr: Any, recorded: Callable[[str], LabelSet | None]) -> LabelSet:
    left, right = labels_of(expr.lhs, recorded), labels_of(expr.rhs, recorded)
    operator, modifier = str(expr.op), expr.modifier
    if operator in {"and", "unless"}:
        return left
    if operator == "or":
        return left.both(right)
    if _is_scalar(expr.lhs):
        return right
    if _is_scalar(expr.rhs) or modifier is None:
        return left
    card = modifier.card
    extra = frozenset(modifier.group_labels or ())
    if card == promql.VectorMatchCardinality.ManyToOne:
        return left.plus(extra)
    if card == promql.VectorMatchCardinality.OneToMany:
        return right.plus(extra)
    if modifier.matching is None:
        return left
    names = frozenset(modifier.matching.labels)
    on = modifier.matching.type == promql.LabelModifierType.Include
    return left.only(names) if on else left.without(names)


def _is_scalar(expr: Any) -> bool:
    match expr:
        case promql.NumberLiteral():
            return True
        case promql.Call():
            return expr.func.name in _SCALARS - {"vector"}
        case promql.ParenExpr() | promql.UnaryExpr():
            return _is_scalar(expr.expr)
        case promql.BinaryExpr():
            return _is_scalar(expr.lhs) and _is_scalar(expr.rhs)
    return False


def _value_of(selector: Any, label: str) -> str:
    equal = (one for one in selector.matchers.matchers if one.op == promql.MatchOp.Equal)
    return next((one.value for one in equal if one.name == label), "")
