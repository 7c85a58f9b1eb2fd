"""With the shipped permissions and nothing else, on a real API server: enough, and not one too many."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from remediator.adapters.kubernetes import KubernetesCluster
from remediator.core.actions import Target
from remediator.core.execution import Delivery, Sent, Standing
from remediator.core.facts import Observation, Unseen
from remediator.core.permissions import Permission
from remediator.core.policy import Mode, Policy, Step
from remediator.core.reasons import Reason
from remediator.core.steps import weigh_steps
from remediator.permissions import manifests, needed
from tests.builders import RESTART, SCALE, UNDO, a_playbook, a_policy, a_situation

from .acting import carry_out, eventually, restart, scale, seen, undo
from .places import DEPLOY, OVERLAYS, Json, build, missing, objects, overlay, with_components
from .real import Kubectl, a_deployment, kubeconfig_of, kubectl_for
from .schemas import mistakes_in

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

WITHIN = timedelta(seconds=20)
OBSERVING = a_policy(mode=Mode.OBSERVE)
SCALING = a_policy(a_playbook(SCALE))


@dataclass
class Realm:
    """Two namespaces of our own on the API server: the targets', and the remediator's."""

    kubectl: Kubectl
    target: Target
    ours: str
    folder: Path
    closing: ExitStack

    def shipped(self, name: str) -> list[Json]:
        """The Role and RoleBinding of deploy/policies, moved to these namespaces."""
        return self.moved(objects((DEPLOY / "policies" / name / "rbac.yaml").read_text()))

    def printed(self, policy: Policy) -> list[Json]:
        return self.moved(objects(manifests(policy, namespace="remediator", account="remediator")))

    def moved(self, found: list[Json]) -> list[Json]:
        places = {"bizra-testnet": self.target.namespace, "remediator": self.ours}
        for one in found:
            metadata = one["metadata"]
            if "namespace" in metadata:
                metadata["namespace"] = places[metadata["namespace"]]
            elif one["kind"] == "Namespace":
                metadata["name"] = places[metadata["name"]]
            for subject in one.get("subjects", ()):
                subject["namespace"] = places[subject["namespace"]]
        return found

    def account(self, name: str, granted: list[Json]) -> KubernetesCluster:
        """A service account with exactly these Roles, and the adapter with nothing but its token."""
        for one in granted:
            one["metadata"]["name"] = name
        for binding in granted[1::2]:
            binding["roleRef"]["name"] = binding["subjects"][0]["name"] = name
        account = {"apiVersion": "v1", "kind": "ServiceAccount"}
        account |= {"metadata": {"name": name, "namespace": self.ours}}  # type: ignore[dict-item]
        self.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all([account, *granted]))
        config = kubeconfig_of(self.kubectl, self.ours, name, self.folder / name)
        cluster = KubernetesCluster.from_environment(config)
        self.closing.callback(cluster.close)
        return cluster


@pytest.fixture(scope="module")
def realm(tmp_path_factory: pytest.TempPathFactory, kubectl_home: Path) -> Iterator[Realm]:
    kubeconfig = os.environ.get("KUBECONFIG") or missing("KUBECONFIG names no real API server")
    kubectl = kubectl_for(kubeconfig, kubectl_home)
    tail = uuid.uuid4().hex[:8]
    ours = f"deploy-ours-{tail}"
    with ExitStack() as closing:
        closing.callback(kubectl, "delete", "namespace", f"deploy-{tail}", ours, "--wait=false")
        kubectl("create", "namespace", ours)
        target = a_deployment(kubectl, f"deploy-{tail}")
        yield Realm(kubectl, target, ours, tmp_path_factory.mktemp("accounts"), closing)


def without_gaps(
    cluster: KubernetesCluster, realm: Realm, policy: Policy, gap: Permission | None = None
) -> None:
    """Wait until the API server has taken the Roles in, and see that the review says what is missing."""
    wanted = {realm.target: (gap,)} if gap else {}
    eventually(lambda: cluster.review({realm.target: needed(policy)}, within=WITHIN).missing == wanted)


def test_the_observe_tier_sees_everything_and_can_write_nothing(realm: Realm):
    cluster = realm.account("observing", realm.shipped("observe"))
    without_gaps(cluster, realm, OBSERVING)

    now = seen(cluster, realm.target)
    answers = [cluster.send(realm.target, intent(now)) for intent in (restart, undo, scale)]

    assert unreadable(now) == set()
    assert {answer.reason for answer in answers} == {Reason.FORBIDDEN}
    assert seen(cluster, realm.target).generation == now.generation


def test_the_scale_tier_scales_and_is_refused_a_restart_before_it_is_tried(realm: Realm):
    cluster = realm.account("scaling", realm.printed(SCALING))
    without_gaps(cluster, realm, SCALING)

    assert carry_out(cluster, realm.target, scale(seen(cluster, realm.target))).delivery is Delivery.APPLIED

    everything = a_policy(a_playbook(RESTART))
    cluster.review({realm.target: needed(everything)}, within=WITHIN)
    now = seen(cluster, realm.target)
    for step in (RESTART, Step(action=UNDO.action)):
        situation = a_situation(playbook=a_playbook(step), seen=now)
        (verdict,) = weigh_steps(situation)
        assert verdict.reason is Reason.FORBIDDEN
        assert "we lack patch deployments (apps)" in verdict.detail
    assert cluster.send(realm.target, restart(now)).reason is Reason.FORBIDDEN
    assert seen(cluster, realm.target).generation == now.generation


def test_the_shipped_permissions_are_enough_for_every_action(realm: Realm):
    cluster = realm.account("changing", realm.shipped("auto"))
    without_gaps(cluster, realm, a_policy())

    for intent in (restart, scale, undo):
        now = seen(cluster, realm.target)
        assert unreadable(now) == set()
        assert carry_out(cluster, realm.target, intent(now)).delivery is Delivery.APPLIED


EVERYTHING = {"deployment", "previous", "pods", "hpas", "usage", "restart", "undo", "scale"}
BREAKS = {
    "get deployments (apps)": EVERYTHING - {"scale"},
    "list replicasets (apps)": {"previous", "pods", "usage", "undo"},
    "list pods": {"pods", "usage"},
    "list horizontalpodautoscalers (autoscaling)": {"hpas"},
    "list pods (metrics.k8s.io)": {"usage"},
    "get deployments/scale (apps)": {"scale"},
    "patch deployments/scale (apps)": {"scale"},
    "patch deployments (apps)": {"restart", "undo"},
}
"""What each rule is for: what is denied without it."""


def test_the_table_has_every_rule():
    assert list(BREAKS) == [str(permission) for permission in needed(a_policy())]


@pytest.mark.parametrize("left_out", range(len(BREAKS)), ids=[rule.replace("/", "-") for rule in BREAKS])
def test_without_any_one_rule_something_is_denied(realm: Realm, left_out: int):
    lacking = needed(a_policy())[left_out]
    admin = realm.account(f"whole-{left_out}", realm.shipped("auto"))
    role, binding = realm.shipped("auto")
    del role["rules"][left_out]
    cluster = realm.account(f"without-{left_out}", [role, binding])
    without_gaps(admin, realm, a_policy())
    without_gaps(cluster, realm, a_policy(), lacking)

    assert denied(cluster, admin, realm.target) == BREAKS[str(lacking)]


def denied(cluster: KubernetesCluster, admin: KubernetesCluster, target: Target) -> set[str]:
    """Which parts of an observation and which actions the API server refuses us."""
    now = cluster.observe(target)
    found = unreadable(now)
    for name, intent in (("restart", restart), ("undo", undo), ("scale", scale)):
        eventually(lambda: seen(admin, target).rolled_out)
        wanted = intent(seen(admin, target))
        sent = cluster.send(target, wanted)
        recognised = cluster.recognise(target, wanted)
        refused = sent.reason is Reason.FORBIDDEN
        assert refused or sent.delivery is Delivery.APPLIED, sent
        assert refused or name == "scale" or recognised.standing is Standing.APPLIED, recognised
        found |= {name} if refused else set()
    return found


def unreadable(now: Observation | Unseen) -> set[str]:
    if isinstance(now, Unseen):
        assert now.reason is Reason.FORBIDDEN, now
        return {"deployment", "previous", "pods", "hpas", "usage"}
    names = ("previous", "pods", "hpas", "usage")
    return {name for name in names if "HTTP 403" in now.unreadable.get(name, "")}


def test_a_forbidden_write_leaves_no_trace_and_says_which_verb(realm: Realm):
    cluster = realm.account("tried", realm.shipped("observe"))
    without_gaps(cluster, realm, OBSERVING)
    now = seen(cluster, realm.target)

    sent: Sent = cluster.send(realm.target, restart(now))

    assert sent.delivery is Delivery.REFUSED
    assert 'cannot patch resource "deployments"' in sent.detail


@pytest.mark.parametrize("name", OVERLAYS)
def test_the_api_server_accepts_every_overlay(realm: Realm, name: str, tmp_path: Path):
    found = realm.moved(with_components(name, tmp_path))
    known = [one for one in found if mistakes_in(one) is None]

    said = apply_dry(realm, known)

    assert len(said) == len(known)
    assert {one["kind"] for one in overlay(name)} == {one["kind"] for one in known}


def test_the_api_server_accepts_the_demo_workload(realm: Realm):
    found = realm.moved(objects(build(str(DEPLOY / "demo-workload"))))

    assert len(apply_dry(realm, found)) == len(found)


def apply_dry(realm: Realm, found: list[Json]) -> list[str]:
    done = realm.kubectl("apply", "--dry-run=server", "-f", "-", stdin=yaml.safe_dump_all(found))
    assert all("(server dry run)" in line for line in done.splitlines()), done
    return done.splitlines()
