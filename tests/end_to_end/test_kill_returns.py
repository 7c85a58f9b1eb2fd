"""Killed around the PATCH that raises an autoscaler's minReplicas, and around the one that gives it back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from remediator.core.incidents import RETURN_STEP
from tests.end_to_end.clusters import Cluster
from tests.end_to_end.programs import Programs
from tests.end_to_end.proxy import Moment, Proxy
from tests.end_to_end.serving import WELL, Remediator, SaidMetrics, a_notification, a_policy
from tests.waiting import eventually

Json = dict[str, Any]
ALERT = "HiveLatencyP99High"
BEFORE, AFTER = 2, 3
"""The count at the beginning, and with our help."""
STEPS: dict[str, Json] = {
    "scale": {"scale": {"to": AFTER}},
    "raise_min": {"scale": {"to": AFTER, "under_hpa": "raise_min"}},
}


@dataclass
class Scene:
    """A Deployment, with its autoscaler where that is to be raised, and a remediator behind the proxy."""

    cluster: Cluster
    namespace: str
    action: str
    proxy: Proxy
    metrics: SaidMetrics
    remediator: Remediator

    @property
    def _autoscaler(self) -> str:
        return f"/apis/autoscaling/v1/namespaces/{self.namespace}/horizontalpodautoscalers"

    def begin(self) -> None:
        self.cluster.create(self.namespace, "web", "node:v1", replicas=BEFORE)
        eventually(lambda: self.cluster.all_ready(self.namespace, "web"), "web is ready")
        if self.action == "raise_min":
            self.cluster.create_autoscaler(self.namespace, "web", BEFORE, 6)

    def count(self) -> int:
        """What is set: the replicas, or the autoscaler's least."""
        if self.action == "scale":
            return int(self.cluster.deployment(self.namespace, "web")["spec"]["replicas"])
        return int(self.cluster.call("GET", f"{self._autoscaler}/web")["spec"]["minReplicas"])

    def becomes(self, count: int) -> None:
        eventually(lambda: self.count() == count, f"{self.action} sets {count}")

    def recovers(self, alert: Json) -> None:
        """There are pods for the count, the service is well and the alert over."""
        if self.action == "raise_min":  # as its controller would, up to 15 s later
            self.cluster.set_replicas(self.namespace, "web", AFTER)
        self.metrics.value = WELL
        over = {**alert["alerts"][0], "status": "resolved", "endsAt": alert["alerts"][0]["startsAt"]}
        self.remediator.accepts({**alert, "status": "resolved", "alerts": [over]})
        self.remediator.comes_to("closed")

    def returned(self) -> Json:
        def look() -> Json | None:
            story = self.remediator.story()
            return story if story["phase"] == "closed" else None

        return eventually(look, "the scale-up was given back")

    def taken(self) -> list[str]:
        """The objects that our accepted writes changed, in their order."""
        found = self.cluster.writes(self.namespace)
        return [write["path"].partition(f"/{self.namespace}/")[2] for write in found if write["code"] == 200]


@pytest.fixture
def scene(  # noqa: PLR0917 - fixtures are passed by name
    request: pytest.FixtureRequest,
    cluster: Cluster,
    namespace: str,
    proxy: Proxy,
    metrics: SaidMetrics,
    programs: Programs,
) -> Scene:
    policy = a_policy(namespace, {ALERT: STEPS[request.param]}, "web")
    remediator = Remediator(
        programs,
        kubeconfig=proxy.kubeconfig(programs.directory / "kubeconfig"),
        prometheus=metrics.url,
        policy={**policy, "returns": {"after": "1s", "every": "1s"}},
    )
    found = Scene(cluster, namespace, request.param, proxy, metrics, remediator)
    found.begin()
    return found


@pytest.mark.parametrize("moment", list(Moment), ids=["before", "after"])
@pytest.mark.parametrize(
    ("cluster", "scene"),
    [
        ("lab", "raise_min"),
        pytest.param("real", "raise_min", marks=pytest.mark.real),
        pytest.param("real", "scale", marks=pytest.mark.real),
    ],
    indirect=True,
)
def test_killed_around_the_write_there_and_the_write_back_each_happens_once(
    scene: Scene, moment: Moment
) -> None:
    alert = a_notification(scene.namespace, "web", ALERT)
    caught = scene.proxy.catch(moment)
    scene.remediator.accepts(alert)
    caught.wait()
    scene.remediator.kill()
    caught.drop()
    assert scene.count() == (BEFORE if moment is Moment.BEFORE else AFTER)
    scene.remediator.start()
    scene.becomes(AFTER)
    back = scene.proxy.catch(moment)
    scene.recovers(alert)

    back.wait()
    scene.remediator.kill()
    back.drop()
    assert scene.count() == (AFTER if moment is Moment.BEFORE else BEFORE)
    scene.remediator.start()
    story = scene.returned()

    assert scene.count() == BEFORE
    there = "deployments/web/scale" if scene.action == "scale" else "horizontalpodautoscalers/web"
    assert scene.taken() == [there, there]
    tries = 2 if moment is Moment.BEFORE else 1
    up, down = story["attempts"]
    assert (up["intent"]["kind"], up["step"], up["tries"]) == (scene.action, 0, tries)
    assert (down["intent"]["kind"], down["step"], down["tries"]) == (scene.action, RETURN_STEP, tries)
    assert story["timeline_intact"]
