"""The compose stack without an engine: the same commands, mounts and configurations, and one incident."""

from __future__ import annotations

import json
import os
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from remediator.lab.breaking import BREAKAGES
from tests.components import missing
from tests.compose.boxes import Boxes, missing_tool
from tests.compose.model import HOME, Compose
from tests.compose.stack import Binaries, Stack, binaries_in
from tests.waiting import eventually

SPEED = 60
PLACES = [None, *filter(None, os.environ.get("REMEDIATOR_PROM_PATHS", "").split(os.pathsep))]
pytestmark = pytest.mark.real


@pytest.fixture(params=PLACES, ids=lambda place: place or "PATH")
def binaries(request: pytest.FixtureRequest) -> Binaries:
    found = binaries_in(request.param)
    if found is None:
        missing(f"no prometheus and alertmanager {f'in {request.param}' if request.param else 'on PATH'}")
    return found


@pytest.fixture
def boxes(tmp_path: Path) -> Iterator[Boxes]:
    if trouble := missing_tool():
        missing(trouble)
    with Boxes(tmp_path, list(Compose().services)) as network:
        yield network


def commands(beginning: str) -> list[str]:
    """The command lines of docs/compose.md that begin so."""
    lines = (HOME / "docs/compose.md").read_text(encoding="utf-8").splitlines()
    return [line.partition("  #")[0].strip() for line in lines if line.startswith(beginning)]


def documented(word: str) -> str:
    """The line of docs/compose.md that runs this in a service."""
    return next(line for line in commands("docker compose exec") if word in line)


def asked(boxes: Boxes, service: str, port_and_path: str, *headers: str) -> Any:
    body = boxes.get(service, port_and_path, *headers)
    return json.loads(body) if body else None


def test_the_stack_comes_up_healthy_and_plays_one_incident(boxes: Boxes, binaries: Binaries) -> None:
    stack = Stack(Compose({"SPEED": str(SPEED)}), boxes, binaries)
    stack.up()
    assert asked(boxes, "lab", "9464/health")["status"] == "ok"
    eventually(lambda: _all_up(boxes), "Prometheus reaches everything it scrapes")

    assert json.loads(stack.exec(documented("remediator incidents --json")))["incidents"] == []
    if shutil.which("kubectl"):
        (kubectl, *_) = commands("kubectl --server")
        assert "deployment.apps/bizra-apex" in boxes.beside("lab", shlex.split(kubectl))
    stack.exec(documented("break leak"))

    def closed() -> Any:
        told = json.loads(stack.exec(documented("remediator incidents --json")))["incidents"]
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
    said = stack.exec("docker compose exec remediator remediator incidents 1")
    assert json.loads(said)["timeline_intact"]
    stack.exec(documented("remediator pause"))
    stack.exec(documented("remediator resume"))
    assert boxes.stop("remediator") == 0
    stack.start("remediator")
    stack.becomes_healthy("remediator")
    told = json.loads(stack.exec(documented("remediator incidents --json")))["incidents"]
    assert told[-1] == incident, "it is in the volume"


def _all_up(boxes: Boxes) -> bool:
    targets = asked(boxes, "prometheus", "9090/api/v1/targets")["data"]["activeTargets"]
    jobs = {target["labels"]["job"] for target in targets}
    return jobs >= {"hive", "remediator", "prometheus", "alertmanager"} and all(
        target["health"] == "up" for target in targets
    )


def test_a_box_is_as_closed_as_a_container(boxes: Boxes) -> None:
    """Otherwise the other tests here would prove less than they say."""
    stack = Stack(Compose(), boxes)
    assert stack.exec("docker compose exec remediator id -u") == "10001\n"
    places = "/x /usr/x /configuration/x /run/secrets/x /data/x /tmp/x"
    tried = f"for each in {places}; do touch $each && echo $each; done; true"
    written = stack.exec(f"docker compose exec remediator sh -c '{tried}'")
    assert written.split() == ["/data/x", "/tmp/x"]
    status = stack.exec("docker compose exec remediator cat /proc/self/status")
    capabilities = {line.split()[1] for line in status.splitlines() if line.startswith("Cap")}
    assert capabilities == {"0" * 16}
    assert "NoNewPrivs:\t1" in status


@pytest.mark.parametrize("what", [*BREAKAGES, "--mend"])
def test_every_bad_day_can_be_asked_for(what: str) -> None:
    assert f"`break {what}`" in (HOME / "docs/compose.md").read_text(encoding="utf-8")


def test_the_second_profile_serves_with_a_kubeconfig_of_ones_own(boxes: Boxes) -> None:
    """Of the first profile only what plays the user's cluster is there."""
    secrets = boxes.volume("secrets", 10001)
    environ = {
        "KUBECONFIG_FILE": str(secrets / "kubeconfig"),
        "TOKEN_FILE": str(secrets / "remediator_token"),
        "SPEED": str(SPEED),
    }
    stack = Stack(Compose(environ), boxes)
    for name in ("prepare", "lab"):
        stack.await_conditions(name)
        stack.start(name)
    stack.becomes_healthy("lab")
    stack.start("remediator-kubeconfig")
    stack.becomes_healthy("remediator-kubeconfig")
    token = (secrets / "remediator_token").read_text(encoding="utf-8").split()[0]
    ready = asked(boxes, "remediator-kubeconfig", "8080/readyz?verbose", f"Authorization: Bearer {token}")
    assert "kubernetes" not in ready["trouble"]
    assert "prometheus" in ready["trouble"], "there is none"
    assert boxes.get("remediator-kubeconfig", "8080/api/v1/incidents") == "", "not without the token"
    for what in BREAKAGES:
        stack.exec(f"docker compose exec lab python -m remediator.lab break {what}")
    broken = asked(boxes, "lab", "9464/_lab/faults")["faults"]
    assert {each["fault"] for each in broken} == set(BREAKAGES) - {"bad_deploy"}
    stack.exec("docker compose exec lab python -m remediator.lab break --mend")
    assert asked(boxes, "lab", "9464/_lab/faults")["faults"] == []
