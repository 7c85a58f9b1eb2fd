"""What panels are made of, as classic JSON: what all of them have in common is said once."""
# ruff: noqa: E501, INP001 - a description is one piece of prose; scripts beside what they write

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

RUNBOOK = "https://github.com/bizra/remediator/blob/main/docs/runbook.md"
ALERTMANAGER = "http://localhost:9093"

GREEN, ORANGE, RED, GREY, BLUE, VIOLET, CLEAR = (
    "green",
    "orange",
    "red",
    "text",
    "blue",
    "purple",
    "transparent",
)
WIDTH = 24

Json = dict[str, Any]
Steps = Sequence[tuple[float | None, str]]

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}


def query(expr: str, legend: str = "", *, at_end: bool = False, table: bool = False) -> Json:
    """One query: over the time range, or `at_end` for its value at the end of the range."""
    return {
        "datasource": DATASOURCE,
        "editorMode": "code",
        "expr": expr,
        "format": "table" if table else "time_series",
        "instant": at_end or table,
        "range": not (at_end or table),
        "legendFormat": legend or "__auto",
    }


def texts(words: dict[int, tuple[str, str]]) -> list[Json]:
    """Words and colours instead of numbers. What is no number reads NO DATA."""
    said = {
        str(value): {"text": text, "color": colour, "index": index}
        for index, (value, (text, colour)) in enumerate(words.items())
    }
    nothing = {"text": "NO DATA", "color": ORANGE, "index": len(said)}
    return [
        {"type": "value", "options": said},
        {"type": "special", "options": {"match": "null+nan", "result": nothing}},
    ]


PHASES = {
    "deciding": BLUE,
    "acting": "yellow",
    "rolling_out": ORANGE,
    "verifying": VIOLET,
    "escalated": RED,
}
PHASE = texts({0: ("no open incident", GREEN)} | {n: (p, c) for n, (p, c) in enumerate(PHASES.items(), 1)})


def phase_of(selector: str, by: str = "") -> str:
    """The phase of a target's open incident as a number that PHASE has the word for."""
    largest = f"max by ({by}) " if by else "max"
    return " + ".join(
        f'{number} * {largest}(remediator_target_phase{{{selector},phase="{phase}"}})'
        for number, phase in enumerate(PHASES, 1)
    )


def grown(metric: str, by: str = "") -> str:
    """How much a counter grew in the range. Every replica shows the same journal: the largest, never the sum."""
    of = f"max by ({by}) " if by else "max"
    return f"{of}(increase({metric}[$__range]))"


OPERATIONAL = texts({1: ("OPERATIONAL", GREEN), 0: ("DOWN", RED)})


def thresholds(steps: Steps) -> Json:
    return {"mode": "absolute", "steps": [{"value": value, "color": colour} for value, colour in steps]}


def panel(
    kind: str,
    title: str,
    description: str,
    targets: Sequence[Json],
    *,
    size: tuple[int, int],
    unit: str = "short",
    steps: Steps = ((None, GREY),),
    empty: str = "NO DATA",
    options: Json | None = None,
    custom: Json | None = None,
    links: Sequence[Json] = (),
    overrides: Sequence[Json] = (),
    transformations: Sequence[Json] = (),
    **defaults: Any,
) -> Json:
    """One panel without its place; `size` is width and height, `defaults` go to the field's defaults."""
    field = {
        "unit": unit,
        "thresholds": thresholds(steps),
        "color": {"mode": "thresholds"},
        "noValue": empty,
        "mappings": [],
        **defaults,
    }
    if custom:
        field["custom"] = custom
    return {
        "type": kind,
        "title": title,
        "description": description,
        "datasource": DATASOURCE,
        "targets": [{**target, "refId": chr(ord("A") + n)} for n, target in enumerate(targets)],
        "fieldConfig": {"defaults": field, "overrides": list(overrides)},
        "options": options or {},
        "links": list(links),
        "transformations": list(transformations),
        "size": size,
    }


