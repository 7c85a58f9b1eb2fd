"""The compose stack without an engine: the same commands, mounts and configurations, and one incident."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.compose.boxes import Boxes, missing_tool
from tests.compose.model import HOME, Compose
from tests.compose.stack import Binaries, Stack, binaries_in, eventually

SPEED = 60
PLACES = [None, *filter(None, os.environ.get("REMEDIATOR_PROM_PATHS", "").split(os.pathsep))]
pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]


def missing(what: str) -> None:
    if os.environ.get("CI") == "true":
        pytest.fail(what)
    pytest.skip(what)


@pytest.fixture(params=PLACES, ids=lambda place: place or "PATH")
def binaries(request: pytest.FixtureRequest) -> Binaries:
    if trouble := missing_tool():
        missing(trouble)
    found = binaries_in(request.param)
    if found is None:
        missing(f"no prometheus and alertmanager {f'in {request.param}' if request.param else 'on PATH'}")
    assert found
    return found


@pytest.fixture
def boxes(tmp_path: Path, binaries: Binaries) -> Iterator[Boxes]:
    names = list(Compose().services)
    with Boxes(tmp_path, names, [binaries.prometheus, binaries.alertmanager]) as network:
        yield network


def documented(word: str) -> str:
    """The line of docs/compose.md that runs this in a service."""
    lines = (HOME / "docs/compose.md").read_text(encoding="utf-8").splitlines()
    found = [line.partition("  #")[0].strip() for line in lines if line.startswith("docker compose exec")]
    return next(line for line in found if word in line)


def asked(boxes: Boxes, service: str, port_and_path: str) -> Any:
    body = boxes.get(service, port_and_path)
    return json.loads(body) if body else None


def test_the_stack_comes_up_healthy_and_plays_one_incident(boxes: Boxes, binaries: Binaries) -> None:
    stack = Stack(Compose({"SPEED": str(SPEED)}), boxes, binaries)
    stack.up()
    assert asked(boxes, "lab", "9464/health")["status"] == "ok"
    eventually(lambda: _all_up(boxes), "Prometheus reaches everything it scrapes", within=30)

    assert json.loads(stack.exec(documented("remediator incidents --json"))) == []
    stack.exec(documented("break leak"))

    def closed() -> Any:
        told = json.loads(stack.exec(documented("remediator incidents --json")))
        return told if told and told[-1]["phase"] in ("closed", "escalated") else None

    incident = eventually(closed, "the incident is over", within=90)[-1]
    assert incident["alert"] == "HiveErrorRateHigh"
    assert (incident["phase"], incident["reason"]) == ("closed", "recovered")
    writes = asked(boxes, "lab", "8001/_lab/requests?mutating=1")
    ours = [
        write
        for write in writes
        if write["user_agent"].startswith("remediator") and "/deployments/" in write["path"]
    ]
    assert len([write for write in ours if not write["dry_run"]]) == 1
    assert boxes.stop("remediator") == 0


def _all_up(boxes: Boxes) -> bool:
    targets = asked(boxes, "prometheus", "9090/api/v1/targets")["data"]["activeTargets"]
    jobs = {target["labels"]["job"] for target in targets}
    return jobs >= {"hive", "remediator"} and all(target["health"] == "up" for target in targets)
