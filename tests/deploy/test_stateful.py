"""A policy that names a StatefulSet: exactly its permissions, the whole loop, and its trace for kubectl."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from requests import PreparedRequest

from remediator.adapters.kubernetes import KubernetesCluster
from remediator.core.actions import Scale, Target, Workload
from remediator.core.announcements import Told
from remediator.core.execution import Delivery
from remediator.core.facts import Unseen
from remediator.core.incidents import Phase
from remediator.core.permissions import Permission
from remediator.core.policy import Policy, Step
from remediator.core.reasons import Reason
from remediator.permissions import manifests, needed, needed_on_each
from tests.builders import APEX, RESTART, SCALE, UNDO, a_criterion, a_playbook, a_policy
from tests.waiting import eventually

from .acting import an_announcement, carry_out, need_of, restart, scale, seen
from .loop import BACK, QUICK, Loop, kinds, over
from .real import WITHIN, Kubectl, Realm
from .test_permissions import granted

KIND = Workload.STATEFUL_SET
LEDGER = Target(APEX.namespace, "bizra-ledger", KIND)
QUERY = 'score{namespace="$namespace",statefulset="$statefulset"}'
LABELS = {"app.kubernetes.io/name": "bizra-ledger"}


def policy(*steps: Step, target: Target = LEDGER) -> Policy:
    playbook = a_playbook(*(steps or (RESTART, SCALE)), verify=a_criterion(query=QUERY))
    return a_policy(playbook, targets=(target,))


def printed(found: Policy) -> str:
    return manifests(found, namespace="remediator", account="remediator")


# ------------------------------------------------------------ permissions


def test_statefulsets_are_granted_where_the_policy_names_one_and_deployments_are_not():
    resources = {resource for _, _, resource, _ in granted(printed(policy()))}
    assert {"statefulsets", "statefulsets/scale", "controllerrevisions"} <= resources
    assert not resources & {"deployments", "deployments/scale", "replicasets"}


def test_a_policy_of_deployments_is_granted_no_statefulset():
    resources = {resource for _, _, resource, _ in granted(printed(a_policy()))}
    assert not resources & {"statefulsets", "statefulsets/scale", "controllerrevisions"}


def test_a_namespace_with_both_has_one_role_where_each_rule_names_its_own():
    either = a_criterion(query=QUERY.replace("$statefulset", "$workload"))
    twin = Target(APEX.namespace, APEX.name, KIND)
    found = a_policy(a_playbook(RESTART, SCALE, verify=either), targets=(APEX, LEDGER, twin))
    grants = granted(printed(found))
    named = {(resource, name) for verb, _, resource, name in grants if verb == "patch"}
    assert named == {
        ("deployments", "bizra-apex"),
        ("deployments/scale", "bizra-apex"),
        ("statefulsets", "bizra-apex"),
        ("statefulsets", "bizra-ledger"),
        ("statefulsets/scale", "bizra-apex"),
        ("statefulsets/scale", "bizra-ledger"),
    }
    assert len([one for one in yaml.safe_load_all(printed(found)) if one["kind"] == "Role"]) == 1
    assert len(set(grants)) == len(list(grants)), "nothing is granted twice"


def test_each_target_needs_what_the_playbooks_of_its_kind_need():
    found = replace(policy(SCALE, target=LEDGER), targets={**a_policy().targets, **policy(SCALE).targets})
    needs = needed_on_each(found)
    assert [str(one) for one in needs[LEDGER] if one.verb == "patch"] == ["patch statefulsets/scale (apps)"]
    assert [str(one) for one in needs[APEX] if one.verb == "patch"] == []


def test_an_undo_is_never_done_and_needs_nothing():
    assert [one for one in needed(policy(UNDO), KIND) if one.verb == "patch"] == []


# ------------------------------------------------------------ in the lab


def a_stateful_set(kubectl: Kubectl, namespace: str) -> Target:
    manifest = {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": LEDGER.name, "labels": {"remediator/enabled": "true", **LABELS}},
        "spec": {
            "replicas": 2,
            "serviceName": LEDGER.name,
            "selector": {"matchLabels": LABELS},
            "template": {
                "metadata": {"labels": LABELS},
                "spec": {"containers": [{"name": "node", "image": "ledger:1"}]},
            },
        },
    }
    kubectl("--namespace", namespace, "apply", "-f", "-", stdin=json.dumps(manifest))
    return Target(namespace, LEDGER.name, KIND)


@pytest.fixture
def ledger(lab_kubectl: Kubectl, cluster: KubernetesCluster) -> Target:
    lab_kubectl("create", "namespace", LEDGER.namespace)
    found = a_stateful_set(lab_kubectl, LEDGER.namespace)
    eventually(lambda: (now := seen(cluster, found)).rolled_out and now.ready == 2)
    return found


def test_every_request_needs_a_permission_of_the_table_and_every_permission_is_needed(
    ledger: Target, cluster: KubernetesCluster, asked: list[PreparedRequest]
):
    asked.clear()
    now = seen(cluster, ledger)
    for intent in (restart, scale):
        assert carry_out(cluster, ledger, intent(now)).delivery is Delivery.APPLIED
        eventually(lambda: seen(cluster, ledger).rolled_out)
        now = seen(cluster, ledger)
    assert cluster.announce(an_announcement(ledger)) is Told.WRITTEN

    used = {need for request in asked if (need := need_of(request))}
    wanted = {
        (one.verb, one.group, one.resource, ledger.name if one.named else None)
        for one in needed(policy(), KIND)
    }
    assert used == wanted


@pytest.fixture
def home(ledger: Target, lab_kubectl: Kubectl, tmp_path: Path) -> Iterator[Realm]:
    with ExitStack() as closing:
        yield Realm(lab_kubectl, ledger, "remediator", tmp_path, closing)


def loop_on(home: Realm, folder: Path, cluster: KubernetesCluster, *steps: Step) -> Loop:
    loop = Loop(folder, home, cluster, *steps)
    verify = replace(QUICK, query=QUERY)
    loop.policy = replace(
        loop.policy,
        playbooks={name: replace(one, verify=verify) for name, one in loop.policy.playbooks.items()},
        limits=replace(loop.policy.limits, cooldown=timedelta()),
    )
    return loop


def test_an_undo_is_refused_and_the_restart_recovers(home: Realm, cluster: KubernetesCluster, tmp_path: Path):
    loop = loop_on(home, tmp_path, cluster, BACK, RESTART)
    loop.heals_when(lambda then, now: now.generation > then.generation and now.rolled_out)

    story = loop.runs(over)

    assert (story.incident.phase, kinds(story)) == (Phase.CLOSED, ["restart"]), story.events
    assert str(story.incident.target) == "bizra-testnet/statefulset/bizra-ledger"
    history = home.on_target("rollout history").strip().splitlines()
    assert "remediator: rolling restart for AhsanScoreLow (incident 1, " in history[-1]
    described = home.on_target("describe")
    for words in ("RemediationDecided", "RemediationStarted", "RemediationRecovered"):
        assert words in described


def test_a_scale_up_recovers_and_is_given_back(home: Realm, cluster: KubernetesCluster, tmp_path: Path):
    loop = loop_on(home, tmp_path, cluster, Step(action=Scale(4)))
    grown: list[object] = []
    loop.heals_when(lambda _, now: bool(grown) or (now.ready == 4 and not grown.append(now)))
    story = loop.runs(over)
    assert (story.incident.phase, story.incident.return_to) == (Phase.RETURNING, 2), story.events
    loop.resolves()
    story = loop.works(lambda story: story.incident.phase is Phase.CLOSED)
    assert kinds(story) == ["scale", "return", "return"], story.events
    assert seen(cluster, home.target).replicas == 2


def test_a_broken_rollout_that_waits_for_ever_is_handed_over_with_the_pod_to_delete(
    home: Realm, cluster: KubernetesCluster, tmp_path: Path
):
    loop = loop_on(home, tmp_path, cluster, BACK, RESTART, Step(action=Scale(4)))
    loop.metrics.on_ask = lambda _: 0.0
    where = ("--namespace", home.target.namespace)
    home.kubectl(*where, "set", "image", f"statefulset/{home.target.name}", "node=ledger:2-crash")
    eventually(lambda: seen(cluster, home.target).pods and seen(cluster, home.target).pods[0].waiting)  # type: ignore[index]
    generation = seen(cluster, home.target).generation

    story = loop.hears(over)

    assert (story.incident.phase, kinds(story)) == (Phase.ESCALATED, []), story.events
    said = story.events[-1]["detail"]
    assert "by hand, when the data allows it: kubectl rollout undo --to-revision=1" in said
    assert "kubectl delete pod bizra-ledger-1" in said
    assert seen(cluster, home.target).generation == generation


# ------------------------------------------------------------ on a real API server


BREAKS = {
    "get statefulsets (apps)": {"statefulset"},
    "list controllerrevisions (apps)": {"previous", "template_changed"},
    "list pods": {"pods", "usage"},
    "list horizontalpodautoscalers (autoscaling)": {"hpas"},
    "list poddisruptionbudgets (policy)": {"budgets"},
    "list pods (metrics.k8s.io)": {"usage"},
    "list events": {"events"},
    "get statefulsets/scale (apps)": {"scale"},
    "patch statefulsets/scale (apps)": {"scale"},
    "patch statefulsets (apps)": {"restart"},
    "create events": {"announcements"},
}
"""What each rule is for: what is denied without it."""


def test_the_table_has_every_rule():
    assert list(BREAKS) == [str(permission) for permission in needed(policy(), KIND)]


class Controller(threading.Thread):
    """Says, as a StatefulSet controller would, that what is wanted is there: the API server here has none."""

    def __init__(self, kubectl: Kubectl, target: Target) -> None:
        super().__init__(daemon=True)
        self._kubectl, self._target = kubectl, target
        self._ending = threading.Event()

    def run(self) -> None:
        while not self._ending.wait(0.5):
            self.look()

    def look(self) -> None:
        on = ("--namespace", self._target.namespace)
        named = (self._target.kind.label, self._target.name)
        live = json.loads(self._kubectl(*on, "get", *named, "--output=json"))
        generation, wanted = live["metadata"]["generation"], live["spec"]["replicas"]
        counts = dict.fromkeys(("replicas", "readyReplicas", "updatedReplicas"), wanted)
        revisions = dict.fromkeys(("currentRevision", "updateRevision"), f"revision-{generation}")
        status = {"observedGeneration": generation, **counts, **revisions}
        if live["status"].get("observedGeneration") != generation:
            patch = f"--patch={json.dumps({'status': status})}"
            self._kubectl(*on, "patch", *named, "--subresource=status", "--type=merge", patch)

    def end(self) -> None:
        self._ending.set()
        self.join()


@pytest.fixture(scope="module")
def real(realm: Realm) -> Realm:
    target = a_stateful_set(realm.kubectl, realm.target.namespace)
    Controller(realm.kubectl, target).look()
    return replace(realm, target=target)


@pytest.fixture
def controller(real: Realm) -> Iterator[Controller]:
    running = Controller(real.kubectl, real.target)
    running.start()
    yield running
    running.end()


@pytest.mark.real
def test_with_these_permissions_and_nothing_else_it_is_restarted_and_scaled(
    real: Realm, controller: Controller, tmp_path: Path
):
    up = Step(action=Scale(4))
    cluster = real.account("ledger-loop", real.printed(policy(RESTART, up)))
    loop = loop_on(real, tmp_path, cluster, BACK, RESTART, up)
    eventually(lambda: cluster.review({real.target: needed(loop.policy, KIND)}, within=WITHIN).missing == {})
    grown: list[object] = []  # a restart does not help, more pods do
    loop.heals_when(lambda _, now: bool(grown) or (now.ready == 4 and not grown.append(now)))

    story = loop.runs(over)
    assert (story.incident.phase, kinds(story)) == (Phase.RETURNING, ["restart", "scale"]), story.events
    loop.resolves()
    story = loop.works(lambda story: story.incident.phase is Phase.CLOSED)

    assert kinds(story) == ["restart", "scale", "return", "return"], story.events
    described = real.on_target("describe")
    for words in ("Started", "DidNotHelp", "Recovered", "Returned"):
        assert f"Remediation{words}" in described


OWN = [number for number, rule in enumerate(BREAKS) if "statefulset" in rule or "controllerrevision" in rule]
"""The others are those of a Deployment, and tried with one."""


@pytest.mark.real
@pytest.mark.parametrize("left_out", [None, *OWN])
def test_without_any_one_rule_something_is_denied(real: Realm, left_out: int | None):
    wanted = needed(policy(), KIND)
    granted = real.printed(policy())
    lacking: dict[Target, tuple[Permission, ...]] = {}
    if left_out is not None:
        del granted[0]["rules"][left_out]
        lacking = {real.target: (wanted[left_out],)}
    cluster = real.account(f"ledger-{left_out}".lower(), granted)
    eventually(lambda: cluster.review({real.target: wanted}, within=WITHIN).missing == lacking)

    expected = BREAKS[str(wanted[left_out])] if left_out is not None else set()
    assert denied(cluster, real.account("ledger-admin", real.printed(policy())), real.target) == expected


def denied(cluster: KubernetesCluster, admin: KubernetesCluster, target: Target) -> set[str]:
    """Which parts of an observation and which actions the API server refuses us."""
    now = cluster.observe(target)
    if isinstance(now, Unseen):
        assert now.reason is Reason.FORBIDDEN, now
        return {"statefulset"}
    found = {name for name, why in now.unreadable.items() if "HTTP 403" in why}
    for name, intent in (("restart", restart), ("scale", scale)):
        sent = cluster.send(target, intent(seen(admin, target)))
        refused = sent.reason is Reason.FORBIDDEN
        assert refused or sent.delivery is Delivery.APPLIED, sent
        found |= {name} if refused else set()
    told = cluster.announce(an_announcement(target))
    return found | ({"announcements"} if told is Told.FORBIDDEN else set())
