"""minReplicas on the wire: where an intent stands, what is written on which conditions, what follows."""

from __future__ import annotations

import json
from typing import Any

import pytest
import requests
import responses

from remediator.core.actions import MinimumIntent
from remediator.core.execution import Delivery, RolloutState, Standing
from remediator.core.reasons import Reason

from .kube import DEPLOYMENT, HPAS, NOW, OLD_HPAS, TARGET, accept, deployment, dry, observed, serve
from .test_kubernetes_cluster import OUTCOMES

RAISE = MinimumIntent(
    uid="U", generation=7, autoscaler="web", autoscaler_uid="H", replicas_from=2, replicas_to=4
)
LOWER = MinimumIntent(
    uid="U", generation=7, autoscaler="web", autoscaler_uid="H", replicas_from=4, replicas_to=3
)
WEB = f"{HPAS}/web"
REFERENCE = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "apex"}


def hpa(least: int | None = 2, most: int = 9, *, spec: dict[str, Any] | None = None, **metadata: Any):
    least_of = {} if least is None else {"minReplicas": least}
    return {
        "metadata": {"name": "web", "uid": "H", "resourceVersion": "99", **metadata},
        "spec": {"scaleTargetRef": REFERENCE, "maxReplicas": most, **least_of, **(spec or {})},
    }


ELSEWHERE = {"scaleTargetRef": {**REFERENCE, "name": "other"}}
STANDINGS = [
    pytest.param([hpa()], Standing.SENDABLE, "minReplicas of web is 2, as before", id="untouched"),
    pytest.param([hpa(4)], Standing.APPLIED, "minReplicas of web is 4, as intended", id="done"),
    pytest.param([hpa(5)], Standing.CHANGED, "somebody set minReplicas 5 on web, it was 2", id="set"),
    pytest.param([hpa(None)], Standing.CHANGED, "somebody set minReplicas 1", id="taken out"),
    pytest.param([], Standing.CHANGED, "autoscaler web was deleted", id="deleted"),
    pytest.param([hpa(uid="I")], Standing.CHANGED, "autoscaler web was deleted, made anew", id="anew"),
    pytest.param([hpa(spec=ELSEWHERE)], Standing.CHANGED, "or scales another", id="scales another"),
    pytest.param(
        [hpa(), hpa(name="b", uid="I")], Standing.CHANGED, "web, b: no longer one alone", id="another beside"
    ),
    pytest.param(
        [hpa(labels={"scaledobject.keda.sh/name": "x"})],
        Standing.CHANGED,
        "made by ScaledObject/x): somebody would write it back",
        id="KEDA",
    ),
]


@pytest.mark.parametrize(("found", "standing", "says"), STANDINGS)
def test_where_an_intent_stands(api, cluster, found, standing, says):
    serve(api, deployment(), hpas=found)
    recognised = cluster.recognise(TARGET, RAISE)
    assert (recognised.standing, says in recognised.detail) == (standing, True), recognised
    assert recognised.generation == (7 if standing is Standing.APPLIED else None)


def test_an_unset_minimum_is_one(api, cluster):
    serve(api, deployment(), hpas=[hpa(None)])
    assert [one.minimum for one in observed(cluster).hpas or ()] == [1]
    first = MinimumIntent(
        uid="U", generation=7, autoscaler="web", autoscaler_uid="H", replicas_from=1, replicas_to=3
    )
    assert cluster.recognise(TARGET, first).standing is Standing.SENDABLE


def test_a_deployment_made_anew_or_a_mark_on_it_stops_it(api, cluster):
    serve(api, deployment(metadata={"uid": "V"}), hpas=[hpa()])
    assert cluster.recognise(TARGET, RAISE).standing is Standing.CHANGED
    assert "made anew; nothing was sent" in cluster.send(TARGET, RAISE).detail
    api.replace(
        responses.Response(
            "GET", DEPLOYMENT, json=deployment(metadata={"labels": {"remediator/paused": "true"}})
        )
    )
    assert cluster.recognise(TARGET, RAISE).stop.reason is Reason.PAUSED
    sent = cluster.send(TARGET, RAISE)
    assert sent.delivery is Delivery.CONFLICT
    assert "nothing was sent: label remediator/paused" in sent.detail


@pytest.mark.parametrize(
    "marks",
    [
        {"annotations": {"argocd.argoproj.io/tracking-id": "x"}},
        {"labels": {"kustomize.toolkit.fluxcd.io/name": "apps"}},
        {"managedFields": [{"manager": "argocd-controller"}]},
        {"ownerReferences": [{"kind": "Thing", "name": "x", "uid": "x", "controller": True}]},
        {"labels": {"scaledobject.keda.sh/name": "x"}},
    ],
    ids=["argo", "flux", "manager", "operator", "keda"],
)
def test_who_would_write_an_autoscaler_back_is_its_owner(api, cluster, marks):
    serve(api, deployment(), hpas=[hpa(**marks)])
    assert [bool(one.owner) for one in observed(cluster).hpas or ()] == [True]


