"""Raising minReplicas: what it needs to be allowed, what a second lock leaves of it, a real autoscaler."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from requests import PreparedRequest

from remediator.adapters.kubernetes import KubernetesCluster
from remediator.core.actions import MinimumIntent, Scale, Target
from remediator.core.execution import Delivery
from remediator.core.facts import Observation
from remediator.core.incidents import Phase
from remediator.core.permissions import CREATE_EVENTS, READ_SCALE, READS, WRITE_MINIMUM, WRITE_SCALE
from remediator.core.policy import Mode, Step
from remediator.core.reasons import Reason
from remediator.permissions import Tier, manifests, needed, tier_of
from tests.builders import a_playbook, a_policy

from .acting import an_announcement, carry_out, need_of, scale, seen
from .loop import Loop, kinds, over
from .places import DEPLOY, Json
from .real import Kubectl, Realm, await_review
from .test_admission import OURS, evaluate, policy_in, refusals
from .test_permissions import granted

RAISE = Step(action=Scale(4, raises_minimum=True))
RAISING = a_policy(a_playbook(RAISE))


def an_autoscaler(kubectl: Kubectl, target: Target, least: int = 2) -> None:
    manifest = {
        "apiVersion": "autoscaling/v1",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": target.name, "namespace": target.namespace},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": target.name},
            "minReplicas": least,
            "maxReplicas": 6,
        },
    }
    kubectl("apply", "-f", "-", stdin=json.dumps(manifest))


def raise_to(now: Observation, least: int) -> MinimumIntent:
    assert now.hpas
    (hpa,) = now.hpas
    return MinimumIntent(
        uid=now.uid,
        generation=now.generation,
        autoscaler=hpa.name,
        autoscaler_uid=hpa.uid,
        replicas_from=hpa.minimum,
        replicas_to=least,
    )


# What it needs


def test_only_a_policy_that_raises_is_granted_a_write_to_autoscalers():
    assert needed(RAISING) == (*READS, READ_SCALE, WRITE_SCALE, WRITE_MINIMUM, CREATE_EVENTS)
    assert tier_of(needed(RAISING)) is Tier.SCALE
    rule = ("patch", "autoscaling", "horizontalpodautoscalers", None)
    for policy, has in (
        (RAISING, True),
        (a_policy(), False),
        (a_policy(a_playbook(RAISE), mode=Mode.OBSERVE), False),
    ):
        assert (rule in granted(manifests(policy, namespace="remediator", account="remediator"))) is has
    assert "horizontalpodautoscalers" in (DEPLOY / "policies/auto/rbac.yaml").read_text()
    assert not any(verb == "patch" and "autoscaler" in what for verb, _, what, _ in granted(shipped()))


def shipped() -> str:
    return (DEPLOY / "policies/auto/rbac.yaml").read_text()


def test_what_the_adapter_asks_for_is_what_rbac_grants(
    lab_kubectl: Kubectl, cluster: KubernetesCluster, target: Target, asked: list[PreparedRequest]
):
    assert carry_out(cluster, target, scale(seen(cluster, target))).delivery is Delivery.APPLIED
    an_autoscaler(lab_kubectl, target)
    assert carry_out(cluster, target, raise_to(seen(cluster, target), 4)).delivery is Delivery.APPLIED
    assert carry_out(cluster, target, raise_to(seen(cluster, target), 3)).delivery is Delivery.APPLIED
    cluster.announce(an_announcement(target))

    needs = {need for request in asked if (need := need_of(request)) is not None}

    named = {("patch", "autoscaling", "horizontalpodautoscalers", target.name)}  # by its own name
    unnamed = {("patch", "autoscaling", "horizontalpodautoscalers", None)}
    grants = granted(manifests(RAISING, namespace="remediator", account="remediator"))
    assert needs - named == grants - unnamed
    assert named <= needs


# The second lock


def an_object() -> Json:
    return {
        "metadata": {"labels": {"app": "web"}, "annotations": {"note": "x"}},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "bizra-apex"},
            "minReplicas": 2,
            "maxReplicas": 12,
            "metrics": [{"type": "Resource"}],
        },
    }


def refused(change: Any = None, *, least: int | None = 5, name: str = "bizra-apex") -> list[str]:
    before = an_object()
    before["spec"]["scaleTargetRef"]["name"] = name
    after = deepcopy(before)
    after["spec"]["minReplicas"] = least
    if least is None:
        del after["spec"]["minReplicas"]
    if change:
        change(after)
    names = {"request": {"namespace": "bizra-testnet"}, "oldObject": before, "object": after}
    return refusals("autoscalers.yaml", names)


BOUND = "minReplicas is outside of 1, maxReplicas and the policy's bound for this target"
ONLY = "the remediator changes nothing of an autoscaler but its minReplicas"
MARKS = "the remediator changes no label, annotation or owner of an autoscaler"
CHANGES: dict[str, tuple[Any, str]] = {
    "maximum": (lambda hpa: hpa["spec"].update(maxReplicas=20), ONLY),
    "metrics": (lambda hpa: hpa["spec"]["metrics"].clear(), ONLY),
    "no metrics": (lambda hpa: hpa["spec"].pop("metrics"), ONLY),
    "behavior": (lambda hpa: hpa["spec"].update(behavior={"scaleDown": {}}), ONLY),
    "target": (lambda hpa: hpa["spec"]["scaleTargetRef"].update(name="other"), ONLY),
    "label": (lambda hpa: hpa["metadata"]["labels"].update(app="other"), MARKS),
    "annotation": (lambda hpa: hpa["metadata"].pop("annotations"), MARKS),
    "owner": (lambda hpa: hpa["metadata"].update(ownerReferences=[{"kind": "Pod"}]), MARKS),
}


@pytest.mark.parametrize("what", CHANGES)
def test_nothing_of_an_autoscaler_may_change_but_its_minimum(what: str):
    change, message = CHANGES[what]
    assert refused(change) == [message]


@pytest.mark.parametrize(
    ("least", "passes"), [(1, True), (2, True), (10, True), (0, False), (11, False), (None, False)]
)
def test_the_minimum_stays_within_the_policys_bound(least: int | None, passes: bool):
    assert refused(least=least) == ([] if passes else [BOUND])


def test_and_within_the_autoscalers_own_maximum():
    assert refused(lambda hpa: hpa["spec"].update(minReplicas=9, maxReplicas=8)) == [ONLY, BOUND]


def test_an_autoscaler_of_anything_else_is_left_alone():
    assert refused(name="other") == ["the policy does not list what this autoscaler scales"]


def test_only_our_service_account_is_concerned():
    (condition,) = policy_in("autoscalers.yaml")["matchConditions"]
    for user, concerned in ((OURS, True), ("ada", False)):
        names = {"request": {"userInfo": {"username": user}}}
        assert bool(evaluate(condition["expression"], names)) is concerned


# A real API server with its autoscaler controller


@pytest.mark.real
def test_without_the_rule_it_is_refused_before_it_is_tried(realm: Realm, tmp_path: Path):
    an_autoscaler(realm.kubectl, realm.target)
    role, binding = realm.printed(RAISING)
    role["rules"] = [
        rule
        for rule in role["rules"]
        if rule["resources"] != ["horizontalpodautoscalers"] or rule["verbs"] != ["patch"]
    ]
    cluster = realm.account("raise-short", [role, binding])
    await_review(cluster, realm, RAISING, WRITE_MINIMUM)
    loop = Loop(tmp_path, realm, cluster, RAISE)
    loop.heals_when(lambda _then, _now: False)

    story = loop.runs(over)

    assert (story.incident.phase, kinds(story)) == (Phase.ESCALATED, []), story.events
    lacking = f"we lack patch horizontalpodautoscalers (autoscaling) on {realm.target}"
    assert lacking in str(story.events[-1])
    assert cluster.send(realm.target, raise_to(seen(cluster, realm.target), 4)).reason is Reason.FORBIDDEN
    realm.kubectl("--namespace", realm.target.namespace, "delete", "hpa", realm.target.name)


@pytest.mark.real
def test_an_autoscaler_brings_the_pods_and_gets_its_minimum_back(realm: Realm, tmp_path: Path):
    """Its own controller asks for the replicas: nothing of ours writes them."""
    realm.scale(2)
    an_autoscaler(realm.kubectl, realm.target)
    cluster = realm.account("raise-whole", realm.printed(RAISING))
    loop = Loop(tmp_path, realm, cluster, RAISE)
    await_review(cluster, realm, loop.policy)
    four: list[object] = []
    loop.heals_when(lambda _, now: bool(four) or (now.ready == 4 and not four.append(now)))

    story = loop.runs(over)
    assert (story.incident.phase, kinds(story)) == (Phase.RETURNING, ["raise_min"]), story.events
    assert minimum(realm) == 4
    loop.resolves()
    story = loop.works(lambda story: story.incident.phase is Phase.CLOSED)

    assert kinds(story) == ["raise_min", "return", "return"], story.events
    assert minimum(realm) == 2
    assert story.events[-1]["detail"] == "minReplicas 2"


def minimum(realm: Realm) -> int:
    where = ("--namespace", realm.target.namespace)
    found = realm.kubectl(*where, "get", "hpa", realm.target.name, "--output=json")
    least: int = json.loads(found)["spec"]["minReplicas"]
    return least
