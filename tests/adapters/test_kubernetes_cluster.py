"""The adapter against answers an API server rarely gives: refusals, silences and odd objects."""

from __future__ import annotations

from copy import deepcopy
from datetime import timedelta
from urllib.parse import urlsplit

import pytest
import requests
import responses

from remediator.adapters.kubernetes.objects import digest_of
from remediator.core.actions import RestartIntent, ScaleIntent, UndoIntent
from remediator.core.execution import Delivery, RolloutState, Standing
from remediator.core.facts import Between, PodSeen, Unseen
from remediator.core.reasons import Reason
from remediator.core.seen import Ending

from .kube import (
    BUDGETS,
    DEPLOYMENT,
    EVENTS,
    HISTORY,
    HPAS,
    LISTS,
    METRICS,
    NOW,
    OLD_HPAS,
    OLD_METRICS,
    PODS,
    REPLICA_SETS,
    SCALE,
    SERVER,
    TARGET,
    Json,
    accept,
    at,
    deployment,
    dry,
    observed,
    pod,
    progressing,
    replica_set,
    serve,
    then,
)

# ------------------------------------------------------------ observe


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"status": 404, "json": {"message": "not found"}}, Reason.TARGET_NOT_FOUND),
        ({"status": 403, "json": {"message": "forbidden"}}, Reason.FORBIDDEN),
        ({"status": 401}, Reason.UNAUTHENTICATED),
        ({"status": 302}, Reason.CLUSTER_UNREACHABLE),
        ({"status": 500}, Reason.CLUSTER_UNREACHABLE),
        ({"status": 429}, Reason.CLUSTER_UNREACHABLE),
        ({"body": requests.ConnectionError("reset")}, Reason.CLUSTER_UNREACHABLE),
        ({"body": requests.ReadTimeout()}, Reason.CLUSTER_UNREACHABLE),
        ({"body": "<html>"}, Reason.CLUSTER_UNREACHABLE),
    ],
)
def test_a_deployment_that_cannot_be_observed(api, cluster, answer, reason):
    api.get(HPAS, json={"items": []})
    api.get(DEPLOYMENT, **answer)
    seen = cluster.observe(TARGET)
    assert isinstance(seen, Unseen)
    assert seen.reason is reason
    assert seen.detail


@pytest.mark.parametrize(
    ("url", "unreadable"),
    [
        (REPLICA_SETS, {"pods", "previous", "template_changed", "usage"}),
        (PODS, {"pods", "usage"}),
        (HPAS, {"hpas"}),
        (BUDGETS, {"budgets"}),
        (EVENTS, {"events"}),
        (METRICS, {"usage"}),
    ],
)
@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ({"status": 403, "json": {"message": "forbidden"}}, "HTTP 403: forbidden"),
        ({"body": requests.ReadTimeout()}, "no answer within the time-out"),
        ({"json": {}}, "the API server's answer is no list"),
    ],
    ids=["forbidden", "silent", "no list"],
)
def test_what_cannot_be_read_is_unknown_and_says_why(api, cluster, *, url, unreadable, answer, why):
    serve(api, deployment())
    api.replace(responses.Response("GET", url, **answer))
    seen = observed(cluster)
    assert {name for name, said in seen.unreadable.items() if why in said} == unreadable
    assert all(getattr(seen, name) is None for name in unreadable)


