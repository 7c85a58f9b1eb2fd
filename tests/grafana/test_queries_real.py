"""Every query of the dashboards against a real Prometheus that watched two incidents: each returns data.

The whole stage runs with time compressed; so are the ranges in the queries. One test for each version of
Prometheus, because each raises a stage of its own.
"""

from __future__ import annotations

import math
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import requests

from remediator.lab.prometheus.compress import compress_expression
from remediator.lab.scenes import SCENES
from remediator.lab.stage import Stage, eventually
from remediator.lab.story import Watch
from tests.components import missing
from tests.grafana.reading import FILES, HOME, PLAIN, Query, queries, read, series_in

SPEED = 30.0
SCRAPE = 60 / SPEED  # of the remediator, on the stage
RECOVERS, ESCALATES = "a bad deploy", "something incurable"
VALUES = {**PLAIN, "target": ".*", "__rate_interval": "4m"}  # four scrapes of what the stage scrapes slowest
FROM_PROMETHEUS_ITSELF = {"ALERTS"}


def places() -> list[str]:
    """Where there are a Prometheus and an Alertmanager: PATH, and each of REMEDIATOR_PROM_PATHS."""
    return ["PATH", *filter(None, os.environ.get("REMEDIATOR_PROM_PATHS", "").split(os.pathsep))]


@dataclass(frozen=True, slots=True)
class Watched:
    """A Prometheus and the time in which it watched the incidents."""

    url: str
    since: float
    until: float

    def _ask(self, path: str, **data: Any) -> Any:
        answer = requests.get(f"{self.url}/api/v1/{path}", params=data, timeout=20)
        assert answer.ok, answer.text
        return answer.json()["data"]

    def names(self) -> set[str]:
        return set(self._ask("label/__name__/values"))

    def all_scraped_since(self, moment: float) -> bool:
        """Whether the last scrape of every target began later than that."""
        (oldest,) = self._ask("query", query="min(timestamp(up))")["result"]
        return float(oldest["value"][1]) > moment

    def series(self, query: str) -> list[dict[str, str]]:
        """The labels of the series that have a number at some time."""
        found = self._ask("query_range", query=query, start=self.since, end=self.until, step=0.25)["result"]
        return [
            one["metric"] for one in found if any(not math.isnan(float(value)) for _, value in one["values"])
        ]


@pytest.fixture(params=places())
def watched(request, tmp_path, monkeypatch) -> Iterator[Watched]:
    if request.param != "PATH":
        monkeypatch.setenv("PATH", request.param, prepend=os.pathsep)
        assert Path(request.param, "prometheus").is_file(), f"REMEDIATOR_PROM_PATHS promises {request.param}"
    if not shutil.which("prometheus"):
        missing("no prometheus on PATH or in REMEDIATOR_PROM_PATHS")
    since = time.time()
    scenes = {scene.title: scene for scene in SCENES}
    played = [scenes[RECOVERS], scenes[ESCALATES]]
    deployments = [scene.deployment for scene in played]
    with Stage(HOME, tmp_path, speed=SPEED, deployments=deployments, stand_in=False) as stage:
        watches = [Watch(stage, scene.deployment) for scene in played]
        for scene in played:
            scene.harm(stage, scene.deployment)

        def over() -> bool:
            for watch in watches:
                watch.news()
            return all(watch.over for watch in watches)

        eventually(over, "the incidents did not end", within=180)
        assert [watch.story["reason"] for watch in watches] == [scene.reason for scene in played]
        watched, ended = Watched(stage.prometheus_url, since, time.time()), time.time()
        eventually(
            lambda: watched.all_scraped_since(ended + SCRAPE),  # twice, for what looks at changes
            "Prometheus did not see how it ended",
            within=60,
        )
        yield replace(watched, until=time.time())


def complaint(watched: Watched, query: Query, known: set[str]) -> str | None:
    expr = compress_expression(query.filled(VALUES), SPEED)
    unknown = series_in(expr) - known - FROM_PROMETHEUS_ITSELF
    if unknown:
        return f"{query.where}: nobody exports {', '.join(sorted(unknown))}"
    found = watched.series(expr)
    if not found:
        return f"{query.where}: no data for {expr}"
    missing = query.labels - {label for one in found for label in one}
    return f"{query.where}: no series has {', '.join(sorted(missing))}" if missing else None


@pytest.mark.real
def test_every_query_returns_data_and_names_only_what_is_exported(watched):
    known = watched.names()
    asked = [query for path in FILES for query in queries(read(path))]
    complaints = [said for query in asked if (said := complaint(watched, query, known))]
    assert not complaints, "\n".join(complaints)
    # and it would have been seen
    assert len(asked) > 50
    assert complaint(watched, Query(where="x", expr="sum(hive_upp)", labels=frozenset()), known)
    assert complaint(watched, Query(where="x", expr="hive_up > 7", labels=frozenset()), known)
    assert complaint(watched, Query(where="x", expr="hive_up", labels=frozenset({"node"})), known)
