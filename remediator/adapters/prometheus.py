"""Prometheus: one instant query that must give one number, or a sample that says why there is none.

Source: the HTTP API of Prometheus, `POST /api/v1/query`. `lookback_delta` is honoured from 3.x on and
ignored by 2.42; there the settle time has to be longer than the scrape interval.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import Any

import requests
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random

from remediator.core.reasons import Reason
from remediator.core.verification import Sample

CONNECT_SECONDS = 2.0
READ_SECONDS = 5.0
_SHORTEST_LOOKBACK = 0.001


class PrometheusMetrics:
    """A Prometheus by its base URL, e.g. `http://prometheus:9090`."""

    def __init__(
        self, url: str, *, connect_timeout: float = CONNECT_SECONDS, read_timeout: float = READ_SECONDS
    ) -> None:
        self._url = url.rstrip("/")
        self._timeout = (connect_timeout, read_timeout)
        self._session = requests.Session()
        self._session.headers["User-Agent"] = "remediator"
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
            response = self._retrying(
                self._session.post,
                f"{self._url}/api/v1/query",
                data=form,
                timeout=self._timeout,
                allow_redirects=False,
            )
            answer = response.json()
        except requests.JSONDecodeError:
            return _none(now, Reason.PROMETHEUS_UNREACHABLE, f"HTTP {response.status_code}, not JSON")
        except requests.RequestException as error:
            return _none(now, Reason.PROMETHEUS_UNREACHABLE, f"{self._url}: {type(error).__name__}")
        return _sample(answer, now)

    def ping(self) -> str | None:
        """Why Prometheus cannot be asked now, or None."""
        try:
            response = self._session.get(f"{self._url}/-/ready", timeout=self._timeout, allow_redirects=False)
        except requests.RequestException as error:
            return f"{self._url}: {type(error).__name__}"
        return None if response.ok else f"{self._url}: HTTP {response.status_code}"


def _sample(answer: Any, now: datetime) -> Sample:
    if not isinstance(answer, dict) or answer.get("status") != "success":
        error = str(answer.get("error", "no status"))[:256] if isinstance(answer, dict) else "not an object"
        return _none(now, Reason.NO_DATA, f"Prometheus refused the query: {error}")
    try:
        result = answer["data"]["result"]
        if answer["data"]["resultType"] == "scalar":
            text = result[1]
        elif len(result) == 1:
            text = result[0]["value"][1]
        else:
            found = "no series" if not result else f"{len(result)} series where one is needed"
            return _none(now, Reason.NO_DATA, f"the query returned {found}")
        value = float(text)
    except (KeyError, IndexError, TypeError, ValueError):
        return _none(now, Reason.NO_DATA, "the query's result is not one number")
    if math.isnan(value):
        return _none(now, Reason.NO_DATA, "the query returned NaN")
    return Sample(at=now, value=value)


def _none(now: datetime, reason: Reason, detail: str) -> Sample:
    return Sample(at=now, value=None, reason=reason, detail=detail)