def test_what_is_written_names_the_version_that_was_looked_at(api, cluster):
    serve(api, deployment(), hpas=[hpa()])
    accept(api, WEB)
    sent = cluster.send(TARGET, RAISE)
    assert (sent.delivery, sent.generation, sent.at) == (Delivery.APPLIED, 7, NOW)
    trial, real = [call.request for call in api.calls if call.request.method == "PATCH"]
    assert (dry(trial), dry(real)) == (True, False)
    assert real.headers["Content-Type"] == "application/merge-patch+json"
    assert json.loads(real.body) == json.loads(trial.body)
    assert json.loads(real.body) == {
        "metadata": {"uid": "H", "resourceVersion": "99"},
        "spec": {"minReplicas": 4},
    }


def test_an_older_api_server_is_written_to_in_its_version(api, cluster):
    serve(api, deployment())
    api.replace(responses.Response("GET", HPAS, status=404))
    api.get(OLD_HPAS, json={"items": [hpa()]})
    accept(api, f"{OLD_HPAS}/web")
    assert cluster.send(TARGET, RAISE).delivery is Delivery.APPLIED


@pytest.mark.parametrize("found", [one.values[0] for one in STANDINGS[1:]], ids=[o.id for o in STANDINGS[1:]])
def test_nothing_is_sent_unless_it_is_as_it_was(api, cluster, found):
    serve(api, deployment(), hpas=found)
    accept(api, WEB)
    assert cluster.send(TARGET, RAISE).delivery is Delivery.CONFLICT
    assert not any(call.request.method == "PATCH" for call in api.calls)


def test_a_conflict_is_looked_at_again_since_each_status_moves_the_version(api, cluster):
    serve(api, deployment(), hpas=[hpa()])
    answers = [(409, "{}"), (200, "{}"), (200, "{}")]
    api.add_callback("PATCH", WEB, callback=lambda _: (answers[0][0], {}, answers.pop(0)[1]))
    assert cluster.send(TARGET, RAISE).delivery is Delivery.APPLIED
    assert not answers


@pytest.mark.parametrize(("outcome", "trial", "real", "reason"), OUTCOMES)
def test_what_becomes_of_a_sending(api, cluster, *, outcome, trial, real, reason):
    serve(api, deployment(), hpas=[hpa()])
    for moment, delivery in (("trial", trial), ("real", real)):
        api.remove("PATCH", WEB)
        accept(api, WEB, **{moment: outcome})
        sent = cluster.send(TARGET, RAISE)
        assert (sent.delivery, sent.reason) == (delivery, reason)


@pytest.mark.parametrize(
    ("answer", "delivery", "reason"),
    [
        ({"status": 403}, Delivery.REFUSED, Reason.FORBIDDEN),
        ({"status": 500}, Delivery.NOT_SENT, None),
        ({"body": requests.ReadTimeout()}, Delivery.NOT_SENT, None),
    ],
    ids=["forbidden", "failing", "silent"],
)
def test_autoscalers_that_cannot_be_listed_are_no_answer(api, cluster, *, answer, delivery, reason):
    serve(api, deployment())
    api.replace(responses.Response("GET", HPAS, **answer))
    assert cluster.recognise(TARGET, RAISE).standing is Standing.UNREACHABLE
    sent = cluster.send(TARGET, RAISE)
    assert (sent.delivery, sent.reason) == (delivery, reason)
    assert sent.detail.startswith("nothing was sent: autoscalers: ")
    rollout = cluster.rollout(TARGET, RAISE, generation=7, since=NOW)
    assert rollout.state is RolloutState.UNREACHABLE


FOUR = deployment(
    spec={"replicas": 4},
    status={"replicas": 4, "updatedReplicas": 4, "availableReplicas": 4, "readyReplicas": 4},
)
ROLLOUTS = [
    pytest.param(
        RAISE, deployment(), hpa(4), "waiting", "autoscaler web to ask for 4 replicas, 2 are", id="not yet"
    ),
    pytest.param(RAISE, FOUR, hpa(4), "complete", "4 of 4 replicas updated, 4 ready", id="there"),
    pytest.param(
        RAISE, deployment(spec={"replicas": 4}), hpa(4), "waiting", "2 of 4 new replicas", id="pods to come"
    ),
    pytest.param(RAISE, FOUR, hpa(6), "overridden", "after our write: somebody set minReplicas 6", id="set"),
    pytest.param(
        RAISE, FOUR, hpa(2), "overridden", "after our write: minReplicas of web is 2", id="put back"
    ),
    pytest.param(LOWER, FOUR, hpa(3), "complete", "4 ready", id="lowered: pods go when it wants"),
    pytest.param(
        RAISE, deployment(metadata={"uid": "V"}), hpa(4), "failed", "made anew", id="Deployment anew"
    ),
]


@pytest.mark.parametrize(("intent", "live", "found", "state", "says"), ROLLOUTS)
def test_the_rollout_is_there_once_the_autoscaler_asked_and_the_pods_are_up(
    api, cluster, *, intent, live, found, state, says
):
    serve(api, live, hpas=[found])
    rollout = cluster.rollout(TARGET, intent, generation=7, since=NOW)
    assert (rollout.state.value, says in rollout.detail) == (state, True), rollout
