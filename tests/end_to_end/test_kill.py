"""Killed, cut off or kept waiting around a PATCH: the API server takes each action exactly once."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import pytest

from tests.end_to_end.clusters import Cluster
from tests.end_to_end.programs import Programs
from tests.end_to_end.proxy import Caught, Moment, Proxy
from tests.end_to_end.serving import (
    WELL,
    WELL_TOLD,
    Remediator,
    SaidMetrics,
    a_notification,
    a_policy,
    kinds_and_reasons,
)
from tests.waiting import eventually

BEFORE, AFTER = Moment.BEFORE, Moment.AFTER
OLD, NEW, NEWER = (f"ghcr.io/bizra/node:v{number}" for number in (1, 2, 3))
ALERT = {"restart": "HiveDown", "undo": "AhsanScoreLow", "scale": "HiveLatencyP99High"}
STEPS: dict[str, Any] = {
    ALERT["restart"]: {"restart": {}},
    ALERT["undo"]: {"undo": {}},
    ALERT["scale"]: {"scale": {"to": 3}},
}
REFUSED = {"restart": 422, "undo": 422, "scale": 409}
"""What the API server answers when a precondition does not hold: a failed `test`, or a conflict."""


@dataclass
class Scene:
    """Deployments that have seen two revisions, a remediator behind the proxy, and a sick service."""

    cluster: Cluster
    namespace: str
    proxy: Proxy
    metrics: SaidMetrics
    remediator: Remediator
    generations: dict[str, int]

    def fire(self, action: str) -> None:
        self.remediator.accepts(a_notification(self.namespace, action, ALERT[action]))

    def applied(self, action: str) -> bool:
        """Whether the Deployment is as the action leaves it."""
        found = self.cluster.deployment(self.namespace, action)
        template = found["spec"]["template"]
        if action == "restart":
            return "kubectl.kubernetes.io/restartedAt" in (template["metadata"].get("annotations") or {})
        if action == "undo":
            return bool(template["spec"]["containers"][0]["image"] == OLD)
        return bool(found["spec"]["replicas"] == 3)

    def recovers(self, action: str, number: int = 1) -> dict[str, Any]:
        """The service is well once the action is there; the incident has to end as recovered."""
        self.is_applied(action)
        self.metrics.value = WELL
        return self.remediator.comes_to("closed", number)

    def all_recover(self) -> list[dict[str, Any]]:
        for action in ALERT:
            self.is_applied(action)
        return [self.recovers(action, number) for number, action in enumerate(ALERT, start=1)]

    def fire_into_hands(self, moment: Moment) -> list[Caught]:
        """All alerts; the first write of each action is held."""
        caught = [self.proxy.catch(moment) for _ in ALERT]
        for action in ALERT:
            self.fire(action)
        for one in caught:
            one.wait()
        assert {one.path.partition("/deployments/")[2].partition("?")[0] for one in caught} == {
            "restart",
            "undo",
            "scale/scale",
        }
        return caught

    def is_applied(self, action: str) -> None:
        eventually(lambda: self.applied(action), f"{action} was applied")

    def assert_once(self, action: str) -> None:
        assert self.applied(action)
        taken = self.cluster.effects(self.namespace, action)
        assert len(taken) == 1, taken
        generation = self.cluster.deployment(self.namespace, action)["metadata"]["generation"]
        assert generation == self.generations[action] + 1


@pytest.fixture
def three_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REMEDIATOR_WORKERS", "3")


@pytest.fixture
def scene(  # noqa: PLR0917 - fixtures are passed by name
    request: pytest.FixtureRequest,
    cluster: Cluster,
    namespace: str,
    proxy: Proxy,
    metrics: SaidMetrics,
    programs: Programs,
) -> Scene:
    named = request.node.callspec.params.get("action")
    actions = [named] if named else [*ALERT]
    for image in (OLD, NEW):
        for action in actions:
            if image == OLD:
                cluster.create(namespace, action, image)
            else:
                cluster.set_image(namespace, action, image)
        for action in actions:
            eventually(lambda name=action: cluster.all_ready(namespace, name), f"{action} is ready")  # type: ignore[misc]
    remediator = Remediator(
        programs,
        kubeconfig=proxy.kubeconfig(programs.directory / "kubeconfig"),
        prometheus=metrics.url,
        policy=a_policy(namespace, STEPS, *actions),
    )
    generations = {name: cluster.deployment(namespace, name)["metadata"]["generation"] for name in actions}
    return Scene(cluster, namespace, proxy, metrics, remediator, generations)


@pytest.mark.parametrize("action", ALERT)
def test_killed_right_before_a_write_sends_it_once(scene: Scene, action: str) -> None:
    caught = scene.proxy.catch(BEFORE)
    scene.fire(action)
    caught.wait()
    scene.remediator.kill()
    caught.drop()
    assert scene.cluster.writes(scene.namespace) == []

    scene.remediator.start()
    story = scene.recovers(action)

    scene.assert_once(action)
    assert kinds_and_reasons(story) == WELL_TOLD
    assert [attempt["tries"] for attempt in story["attempts"]] == [2]
    assert story["timeline_intact"]


@pytest.mark.parametrize("action", ALERT)
def test_killed_right_after_a_write_recognises_it(scene: Scene, action: str) -> None:
    caught = scene.proxy.catch(AFTER)
    scene.fire(action)
    caught.wait()
    scene.remediator.kill()
    caught.drop()
    scene.assert_once(action)

    scene.remediator.start()
    story = scene.recovers(action)

    scene.assert_once(action)
    assert len(scene.cluster.writes(scene.namespace)) == 1
    assert kinds_and_reasons(story) == WELL_TOLD
    assert [attempt["tries"] for attempt in story["attempts"]] == [1]
    assert next(event for event in story["events"] if event["kind"] == "applied")["data"]["recognised"]


@pytest.mark.parametrize("action", ALERT)
def test_a_write_of_a_killed_process_that_arrives_late_is_refused(scene: Scene, action: str) -> None:
    caught = scene.proxy.catch(BEFORE)
    scene.fire(action)
    caught.wait()
    scene.remediator.kill()

    scene.remediator.start()
    scene.is_applied(action)
    caught.pass_on()
    story = scene.recovers(action)

    scene.assert_once(action)
    assert [write["code"] for write in scene.cluster.writes(scene.namespace)] == [200, REFUSED[action]]
    assert kinds_and_reasons(story) == WELL_TOLD


@pytest.mark.parametrize("action", ["undo", "scale"])
def test_what_somebody_changed_meanwhile_is_left_to_a_person(scene: Scene, action: str) -> None:
    """Applied, killed, and then overwritten: whether it had happened can no longer be told."""
    caught = scene.proxy.catch(AFTER)
    scene.fire(action)
    caught.wait()
    scene.remediator.kill()
    caught.drop()
    if action == "undo":
        scene.cluster.set_image(scene.namespace, action, NEWER)
    else:
        scene.cluster.set_replicas(scene.namespace, action, 4)

    scene.remediator.start()
    story = scene.remediator.comes_to("escalated")

    assert kinds_and_reasons(story)[2:] == [
        ("abandoned", "outcome_unknown"),
        ("escalated", "outcome_unknown"),
    ]
    assert len(scene.cluster.writes(scene.namespace)) == 1


def test_connections_reset_after_the_write_was_applied(scene: Scene) -> None:
    scene.proxy.reset_after_apply("/restart", "/undo", "/scale/scale")
    for action in ALERT:
        scene.fire(action)
    stories = scene.all_recover()
    for action, story in zip(ALERT, stories, strict=True):
        scene.assert_once(action)
        assert kinds_and_reasons(story) == WELL_TOLD
        assert [attempt["tries"] for attempt in story["attempts"]] == [1]


@pytest.mark.usefixtures("three_workers")
def test_answers_that_never_come_are_looked_up(scene: Scene) -> None:
    """Each write is applied, its answer held beyond the read time-out, and beyond the lease."""
    caught = scene.fire_into_hands(AFTER)
    stories = scene.all_recover()
    for one in caught:
        one.drop()
    for action in ALERT:
        scene.assert_once(action)
    assert len(scene.cluster.writes(scene.namespace)) == len(ALERT)
    assert [kinds_and_reasons(story) for story in stories] == [WELL_TOLD] * len(ALERT)


@pytest.mark.usefixtures("three_workers")
def test_writes_that_arrive_after_their_time_out_are_refused(scene: Scene) -> None:
    """Beyond the lease too: the process that comes back from a held write finds its incident taken over."""
    caught = scene.fire_into_hands(BEFORE)
    for action in ALERT:
        scene.is_applied(action)  # sent again
    for one in caught:
        one.pass_on()
    scene.all_recover()
    for action in ALERT:
        scene.assert_once(action)
    codes = Counter(write["code"] for write in scene.cluster.writes(scene.namespace))
    assert codes == Counter(REFUSED.values()) + Counter({200: len(ALERT)})