def test_older_api_versions_are_asked_on_a_404_and_remembered(api, cluster):
    serve(api, deployment())
    for url in (HPAS, METRICS):
        api.replace(responses.Response("GET", url, status=404))
    hpa = {"metadata": {"name": "h"}, "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "apex"}}}
    api.get(OLD_HPAS, json={"items": [hpa]})
    api.get(OLD_METRICS, json={"items": []})

    for _ in range(2):
        assert [hpa.name for hpa in observed(cluster).hpas or ()] == ["h"]

    asked = [urlsplit(call.request.url).path for call in api.calls]
    assert asked.count(urlsplit(HPAS).path) == 1
    assert asked.count(urlsplit(OLD_HPAS).path) == 2
    assert asked.count(urlsplit(METRICS).path) == 1


def test_no_metrics_api_is_unknown_usage(api, cluster):
    serve(api, deployment())
    for url in (METRICS, OLD_METRICS):
        api.add(responses.Response("GET", url, status=404))
    api.replace(responses.Response("GET", METRICS, status=404, json={"message": "no such resource"}))
    assert observed(cluster).unreadable["usage"] == "no pod metrics: HTTP 404: no such resource"


@pytest.mark.parametrize(
    ("ref", "scales"),
    [
        ({"apiVersion": "apps/v1", "kind": "Deployment", "name": "apex"}, True),
        ({"kind": "Deployment", "name": "apex"}, True),
        ({"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "apex"}, False),
        ({"apiVersion": "example.com/v1", "kind": "Deployment", "name": "apex"}, False),
        ({"apiVersion": "apps/v1", "kind": "Deployment", "name": "other"}, False),
        (None, False),
    ],
)
def test_which_autoscaler_is_meant(api, cluster, ref, scales):
    serve(api, deployment(), hpas=[{"metadata": {"name": "h"}, "spec": {"scaleTargetRef": ref}}])
    assert [hpa.name for hpa in observed(cluster).hpas or ()] == (["h"] if scales else [])


@pytest.mark.parametrize(
    "odd",
    [
        {},
        {"metadata": None, "spec": None, "status": None},
        {"metadata": {"labels": None, "annotations": None, "ownerReferences": None}},
        {"spec": {"template": None, "selector": {"matchLabels": {"a": "b"}}, "replicas": None}},
        {"spec": {"selector": {"matchLabels": {"a": "b"}}}, "status": {"conditions": [None, {}, "x"]}},
        {"metadata": {"generation": "7", "creationTimestamp": 5}, "status": {"replicas": "2"}},
    ],
)
def test_an_odd_deployment_is_survived(api, cluster, odd):
    odd_items = [{}, None, "x", {"metadata": None, "spec": None, "status": None}]
    serve(api, odd, **dict.fromkeys(LISTS, odd_items))
    seen = observed(cluster)
    assert not seen.opted_in
    assert not seen.rolled_out
    assert seen.usage is None


KILLED = {"reason": "OOMKilled", "exitCode": 137, "finishedAt": at(58)}
PODS_SEEN = [
    ({}, PodSeen(name="p", ready=False)),
    ({"conditions": [{"type": "Ready", "status": "True"}]}, PodSeen(name="p", ready=True)),
    (
        {
            "initContainerStatuses": [{"state": {"waiting": {"reason": "ImagePullBackOff"}}}],
            "containerStatuses": [
                {"state": {"waiting": {"reason": "PodInitializing"}}, "restartCount": 2},
                {"state": {"waiting": {"reason": "PodInitializing"}}, "restartCount": 1},
                {"state": {"waiting": None}, "restartCount": None},
            ],
        },
        PodSeen(name="p", ready=False, waiting=("ImagePullBackOff", "PodInitializing"), restarts=3),
    ),
    (
        {
            "containerStatuses": [
                {
                    "name": "app",
                    "lastState": {"terminated": KILLED},
                    "restartCount": 4,
                    "state": {"running": {}},
                }
            ]
        },
        PodSeen(
            name="p",
            ready=False,
            restarts=4,
            endings=(Ending(container="app", reason="OOMKilled", exit_code=137, at=then(58), restarts=4),),
        ),
    ),
    (
        {
            "initContainerStatuses": [{"name": "init", "state": {"terminated": {"exitCode": 0}}}],
            "containerStatuses": [
                {"name": "app", "state": {"terminated": {"reason": "Error", "exitCode": 2}}}
            ],
        },
        PodSeen(name="p", ready=False, endings=(Ending(container="app", reason="Error", exit_code=2),)),
    ),
    ({"containerStatuses": [{"lastState": {"terminated": {"exitCode": 0}}}]}, PodSeen(name="p", ready=False)),
    (
        {
            "conditions": [
                {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "full"}
            ]
        },
        PodSeen(name="p", ready=False, unschedulable="full"),
    ),
    (
        {"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}]},
        PodSeen(name="p", ready=False, unschedulable="no node was found"),
    ),
    (
        {"conditions": [{"type": "PodScheduled", "status": "False", "reason": "SchedulerError"}]},
        PodSeen(name="p", ready=False),
    ),
]


@pytest.mark.parametrize(("status", "expected"), PODS_SEEN)
def test_a_pod(api, cluster, status, expected):
    serve(api, deployment(), pods=[pod("p", **status)])
    assert observed(cluster).pods == (expected,)


def test_only_pods_in_use_of_the_current_template_count(api, cluster):
    leaving = pod("leaving")
    leaving["metadata"]["deletionTimestamp"] = at(59)
    stranger = {"metadata": {"name": "stranger", "labels": {"app": "apex"}}}
    pods = [pod("old", "one"), pod("evicted", phase="Failed"), leaving, stranger, pod("ours")]
    serve(api, deployment(), pods=pods)
    assert [p.name for p in observed(cluster).pods or ()] == ["ours"]


def test_a_template_without_replica_set_yet_has_unknown_pods(api, cluster):
    serve(api, deployment("app:3"))
    seen = observed(cluster)
    assert seen.pods is None
    assert seen.unreadable["pods"] == "the current template has no ReplicaSet yet"
    assert seen.template_changed == Between(earliest=then(20), latest=NOW)


@pytest.mark.parametrize(
    ("metadata", "gitops", "controller"),
    [
        (
            {"annotations": {"argocd.argoproj.io/tracking-id": "x"}},
            ("annotation argocd.argoproj.io/tracking-id=x",),
            None,
        ),
        ({"labels": {"argocd.argoproj.io/instance": "x"}}, ("label argocd.argoproj.io/instance=x",), None),
        (
            {"labels": {"kustomize.toolkit.fluxcd.io/name": "x"}},
            ("label kustomize.toolkit.fluxcd.io/name=x",),
            None,
        ),
        ({"labels": {"helm.toolkit.fluxcd.io/name": "x"}}, ("label helm.toolkit.fluxcd.io/name=x",), None),
        ({"labels": {"app.kubernetes.io/managed-by": "Helm", "app.kubernetes.io/instance": "x"}}, (), None),
        ({"annotations": {"meta.helm.sh/release-name": "x"}}, (), None),
        ({"ownerReferences": [{"kind": "MCPServer", "name": "m", "controller": True}]}, (), "MCPServer/m"),
        ({"ownerReferences": [{"kind": "Thing", "name": "t"}]}, (), None),
    ],
)
def test_who_owns_it(api, cluster, metadata, gitops, controller):
    serve(api, deployment(metadata=metadata))
    seen = observed(cluster)
    assert (seen.gitops, seen.controller) == (gitops, controller)


@pytest.mark.parametrize(
    ("labels", "opted_in", "ourselves"),
    [
        ({"remediator/enabled": "true"}, True, False),
        ({"remediator/enabled": "True"}, False, False),
        ({"remediator/enabled": True}, False, False),
        ({}, False, False),
        ({"app.kubernetes.io/name": "remediator"}, False, True),
    ],
)
def test_opting_in(api, cluster, labels, opted_in, ourselves):
    serve(api, deployment(metadata={"labels": labels}))
    seen = observed(cluster)
    assert (seen.opted_in, seen.ourselves) == (opted_in, ourselves)


ROLLED_OUT = [
    ({}, "NewReplicaSetAvailable", True, "rollout complete: 2 of 2 replicas updated, 2 ready"),
    (
        {"availableReplicas": 0, "readyReplicas": 0},
        "NewReplicaSetAvailable",
        True,
        "rollout complete: 2 of 2 replicas updated, 0 ready",
    ),
    (
        {"observedGeneration": 6},
        "NewReplicaSetAvailable",
        False,
        "waiting for the controller to observe generation 7, it is at 6",
    ),
    ({"updatedReplicas": 1}, "ReplicaSetUpdated", False, "1 of 2 new replicas have been updated"),
    ({"replicas": 3}, "ReplicaSetUpdated", False, "1 old replicas are still to be terminated"),
    (
        {"replicas": 4, "updatedReplicas": 4},
        "NewReplicaSetAvailable",
        False,
        "2 surplus replicas are still to be terminated",
    ),
    ({"availableReplicas": 1}, "ReplicaSetUpdated", False, "1 of 2 updated replicas are available"),
    ({}, "ReplicaSetUpdated", False, "the controller says ReplicaSetUpdated of its progress"),
    ({}, "ProgressDeadlineExceeded", False, "the controller says ProgressDeadlineExceeded of its progress"),
    ({}, None, True, "rollout complete: 2 of 2 replicas updated, 2 ready"),
    ({"availableReplicas": 1}, None, False, "1 of 2 updated replicas are available"),
    ({}, "DeploymentPaused", True, "rollout complete: 2 of 2 replicas updated, 2 ready"),
]


@pytest.mark.parametrize(("status", "reason", "done", "detail"), ROLLED_OUT)
def test_whether_it_is_rolled_out(api, cluster, *, status, reason, done, detail):
    conditions = [progressing(reason)] if reason else []
    serve(api, deployment(status={**status, "conditions": conditions}))
    seen = observed(cluster)
    assert (seen.rolled_out, seen.rollout_detail) == (done, detail)
    assert seen.rolled_out_at == (then(50) if done and reason == "NewReplicaSetAvailable" else None)
    assert seen.progress_deadline_exceeded is (reason == "ProgressDeadlineExceeded")


R = at(30)
CHANGES = [
    pytest.param(HISTORY, None, (20, 20), id="a rollout is exact"),
    pytest.param(
        [*HISTORY, replica_set("r", "3", "app:2", 30, restarted=R)],
        R,
        (20, 20),
        id="a restart does not count",
    ),
    pytest.param(
        [replica_set("two", "3", "app:2", 5, history="1"), replica_set("other", "2", "app:1", 20)],
        None,
        (20, 50),
        id="an undo lies between the other's birth and its own completion",
    ),
    pytest.param(
        [
            replica_set("two", "3", "app:2", 5, history="1"),
            replica_set("other", "2", "app:1", 20),
            replica_set("r", "4", "app:2", 30, restarted=R),
        ],
        R,
        (20, 30),
        id="a restart after an undo bounds it",
    ),
    pytest.param(
        [
            replica_set("one", "1", "app:1", 10),
            replica_set("two", "4", "app:2", 20, history="2"),
            replica_set("r", "3", "app:2", 30, restarted=R),
        ],
        None,
        (20, 20),
        id="taking a restart back is no change of template",
    ),
    pytest.param(
        [replica_set("one", "1", "app:1", 10), replica_set("r", "5", "app:2", 30, restarted=R)],
        R,
        (10, 30),
        id="what the history limit evicted leaves bounds",
    ),
    pytest.param([replica_set("r", "9", "app:2", 30, restarted=R)], R, (0, 30), id="no history but itself"),
    pytest.param([replica_set("two", None, "app:2", 20)], None, (20, 20), id="no revision"),
    pytest.param(
        [*HISTORY, replica_set("three", "3", "app:3", 40)],
        None,
        (40, 60),
        id="the controller has yet to see it",
    ),
    pytest.param([], None, (0, 60), id="nothing yet"),
    pytest.param(
        [*HISTORY, {**replica_set("x", "3", "app:3", 40), "metadata": {"uid": "x", "annotations": {}}}],
        None,
        (20, 20),
        id="a stranger's ReplicaSet",
    ),
]


@pytest.mark.parametrize(("replica_sets", "restarted", "minutes"), CHANGES)
def test_when_the_template_changed(api, cluster, replica_sets, restarted, minutes):
    serve(api, deployment(restarted=restarted), replica_sets=replica_sets)
    start = then(0)
    expected = Between(
        earliest=start + timedelta(minutes=minutes[0]), latest=start + timedelta(minutes=minutes[1])
    )
    assert observed(cluster).template_changed == expected


def test_an_undo_still_rolling_out_is_bounded_by_now(api, cluster):
    history = [replica_set("two", "3", "app:2", 5, history="1"), replica_set("other", "2", "app:1", 20)]
    status = {"conditions": [progressing("ReplicaSetUpdated")]}
    serve(api, deployment(status=status), replica_sets=history)
    assert observed(cluster).template_changed == Between(earliest=then(20), latest=NOW)


def test_previous_revisions_are_one_per_template_newest_first(api, cluster):
    history = [
        replica_set("a", "1", "app:1", 1),
        replica_set("b", "4", "app:1", 4, restarted=at(4)),
        replica_set("c", "3", "app:3", 3),
        replica_set("d", "odd", "app:9", 9),
        replica_set("e", None, "app:0", 0),
        replica_set("f", "5", "app:2", 5),
        replica_set("g", "6", "app:2", 6, restarted=at(6)),
    ]
    serve(api, deployment(restarted=at(6)), replica_sets=history)
    previous = observed(cluster).previous or ()
    assert [(r.replica_set_uid, r.number, r.images) for r in previous] == [
        ("b", 4, ("app:1",)),
        ("c", 3, ("app:3",)),
        ("e", 0, ("app:0",)),
    ]


# ------------------------------------------------------------ recognise

RESTART = RestartIntent(uid="U", generation=7, template_digest=digest_of(deployment()), restarted_at=at(40))
UNDO = UndoIntent(
    uid="U",
    generation=7,
    template_digest=digest_of(deployment()),
    replica_set_uid="one",
    revision=1,
    target_digest=digest_of(deployment("app:1")),
)
SCALE_UP = ScaleIntent(uid="U", generation=7, replicas_from=2, replicas_to=3)
LATER = {"generation": 8}

RECOGNISED = [
    pytest.param(RESTART, deployment(), Standing.SENDABLE, id="restart: untouched"),
    pytest.param(RESTART, deployment(restarted=at(40), metadata=LATER), Standing.APPLIED, id="restart: ours"),
    pytest.param(
        RESTART,
        deployment(restarted="2026-11-23T13:40:00+02:00", metadata=LATER),
        Standing.APPLIED,
        id="restart: ours, in another zone",
    ),
    pytest.param(
        RESTART, deployment(restarted=at(45), metadata=LATER), Standing.APPLIED, id="restart: later"
    ),
    pytest.param(
        RESTART, deployment(restarted=at(45)), Standing.SENDABLE, id="restart: a clock that ran ahead"
    ),
    pytest.param(
        RESTART, deployment(restarted=at(30), metadata=LATER), Standing.CHANGED, id="restart: earlier"
    ),
    pytest.param(RESTART, deployment(restarted="odd", metadata=LATER), Standing.CHANGED, id="restart: odd"),
    pytest.param(RESTART, deployment(metadata=LATER), Standing.CHANGED, id="restart: foreign deploy"),
    pytest.param(RESTART, deployment(metadata={"uid": "V"}), Standing.CHANGED, id="restart: recreated"),
    pytest.param(UNDO, deployment(), Standing.SENDABLE, id="undo: untouched"),
    pytest.param(UNDO, deployment("app:1", metadata=LATER), Standing.APPLIED, id="undo: done"),
    pytest.param(
        UNDO, deployment("app:1", restarted=at(50)), Standing.APPLIED, id="undo: done, restarted since"
    ),
    pytest.param(UNDO, deployment("app:3", metadata=LATER), Standing.CHANGED, id="undo: foreign deploy"),
    pytest.param(UNDO, deployment(metadata=LATER), Standing.CHANGED, id="undo: somebody annotated"),
    pytest.param(UNDO, deployment("app:1", metadata={"uid": "V"}), Standing.CHANGED, id="undo: recreated"),
    pytest.param(SCALE_UP, deployment(), Standing.SENDABLE, id="scale: untouched"),
    pytest.param(SCALE_UP, deployment(metadata=LATER), Standing.CHANGED, id="scale: foreign deploy"),
    pytest.param(SCALE_UP, deployment(spec={"replicas": 3}), Standing.APPLIED, id="scale: done"),
    pytest.param(
        SCALE_UP, deployment(spec={"replicas": 4}), Standing.CHANGED, id="scale: somebody else's number"
    ),
    pytest.param(SCALE_UP, deployment(metadata={"uid": "V"}), Standing.CHANGED, id="scale: recreated"),
]


@pytest.mark.parametrize(("intent", "live", "standing"), RECOGNISED)
def test_recognise(api, cluster, intent, live, standing):
    serve(api, live)
    found = cluster.recognise(TARGET, intent)
    assert found.standing is standing, found
    assert found.detail
    assert found.at == NOW
    expected = live["metadata"]["generation"] if standing is Standing.APPLIED else None
    assert found.generation == expected


@pytest.mark.parametrize(
    "replica_sets",
    [[], HISTORY[1:], [replica_set("one", "1", "app:other", 10)]],
    ids=["none", "evicted", "changed"],
)
def test_an_undo_whose_replica_set_is_gone_is_not_sendable(api, cluster, replica_sets):
    serve(api, deployment(), replica_sets=replica_sets)
    assert cluster.recognise(TARGET, UNDO).standing is Standing.CHANGED
    assert cluster.send(TARGET, UNDO).delivery is Delivery.CONFLICT


@pytest.mark.parametrize(
    ("url", "answer", "standing"),
    [
        (DEPLOYMENT, {"status": 404}, Standing.CHANGED),
        (DEPLOYMENT, {"status": 403}, Standing.UNREACHABLE),
        (DEPLOYMENT, {"status": 500}, Standing.UNREACHABLE),
        (DEPLOYMENT, {"body": requests.ConnectionError("reset")}, Standing.UNREACHABLE),
        (REPLICA_SETS, {"status": 403}, Standing.UNREACHABLE),
        (REPLICA_SETS, {"body": requests.ReadTimeout()}, Standing.UNREACHABLE),
    ],
)
def test_recognise_when_the_api_server_does_not_help(api, cluster, url, answer, standing):
    serve(api, deployment())
    api.replace(responses.Response("GET", url, **answer))
    assert cluster.recognise(TARGET, UNDO).standing is standing


# ------------------------------------------------------------ send


def real_writes(api) -> int:
    return sum(call.request.method == "PATCH" and not dry(call.request) for call in api.calls)


def writable(api, intent) -> str:
    serve(api, deployment())
    scale = {"metadata": {"uid": "U", "resourceVersion": "99"}, "spec": {"replicas": 2}}
    api.get(SCALE, json=scale)
    return SCALE if isinstance(intent, ScaleIntent) else DEPLOYMENT


INTENTS = [
    pytest.param(RESTART, id="restart"),
    pytest.param(UNDO, id="undo"),
    pytest.param(SCALE_UP, id="scale"),
]
RESET, SLOW = requests.ConnectionError("reset by peer"), requests.ReadTimeout()
UNCONNECTED = requests.ConnectTimeout()
SAID = '{"message": "the words"}'
OUTCOMES = [
    # what happens, during the dry run, during the write, the reason with a refusal
    pytest.param((403, SAID), Delivery.REFUSED, Delivery.REFUSED, Reason.FORBIDDEN, id="403"),
    pytest.param((401, SAID), Delivery.NOT_SENT, Delivery.NOT_SENT, None, id="401"),
    pytest.param((400, SAID), Delivery.REFUSED, Delivery.REFUSED, Reason.REFUSED_BY_CLUSTER, id="400"),
    pytest.param((415, SAID), Delivery.REFUSED, Delivery.REFUSED, Reason.REFUSED_BY_CLUSTER, id="415"),
    pytest.param(
        (422, SAID), Delivery.REFUSED, Delivery.REFUSED, Reason.REFUSED_BY_CLUSTER, id="422 unmoved"
    ),
    pytest.param((302, SAID), Delivery.REFUSED, Delivery.REFUSED, Reason.REFUSED_BY_CLUSTER, id="302"),
    pytest.param((409, SAID), Delivery.CONFLICT, Delivery.CONFLICT, None, id="409"),
    pytest.param((404, SAID), Delivery.CONFLICT, Delivery.CONFLICT, None, id="404"),
    pytest.param((429, SAID), Delivery.NOT_SENT, Delivery.NOT_SENT, None, id="429"),
    pytest.param((500, SAID), Delivery.NOT_SENT, Delivery.UNCLEAR, None, id="500"),
    pytest.param((503, SAID), Delivery.NOT_SENT, Delivery.UNCLEAR, None, id="503"),
    pytest.param((504, SAID), Delivery.NOT_SENT, Delivery.UNCLEAR, None, id="504"),
    pytest.param((408, SAID), Delivery.NOT_SENT, Delivery.UNCLEAR, None, id="408"),
    pytest.param((200, "<html>"), Delivery.NOT_SENT, Delivery.UNCLEAR, None, id="200 but no JSON"),
    pytest.param(RESET, Delivery.NOT_SENT, Delivery.UNCLEAR, None, id="reset"),
    pytest.param(SLOW, Delivery.NOT_SENT, Delivery.UNCLEAR, None, id="read time-out"),
    pytest.param(UNCONNECTED, Delivery.NOT_SENT, Delivery.NOT_SENT, None, id="no connection"),
]


@pytest.mark.parametrize("intent", INTENTS)
@pytest.mark.parametrize(("outcome", "trial", "real", "reason"), OUTCOMES)
def test_what_becomes_of_a_sending(api, cluster, *, intent, outcome, trial, real, reason):
    url = writable(api, intent)
    accept(api, url, trial=outcome)
    sent = cluster.send(TARGET, intent)
    assert (sent.delivery, sent.reason) == (trial, reason)
    assert sent.detail.startswith("dry run: ")
    assert real_writes(api) == 0

    api.remove("PATCH", url)
    accept(api, url, real=outcome)
    sent = cluster.send(TARGET, intent)
    assert (sent.delivery, sent.reason) == (real, reason)
    assert sent.detail.startswith("write: ")
    assert sent.generation is None
    certainly_again = {409: 5, 404: 5} if isinstance(intent, ScaleIntent) else {}
    code = outcome[0] if isinstance(outcome, tuple) else 0
    assert real_writes(api) == certainly_again.get(code, 2 if code == 401 else 1)


@pytest.mark.parametrize("intent", INTENTS[:2])
@pytest.mark.parametrize(
    "metadata",
    [{"generation": 8}, {"uid": "V"}, {"labels": {"remediator/enabled": "false"}}],
    ids=["generation", "uid", "labels"],
)
def test_a_422_of_an_object_that_moved_is_a_conflict(api, cluster, intent, metadata):
    serve(api, deployment())
    api.get(DEPLOYMENT, json=deployment(metadata=metadata))
    accept(api, DEPLOYMENT, trial=(422, SAID))
    sent = cluster.send(TARGET, intent)
    assert (sent.delivery, sent.detail) == (Delivery.CONFLICT, "dry run: HTTP 422: the words")


@pytest.mark.parametrize("intent", INTENTS[:2])
def test_a_422_of_an_object_that_cannot_be_read_again_is_taken_for_a_conflict(api, cluster, intent):
    serve(api, deployment())
    api.get(DEPLOYMENT, status=403)
    accept(api, DEPLOYMENT, real=(422, SAID))
    assert cluster.send(TARGET, intent).delivery is Delivery.CONFLICT


@pytest.mark.parametrize("intent", INTENTS[:2])
def test_the_generation_written_is_told(api, cluster, intent):
    writable(api, intent)
    accept(api, DEPLOYMENT, real=(200, '{"metadata": {"generation": 8}}'))
    sent = cluster.send(TARGET, intent)
    assert (sent.delivery, sent.generation, sent.at) == (Delivery.APPLIED, 8, NOW)
    assert real_writes(api) == 1


def test_the_generation_after_scaling_is_the_next(api, cluster):
    writable(api, SCALE_UP)
    accept(api, SCALE)
    sent = cluster.send(TARGET, SCALE_UP)
    assert (sent.delivery, sent.generation) == (Delivery.APPLIED, 8)


DEPLOYED = {"url": DEPLOYMENT, "json": deployment(metadata=LATER)}
HPA = {
    "metadata": {"name": "web"},
    "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "apex"}},
}


@pytest.mark.parametrize(
    ("meanwhile", "why"),
    [
        (DEPLOYED, "somebody changed the Deployment: generation 8, it was 7"),
        ({"url": HPAS, "json": {"items": [HPA]}}, "autoscaler web scales it by now"),
    ],
    ids=["a deploy", "an autoscaler"],
)
def test_a_scale_is_not_sent_when_anything_changed_though_the_count_did_not(api, cluster, meanwhile, why):
    writable(api, SCALE_UP)
    api.replace(responses.Response("GET", **meanwhile))
    accept(api, SCALE)

    found, sent = cluster.recognise(TARGET, SCALE_UP), cluster.send(TARGET, SCALE_UP)

    assert (found.standing, found.detail) == (Standing.CHANGED, why)
    assert (sent.delivery, sent.detail) == (Delivery.CONFLICT, f"{why}; nothing was sent")
    assert not any(call.request.method == "PATCH" for call in api.calls)


def test_a_scale_is_not_sent_while_it_is_unknown_whether_an_autoscaler_came(api, cluster):
    writable(api, SCALE_UP)
    api.replace(responses.Response("GET", HPAS, status=500))
    accept(api, SCALE)
    assert cluster.recognise(TARGET, SCALE_UP).standing is Standing.UNREACHABLE
    assert cluster.send(TARGET, SCALE_UP).delivery is Delivery.NOT_SENT
    assert not any(call.request.method == "PATCH" for call in api.calls)


@pytest.mark.parametrize("intent", INTENTS)
@pytest.mark.parametrize(
    ("answer", "delivery"),
    [
        ({"status": 404}, Delivery.CONFLICT),
        ({"status": 403}, Delivery.REFUSED),
        ({"status": 500}, Delivery.NOT_SENT),
        ({"body": RESET}, Delivery.NOT_SENT),
    ],
    ids=["404", "403", "500", "reset"],
)
def test_nothing_is_sent_when_the_object_cannot_be_looked_at(api, cluster, intent, answer, delivery):
    api.replace(responses.Response("GET", writable(api, intent), **answer))
    accept(api, SCALE)
    accept(api, DEPLOYMENT)
    assert cluster.send(TARGET, intent).delivery is delivery
    assert not any(call.request.method == "PATCH" for call in api.calls)


@pytest.mark.parametrize("intent", INTENTS)
def test_nothing_is_sent_to_what_is_not_opted_in_any_more(api, cluster, intent):
    url, out = writable(api, intent), deployment(metadata={"labels": {"remediator/enabled": "false"}})
    api.replace(responses.Response("GET", DEPLOYMENT, json=out))
    accept(api, url)
    sent = cluster.send(TARGET, intent)
    assert (sent.delivery, sent.detail) == (
        Delivery.CONFLICT,
        'nothing was sent: the label remediator/enabled="true" is gone',
    )
    assert cluster.recognise(TARGET, intent).stop.reason is Reason.NOT_OPTED_IN
    assert not any(call.request.method == "PATCH" for call in api.calls)


@pytest.mark.parametrize(
    ("scale", "delivery"),
    [
        ({"metadata": {"uid": "U"}, "spec": {"replicas": 4}}, Delivery.CONFLICT),
        ({"metadata": {"uid": "U"}, "spec": {"replicas": 3}}, Delivery.CONFLICT),
        ({"metadata": {"uid": "V"}, "spec": {"replicas": 2}}, Delivery.CONFLICT),
        ({"metadata": {"uid": "U"}, "spec": None}, Delivery.CONFLICT),
        ({}, Delivery.CONFLICT),
    ],
)
def test_scaling_looks_at_the_scale_first(api, cluster, scale, delivery):
    writable(api, SCALE_UP)
    api.replace(responses.Response("GET", SCALE, json=scale))
    accept(api, SCALE)
    assert cluster.send(TARGET, SCALE_UP).delivery is delivery
    assert not any(call.request.method == "PATCH" for call in api.calls)


def test_scaling_decides_again_after_a_conflict(api, cluster):
    writable(api, SCALE_UP)
    answers = iter([(200, "{}"), (409, SAID), (200, "{}"), (200, "{}")])
    api.add_callback("PATCH", SCALE, callback=lambda _: (next(answers)[0], {}, "{}"))
    sent = cluster.send(TARGET, SCALE_UP)
    assert sent.delivery is Delivery.APPLIED


# ------------------------------------------------------------ rollout

ON_RESTART = deployment(restarted=at(40), metadata=LATER, status={"observedGeneration": 8})
STUCK = progressing("ProgressDeadlineExceeded", 45)


def on(live: Json, **changes) -> Json:
    changed = deepcopy(live)
    for part, fields in changes.items():
        changed[part] |= fields
    return changed


ROLLOUTS = [
    pytest.param(
        RESTART,
        ON_RESTART,
        RolloutState.COMPLETE,
        "rollout complete: 2 of 2 replicas updated, 2 ready",
        id="complete",
    ),
    pytest.param(
        RESTART,
        on(ON_RESTART, status={"observedGeneration": 7}),
        RolloutState.WAITING,
        "observe generation 8",
        id="unobserved",
    ),
    pytest.param(
        RESTART,
        on(ON_RESTART, metadata={"generation": 7}, status={"observedGeneration": 7}),
        RolloutState.WAITING,
        "observe generation 8",
        id="a stale read",
    ),
    pytest.param(
        RESTART,
        on(ON_RESTART, status={"updatedReplicas": 1}),
        RolloutState.WAITING,
        "1 of 2 new replicas",
        id="updating",
    ),
    pytest.param(
        RESTART,
        on(ON_RESTART, status={"updatedReplicas": 1}, spec={"paused": True}),
        RolloutState.WAITING,
        "(rollouts are paused)",
        id="paused",
    ),
    pytest.param(
        RESTART, on(ON_RESTART, status={"replicas": 3}), RolloutState.WAITING, "1 old replicas", id="old pods"
    ),
    pytest.param(
        RESTART,
        on(ON_RESTART, status={"availableReplicas": 1}),
        RolloutState.WAITING,
        "1 of 2 updated replicas",
        id="unavailable",
    ),
    pytest.param(
        RESTART,
        on(ON_RESTART, status={"updatedReplicas": 1, "conditions": [STUCK]}),
        RolloutState.FAILED,
        "progress deadline exceeded: it says so",
        id="deadline",
    ),
    pytest.param(
        RESTART,
        on(ON_RESTART, status={"updatedReplicas": 1, "conditions": [{**STUCK, "lastUpdateTime": at(40)}]}),
        RolloutState.WAITING,
        "1 of 2 new replicas",
        id="a deadline that passed before",
    ),
    pytest.param(
        RESTART,
        on(
            ON_RESTART,
            status={"updatedReplicas": 1, "conditions": [{"type": "Progressing", "reason": STUCK["reason"]}]},
        ),
        RolloutState.WAITING,
        "1 of 2 new replicas",
        id="a deadline without time",
    ),
    pytest.param(
        RESTART,
        on(ON_RESTART, metadata={"generation": 9}, status={"observedGeneration": 9}),
        RolloutState.COMPLETE,
        "rollout complete",
        id="annotated since",
    ),
    pytest.param(
        RESTART,
        deployment(restarted=at(44), metadata={"generation": 9}),
        RolloutState.OVERRIDDEN,
        f"restartedAt is {at(44)}, ours was {at(40)}",
        id="restarted again",
    ),
    pytest.param(
        RESTART,
        deployment(metadata={"generation": 9}),
        RolloutState.OVERRIDDEN,
        "is gone, ours was",
        id="restart taken back",
    ),
    pytest.param(
        RESTART,
        deployment("app:3", restarted=at(40), metadata={"generation": 9}),
        RolloutState.OVERRIDDEN,
        "somebody changed the template after our restart",
        id="image set after our restart",
    ),
    pytest.param(
        RESTART,
        on(ON_RESTART, metadata={"uid": "V"}),
        RolloutState.FAILED,
        "deleted and made anew",
        id="recreated",
    ),
    pytest.param(
        UNDO,
        deployment("app:1", metadata=LATER, status={"observedGeneration": 8}),
        RolloutState.COMPLETE,
        "rollout complete",
        id="undo",
    ),
    pytest.param(
        UNDO,
        deployment("app:3", metadata={"generation": 9}),
        RolloutState.OVERRIDDEN,
        "undo to revision 1",
        id="undo overridden",
    ),
    pytest.param(
        SCALE_UP,
        deployment(spec={"replicas": 3}, metadata=LATER, status={"observedGeneration": 8}),
        RolloutState.WAITING,
        "2 of 3 new replicas have been updated",
        id="scaling",
    ),
    pytest.param(
        SCALE_UP,
        deployment(spec={"replicas": 4}, metadata={"generation": 9}),
        RolloutState.OVERRIDDEN,
        "somebody set 4 replicas after our 3",
        id="scale overridden",
    ),
]


@pytest.mark.parametrize(("intent", "live", "state", "detail"), ROLLOUTS)
def test_rollout(api, cluster, *, intent, live, state, detail):
    serve(api, live)
    rollout = cluster.rollout(TARGET, intent, generation=8, since=then(41))
    assert rollout.state is state, rollout
    assert detail in rollout.detail
    assert rollout.ready == 2


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        ({"status": 404}, RolloutState.FAILED),
        ({"status": 403}, RolloutState.UNREACHABLE),
        ({"status": 503}, RolloutState.UNREACHABLE),
        ({"body": SLOW}, RolloutState.UNREACHABLE),
    ],
)
def test_rollout_when_the_api_server_does_not_help(api, cluster, answer, state):
    api.get(DEPLOYMENT, **answer)
    assert cluster.rollout(TARGET, RESTART, generation=8, since=NOW).state is state


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ({"json": {}}, None),
        ({"status": 403, "json": {"message": "no"}}, "HTTP 403: no"),
        ({"body": SLOW}, "no answer within the time-out"),
    ],
)
def test_ping(api, cluster, answer, why):
    api.get(f"{SERVER}/version", **answer)
    assert cluster.ping() == why
