"""Reads the shipped dashboards: their panels, and every query in them with variables replaced."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import promql_parser as ast

HOME = Path(__file__).parents[2]
FILES = sorted((HOME / "grafana/dashboards").glob("*.json"))

Json = dict[str, Any]

_VARIABLE = re.compile(r"\$(?:\{(?P<braced>\w+)(?::\w+)?\}|(?P<plain>\w+))")
_LABEL_VALUES = re.compile(r"label_values\((?P<series>.+), (?P<label>\w+)\)")

PLAIN = {
    "namespace": "bizra-testnet",
    "deployment": "bizra-apex",
    "target": "bizra-testnet/bizra-apex",
    "__rate_interval": "1m",
    "__range": "3h",
}
"""A value for every variable that a query may use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One query of a dashboard, as it is written there."""

    where: str
    expr: str
    labels: frozenset[str]
    """Labels that the legend, the annotation or the table shows."""

    def filled(self, values: Mapping[str, str] = PLAIN) -> str:
        return filled(self.expr, values)


def filled(expr: str, values: Mapping[str, str] = PLAIN) -> str:
    """The query as Grafana sends it. Raises KeyError for a variable that does not exist."""
    return _VARIABLE.sub(lambda used: values[used["braced"] or used["plain"]], expr)


def read(path: Path) -> Json:
    made: Json = json.loads(path.read_text(encoding="utf-8"))
    return made


def panels(dashboard: Json) -> list[Json]:
    """All panels that show something, also those inside folded rows."""
    within = [inner for panel in dashboard["panels"] for inner in panel.get("panels", [])]
    return [panel for panel in [*dashboard["panels"], *within] if panel["type"] != "row"]


def queries(dashboard: Json) -> list[Query]:
    """Of panels, annotations and variables; a variable's is the series whose label it lists."""
    return [
        *_of_panels(dashboard),
        *(
            Query(
                where=f"annotation {one['name']!r}",
                expr=one["expr"],
                labels=_braced(one["titleFormat"], one["textFormat"]) | set(one["tagKeys"].split(",")),
            )
            for one in dashboard["annotations"]["list"]
        ),
        *(
            Query(
                where=f"variable {one['name']!r}", expr=listed["series"], labels=frozenset({listed["label"]})
            )
            for one, listed in label_values(dashboard)
        ),
    ]


def _of_panels(dashboard: Json) -> Iterator[Query]:
    for panel in panels(dashboard):
        for target in panel["targets"]:
            labels = _braced(target["legendFormat"])
            if panel["type"] == "table":
                labels |= columns(panel) - {"Value"}
            yield Query(
                where=f"panel {panel['title']!r} {target['refId']}", expr=target["expr"], labels=labels
            )


def label_values(dashboard: Json) -> Iterator[tuple[Json, re.Match[str]]]:
    """The variables that ask Prometheus, and what they ask."""
    for one in dashboard["templating"]["list"]:
        if one["type"] == "query":
            listed = _LABEL_VALUES.fullmatch(one["query"]["query"])
            assert listed, f"{one['name']}: {one['query']}"
            yield one, listed


def columns(table: Json) -> frozenset[str]:
    (kept,) = [t for t in table["transformations"] if t["id"] == "filterFieldsByName"]
    return frozenset(kept["options"]["include"]["names"])


def _braced(*formats: str) -> frozenset[str]:
    return frozenset(name for text in formats for name in re.findall(r"\{\{\s*(\w+)\s*\}\}", text))


def walk(expr: str) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    """Every node of the expression with those above it, the nearest last."""
    pending: list[tuple[Any, tuple[Any, ...]]] = [(ast.parse(expr), ())]
    while pending:
        node, above = pending.pop()
        yield node, above
        below = [getattr(node, name, None) for name in ("lhs", "rhs", "expr", "param", "vector_selector")]
        below += getattr(node, "args", None) or []
        pending += [(one, (*above, node)) for one in below if one is not None]


def series_in(expr: str) -> set[str]:
    """The names of the series that the expression selects."""
    return {str(node.name) for node, _ in walk(expr) if isinstance(node, ast.VectorSelector)}
