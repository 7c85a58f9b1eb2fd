"""Each fact from the right source: who owns it, whose verdict it is, which budgets and autoscalers count."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
import requests
import responses

from remediator.adapters.kubernetes import listing
from remediator.core.facts import Autoscaler, Observation

from .kube import (
    BUDGETS,
    HISTORY,
    PODS,
    at,
    deployment,
    observed,
    pod,
    progressing,
    replica_set,
    serve,
)

MANAGED = "field manager"


@pytest.mark.parametrize(
    ("metadata", "marks"),
    [
        pytest.param({"managedFields": [{"manager": "kubectl-client-side-apply"}]}, (), id="by hand"),
        pytest.param({"managedFields": [{"manager": "helm"}]}, (), id="Helm"),
        pytest.param(
            {"managedFields": [{"manager": "argocd-controller"}, {"manager": "kubectl"}]},
            ("field manager argocd-controller",),
            id="Argo CD applied it",
        ),
        pytest.param(
            {"managedFields": [{"manager": "kustomize-controller"}]},
            ("field manager kustomize-controller",),
            id="Flux applied it",
        ),
        pytest.param(
            {
                "labels": {"kustomize.toolkit.fluxcd.io/name": "x"},
                "managedFields": [{"manager": "kustomize-controller"}],
                "annotations": {"kustomize.toolkit.fluxcd.io/reconcile": "disabled"},
            },
            (),
            id="Flux leaves it alone",
        ),
        pytest.param(
            {
                "labels": {"helm.toolkit.fluxcd.io/name": "x"},
                "annotations": {"kustomize.toolkit.fluxcd.io/reconcile": "disabled"},
            },
            ("label helm.toolkit.fluxcd.io/name=x",),
            id="that is said to the other of its controllers",
        ),
    ],
)
def test_marks_of_gitops(api, cluster, metadata, marks):
    serve(api, deployment(metadata=metadata))
    assert observed(cluster).gitops == marks


REF = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "apex"}


def autoscaler(name: str = "h", *, metadata=None, status=None, **spec):
    return {
        "metadata": {"name": name, "uid": "H", **(metadata or {})},
        "spec": {"scaleTargetRef": REF, "maxReplicas": 9, **spec},
        "status": status,
    }


AUTOSCALERS = [
    pytest.param(autoscaler(), Autoscaler(name="h", maximum=9, uid="H"), id="no lower bound is 1"),
    pytest.param(
        autoscaler(minReplicas=2, status={"currentReplicas": 3, "desiredReplicas": 5}),
        Autoscaler(name="h", minimum=2, maximum=9, current=3, desired=5, uid="H"),
        id="growing",
    ),
    pytest.param(
        autoscaler(metadata={"labels": {"scaledobject.keda.sh/name": "s"}}),
        Autoscaler(name="h", maximum=9, owner="ScaledObject/s", uid="H"),
        id="KEDA's by label",
    ),
    pytest.param(
        autoscaler(
            metadata={"ownerReferences": [{"kind": "ScaledObject", "name": "s", "controller": True}]},
            minReplicas=0,
        ),
        Autoscaler(name="h", minimum=0, maximum=9, owner="ScaledObject/s", uid="H"),
        id="KEDA's by owner",
    ),
]


@pytest.mark.parametrize(("hpa", "seen"), AUTOSCALERS)
def test_an_autoscaler_says_its_bounds_what_it_wants_and_whose_it_is(api, cluster, hpa, seen):
    serve(api, deployment(), hpas=[hpa])
    assert observed(cluster).hpas == (seen,)
    assert seen.growing is (seen.desired == 5)


def test_all_autoscalers_on_the_target_are_told(api, cluster):
    serve(api, deployment(), hpas=[autoscaler("b"), autoscaler("a")])
    assert [hpa.name for hpa in observed(cluster).hpas or ()] == ["a", "b"]


def budget(name: str, labels, allowed: int = 1):
    return {
        "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": labels}},
        "status": {"disruptionsAllowed": allowed},
    }


def test_budgets_on_its_pods_are_told(api, cluster):
    budgets = [budget("ours", {"app": "apex"}, 0), budget("theirs", {"app": "web"}), budget("none", {})]
    serve(api, deployment(), budgets=budgets)
    assert observed(cluster).budgets == ("ours allows 0 evictions now",)


def test_budgets_of_an_older_api_server(api, cluster):
    serve(api, deployment())
    api.replace(responses.Response("GET", BUDGETS, status=404))
    api.get(BUDGETS.replace("/v1/", "/v1beta1/"), json={"items": [budget("old", {"app": "apex"})]})
    assert observed(cluster).budgets == ("old allows 1 evictions now",)


@pytest.mark.parametrize(
    ("message", "exceeded"),
    [
        ('ReplicaSet "two" has timed out progressing.', True),
        ('ReplicaSet "one" has timed out progressing.', False),
        ('Deployment "apex" has timed out progressing.', True),
    ],
    ids=["of the present one", "of an older one", "of nobody"],
)
def test_a_missed_deadline_is_about_the_replica_set_it_names(api, cluster, message, exceeded):
    said = {**progressing("ProgressDeadlineExceeded"), "message": message}
    serve(api, deployment(status={"updatedReplicas": 1, "conditions": [said]}))
    assert observed(cluster).progress_deadline_exceeded is exceeded


QUOTA = 'pods "apex-2" is forbidden: exceeded quota: small, requested: pods=1, used: pods=2, limited: pods=2'


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        ({"status": "True", "reason": "FailedCreate", "message": QUOTA}, QUOTA),
        ({"status": "True"}, "it does not say why"),
        ({"status": "True", "message": "x" * 999}, "x" * 256),
        ({"status": "False", "message": QUOTA}, None),
    ],
    ids=["quota", "mute", "verbose", "over"],
)
def test_pods_that_cannot_be_created(api, cluster, failure, said):
    serve(api, deployment(status={"conditions": [{"type": "ReplicaFailure", **failure}]}))
    assert observed(cluster).replica_failure == said


# ------------------------------------------------------------ lists in pages


def pages(api, url: str, *answers) -> None:
    """Answer one page after the other."""
    api.remove("GET", url)
    for answer in answers:
        api.get(url, **answer)


def page(names, token: str = ""):
    return {"json": {"metadata": {"continue": token}, "items": [pod(name) for name in names]}}


def tokens(api, url: str) -> list[str]:
    path = urlsplit(url).path
    asked = [urlsplit(call.request.url) for call in api.calls]
    return [parse_qs(one.query).get("continue", [""])[0] for one in asked if one.path == path]


def test_a_long_list_is_read_to_its_end(api, cluster):
    serve(api, deployment())
    pages(api, PODS, page("ab", "next"), page("cd", "last"), page("e"))
    assert [one.name for one in observed(cluster).pods or ()] == list("abcde")
    assert tokens(api, PODS) == ["", "next", "last"]
    limits = {parse_qs(urlsplit(call.request.url).query).get("limit", [""])[0] for call in api.calls[1:]}
    assert limits >= {str(listing.PAGE)}


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        ({"status": 403, "json": {"message": "no"}}, "HTTP 403: no, after 2 objects of a longer list"),
        ({"body": requests.ReadTimeout()}, "no answer within the time-out, after 2 objects of a longer list"),
        ({"json": {}}, "the API server's answer is no list"),
    ],
    ids=["forbidden", "silent", "no list"],
)
def test_half_a_list_is_none(api, cluster, broken, why):
    serve(api, deployment())
    pages(api, PODS, page("ab", "next"), broken)
    seen = observed(cluster)
    assert (seen.pods, seen.unreadable["pods"]) == (None, why)


def test_a_token_that_ran_out_begins_anew_once(api, cluster):
    serve(api, deployment())
    pages(api, PODS, page("ab", "old"), {"status": 410}, page("abc"))
    assert [one.name for one in observed(cluster).pods or ()] == list("abc")
    assert tokens(api, PODS) == ["", "old", ""]

    pages(api, PODS, page("ab", "old"), {"status": 410, "json": {"message": "too old"}})
    assert observed(cluster).unreadable["pods"] == "HTTP 410: too old"


def test_a_list_without_end_takes_no_longer_than_one_request_may(api, cluster, monkeypatch):
    serve(api, deployment())
    pages(api, PODS, page("ab", "next"))
    monkeypatch.setattr(type(cluster._connection), "patience", 0.2)
    seen = observed(cluster)
    assert seen.pods is None
    assert seen.unreadable["pods"].endswith("objects of a longer list")


def test_everything_about_the_present_template_only(api, cluster):
    restarted = replica_set("three", "3", "app:2", 30, restarted=at(30))
    serve(
        api,
        deployment("app:2", restarted=at(30)),
        replica_sets=[*HISTORY, restarted],
        pods=[pod("before", "two"), pod("after", "three")],
    )
    seen: Observation = observed(cluster)
    assert [one.name for one in seen.pods or ()] == ["after"]
