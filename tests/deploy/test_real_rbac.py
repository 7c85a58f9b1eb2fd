"""With the shipped permissions and nothing else, on a real API server: enough, and not one too many."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from remediator.adapters.kubernetes import KubernetesCluster
from remediator.core.actions import Target
from remediator.core.announcements import Told
from remediator.core.execution import Delivery, Sent, Standing
from remediator.core.facts import Observation, Unseen
from remediator.core.policy import Mode, Step
from remediator.core.reasons import Reason
from remediator.core.steps import weigh_steps
from remediator.permissions import needed
from tests.builders import RESTART, SCALE, UNDO, a_playbook, a_policy, a_situation, an_incident
from tests.waiting import eventually

from .acting import an_announcement, carry_out, restart, scale, seen, undo
from .places import DEPLOY, OVERLAYS, Json, build, objects, overlay, with_components
from .real import WITHIN, Realm, await_review
from .schemas import mistakes_in

pytestmark = pytest.mark.real

OBSERVING = a_policy(mode=Mode.OBSERVE)
SCALING = a_policy(a_playbook(SCALE))


def test_the_observe_tier_sees_everything_and_can_write_nothing(realm: Realm):
    cluster = realm.account("observing", realm.shipped("observe"))
    await_review(cluster, realm, OBSERVING)

    now = seen(cluster, realm.target)
    answers = [cluster.send(realm.target, intent(now)) for intent in (restart, undo, scale)]

    assert unreadable(now) == set()
    assert {answer.reason for answer in answers} == {Reason.FORBIDDEN}
    assert seen(cluster, realm.target).generation == now.generation


def test_the_scale_tier_scales_and_is_refused_a_restart_before_it_is_tried(realm: Realm):
    cluster = realm.account("scaling", realm.printed(SCALING))
    await_review(cluster, realm, SCALING)

    assert carry_out(cluster, realm.target, scale(seen(cluster, realm.target))).delivery is Delivery.APPLIED

    everything = a_policy(a_playbook(RESTART))
    cluster.review({realm.target: needed(everything)}, within=WITHIN)
    now = seen(cluster, realm.target)
    for step in (RESTART, Step(action=UNDO.action)):
        incident = an_incident(alert_started_at=now.at)
        situation = a_situation(playbook=a_playbook(step), seen=now, incident=incident)
        (verdict,) = weigh_steps(situation)
        assert verdict.reason is Reason.FORBIDDEN
        assert "we lack patch deployments (apps)" in verdict.detail
    assert cluster.send(realm.target, restart(now)).reason is Reason.FORBIDDEN
    assert seen(cluster, realm.target).generation == now.generation


def test_the_shipped_permissions_are_enough_for_every_action(realm: Realm):
    cluster = realm.account("changing", realm.shipped("auto"))
    await_review(cluster, realm, a_policy())

    for intent in (restart, scale, undo):
        now = seen(cluster, realm.target)
        assert unreadable(now) == set()
        assert carry_out(cluster, realm.target, intent(now)).delivery is Delivery.APPLIED


EVERYTHING = {
    "deployment",
    "previous",
    "pods",
    "hpas",
    "budgets",
    "events",
    "usage",
    "restart",
    "undo",
    "scale",
    "announcements",
}
BREAKS = {
    "get deployments (apps)": EVERYTHING,
    "list replicasets (apps)": {"previous", "pods", "usage", "undo"},
    "list pods": {"pods", "usage"},
    "list horizontalpodautoscalers (autoscaling)": {"hpas", "scale"},
    "list poddisruptionbudgets (policy)": {"budgets"},
    "list pods (metrics.k8s.io)": {"usage"},
    "list events": {"events"},
    "get deployments/scale (apps)": {"scale"},
    "patch deployments/scale (apps)": {"scale"},
    "patch deployments (apps)": {"restart", "undo"},
    "create events": {"announcements"},
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
    await_review(admin, realm, a_policy())
    await_review(cluster, realm, a_policy(), lacking)

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
    told = cluster.announce(an_announcement(target))
    assert told in {Told.WRITTEN, Told.FORBIDDEN}, told
    return found | ({"announcements"} if told is Told.FORBIDDEN else set())


def unreadable(now: Observation | Unseen) -> set[str]:
    if isinstance(now, Unseen):
        assert now.reason is Reason.FORBIDDEN, now
        return {"deployment", "previous", "pods", "hpas", "budgets", "events", "usage"}
    names = ("previous", "pods", "hpas", "budgets", "events", "usage")
    return {name for name in names if "HTTP 403" in now.unreadable.get(name, "")}


def test_a_forbidden_write_leaves_no_trace_and_says_which_verb(realm: Realm):
    cluster = realm.account("tried", realm.shipped("observe"))
    await_review(cluster, realm, OBSERVING)
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
    newer = {"PodDisruptionBudget"}  # of policy/v1
    assert {one["kind"] for one in overlay(name)} - newer == {one["kind"] for one in known}


def test_the_api_server_accepts_the_demo_workload(realm: Realm):
    found = realm.moved(objects(build(str(DEPLOY / "demo-workload"))))

    assert len(apply_dry(realm, found)) == len(found)


def apply_dry(realm: Realm, found: list[Json]) -> list[str]:
    done = realm.kubectl("apply", "--dry-run=server", "-f", "-", stdin=yaml.safe_dump_all(found))
    assert all("(server dry run)" in line for line in done.splitlines()), done
    return done.splitlines()
