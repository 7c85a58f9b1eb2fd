"""The simulated StatefulSet controller: its order, and the traps that Kubernetes' own has."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from remediator.lab.cluster import LabCluster
from remediator.lab.cluster.resources import CONTROLLER_REVISIONS, EVENTS, PODS, STATEFUL_SETS
from tests.waiting import eventually

Json = dict[str, Any]
HASH = "controller-revision-hash"


class Set:
    """One StatefulSet of three pods."""

    def __init__(self, lab: LabCluster, **spec: Any) -> None:
        self.store = lab.store
        template = {
            "metadata": {"labels": {"app": "db"}},
            "spec": {"containers": [{"name": "app", "image": "db:1"}]},
        }
        selector = {"matchLabels": {"app": "db"}}
        given = {"replicas": 3, "serviceName": "db", "selector": selector, "template": template, **spec}
        self.store.create(STATEFUL_SETS, "default", {"metadata": {"name": "db"}, "spec": given})
        self.settles()

    def change(self, change: Callable[[Json], Any]) -> None:
        def changed(stateful: Json) -> Json:
            change(stateful["spec"])
            return stateful

        self.store.update(STATEFUL_SETS, "default", "db", changed)

    def image(self, image: str) -> None:
        self.change(lambda spec: spec["template"]["spec"]["containers"][0].update(image=image))

    @property
    def live(self) -> Json:
        return self.store.get(STATEFUL_SETS, "default", "db")

    @property
    def pods(self) -> dict[str, Json]:
        return {pod["metadata"]["name"]: pod for pod in self.store.list(PODS, "default")}

    def images(self) -> list[str]:
        return [pod["spec"]["containers"][0]["image"] for _, pod in sorted(self.pods.items())]

    def told(self, reason: str) -> list[str]:
        """The pods that were made or deleted, in their order."""
        events = [one for one in self.store.list(EVENTS, "default") if one["reason"] == reason]
        events.sort(key=lambda one: int(one["metadata"]["resourceVersion"]))
        return [one["message"].split()[2] for one in events]

    def settles(self) -> None:
        def settled() -> bool:
            status, spec = self.live.get("status") or {}, self.live["spec"]
            counts = {status.get(field) for field in ("replicas", "readyReplicas", "updatedReplicas")}
            seen = status.get("observedGeneration") == self.live["metadata"]["generation"]
            same = status.get("currentRevision") == status.get("updateRevision")
            return seen and same and counts == {spec["replicas"]}

        eventually(settled)

    def fails(self, name: str) -> None:
        def failing() -> bool:
            found = self.pods.get(name, {"status": {}})["status"].get("containerStatuses") or [{}]
            return "waiting" in found[0].get("state", {}) and found[0]["restartCount"] > 0

        eventually(failing)


@pytest.fixture(scope="module")
def lab() -> Iterator[LabCluster]:
    with LabCluster(speed=50, ready_seconds=1) as cluster:
        yield cluster


@pytest.fixture
def make(lab: LabCluster) -> Iterator[Callable[..., Set]]:
    yield lambda **spec: Set(lab, **spec)
    lab.store.delete(STATEFUL_SETS, "default", "db")
    eventually(lambda: not lab.store.list(PODS, "default") and not lab.store.list(CONTROLLER_REVISIONS))
    for event in lab.store.list(EVENTS, "default"):
        lab.store.delete(EVENTS, "default", event["metadata"]["name"])


def test_pods_are_made_from_the_first_on_and_replaced_from_the_last_on(make):
    db = make()
    assert db.told("SuccessfulCreate") == ["db-0", "db-1", "db-2"]
    db.image("db:2")
    db.settles()
    assert db.told("SuccessfulDelete") == ["db-2", "db-1", "db-0"]
    assert db.images() == ["db:2"] * 3
    assert {pod["metadata"]["labels"][HASH] for pod in db.pods.values()} == {
        db.live["status"]["currentRevision"]
    }


def test_it_shrinks_from_the_last_pod(make):
    db = make()
    db.change(lambda spec: spec.update(replicas=1))
    db.settles()
    assert (db.told("SuccessfulDelete"), sorted(db.pods)) == (["db-2", "db-1"], ["db-0"])


def test_a_pod_that_fails_is_not_replaced_when_the_template_is_put_back_until_somebody_deletes_it(make):
    db = make()
    db.image("db:crash")
    db.fails("db-2")
    db.image("db:1")
    eventually(lambda: db.live["status"]["observedGeneration"] == db.live["metadata"]["generation"])
    assert db.images() == ["db:1", "db:1", "db:crash"]
    db.store.delete(PODS, "default", "db-2")
    db.settles()
    assert db.images() == ["db:1"] * 3


def test_in_parallel_it_is_replaced(make):
    db = make(podManagementPolicy="Parallel")
    db.image("db:crash")
    db.fails("db-2")
    db.image("db:1")
    db.settles()
    assert db.images() == ["db:1"] * 3


def test_nothing_is_added_while_a_pod_fails(make):
    db = make()
    db.image("db:crash")
    db.fails("db-2")
    db.change(lambda spec: spec.update(replicas=5))
    eventually(lambda: db.live["status"]["observedGeneration"] == db.live["metadata"]["generation"])
    assert sorted(db.pods) == ["db-0", "db-1", "db-2"]


def test_a_partition_keeps_the_pods_below_it(make):
    db = make(updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"partition": 2}})
    db.image("db:2")
    eventually(lambda: db.live["status"]["updatedReplicas"] == 1 and db.live["status"]["readyReplicas"] == 3)
    assert db.images() == ["db:1", "db:1", "db:2"]
    assert db.live["status"]["currentRevision"] != db.live["status"]["updateRevision"]
    db.store.delete(PODS, "default", "db-0")
    eventually(lambda: "db-0" in db.pods and db.live["status"]["readyReplicas"] == 3)
    assert db.images() == ["db:1", "db:1", "db:2"]


def test_on_delete_waits_for_somebody_to_delete_a_pod(make):
    db = make(updateStrategy={"type": "OnDelete"})
    db.image("db:2")
    eventually(lambda: db.live["status"]["observedGeneration"] == db.live["metadata"]["generation"])
    assert db.images() == ["db:1"] * 3
    db.store.delete(PODS, "default", "db-1")
    eventually(lambda: db.images() == ["db:1", "db:2", "db:1"])


def test_a_revision_that_is_used_again_gets_a_new_number_and_old_ones_go(make):
    db = make(revisionHistoryLimit=1, podManagementPolicy="Parallel")
    for image in ("db:2", "db:1", "db:3", "db:4"):
        db.image(image)
        db.settles()

    def numbers() -> dict[str, int]:
        return {
            one["data"]["spec"]["template"]["spec"]["containers"][0]["image"]: one["revision"]
            for one in db.store.list(CONTROLLER_REVISIONS, "default")
        }

    assert eventually(lambda: numbers() == {"db:3": 4, "db:4": 5}), numbers()
