"""From a broken Deployment to a closed incident, with nothing simulated but the node's metrics.

Real Prometheus and Alertmanager with the shipped rules and routing, `remediator serve` with the shipped
policy, a real API server with its controllers. Only time is compressed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from remediator.lab.node import LabNode
from remediator.lab.stage import Stage as DemoStage
from tests.end_to_end.clusters import Cluster
from tests.end_to_end.conftest import Stack
from tests.end_to_end.programs import Programs
from tests.end_to_end.proxy import Proxy
from tests.end_to_end.serving import WELL_TOLD, kinds_and_reasons
from tests.waiting import eventually

pytestmark = pytest.mark.real

HOME = Path(__file__).parents[2]
SPEED = 30.0
APEX = "bizra-apex"
GOOD = "ghcr.io/bizra/node:v2.1.0"
CRASHING = "ghcr.io/bizra/node:v2.2.0-crash"
REPLICAS = 3
ENDED = ("closed", "escalated", "returning")


class Stage(DemoStage):
    """The demo's stage, with a real API server instead of the simulated one."""

    def __init__(self, programs: Programs, stack: Stack, *, cluster: Cluster, proxy: Proxy, namespace: str):
        super().__init__(HOME, programs.directory, speed=SPEED, deployments=[APEX], stand_in=False)
        self._prometheus, self._alertmanager = stack
        self._stand_in = False
        self._programs, self._proxy = programs, proxy
        self.api, self.namespace = cluster, namespace

    def _raise(self) -> None:
        self.token_file.write_text("demo-token\n")
        self.kubeconfig = self.api.kubeconfig
        self.api.create(self.namespace, APEX, GOOD, replicas=REPLICAS)
        eventually(lambda: self.api.all_ready(self.namespace, APEX), f"{APEX} is ready")
        # The node's client would warn of the real API server's certificate in every thread: it goes round it.
        node = LabNode(
            kubeconfig=self._proxy.kubeconfig(self.directory / "node.kubeconfig"),
            deployments=[(self.namespace, APEX)],
            speed=SPEED,
            data=self.directory / "node",
        )
        self.node = self._closing.enter_context(node)
        self.prometheus_url = self._start_prometheus()
        self._start_remediator()

    def _start(
        self, program: str, *arguments: str, environ: Mapping[str, str] | None = None, name: str = ""
    ) -> None:
        if environ:
            policy = Path(environ["REMEDIATOR_POLICY"])
            known = yaml.safe_load(policy.read_text(encoding="utf-8"))
            known["targets"][0]["namespace"] = self.namespace
            policy.write_text(yaml.safe_dump(known, sort_keys=False, width=4096), encoding="utf-8")
        self._programs.start(name or Path(program).name, program, *arguments, environ=environ)

    def inject(self, fault: str) -> None:
        self.node.inject(self.namespace, APEX, fault)

    def recovers(self) -> dict[str, Any]:
        """Wait for the one incident to end; its story. A scale-up is then given back, later."""

        def look() -> dict[str, Any] | None:
            ended = [one for one in self.incidents() if one["phase"] in ENDED]
            return self.story(ended[0]["id"]) if ended else None

        story = eventually(look, "the incident ended")
        raised = any(one["intent"]["kind"] == "scale" for one in story["attempts"])
        assert story["phase"] == ("returning" if raised else "closed"), story["events"]
        assert [one["id"] for one in self.incidents()] == [1]
        return story

    def query(self, text: str) -> list[Any]:
        """What the real Prometheus says."""
        answer = requests.get(f"{self.prometheus_url}/api/v1/query", params={"query": text}, timeout=10)
        found: list[Any] = answer.json()["data"]["result"]
        return [float(one["value"][1]) for one in found]


@pytest.fixture
def cluster(real_cluster: Cluster) -> Cluster:
    return real_cluster


@pytest.fixture
def begin(
    programs: Programs, cluster: Cluster, proxy: Proxy, namespace: str
) -> Iterator[Callable[[Stack], Stage]]:
    started: list[Stage] = []

    def begin(stack: Stack) -> Stage:
        stage = Stage(programs, stack, cluster=cluster, proxy=proxy, namespace=namespace)
        started.append(stage)
        stage.__enter__()
        hive_up = f'min(hive_up{{namespace="{namespace}"}})'
        eventually(lambda: stage.query(hive_up) == [1.0], "Prometheus sees a healthy service")
        return stage

    yield begin
    for stage in started:
        stage.__exit__(None, None, None)


def test_a_crash_looping_deploy_is_undone(begin: Callable[[Stack], Stage], stack: Stack) -> None:
    stage = begin(stack)
    api, namespace = stage.api, stage.namespace
    api.set_image(namespace, APEX, CRASHING)
    story = stage.recovers()

    assert story["alert"] in ("HiveDown", "AhsanScoreLow")
    assert kinds_and_reasons(story) == WELL_TOLD
    assert story["timeline_intact"]
    assert [attempt["intent"]["kind"] for attempt in story["attempts"]] == ["undo"]
    assert [attempt["verdict"] for attempt in story["attempts"]] == ["recovered"]
    samples = [sample["value"] for sample in story["attempts"][0]["samples"]]
    assert None not in samples[-3:], "recovered by our own query"

    assert api.all_ready(namespace, APEX)
    assert api.images(namespace, APEX) == [GOOD] * REPLICAS
    assert [(write["path"], write["code"]) for write in api.writes(namespace)] == [
        (f"/apis/apps/v1/namespaces/{namespace}/deployments/{APEX}", 200)
    ]


@dataclass(frozen=True)
class Fault:
    name: str
    kind: str
    alerts: Sequence[str]
    replicas: int = REPLICAS


FAULTS = (
    Fault("lost_process", kind="restart", alerts=["HiveDown"]),
    Fault("overload", kind="scale", alerts=["HiveLatencyP99High", "AhsanScoreLow"], replicas=5),
)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_broken_service_is_mended(
    begin: Callable[[Stack], Stage], newest_stack: Stack, fault: Fault
) -> None:
    stage = begin(newest_stack)
    stage.inject(fault.name)
    story = stage.recovers()

    assert story["alert"] in fault.alerts
    assert kinds_and_reasons(story)[: len(WELL_TOLD)] == WELL_TOLD
    assert [attempt["intent"]["kind"] for attempt in story["attempts"]] == [fault.kind]
    assert stage.api.all_ready(stage.namespace, APEX)
    assert stage.api.images(stage.namespace, APEX) == [GOOD] * fault.replicas
    assert [write["code"] for write in stage.api.writes(stage.namespace)] == [200]
