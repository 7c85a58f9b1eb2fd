"""A StatefulSet as an API server has it: its pods, its revisions, its rollout, and what is sent to it."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from remediator.adapters.kubernetes.objects import digest_of
from remediator.core.actions import MinimumIntent, RestartIntent, ScaleIntent, Target, Workload
from remediator.core.announcements import Told
from remediator.core.execution import Delivery, RolloutState, Standing
from remediator.core.facts import Between, Observation, Order, PodSeen, Strategy
from remediator.core.seen import NumberedPod
from tests.builders import an_announcement

from .kube import DATE, EVENTS, HPAS, LISTS, NOW, SERVER, Json, accept, at, dry, then

LEDGER = Target("bizra", "ledger", Workload.STATEFUL_SET)
STATEFUL_SET = f"{SERVER}/apis/apps/v1/namespaces/bizra/statefulsets/ledger"
REVISIONS = f"{SERVER}/apis/apps/v1/namespaces/bizra/controllerrevisions"
RESTARTED = "2026-11-23T11:55:00Z"


def template(image: str = "ledger:2", restarted: str | None = None) -> Json:
    annotations = {"annotations": {"kubectl.kubernetes.io/restartedAt": restarted}} if restarted else {}
    return {
        "metadata": {"labels": {"app": "ledger"}, "creationTimestamp": None, **annotations},
        "spec": {"containers": [{"name": "app", "image": image}]},
    }


def stateful(*, restarted: str | None = None, **changes) -> Json:
    """At rest with three pods. `spec` and `status` are merged, `None` takes a field away."""
    found: Json = {
        "kind": "StatefulSet",
        "apiVersion": "apps/v1",
        "metadata": {
            "name": "ledger",
            "uid": "S",
            "generation": 4,
            "creationTimestamp": at(0),
            "labels": {"remediator/enabled": "true"},
        },
        "spec": {
            "replicas": 3,
            "serviceName": "ledger",
            "podManagementPolicy": "OrderedReady",
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
            "selector": {"matchLabels": {"app": "ledger"}},
            "template": template(restarted=restarted),
        },
        "status": {
            "observedGeneration": 4,
            "replicas": 3,
            "readyReplicas": 3,
            "currentReplicas": 3,
            "updatedReplicas": 3,
            "currentRevision": "ledger-two",
            "updateRevision": "ledger-two",
        },
    }
    for part, fields in changes.items():
        found[part] |= fields
        found[part] = {key: value for key, value in found[part].items() if value is not None}
    return found


def revision(number: int, name: str, minute: int, image: str = "ledger:2", **more) -> Json:
    kept = template(image, more.get("restarted")) | {"$patch": "replace"}
    return {
        "metadata": {
            "name": name,
            "uid": f"uid-{name}",
            "creationTimestamp": at(minute),
            "ownerReferences": [{"kind": "StatefulSet", "uid": more.get("owner", "S"), "controller": True}],
        },
        "revision": number,
        "data": {"spec": {"template": kept}},
    }


def pod(number: int, hashed: str = "ledger-two", *, ready: bool = True, owner: str = "S", **status) -> Json:
    minute = status.pop("minute", 30)
    return {
        "metadata": {
            "name": f"ledger-{number}",
            "uid": f"pod-{number}",
            "creationTimestamp": at(minute),
            "labels": {"app": "ledger", "controller-revision-hash": hashed},
            "ownerReferences": [{"kind": "StatefulSet", "uid": owner, "controller": True}],
        },
        "status": {
            "conditions": [
                {
                    "type": "Ready",
                    "status": "True" if ready else "False",
                    "lastTransitionTime": at(minute + 1),
                }
            ],
            **status,
        },
    }


HISTORY = [revision(1, "ledger-one", 10, "ledger:1"), revision(2, "ledger-two", 20)]
PODS = [pod(0), pod(1), pod(2, minute=40)]


def serve(api, live: Json, **lists) -> None:
    api.get(STATEFUL_SET, json=live, headers={"Date": DATE})
    api.get(REVISIONS, json={"items": lists.get("revisions", HISTORY)})
    for name, url in LISTS.items():
        if name != "replica_sets":
            api.get(url, json={"items": lists.get(name, PODS if name == "pods" else [])})


def observed(cluster) -> Observation:
    seen = cluster.observe(LEDGER)
    assert isinstance(seen, Observation), seen
    return seen


def test_a_stateful_set_at_rest(api, cluster):
    serve(api, stateful())
    seen = observed(cluster)
    assert (seen.uid, seen.generation, seen.replicas, seen.ready, seen.opted_in) == ("S", 4, 3, 3, True)
    assert seen.template_digest == digest_of(stateful())
    assert (seen.rolled_out, seen.rollout_detail) == (
        True,
        "rollout complete: 3 of 3 replicas updated, 3 ready",
    )
    assert seen.rolled_out_at == then(41)
    assert [one.name for one in seen.pods or ()] == ["ledger-0", "ledger-1", "ledger-2"]
    assert (seen.revision, seen.images) == (2, ("ledger:2",))
    assert [(one.number, one.images) for one in seen.previous or ()] == [(1, ("ledger:1",))]
    assert seen.template_changed == Between(earliest=then(20), latest=then(20))
    assert seen.strategy == Strategy(missing=1)
    assert seen.order == Order(unready=())
    assert (seen.paused, seen.progress_deadline_exceeded, seen.replica_failure) == (False, False, None)
    assert set(seen.unreadable) == {"usage"}


ROLLED_OUT = [
    pytest.param({"status": {"readyReplicas": 1}}, True, "complete", id="pods that fail later do not reopen"),
    pytest.param({"status": {"observedGeneration": 3}}, False, "not observed", id="not observed"),
    pytest.param({"status": {"observedGeneration": None}}, False, "not observed", id="without a controller"),
    pytest.param({"status": {"replicas": 2}}, False, "2 pods are there, 3 are wanted", id="growing"),
    pytest.param({"status": {"replicas": 4}}, False, "4 pods are there, 3 are wanted", id="shrinking"),
    pytest.param(
        {"status": {"updatedReplicas": 1, "updateRevision": "ledger-three"}},
        False,
        "1 of 3 pods have been updated",
        id="rolling",
    ),
    pytest.param(
        {"status": {"updateRevision": "ledger-three"}},
        False,
        "the last of 3 updated pods is not ready yet",
        id="the last one is not ready",
    ),
    pytest.param(
        {
            "spec": {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}},
            "status": {"updatedReplicas": 1, "updateRevision": "ledger-three"},
        },
        True,
        "1 of 3 replicas updated",
        id="as far as the partition",
    ),
    pytest.param(
        {
            "spec": {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 9}}},
            "status": {"updatedReplicas": 0, "updateRevision": "ledger-three"},
        },
        True,
        "0 of 3 replicas updated",
        id="a partition beyond all pods",
    ),
    pytest.param(
        {
            "spec": {"updateStrategy": {"type": "OnDelete"}},
            "status": {"updatedReplicas": 0, "updateRevision": "ledger-three"},
        },
        True,
        "0 of 3 replicas updated",
        id="OnDelete has no rollout",
    ),
]


@pytest.mark.parametrize(("changes", "done", "detail"), ROLLED_OUT)
def test_whether_it_is_rolled_out(api, cluster, changes, done, detail):
    serve(api, stateful(**changes))
    seen = observed(cluster)
    assert seen.rolled_out is done
    assert detail in seen.rollout_detail
    assert (seen.rolled_out_at is None) or done


def names(seen: Observation) -> list[str] | None:
    return None if seen.pods is None else [one.name for one in seen.pods]


MIXED = [pod(0, "ledger-one"), pod(1, "ledger-one"), pod(2, "ledger-two", ready=False)]
ROLLING: Json = {"updatedReplicas": 1, "currentRevision": "ledger-one"}
IN_USE = [
    pytest.param({"status": ROLLING}, MIXED, ["ledger-2"], id="of the new revision"),
    pytest.param(
        {
            "spec": {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}},
            "status": ROLLING,
        },
        MIXED,
        ["ledger-0", "ledger-2"],
        id="and those that a partition keeps",
    ),
    pytest.param(
        {"spec": {"updateStrategy": {"type": "OnDelete"}}, "status": ROLLING},
        MIXED,
        ["ledger-0", "ledger-1", "ledger-2"],
        id="OnDelete: all, since nothing replaces them",
    ),
    pytest.param(
        {
            "spec": {
                "ordinals": {"start": 5},
                "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}},
            },
            "status": ROLLING,
        },
        [pod(5, "ledger-one"), pod(6, "ledger-one"), pod(7)],
        ["ledger-5", "ledger-7"],
        id="numbers that begin elsewhere",
    ),
    pytest.param(
        {}, [pod(0), pod(1, phase="Failed"), pod(2, owner="another")], ["ledger-0"], id="in use, and its own"
    ),
]


@pytest.mark.parametrize(("changes", "pods", "expected"), IN_USE)
def test_which_pods_count(api, cluster, changes, pods, expected):
    serve(api, stateful(**changes), pods=pods)
    assert names(observed(cluster)) == expected


def test_before_the_controller_has_looked_the_pods_are_unknown(api, cluster):
    serve(api, stateful(status={"observedGeneration": 3}))
    seen = observed(cluster)
    assert seen.pods is None
    assert seen.unreadable["pods"] == "the current template has no revision yet"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"podManagementPolicy": "Parallel"}, Order(one_by_one=False, unready=())),
        ({"podManagementPolicy": None}, Order(unready=())),
        ({"updateStrategy": {"type": "OnDelete"}}, Order(on_delete=True, unready=())),
        ({"updateStrategy": None}, Order(unready=())),
        (
            {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}},
            Order(partition=2, unready=()),
        ),
        ({"persistentVolumeClaimRetentionPolicy": {"whenScaled": "Delete"}}, Order(unready=())),
        (
            {
                "persistentVolumeClaimRetentionPolicy": {"whenScaled": "Delete"},
                "volumeClaimTemplates": [{"metadata": {"name": "data"}}],
            },
            Order(unready=(), drops_volumes=True),
        ),
        (
            {
                "persistentVolumeClaimRetentionPolicy": {"whenScaled": "Retain", "whenDeleted": "Delete"},
                "volumeClaimTemplates": [{"metadata": {"name": "data"}}],
            },
            Order(unready=()),
        ),
    ],
)
def test_its_order(api, cluster, changes, expected):
    serve(api, stateful(spec=changes))
    assert observed(cluster).order == expected


def test_pods_of_any_revision_that_are_not_ready_hold_it_up(api, cluster):
    pods = [
        pod(1, "ledger-one", ready=False),
        pod(0, ready=False),
        pod(2),
        pod(9, owner="another", ready=False),
    ]
    serve(api, stateful(status=ROLLING), pods=pods)
    order = observed(cluster).order
    assert order is not None
    assert order.unready == (
        NumberedPod(number=0, pod=PodSeen(name="ledger-0", ready=False)),
        NumberedPod(number=1, pod=PodSeen(name="ledger-1", ready=False)),
    )


@pytest.mark.parametrize(
    ("spec", "strategy"),
    [
        ({"replicas": 0}, Strategy(missing=0)),
        ({"replicas": 1}, Strategy(missing=1)),
        (
            {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 2}}},
            Strategy(missing=2),
        ),
        (
            {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "50%"}}},
            Strategy(missing=1),
        ),
        (
            {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "100%"}}},
            Strategy(missing=3),
        ),
        (
            {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "10%"}}},
            Strategy(missing=1),
        ),
        ({"updateStrategy": {"type": "OnDelete"}}, Strategy(kind="OnDelete", missing=0)),
    ],
)
def test_how_many_pods_a_rollout_takes_away(api, cluster, spec, strategy):
    serve(api, stateful(spec=spec))
    assert observed(cluster).strategy == strategy


def test_what_cannot_be_read_is_unknown(api, cluster):
    serve(api, stateful())
    api.replace("GET", REVISIONS, status=403)
    api.replace("GET", LISTS["pods"], status=403)
    seen = observed(cluster)
    assert (seen.previous, seen.template_changed, seen.revision, seen.pods) == (None, None, None, None)
    assert seen.order == Order(unready=None)
    assert {"previous", "template_changed", "pods", "usage"} <= set(seen.unreadable)


TWICE = [revision(3, "ledger-two", 30, restarted=RESTARTED), *HISTORY]
CHANGED = [
    pytest.param(HISTORY, None, (20, 20), id="its newest"),
    pytest.param(TWICE, RESTARTED, (20, 20), id="a restart is no change"),
    pytest.param([HISTORY[1] | {"revision": 1}], None, (20, 20), id="its only one"),
    pytest.param(
        [revision(2, "ledger-one", 20, "ledger:1"), revision(3, "ledger-two", 10)],
        None,
        (20, 60),
        id="an older one came back",
    ),
    pytest.param(
        [revision(8, "ledger-one", 10, "ledger:1"), revision(9, "ledger-two", 20)],
        None,
        (20, 60),
        id="numbers are missing",
    ),
    pytest.param([], None, (0, 60), id="no revision yet"),
    pytest.param(
        [revision(1, "stranger", 50, owner="another"), *HISTORY], None, (20, 20), id="revisions of another"
    ),
]


@pytest.mark.parametrize(("revisions", "restarted", "minutes"), CHANGED)
def test_when_the_template_changed(api, cluster, revisions, restarted, minutes):
    serve(api, stateful(restarted=restarted), revisions=revisions)
    earliest, latest = (NOW - timedelta(hours=1) + timedelta(minutes=minute) for minute in minutes)
    assert observed(cluster).template_changed == Between(earliest=earliest, latest=latest)


def test_without_any_creation_time_it_is_unknown(api, cluster):
    serve(api, stateful(metadata={"creationTimestamp": None}), revisions=[])
    assert observed(cluster).unreadable["template_changed"] == "the objects carry no creation times"


def test_an_autoscaler_of_the_deployment_of_that_name_is_not_its_own(api, cluster):
    hpas = [
        {"metadata": {"name": kind}, "spec": {"scaleTargetRef": {"kind": kind, "name": "ledger"}}}
        for kind in ("Deployment", "StatefulSet")
    ]
    serve(api, stateful(), hpas=hpas)
    assert [hpa.name for hpa in observed(cluster).hpas or ()] == ["StatefulSet"]


def test_events_of_its_pods_are_evidence(api, cluster):
    event = {
        "metadata": {"uid": "e", "creationTimestamp": at(50)},
        "involvedObject": {"kind": "Pod", "name": "ledger-1", "uid": "pod-1"},
        "reason": "BackOff",
        "message": "back-off",
    }
    serve(api, stateful(), events=[event])
    assert [one.about for one in observed(cluster).events or ()] == ["Pod/ledger-1"]


# ------------------------------------------------------------ acting

RESTART = RestartIntent(
    uid="S", generation=4, template_digest=digest_of(stateful()), restarted_at="2026-11-23T12:00:00Z"
)
SCALE = ScaleIntent(uid="S", generation=4, replicas_from=3, replicas_to=5)


@pytest.mark.parametrize(
    ("intent", "live", "standing", "detail"),
    [
        (RESTART, stateful(), Standing.SENDABLE, "generation 4"),
        (RESTART, stateful(restarted=RESTART.restarted_at), Standing.APPLIED, "as intended"),
        (
            RESTART,
            stateful(metadata={"generation": 5}),
            Standing.CHANGED,
            "somebody changed the StatefulSet: generation 5",
        ),
        (RESTART, stateful(metadata={"uid": "T"}), Standing.CHANGED, "the StatefulSet was deleted and made"),
        (SCALE, stateful(), Standing.SENDABLE, "3 replicas"),
        (SCALE, stateful(spec={"replicas": 5}), Standing.APPLIED, "5 replicas"),
    ],
)
def test_recognise(api, cluster, *, intent, live, standing, detail):
    serve(api, live)
    found = cluster.recognise(LEDGER, intent)
    assert found.standing is standing
    assert detail in found.detail


def test_its_autoscalers_minimum_is_raised_and_followed(api, cluster):
    hpa = {
        "metadata": {"name": "web", "uid": "H", "resourceVersion": "99"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "ledger"},
            "minReplicas": 2,
            "maxReplicas": 9,
        },
    }
    twin = {"metadata": {"name": "twin", "uid": "T"}, "spec": {"scaleTargetRef": {"kind": "Deployment"}}}
    twin["spec"]["scaleTargetRef"]["name"] = "ledger"  # type: ignore[index]
    serve(api, stateful(), hpas=[hpa, twin])
    accept(api, f"{LISTS['hpas']}/web")
    intent = MinimumIntent(
        uid="S", generation=4, autoscaler="web", autoscaler_uid="H", replicas_from=2, replicas_to=4
    )
    assert cluster.recognise(LEDGER, intent).standing is Standing.SENDABLE
    assert cluster.send(LEDGER, intent).delivery is Delivery.APPLIED
    hpa["spec"]["minReplicas"] = 4  # type: ignore[index]
    api.replace("GET", LISTS["hpas"], json={"items": [hpa, twin]})
    waiting = cluster.rollout(LEDGER, intent, generation=4, since=NOW)
    assert (waiting.state, "3 are wanted" in waiting.detail) == (RolloutState.WAITING, True)
    grown = stateful(spec={"replicas": 4}, status={"replicas": 4, "readyReplicas": 4})
    api.replace("GET", STATEFUL_SET, json=grown, headers={"Date": DATE})
    assert cluster.rollout(LEDGER, intent, generation=4, since=NOW).state is RolloutState.COMPLETE


def test_one_that_is_gone_is_said_by_its_kind(api, cluster):
    api.get(STATEFUL_SET, status=404)
    assert cluster.recognise(LEDGER, RESTART).detail == "the StatefulSet was deleted"
    gone = cluster.rollout(LEDGER, RESTART, generation=5, since=NOW)
    assert (gone.state, gone.detail) == (RolloutState.FAILED, "the StatefulSet was deleted")


@pytest.mark.parametrize(
    ("tested", "metadata"),
    [
        ("annotations", {"annotations": {"example.com/owner": "ada"}, "resourceVersion": "70"}),
        ("resourceVersion", {"resourceVersion": "70"}),  # absence cannot be tested
    ],
    ids=["annotated", "not annotated"],
)
def test_a_restart_is_one_patch_with_its_preconditions(api, cluster, tested, metadata):
    api.get(STATEFUL_SET, json=stateful(metadata=metadata), headers={"Date": DATE})
    accept(api, STATEFUL_SET, real=(200, json.dumps(stateful(metadata={"generation": 5}))))
    sent = cluster.send(LEDGER, RESTART, cause="remediator: why")
    assert (sent.delivery, sent.generation) == (Delivery.APPLIED, 5)
    writes = [call.request for call in api.calls if call.request.method == "PATCH"]
    assert [dry(request) for request in writes] == [True, False]
    assert json.loads(writes[1].body)[:4] == [
        {"op": "test", "path": "/metadata/uid", "value": "S"},
        {"op": "test", "path": "/metadata/generation", "value": 4},
        {"op": "test", "path": "/metadata/labels", "value": {"remediator/enabled": "true"}},
        {"op": "test", "path": f"/metadata/{tested}", "value": metadata[tested]},
    ]


def test_a_scale_goes_to_its_scale(api, cluster):
    scale = {"metadata": {"uid": "S", "resourceVersion": "77"}, "spec": {"replicas": 3}}
    api.get(f"{STATEFUL_SET}/scale", json=scale, headers={"Date": DATE})
    api.get(STATEFUL_SET, json=stateful(), headers={"Date": DATE})
    accept(api, f"{STATEFUL_SET}/scale")
    api.get(HPAS, json={"items": []})
    assert cluster.send(LEDGER, SCALE).delivery is Delivery.APPLIED


MARKED: Json = {"metadata": {"generation": 5}, "restarted": RESTART.restarted_at}
SEEN: Json = {"observedGeneration": 5}
ROLLOUTS = [
    pytest.param(RESTART, stateful(**MARKED), RolloutState.WAITING, "to observe generation 5", id="unseen"),
    pytest.param(
        RESTART,
        stateful(**MARKED, status=SEEN | {"updatedReplicas": 0, "updateRevision": "ledger-three"}),
        RolloutState.WAITING,
        "0 of 3 pods have been updated",
        id="begins",
    ),
    pytest.param(
        RESTART,
        stateful(**MARKED, status=SEEN | {"readyReplicas": 2, "updateRevision": "ledger-three"}),
        RolloutState.WAITING,
        "2 of 3 replicas are ready",
        id="a pod is away",
    ),
    pytest.param(
        RESTART,
        stateful(**MARKED, status=SEEN | {"availableReplicas": 2}),
        RolloutState.WAITING,
        "2 of 3 replicas are available",
        id="not yet available",
    ),
    pytest.param(
        RESTART,
        stateful(**MARKED, status=SEEN | {"updateRevision": "ledger-three"}),
        RolloutState.WAITING,
        "the last of 3 updated pods is not ready yet",
        id="not yet taken for the current one",
    ),
    pytest.param(
        RESTART,
        stateful(**MARKED, status=SEEN | {"availableReplicas": 3}),
        RolloutState.COMPLETE,
        "rollout complete: 3 of 3 replicas updated, 3 ready",
        id="complete",
    ),
    pytest.param(
        RESTART,
        stateful(metadata={"generation": 6}, status={"observedGeneration": 6}),
        RolloutState.OVERRIDDEN,
        "somebody changed the template",
        id="taken away",
    ),
    pytest.param(
        RESTART,
        stateful(metadata={"uid": "T"}),
        RolloutState.FAILED,
        "the StatefulSet was deleted and made anew",
        id="made anew",
    ),
    pytest.param(
        SCALE,
        stateful(metadata={"generation": 5}, spec={"replicas": 5}, status=SEEN | {"replicas": 4}),
        RolloutState.WAITING,
        "3 of 5 replicas are ready",
        id="growing",
    ),
    pytest.param(
        ScaleIntent(uid="S", generation=4, replicas_from=3, replicas_to=2),
        stateful(metadata={"generation": 5}, spec={"replicas": 2}, status=SEEN),
        RolloutState.WAITING,
        "1 surplus replicas",
        id="shrinking",
    ),
    pytest.param(
        SCALE,
        stateful(
            metadata={"generation": 5},
            spec={"replicas": 5, "updateStrategy": {"type": "OnDelete"}},
            status=SEEN | {"replicas": 5, "readyReplicas": 5, "updateRevision": "ledger-three"},
        ),
        RolloutState.COMPLETE,
        "5 ready",
        id="grown, whatever the templates",
    ),
]


@pytest.mark.parametrize(("intent", "live", "state", "detail"), ROLLOUTS)
def test_rollout(api, cluster, *, intent, live, state, detail):
    api.get(STATEFUL_SET, json=live, headers={"Date": DATE})
    rollout = cluster.rollout(LEDGER, intent, generation=5, since=NOW)
    assert rollout.state is state
    assert detail in rollout.detail


def test_an_event_is_written_on_the_stateful_set(api, cluster):
    api.get(STATEFUL_SET, json=stateful(), headers={"Date": DATE})
    api.post(EVENTS, json={}, status=201)
    one = an_announcement(
        target=LEDGER, incident=1, opened_at=NOW, alert="LedgerDown", at=NOW, detail="rolling restart"
    )
    assert cluster.announce(one) is Told.WRITTEN
    about = json.loads(api.calls[-1].request.body)["involvedObject"]
    assert (about["kind"], about["name"], about["uid"]) == ("StatefulSet", "ledger", "S")
