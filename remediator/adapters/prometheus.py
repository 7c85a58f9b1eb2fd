"""Prometheus: one instant query that must give one number, or a sample that says why there is none.

Source: the HTTP API of Prometheus, `POST /api/v1/query`. `lookback_delta` is honoured from 3.x on and
ignored by 2.42; there the settle time has to be longer than the scrape interval.
"""

from __future__ import annotations

import json
import math
import time
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode, urlsplit, urlunsplit

import requests
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random

from remediator.adapters.one_server import OneServer
from remediator.core.reasons import Reason
from remediator.core.verification import Sample

CONNECT_SECONDS = 2.0
READ_SECONDS = 5.0
LARGEST_ANSWER = 1024 * 1024
_SHORTEST_LOOKBACK = 0.001
_CHUNK = 16 * 1024
_CONNECTIONS = 4


class PrometheusMetrics:
    """A Prometheus by its base URL, e.g. `http://prometheus:9090`."""

    def __init__(
        self, url: str, *, connect_timeout: float = CONNECT_SECONDS, read_timeout: float = READ_SECONDS
    ) -> None:
        self._url = url.rstrip("/")
        self._name = _without_password(self._url)
        self._timeout = (connect_timeout, read_timeout)
        self._server = OneServer(connections=_CONNECTIONS)
        # A session knows the passwords, proxies and authorities of the environment; it is asked once.
        with requests.Session() as session:
            session.headers["User-Agent"] = "remediator"
            self._asking = session.prepare_request(
                requests.Request("POST", f"{self._url}/api/v1/query", data={"query": ""})
            )
            self._settings: Any = session.merge_environment_settings(
                self._url, {}, stream=True, verify=None, cert=None
            )
        self._retrying = Retrying(  # a query changes nothing: a second time is harmless
            retry=retry_if_exception_type(requests.ConnectionError),
            stop=stop_after_attempt(2),
            wait=wait_random(0.05, 0.2),
            reraise=True,
        )

    def ask(self, query: str, *, now: datetime, lookback: timedelta | None = None) -> Sample:
        """Ask for one number. Never raises: silence and nonsense are samples without a value."""
        form = {"query": query, "timeout": f"{self._timeout[1]:g}s"}
        if lookback is not None:
            form["lookback_delta"] = f"{max(lookback.total_seconds(), _SHORTEST_LOOKBACK):.3f}"
        try:
            status, body = self._retrying(self._exchange, form)
        except requests.RequestException as error:
            return _none(now, Reason.PROMETHEUS_UNREACHABLE, f"{self._name}: {type(error).__name__}")
        try:
            answer = json.loads(body)
        except (ValueError, RecursionError):
            return _none(now, Reason.PROMETHEUS_UNREACHABLE, f"{self._name}: HTTP {status}, not JSON")
        return _sample(answer, now)

    def _exchange(self, form: dict[str, str]) -> tuple[int, bytes]:
        """One request, one answer, bounded in time and size also when it trickles in."""
        deadline = time.monotonic() + sum(self._timeout)
        asking = self._asking.copy()
        asking.body = urlencode(form)
        asking.headers["Content-Length"] = str(len(asking.body))
        with self._server.send(asking, timeout=self._timeout, **self._settings) as response:
            body = b""
            for chunk in response.iter_content(_CHUNK):
                body += chunk
                if len(body) > LARGEST_ANSWER or time.monotonic() > deadline:
                    raise requests.Timeout("too long an answer")
            return response.status_code, body

    def ping(self) -> str | None:
        """Why Prometheus cannot be asked now, or None."""
        try:
            response = requests.get(f"{self._url}/-/ready", timeout=self._timeout, allow_redirects=False)
        except requests.RequestException as error:
            return f"{self._name}: {type(error).__name__}"
        return None if response.ok else f"{self._name}: HTTP {response.status_code}"


def _without_password(url: str) -> str:
    """The URL as it may be shown: what is journaled and answered must not tell the password in it."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _sample(answer: Any, now: datetime) -> Sample:
    if not isinstance(answer, dict) or answer.get("status") != "success":
        error = str(answer.get("error", "no status"))[:256] if isinstance(answer, dict) else "not an object"
        return _none(now, Reason.NO_DATA, f"Prometheus refused the query: {error}")
    if answer.get("warnings"):  # e.g. a federating layer that could not reach all of its sources
        return _none(now, Reason.NO_DATA, f"Prometheus warns of the answer: {str(answer['warnings'])[:256]}")
    try:
        kind, result = answer["data"]["resultType"], answer["data"]["result"]
        if kind == "scalar":
            text = result[1]
        elif kind != "vector":
            return _none(now, Reason.NO_DATA, f"the query's result is a {str(kind)[:40]}, not one number")
        elif len(result) == 1:
            text = result[0]["value"][1]
        else:
            found = "no series" if not result else f"{len(result)} series where one is needed"
            return _none(now, Reason.NO_DATA, f"the query returned {found}")
        value = float(text)
    except (KeyError, IndexError, TypeError, ValueError, OverflowError):
        return _none(now, Reason.NO_DATA, "the query's result is not one number")
    if math.isnan(value):
        return _none(now, Reason.NO_DATA, "the query returned NaN")
    return Sample(at=now, value=value)


def _none(now: datetime, reason: Reason, detail: str) -> Sample:
    return Sample(at=now, value=None, reason=reason, detail=detail)
