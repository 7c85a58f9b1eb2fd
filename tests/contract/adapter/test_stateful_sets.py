"""A restart and a scale leave the StatefulSet that kubectl leaves, once, and are followed to their end.

The real API server here has no StatefulSet controller: the test is it, by writing the status, the pods and
the revisions that the controller would write. The simulated one has its own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from remediator.core.actions import Intent, RestartIntent, ScaleIntent, Target, Workload, restart_timestamp
from remediator.core.execution import Delivery, RolloutState, Standing
from remediator.core.facts import Fact, FactRules, Observation, facts_from
from remediator.core.reasons import Reason
from tests.waiting import eventually

Json = dict[str, Any]
CAUSE = "remediator: for LedgerDown (incident 7)"


@pytest.fixture
def simulated(request: pytest.FixtureRequest) -> bool:
    found: bool = request.node.callspec.params["api"] == "lab"
    return found


def manifest(name: str, image: str = "ledger:1", **spec: Any) -> Json:
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {
            "name": name,
            "labels": {"remediator/enabled": "true", **labels},
            "annotations": {"kubernetes.io/change-cause": "first"},
        },
        "spec": {
            "replicas": 3,
            "serviceName": name,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels, "annotations": {"example.com/template": "yes"}},
                "spec": {"containers": [{"name": "app", "image": image}]},
            },
            "volumeClaimTemplates": [
                {
                    "metadata": {"name": "data"},
                    "spec": {
                        "accessModes": ["ReadWriteOnce"],
                        "resources": {"requests": {"storage": "1Gi"}},
                    },
                }
            ],
            **spec,
        },
    }


class Hand:
    """One StatefulSet, with a test for its controller where there is none."""

    def __init__(self, world: Any, *, simulated: bool, **spec: Any) -> None:
        self.world, self.simulated = world, simulated
        self.name = world.name("ledger")
        self.target = Target(world.namespace, self.name, Workload.STATEFUL_SET)
        world.apply(manifest(self.name, **spec))
        self.settles()

    @property
    def live(self) -> Json:
        found: Json = self.world.get(self.name, "statefulset")
        return found

    def see(self) -> Observation:
        seen = self.world.cluster.observe(self.target)
        assert isinstance(seen, Observation), seen
        return seen

    def settles(self) -> Observation:
        if not self.simulated:
            self.says(replicas=3, readyReplicas=3, updatedReplicas=3, revision="1")

        def settled() -> Observation | None:
            seen = self.see()
            return seen if seen.rolled_out and seen.ready else None

        return eventually(settled)

    def says(self, *, revision: str, current: str | None = None, **counts: int) -> None:
        """Write the status, as the controller would after it has observed the last change."""
        status = {
            "observedGeneration": self.live["metadata"]["generation"],
            "currentRevision": f"{self.name}-{current or revision}",
            "updateRevision": f"{self.name}-{revision}",
            **counts,
        }
        self.world.kubectl(
            *("patch", "statefulset", self.name, "--subresource=status", "--type=merge"),
            f"--patch={json.dumps({'status': status})}",
        )

    def make(self, kind: str, name: str, **more: Any) -> None:
        live = self.live
        owner = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": self.name, "controller": True}
        metadata = {
            "name": name,
            "labels": {"app": self.name, **more.pop("labels", {})},
            "ownerReferences": [owner | {"uid": live["metadata"]["uid"]}],
        }
        group = "v1" if kind == "Pod" else "apps/v1"
        self.world.apply({"apiVersion": group, "kind": kind, "metadata": metadata, **more})

    def pod(self, number: int, revision: str, image: str) -> None:
        self.make(
            "Pod",
            f"{self.name}-{number}",
            labels={"controller-revision-hash": f"{self.name}-{revision}"},
            spec={"containers": [{"name": "app", "image": image}]},
        )

    def revision(self, number: int, image: str) -> None:
        template = self.live["spec"]["template"]
        template["spec"]["containers"][0]["image"] = image
        data = {"spec": {"template": {**template, "$patch": "replace"}}}
        self.make("ControllerRevision", f"{self.name}-{number}", revision=number, data=data)

    def rollout(self, intent: Intent, done: Any) -> Any:
        return self.world.cluster.rollout(self.target, intent, generation=done.generation, since=done.at)


@pytest.fixture
def ledger(world: Any, simulated: bool) -> Callable[..., Hand]:
    return lambda **spec: Hand(world, simulated=simulated, **spec)


def restart(seen: Observation) -> RestartIntent:
    return RestartIntent(
        uid=seen.uid,
        generation=seen.generation,
        template_digest=seen.template_digest,
        restarted_at=restart_timestamp(datetime.now(UTC)),
    )


def scale(seen: Observation, to: int = 2) -> ScaleIntent:
    return ScaleIntent(uid=seen.uid, generation=seen.generation, replicas_from=seen.replicas, replicas_to=to)


ACTIONS = [
    pytest.param(restart, ["rollout", "restart"], id="restart"),
    pytest.param(scale, ["scale", "--replicas=2"], id="scale"),
]


def comparable(live: Json, name: str) -> Json:
    """Without what has to differ between twins: names and the moment of a restart."""
    metadata = live["metadata"]
    annotations = metadata["annotations"]
    annotations.pop("kubectl.kubernetes.io/last-applied-configuration")
    kept = {"spec": live["spec"], "labels": metadata["labels"], "annotations": annotations}
    written = json.dumps(kept).replace(name, "NAME")
    written = re.sub(r'("kubectl.kubernetes.io/restartedAt": )"[^"]+"', r'\1"THEN"', written)
    compared: Json = json.loads(written)
    return compared


@pytest.mark.parametrize(("intend", "verb"), ACTIONS)
def test_leaves_the_stateful_set_that_kubectl_leaves(world, wire, ledger, intend, verb):
    theirs, ours = ledger(), ledger()
    world.kubectl(*verb, f"statefulset/{theirs.name}")
    intent = intend(ours.see())
    wire.requests.clear()

    done = world.cluster.send(ours.target, intent, cause=CAUSE)

    assert done.delivery is Delivery.APPLIED, done
    assert len(wire.writes) == 1
    ours_is, theirs_is = comparable(ours.live, ours.name), comparable(theirs.live, theirs.name)
    if isinstance(intent, RestartIntent):  # the one difference: a new revision says why it is there
        theirs_is["annotations"]["kubernetes.io/change-cause"] = CAUSE
    assert ours_is == theirs_is


@pytest.mark.parametrize("intend", [restart, scale])
def test_what_was_applied_is_recognised_and_not_sent_again(world, wire, ledger, intend):
    ours = ledger()
    intent = intend(ours.see())
    assert world.cluster.recognise(ours.target, intent).standing is Standing.SENDABLE
    assert world.cluster.send(ours.target, intent, cause=CAUSE).delivery is Delivery.APPLIED
    recognised = world.cluster.recognise(ours.target, intent)
    assert recognised.standing is Standing.APPLIED, recognised
    assert recognised.generation > intent.generation
    assert world.cluster.send(ours.target, intent, cause=CAUSE).delivery is Delivery.CONFLICT
    assert len(wire.writes) == 1


def test_what_somebody_else_changed_is_left_alone(world, wire, ledger):
    ours = ledger()
    seen = ours.see()
    world.kubectl("set", "image", f"statefulset/{ours.name}", "app=ledger:2")
    world.kubectl("scale", f"statefulset/{ours.name}", "--replicas=4")
    for intent in (restart(seen), scale(seen)):
        assert world.cluster.recognise(ours.target, intent).standing is Standing.CHANGED
        assert world.cluster.send(ours.target, intent).delivery is Delivery.CONFLICT
    assert wire.writes == []


def test_a_precondition_is_tested_by_the_api_server_itself(world, wire, ledger):
    """Somebody is quicker than our write, after our last look at it."""
    ours = ledger()
    intent = restart(ours.see())

    def quicker(request: Any) -> None:
        if request.method == "PATCH" and "dryRun" not in (request.url or ""):
            wire.before = lambda _: None
            world.kubectl("set", "image", f"statefulset/{ours.name}", "app=ledger:2")

    wire.before = quicker
    assert world.cluster.send(ours.target, intent, cause=CAUSE).delivery is Delivery.CONFLICT
    assert "kubectl.kubernetes.io/restartedAt" not in ours.live["spec"]["template"]["metadata"]["annotations"]


LATE = [
    pytest.param("annotate", "remediator/paused=true", True, id="an annotation"),
    pytest.param("annotate", "remediator/paused=true", False, id="the first annotation"),
    pytest.param("label", "remediator/enabled-", True, id="opted out"),
]


@pytest.mark.parametrize(("how", "mark", "annotated"), LATE)
def test_a_mark_that_comes_between_our_look_and_our_write_stops_it(
    world, wire, ledger, *, how, mark, annotated
):
    """Neither labels nor, of a StatefulSet, annotations move the generation."""
    ours = ledger()
    if not annotated:
        for one in ours.live["metadata"]["annotations"]:
            world.kubectl("annotate", "statefulset", ours.name, f"{one}-")
        assert not ours.live["metadata"].get("annotations")
    intent = restart(ours.see())

    def stopped(request: Any) -> None:
        if request.method == "PATCH" and "dryRun" not in (request.url or ""):
            wire.before = lambda _: None
            world.kubectl(how, "statefulset", ours.name, mark)

    wire.before = stopped
    assert world.cluster.send(ours.target, intent, cause=CAUSE).delivery is Delivery.CONFLICT
    assert ours.live["metadata"]["generation"] == intent.generation
    assert world.cluster.recognise(ours.target, intent).stop is not None


def test_a_restart_is_followed_to_its_end(world, ledger, simulated):
    ours = ledger()
    intent = restart(ours.see())
    done = world.cluster.send(ours.target, intent, cause=CAUSE)
    if not simulated:
        assert ours.rollout(intent, done).state is RolloutState.WAITING
        for updated, ready, words in (
            (0, 2, "2 of 3 replicas"),
            (2, 3, "2 of 3 pods"),
            (3, 3, "the last of 3"),
        ):
            ours.says(replicas=3, readyReplicas=ready, updatedReplicas=updated, revision="2", current="1")
            waiting = ours.rollout(intent, done)
            assert waiting.state is RolloutState.WAITING
            assert words in waiting.detail
        ours.says(replicas=3, readyReplicas=3, updatedReplicas=3, revision="2")
    found = eventually(lambda: (now := ours.rollout(intent, done)).state is not RolloutState.WAITING and now)
    assert (found.state, found.detail) == (
        RolloutState.COMPLETE,
        "rollout complete: 3 of 3 replicas updated, 3 ready",
    )
    world.kubectl("rollout", "status", f"statefulset/{ours.name}", "--timeout=5s")


def test_a_scale_is_followed_to_its_end(world, ledger, simulated):
    ours = ledger()
    intent = scale(ours.see())
    done = world.cluster.send(ours.target, intent, cause=CAUSE)
    if not simulated:
        assert ours.rollout(intent, done).state is RolloutState.WAITING
        ours.says(replicas=2, readyReplicas=2, updatedReplicas=2, revision="1")
    eventually(lambda: ours.rollout(intent, done).state is RolloutState.COMPLETE)
    world.kubectl("scale", f"statefulset/{ours.name}", "--replicas=4")
    assert ours.rollout(intent, done).state is RolloutState.OVERRIDDEN


@pytest.mark.parametrize("policy", ["OrderedReady", "Parallel"])
def test_a_rollout_that_waits_for_a_failing_pod_is_seen_as_such(world, ledger, simulated, policy):
    ours = ledger(podManagementPolicy=policy)
    world.kubectl("set", "image", f"statefulset/{ours.name}", "app=ledger:2-crash")
    if not simulated:
        ours.revision(1, "ledger:1")
        ours.revision(2, "ledger:2-crash")
        for number, revision, image in (
            (0, "1", "ledger:1"),
            (1, "1", "ledger:1"),
            (2, "2", "ledger:2-crash"),
        ):
            ours.pod(number, revision, image)
        ours.says(replicas=3, readyReplicas=2, updatedReplicas=1, revision="2", current="1")

    def stuck() -> Observation | None:
        seen = ours.see()
        unready = (seen.order and seen.order.unready) or ()
        return seen if [one.pod.waiting for one in unready] == [("CrashLoopBackOff",)] else None

    seen: Observation = eventually(stuck)
    facts = facts_from(seen, alert_started_at=datetime.now(UTC), rules=FactRules())
    assert {fact for fact, finding in facts.items() if finding.truth} >= {
        Fact.ROLLOUT_IN_PROGRESS,
        Fact.ROLLOUT_STUCK,
        Fact.CRASH_LOOPING,
        Fact.PREVIOUS_REVISION,
        Fact.RECENT_ROLLOUT,
    }
    assert seen.order is not None
    assert seen.order.one_by_one is (policy == "OrderedReady")
    assert [pod.name for pod in seen.pods or ()] == [f"{ours.name}-2"]
    assert (seen.revision, [one.images for one in seen.previous or ()]) == (2, [("ledger:1",)])


def test_one_that_does_not_exist_is_not_the_deployment_of_that_name(world):
    name = world.name("twin")
    world.apply(world.manifest(name, "app:1"))
    seen = world.cluster.observe(Target(world.namespace, name, Workload.STATEFUL_SET))
    assert seen.reason is Reason.TARGET_NOT_FOUND