def stat(title: str, description: str, expr: str, *, trend: bool = False, **more: Any) -> Json:
    """One number with its colour: of the end of the range, where what has gone stale is no data.

    `trend` has a sparkline instead, and shows the last number there was.
    """
    options = {
        "colorMode": "background_solid" if more.pop("loud", False) else "value",
        "graphMode": "area" if trend else "none",
        "justifyMode": "center",
        "textMode": "value",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
    }
    return panel("stat", title, description, [query(expr, at_end=not trend)], options=options, **more)


def tally(title: str, description: str, expr: str, *, steps: Steps, **more: Any) -> Json:
    """How many: a whole number, not below 0."""
    return stat(title, description, expr, steps=steps, decimals=0, min=0, **more)


def chart(title: str, description: str, targets: Sequence[Json], **more: Any) -> Json:
    """Lines over time. With `lines` the thresholds are drawn, else they do not show.

    `linear_to`: from there on each line of the grid is ten times the one before.
    """
    drawn = more.pop("lines", False)
    stacked = more.pop("stacked", False)
    scale: Json = {"type": "linear"}
    if linear_to := more.pop("linear_to", None):
        scale = {"type": "symlog", "log": 10, "linearThreshold": linear_to}
    custom = {
        "drawStyle": "line",
        "fillOpacity": 60 if stacked else 8,
        "lineWidth": 1 if stacked else 2,
        "showPoints": "never",
        "spanNulls": False,
        "scaleDistribution": scale,
        "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
        "thresholdsStyle": {"mode": "dashed" if drawn else "off"},
    }
    options = {
        "legend": {
            "displayMode": "table",
            "placement": "bottom",
            "showLegend": True,
            "calcs": ["lastNotNull", "max"],
        },
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    more.setdefault("color", {"mode": "palette-classic"})
    return panel("timeseries", title, description, targets, options=options, custom=custom, **more)


def table(title: str, description: str, expr: str, columns: dict[str, str], **more: Any) -> Json:
    """The series as rows: these labels and the `Value`, under new names. Without `zeros`, largest first."""
    tidy: list[Json] = []
    if not more.pop("zeros", True):
        above = {"fieldName": "Value", "config": {"id": "greater", "options": {"value": 0}}}
        tidy += [
            {"id": "filterByValue", "options": {"type": "include", "match": "all", "filters": [above]}},
            {"id": "sortBy", "options": {"fields": {}, "sort": [{"field": "Value", "desc": True}]}},
        ]
    order = {name: place for place, name in enumerate(columns)}
    tidy += [
        {"id": "filterFieldsByName", "options": {"include": {"names": list(columns)}}},
        {
            "id": "organize",
            "options": {"renameByName": columns, "indexByName": order, "excludeByName": {}},
        },
    ]
    options = {"showHeader": True, "cellHeight": "sm", "footer": {"show": False}}
    custom = {"align": "auto", "cellOptions": {"type": "auto"}, "filterable": False}
    return panel(
        "table",
        title,
        description,
        [query(expr, table=True)],
        options=options,
        custom=custom,
        transformations=tidy,
        **more,
    )


def timeline(title: str, description: str, targets: Sequence[Json], **more: Any) -> Json:
    """States over time as coloured bars."""
    options = {
        "mergeValues": True,
        "showValue": "never",
        "rowHeight": 0.8,
        "alignValue": "left",
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "single", "sort": "none"},
    }
    custom = {"fillOpacity": 70, "lineWidth": 0, "spanNulls": False}
    return panel("state-timeline", title, description, targets, options=options, custom=custom, **more)


def colour_of(name: str, colour: str) -> Json:
    """Always this colour for the series."""
    return {
        "matcher": {"id": "byName", "options": name},
        "properties": [{"id": "color", "value": {"mode": "fixed", "fixedColor": colour}}],
    }


def unit_of(name: str, unit: str) -> Json:
    """The unit of one column."""
    return {"matcher": {"id": "byName", "options": name}, "properties": [{"id": "unit", "value": unit}]}


def link(title: str, url: str, *, new_tab: bool = True) -> Json:
    return {"title": title, "url": url, "targetBlank": new_tab}
