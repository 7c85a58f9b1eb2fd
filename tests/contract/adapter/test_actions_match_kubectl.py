"""Our three actions leave the object that kubectl leaves, once, and are recognised afterwards."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests

from remediator.core.actions import Intent, RestartIntent, ScaleIntent, UndoIntent, restart_timestamp
from remediator.core.execution import Delivery, Rollout, RolloutState, Sent, Standing
from remediator.core.facts import Observation
from tests.waiting import eventually


def restart(seen: Observation) -> RestartIntent:
    return RestartIntent(
        uid=seen.uid,
        generation=seen.generation,
        template_digest=seen.template_digest,
        restarted_at=restart_timestamp(datetime.now(UTC)),
    )


def undo(seen: Observation) -> UndoIntent:
    assert seen.previous
    last = seen.previous[0]
    return UndoIntent(
        uid=seen.uid,
        generation=seen.generation,
        template_digest=seen.template_digest,
        replica_set_uid=last.replica_set_uid,
        revision=last.number,
        target_digest=last.digest,
    )


def scale(seen: Observation, to: int = 5) -> ScaleIntent:
    return ScaleIntent(uid=seen.uid, generation=seen.generation, replicas_from=seen.replicas, replicas_to=to)


ACTIONS = [
    pytest.param(restart, ["rollout", "restart"], id="restart"),
    pytest.param(undo, ["rollout", "undo"], id="undo"),
    pytest.param(scale, ["scale", "--replicas=5"], id="scale"),
]
INTENTS = [pytest.param(a.values[0], id=str(a.id)) for a in ACTIONS]


def prepared(world, name: str, intend: Callable[..., Intent]) -> Observation:
    """Only an undo needs a second revision."""
    images = ("app:1", "app:2") if intend is undo else ("app:1",)
    seen: Observation = world.deployed(name, *images, replicas=1)
    return seen


def comparable(deployment: dict[str, Any], name: str) -> dict[str, Any]:
    """Without what has to differ between twins: names and the moment of a restart."""
    written = json.dumps(
        {
            "spec": deployment["spec"],
            "labels": deployment["metadata"]["labels"],
            "annotations": deployment["metadata"]["annotations"],
        }
    ).replace(name, "NAME")
    written = re.sub(r'("kubectl.kubernetes.io/restartedAt": )"[^"]+"', r'\1"THEN"', written)
    compared: dict[str, Any] = json.loads(written)
    return compared


CAUSE = "remediator: for HiveDown (incident 7)"


def sent(world, name: str, intent: Intent) -> Sent:
    done: Sent = world.cluster.send(world.target(name), intent, cause=CAUSE)
    return done


def finished(world, name: str, intent: Intent, done: Sent) -> Rollout:
    assert done.generation is not None
    assert done.at is not None

    def look() -> Rollout | None:
        rollout = world.cluster.rollout(world.target(name), intent, generation=done.generation, since=done.at)
        return rollout if rollout.state is not RolloutState.WAITING else None

    found: Rollout = eventually(look)
    return found


@pytest.mark.parametrize(("intend", "verb"), ACTIONS)
def test_leaves_the_object_that_kubectl_leaves(world, wire, intend, verb):
    theirs, ours = world.name("kubectl"), world.name("ours")
    for name in (theirs, ours):
        world.deployed(name, "app:1", "app:2")
        world.kubectl("annotate", "deployment", name, "example.com/late=added after the rollout")
    world.kubectl(*verb, f"deployment/{theirs}")
    intent = intend(world.settled(ours))
    wire.requests.clear()

    done = sent(world, ours, intent)

    assert done.delivery is Delivery.APPLIED, done
    assert len(wire.writes) == 1
    rollout = finished(world, ours, intent, done)
    assert rollout.state is RolloutState.COMPLETE, rollout
    assert world.get(ours)["metadata"]["generation"] == done.generation  # no controller moves it
    world.kubectl("rollout", "status", f"deployment/{ours}", "--timeout=5s")
    world.settled(theirs)
    ours_is, theirs_is = comparable(world.get(ours), ours), comparable(world.get(theirs), theirs)
    if not isinstance(intent, ScaleIntent):  # the one difference: a new revision says why it is there
        theirs_is["annotations"]["kubernetes.io/change-cause"] = CAUSE
    assert ours_is == theirs_is


@pytest.mark.parametrize("intend", [restart, undo])
def test_the_history_says_why_each_revision_is_there(world, intend):
    name = world.name("history")
    intent = intend(world.deployed(name, "app:1", "app:2"))

    done = sent(world, name, intent)

    assert finished(world, name, intent, done).state is RolloutState.COMPLETE
    last, *older = reversed(world.kubectl("rollout", "history", f"deployment/{name}").split("\n")[2:-2])
    assert last.split(maxsplit=1) == ["3", CAUSE]
    assert [line.split(maxsplit=1)[1] for line in older] == ["first"] * (1 if intend is undo else 2)


def test_a_deployment_without_any_annotation_takes_the_cause_all_the_same(world, wire):
    name = world.name("bare")
    plain = world.manifest(name, "app:1")
    plain["spec"]["paused"] = True  # so that no controller stamps it
    del plain["metadata"]["annotations"]
    world.kubectl("create", "-f", "-", stdin=json.dumps(plain))

    assert sent(world, name, restart(world.see(name))).delivery is Delivery.APPLIED
    assert world.get(name)["metadata"]["annotations"]["kubernetes.io/change-cause"] == CAUSE
    (write,) = wire.writes
    assert {"op": "add", "path": "/metadata/annotations", "value": {}} in json.loads(write.body)


def test_undo_after_a_restart_goes_to_the_last_different_template(world):
    theirs, ours = world.name("kubectl"), world.name("ours")
    for name in (theirs, ours):
        world.deployed(name, "app:1", "app:2")
        world.kubectl("rollout", "restart", f"deployment/{name}")
        world.settled(name)
    world.kubectl("rollout", "undo", f"deployment/{theirs}")
    assert world.settled(theirs).images[0] == "app:2", "kubectl only takes the restart back"
    intent = undo(world.see(ours))

    done = sent(world, ours, intent)

    assert finished(world, ours, intent, done).state is RolloutState.COMPLETE
    after = world.settled(ours)
    assert after.images == ("app:1", "proxy:1")
    assert after.template_digest == intent.target_digest


@pytest.mark.parametrize("intend", INTENTS)
def test_what_was_applied_is_recognised_and_not_sent_again(world, wire, intend):
    name = world.name("again")
    intent = intend(prepared(world, name, intend))
    target = world.target(name)
    assert world.cluster.recognise(target, intent).standing is Standing.SENDABLE

    assert sent(world, name, intent).delivery is Delivery.APPLIED
    recognised = world.cluster.recognise(target, intent)

    assert recognised.standing is Standing.APPLIED, recognised
    assert recognised.generation is not None
    assert recognised.generation > intent.generation
    assert sent(world, name, intent).delivery is Delivery.CONFLICT
    assert len(wire.writes) == 1


MARKS = [
    pytest.param("annotate", "remediator/paused=true", id="annotation"),
    pytest.param("annotate", "remediator/paused-until=2999-01-01T00:00:00Z", id="until"),
    pytest.param("annotate", "remediator/paused-until=soon", id="unreadable"),
    pytest.param("label", "remediator/paused=true", id="label"),
]


@pytest.mark.parametrize(("how", "mark"), MARKS)
def test_a_mark_stops_every_action_before_it_is_sent(world, wire, how, mark):
    name = world.name("marked")
    world.deployed(name, "app:1", "app:2", replicas=1)
    world.kubectl(how, "deployment", name, mark)
    seen = world.settled(name)
    assert [f"{one.key}={one.value}" for one in seen.marks] == [mark]

    for intent in (restart(seen), undo(seen), scale(seen)):
        found = world.cluster.recognise(world.target(name), intent)
        assert (found.standing, found.stop is None) == (Standing.SENDABLE, False)
        refused = sent(world, name, intent)
        assert refused.delivery is Delivery.CONFLICT
        assert mark.split("=")[0] in refused.detail
    assert [request for request in wire.requests if request.method == "PATCH"] == []


PAUSED = ("annotate", "remediator/paused=true")
LATE = [
    *(pytest.param(a.values[0], *PAUSED, id=str(a.id)) for a in ACTIONS),
    pytest.param(restart, "label", "remediator/enabled-", id="restart-opted out"),
    pytest.param(undo, "label", "remediator/paused=true", id="undo-by a label"),
]


@pytest.mark.parametrize(("intend", "how", "mark"), LATE)
def test_a_mark_that_comes_between_our_look_and_our_write_stops_it(world, wire, *, intend, how, mark):
    name = world.name("marked-late")
    intent = intend(prepared(world, name, intend))

    def somebody_stops_it(request: requests.PreparedRequest) -> None:
        if request.method == "PATCH":
            wire.before = lambda request: None
            world.kubectl(how, "deployment", name, mark)

    wire.before = somebody_stops_it

    assert sent(world, name, intent).delivery is Delivery.CONFLICT
    assert wire.writes == []


def test_an_undo_neither_drops_a_persons_mark_nor_brings_an_old_one_back(world):
    name = world.name("undone-marks")
    world.apply(world.manifest(name, "app:1", replicas=1))
    world.kubectl("annotate", "deployment", name, "remediator/paused=true")
    world.settled(name)
    copied = "jsonpath={.items[*].metadata.annotations.remediator/paused}"
    eventually(lambda: world.kubectl("get", "replicasets", "-l", f"app={name}", "-o", copied) == "true")
    world.kubectl("annotate", "deployment", name, "remediator/paused-")
    world.kubectl("set", "image", f"deployment/{name}", "app=app:2")
    world.settled(name)
    over = "2026-01-01T00:00:00Z"
    world.kubectl("annotate", "deployment", name, f"remediator/paused-until={over}")
    intent = undo(world.settled(name))

    done = sent(world, name, intent)

    assert finished(world, name, intent, done).state is RolloutState.COMPLETE
    annotations = world.get(name)["metadata"]["annotations"]
    assert (annotations.get("remediator/paused"), annotations["remediator/paused-until"]) == (None, over)


def lose(request: requests.PreparedRequest, is_write: Callable[..., bool]) -> None:
    if is_write(request):
        raise requests.ConnectionError("connection reset")


@pytest.mark.parametrize("applied", [True, False], ids=["reset after the write", "reset before it"])
@pytest.mark.parametrize("intend", INTENTS)
def test_a_lost_answer_is_unclear_and_the_object_tells(world, wire, is_write, intend, applied):
    name = world.name("lost")
    intent = intend(prepared(world, name, intend))
    before = world.get(name)
    hook = "after" if applied else "before"
    setattr(wire, hook, lambda request: lose(request, is_write))

    assert sent(world, name, intent).delivery is Delivery.UNCLEAR
    assert len(wire.writes) == 1

    standing = world.cluster.recognise(world.target(name), intent).standing
    assert standing is (Standing.APPLIED if applied else Standing.SENDABLE)
    if not applied:
        # The dry run went through and left no trace.
        after = world.get(name)
        assert after["spec"] == before["spec"]
        assert after["metadata"]["generation"] == before["metadata"]["generation"]


@pytest.mark.parametrize("intend", INTENTS)
def test_somebody_elses_change_is_recognised_and_refused(world, wire, intend):
    name = world.name("foreign")
    intent = intend(prepared(world, name, intend))
    world.kubectl("set", "image", f"deployment/{name}", "app=app:3")
    world.kubectl("scale", f"deployment/{name}", "--replicas=2")

    assert world.cluster.recognise(world.target(name), intent).standing is Standing.CHANGED
    refused = sent(world, name, intent)

    assert refused.delivery is Delivery.CONFLICT
    assert wire.writes == []
    assert world.see(name).images[0] == "app:3"


@pytest.mark.parametrize("intend", INTENTS)
def test_a_change_between_our_look_and_our_write_is_refused_by_the_api_server(world, wire, intend):
    name = world.name("race")
    intent = intend(prepared(world, name, intend))

    def somebody_is_faster(request: requests.PreparedRequest) -> None:
        if request.method == "PATCH":
            wire.before = lambda request: None
            world.kubectl("scale", f"deployment/{name}", "--replicas=3")

    wire.before = somebody_is_faster

    assert sent(world, name, intent).delivery is Delivery.CONFLICT
    assert wire.writes == []
    assert world.see(name).replicas == 3


def deploys(world, name: str) -> None:
    world.kubectl("set", "image", f"deployment/{name}", "app=app:3")


def makes_an_autoscaler(world, name: str) -> None:
    scaled = {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}
    world.apply(
        {
            "apiVersion": "autoscaling/v1",
            "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": name},
            "spec": {"maxReplicas": 4, "scaleTargetRef": scaled},
        }
    )


MEANWHILE = [pytest.param(deploys, id="a deploy"), pytest.param(makes_an_autoscaler, id="an autoscaler")]


@pytest.mark.parametrize("somebody", MEANWHILE)
def test_a_scale_minds_what_was_decided_upon_and_not_the_count_alone(world, wire, somebody):
    name = world.name("same-count")
    intent = scale(prepared(world, name, scale))
    somebody(world, name)

    assert world.cluster.recognise(world.target(name), intent).standing is Standing.CHANGED
    assert sent(world, name, intent).delivery is Delivery.CONFLICT
    assert wire.writes == []


def test_a_deploy_between_the_two_looks_of_a_scale_is_not_overlooked(world, wire):
    name = world.name("same-count-race")
    intent = scale(prepared(world, name, scale))

    def somebody_is_faster(request: requests.PreparedRequest) -> None:
        if request.method == "PATCH":
            wire.before = lambda request: None
            deploys(world, name)

    wire.before = somebody_is_faster

    done = sent(world, name, intent)

    assert (done.delivery, wire.writes) == (Delivery.CONFLICT, [])
    assert "somebody changed the Deployment" in done.detail


@pytest.mark.parametrize("intend", INTENTS)
def test_a_recreated_deployment_is_another_one(world, intend):
    name = world.name("anew")
    intent = intend(prepared(world, name, intend))
    world.kubectl("delete", "deployment", name, "--cascade=foreground")
    target = world.target(name)
    assert world.cluster.recognise(target, intent).standing is Standing.CHANGED
    assert sent(world, name, intent).delivery is Delivery.CONFLICT
    world.deployed(name, "app:1")

    assert world.cluster.recognise(target, intent).standing is Standing.CHANGED
    assert sent(world, name, intent).delivery is Delivery.CONFLICT


def test_a_rollout_somebody_overrides_is_said_to_be_overridden(world):
    name = world.name("overridden")
    seen = world.deployed(name, "app:1", "app:2")
    intent = scale(seen, 3)
    done = sent(world, name, intent)
    world.kubectl("scale", f"deployment/{name}", "--replicas=1")

    rollout = world.cluster.rollout(world.target(name), intent, generation=done.generation, since=done.at)

    assert rollout.state is RolloutState.OVERRIDDEN
    assert rollout.detail == "somebody set 1 replicas after our 3"


def test_a_deadline_that_passed_before_our_undo_is_not_ours(world):
    """kubectl would call the undo failed: the controller's old verdict stands until it sees progress."""
    name = world.name("stuck")
    world.deployed(name, "app:1")
    patch = {
        "spec": {
            "progressDeadlineSeconds": 2,
            "template": {"spec": {"containers": [{"name": "app", "image": "app:imagepull"}]}},
        }
    }
    world.kubectl("patch", "deployment", name, "--patch", json.dumps(patch))
    eventually(lambda: world.see(name).progress_deadline_exceeded)
    seen = world.see(name)
    assert not seen.rolled_out
    intent = undo(seen)

    done = sent(world, name, intent)

    assert done.delivery is Delivery.APPLIED, done
    assert finished(world, name, intent, done).state is RolloutState.COMPLETE
    world.settled(name)


def test_a_restart_is_recognised_in_whatever_zone_it_was_written(world):
    name = world.name("zone")
    seen = world.deployed(name, "app:1")
    intent = restart(seen)
    local = datetime.fromisoformat(intent.restarted_at).astimezone(UTC) + timedelta(hours=2)
    written = local.strftime("%Y-%m-%dT%H:%M:%S+02:00")
    patch = {
        "spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": written}}}}
    }
    world.kubectl("patch", "deployment", name, "--patch", json.dumps(patch))

    assert world.cluster.recognise(world.target(name), intent).standing is Standing.APPLIED
