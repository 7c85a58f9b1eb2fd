"""What panels and dashboards are made of, as classic JSON: what all of them have in common is said once."""
# ruff: noqa: E501, INP001 - a description is one piece of prose; scripts beside what they write

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count
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


def chart(title: str, description: str, targets: Sequence[Json], **more: Any) -> Json:
    """Lines over time. With `lines` the thresholds are drawn, else they do not show."""
    drawn = more.pop("lines", False)
    stacked = more.pop("stacked", False)
    custom = {
        "drawStyle": "line",
        "fillOpacity": 60 if stacked else 8,
        "lineWidth": 1 if stacked else 2,
        "showPoints": "never",
        "spanNulls": False,
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


def placed(rows: Sequence[tuple[str, Sequence[Json]]]) -> Iterator[Json]:
    """Panels from left to right, a new line where one is full; each row title has a line of its own."""
    numbers = count(1)
    y = 0
    for title, panels in rows:
        yield {
            "type": "row",
            "title": title,
            "id": next(numbers),
            "collapsed": False,
            "panels": [],
            "gridPos": {"x": 0, "y": y, "w": WIDTH, "h": 1},
        }
        y += 1
        x = tallest = 0
        for one in panels:
            width, height = one["size"]
            if x + width > WIDTH:
                x, y, tallest = 0, y + tallest, 0
            place = {"x": x, "y": y, "w": width, "h": height}
            yield {key: value for key, value in one.items() if key != "size"} | {
                "id": next(numbers),
                "gridPos": place,
            }
            x, tallest = x + width, max(tallest, height)
        y += tallest


def variable(name: str, label: str, definition: str, description: str, **more: Any) -> Json:
    """A choice that Prometheus is asked for whenever the time range changes."""
    return {
        "type": "query",
        "name": name,
        "label": label,
        "description": description,
        "datasource": DATASOURCE,
        "definition": definition,
        "query": {"query": definition, "refId": f"variable-{name}"},
        "refresh": 2,
        "sort": 1,
        "hide": 0,
        "regex": "",
        "skipUrlSync": False,
        "includeAll": False,
        "multi": False,
        "options": [],
        "current": {},
        **more,
    }


CHOICE_OF_DATASOURCE: Json = {
    "type": "datasource",
    "name": "datasource",
    "label": "Data source",
    "description": "The Prometheus that evaluates prometheus-rules/.",
    "query": "prometheus",
    "regex": "",
    "refresh": 1,
    "hide": 0,
    "includeAll": False,
    "multi": False,
    "skipUrlSync": False,
    "options": [],
    "current": {"text": "Prometheus", "value": "prometheus"},
}


def annotation(name: str, colour: str, expr: str, *, title: str, text: str, tags: str, dated: bool) -> Json:
    """Marks on all charts. `dated`: the value is the moment in milliseconds, so a late scrape moves nothing."""
    return {
        "name": name,
        "datasource": DATASOURCE,
        "enable": True,
        "hide": False,
        "iconColor": colour,
        "expr": expr,
        "step": "15s",
        "titleFormat": title,
        "textFormat": text,
        "tagKeys": tags,
        "useValueForTime": dated,
    }


def to_dashboard(title: str, tag: str) -> Json:
    """A link to the other dashboard that keeps time and data source."""
    return {
        "type": "dashboards",
        "title": title,
        "tags": [tag],
        "asDropdown": False,
        "icon": "dashboard",
        "includeVars": True,
        "keepTime": True,
        "targetBlank": False,
        "tooltip": "",
        "url": "",
    }


def to_page(title: str, url: str, tooltip: str) -> Json:
    return {
        "type": "link",
        "title": title,
        "url": url,
        "icon": "external link",
        "tooltip": tooltip,
        "tags": [],
        "asDropdown": False,
        "includeVars": False,
        "keepTime": False,
        "targetBlank": True,
    }


def dashboard(
    uid: str,
    title: str,
    description: str,
    *,
    tags: Sequence[str],
    variables: Sequence[Json],
    annotations: Sequence[Json],
    links: Sequence[Json],
    rows: Sequence[tuple[str, Sequence[Json]]],
    since: str,
) -> Json:
    return {
        "uid": uid,
        "title": title,
        "description": description,
        "tags": list(tags),
        "schemaVersion": 42,
        "editable": False,
        "graphTooltip": 1,
        "time": {"from": since, "to": "now"},
        "timepicker": {},
        "timezone": "browser",
        "refresh": "30s",
        "weekStart": "",
        "fiscalYearStartMonth": 0,
        "liveNow": False,
        "links": list(links),
        "templating": {"list": [CHOICE_OF_DATASOURCE, *variables]},
        "annotations": {"list": list(annotations)},
        "panels": list(placed(rows)),
    }
