"""The HTTP face of the stand-in: the few paths of Prometheus' API that the remediator and a person use.

`/api/v1/query` and `query_range` (GET and POST, with `time` and `lookback_delta`), `/api/v1/alerts`,
`/-/ready`, `/-/healthy`; answers and errors have Prometheus' own form. Everything else is 404.
"""

from __future__ import annotations

import json
import time
from datetime import datetime
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import promql_parser as ast

from remediator.lab.prometheus.durations import parse_ms
from remediator.lab.prometheus.notifications import rfc3339
from remediator.lab.prometheus.operators import Element, ExecutionError, Vector
from remediator.lab.prometheus.promql import ParseError, Value, evaluate, parse
from remediator.lab.prometheus.series import Point, Window
from remediator.lab.prometheus.templates import format_value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from threading import Lock

    from remediator.lab.prometheus.rules import RuleGroup
    from remediator.lab.prometheus.series import Labels, SeriesStore

Answer = tuple[int, Any]
_MOST_STEPS = 11_000  # as in Prometheus


class QueryApi:
    """Answers requests; knows nothing of sockets."""

    def __init__(self, store: SeriesStore, groups: list[RuleGroup], lock: Lock) -> None:
        self.store = store
        self.groups = groups
        self.lock = lock
        self.ready = False

    def answer(self, path: str, parameters: dict[str, str]) -> Answer:
        match path:
            case "/-/healthy":
                return 200, "Prometheus Server is Healthy.\n"
            case "/-/ready":
                return (
                    (200, "Prometheus Server is Ready.\n") if self.ready else (503, "Service Unavailable\n")
                )
            case "/api/v1/query":
                return self.query(parameters)
            case "/api/v1/query_range":
                return self.query_range(parameters)
            case "/api/v1/alerts":
                with self.lock:
                    return 200, {"status": "success", "data": {"alerts": alerts_json(self.groups)}}
            case _:
                return 404, "404 page not found\n"

    def query(self, parameters: dict[str, str]) -> Answer:
        try:
            at = _time_ms(parameters["time"]) if parameters.get("time") else time.time_ns() // 1_000_000
            lookback = _lookback(parameters)
            text = parameters.get("query", "")
            kind = _result_type(parse(text))
        except ValueError as error:
            return _bad_data(error, "time or lookback_delta")
        try:
            with self.lock:
                value = evaluate(text, self.store, at, lookback_ms=lookback)
        except ExecutionError as error:
            return 422, _error("execution", str(error))
        return 200, {"status": "success", "data": {"resultType": kind, "result": result_json(value, at)}}

    def query_range(self, parameters: dict[str, str]) -> Answer:
        text = parameters.get("query", "")
        try:
            instants, lookback = _instants(parameters), _lookback(parameters)
            kind = _result_type(parse(text))
        except ValueError as error:
            return _bad_data(error, "start, end, step or lookback_delta")
        if kind == "matrix":
            return _bad_data(ParseError("a range query needs a number or an instant vector"), "query")
        rows: dict[Labels, list[Point]] = {}
        try:
            with self.lock:
                for at in instants:
                    for one in _vector(evaluate(text, self.store, at, lookback_ms=lookback)):
                        rows.setdefault(one.labels, []).append(Point(at, one.value))
        except ExecutionError as error:
            return 422, _error("execution", str(error))
        result = result_json(
            [Window(labels, points, instants.start, instants.stop) for labels, points in rows.items()], 0
        )
        return 200, {"status": "success", "data": {"resultType": "matrix", "result": result}}


def _vector(value: Value) -> Vector:
    if not isinstance(value, list):
        return [Element((), value)]
    return [one for one in value if isinstance(one, Element)]


def _instants(parameters: dict[str, str]) -> range:
    start, end = _time_ms(parameters.get("start", "")), _time_ms(parameters.get("end", ""))
    step = _duration_ms(parameters.get("step", ""))
    if step <= 0 or not 0 <= (end - start) / step <= _MOST_STEPS:
        raise ValueError(f"the end is before the start, or the step gives over {_MOST_STEPS} points or none")
    return range(start, end + 1, step)


def _lookback(parameters: dict[str, str]) -> int | None:
    delta = parameters.get("lookback_delta")
    return _duration_ms(delta) if delta else None


def _bad_data(error: ValueError, others: str) -> Answer:
    where = "query" if isinstance(error, ParseError) else others
    return 400, _error("bad_data", f'invalid parameter "{where}": {error}')


def _error(kind: str, message: str) -> dict[str, str]:
    return {"status": "error", "errorType": kind, "error": message}


def _time_ms(text: str) -> int:
    try:
        return round(float(text) * 1000)
    except ValueError:
        return round(datetime.fromisoformat(text).timestamp() * 1000)


def _duration_ms(text: str) -> int:
    try:
        return round(float(text) * 1000)
    except ValueError:
        return parse_ms(text)


def _result_type(node: Any) -> str:
    while isinstance(node, (ast.ParenExpr, ast.UnaryExpr)):
        node = node.expr
    if isinstance(node, ast.MatrixSelector):
        return "matrix"
    if isinstance(node, ast.NumberLiteral):
        return "scalar"
    if isinstance(node, ast.Call):
        return "scalar" if node.func.name in ("time", "scalar") else "vector"
    if isinstance(node, ast.BinaryExpr):
        return "vector" if "vector" in (_result_type(node.lhs), _result_type(node.rhs)) else "scalar"
    return "vector"


def result_json(value: Value, at: int) -> list[Any]:
    if not isinstance(value, list):
        return [at / 1000, format_value(value)]
    return [
        {"metric": dict(one.labels), "value": [at / 1000, format_value(one.value)]}
        if isinstance(one, Element)
        else {
            "metric": dict(one.labels),
            "values": [[p.at / 1000, format_value(p.value)] for p in one.points],
        }
        for one in value
    ]


def alerts_json(groups: Iterable[RuleGroup]) -> list[dict[str, Any]]:
    return [
        {
            "labels": dict(alert.labels),
            "annotations": alert.annotations,
            "state": alert.state,
            "activeAt": rfc3339(alert.active_at / 1000),
            "value": f"{alert.value:e}",
        }
        for group in groups
        for rule in group.alerting()
        for alert in rule.alerts()
    ]


def requests_of(answer: Callable[[str, dict[str, str]], Answer]) -> type[BaseHTTPRequestHandler]:
    """Class for the standard library's server that passes every request to `answer`."""

    class Requests(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._reply("")

        def do_POST(self) -> None:
            self._reply(self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode())

        def _reply(self, form: str) -> None:
            address = urlsplit(self.path)
            given = {**parse_qs(address.query), **parse_qs(form)}
            status, body = answer(address.path, {name: values[-1] for name, values in given.items()})
            plain = isinstance(body, str)
            content = (body if plain else json.dumps(body)).encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/plain; charset=utf-8" if plain else "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Stay quiet: the demo's terminal belongs to the story."""

    return Requests
