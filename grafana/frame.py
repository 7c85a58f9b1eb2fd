"""What is around the panels: places, variables, annotations, links, and the dashboard itself."""
# ruff: noqa: INP001 - scripts beside what they write

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any

from parts import DATASOURCE, VIOLET, WIDTH, Json


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
    """Marks on all charts. `dated`: the value is the moment in milliseconds: a late scrape moves nothing."""
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


def automatic_actions(selector: str, *, title: str) -> Json:
    """Marks at the moments when the API server took a change from us."""
    return annotation(
        "Automatic actions",
        VIOLET,
        last_actions(selector),
        title=title,
        text="{{target}}",
        tags="action",
        dated=True,
    )


def last_actions(selector: str) -> str:
    """When each kind of action was last taken, in milliseconds. A replica that says 0 knows of none."""
    return f"max by (target, action) (remediator_last_action_timestamp_seconds{{{selector}}}) * 1000 > 0"


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
