"""What `observe` sees of a Deployment, and the facts that follow, on both API servers."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from remediator.core.actions import Target
from remediator.core.facts import Fact, FactRules, Finding, Observation, Unseen, facts_from
from remediator.core.reasons import Reason
from tests.waiting import eventually


def facts(seen: Observation, *, alert_started_at: datetime | None = None) -> dict[Fact, Finding]:
    started = alert_started_at or datetime.now(UTC) + timedelta(seconds=1)
    return dict(facts_from(seen, alert_started_at=started, rules=FactRules()))


def moment(written: str) -> datetime:
    return datetime.fromisoformat(written)


FATES = [
    pytest.param("app:1", None, id="healthy"),
    pytest.param("app:crash", Fact.CRASH_LOOPING, id="crash"),
    pytest.param("app:oom", Fact.OOM_KILLED, id="oom"),
    pytest.param("app:imagepull", Fact.IMAGE_PULL_FAILING, id="imagepull"),
    pytest.param("app:pending", Fact.UNSCHEDULABLE, id="pending"),
]


@pytest.mark.parametrize(("image", "sick"), FATES)
def test_how_pods_fare(world, manifest, image, sick):
    name = world.name("fate")
    world.apply(manifest(name, image))

    def seen_sick() -> Any:
        seen = world.see(name)
        found = facts(seen)
        both = seen.pods is not None and len(seen.pods) == 2
        return seen if both and (found[sick].truth if sick else seen.ready == 2) else None

    seen = eventually(seen_sick)
    found = facts(seen)

    pod_facts = {Fact.CRASH_LOOPING, Fact.OOM_KILLED, Fact.IMAGE_PULL_FAILING, Fact.UNSCHEDULABLE}
    expected = {sick} if sick else set()
    if sick is Fact.OOM_KILLED:
        expected.add(Fact.CRASH_LOOPING)
    assert {fact for fact in pod_facts if found[fact].truth} == expected
    assert all(found[fact].truth is not None for fact in pod_facts)
    assert all(pod.ready is (sick is None) for pod in seen.pods)
    assert seen.opted_in
    assert seen.hpas == ()
    assert seen.rolled_out is (sick is None)


def test_pods_of_an_older_revision_are_not_judged(world):
    name = world.name("old-pods")
    world.deployed(name, "app:1")
    world.kubectl("set", "image", f"deployment/{name}", "app=app:imagepull")

    def seen_failing() -> Any:
        seen = world.see(name)
        said = facts(seen)[Fact.ROLLOUT_IN_PROGRESS].because
        return seen if facts(seen)[Fact.IMAGE_PULL_FAILING].truth and said.startswith("1 of 2") else None

    seen = eventually(seen_failing)

    assert seen.ready == 2, "the old pods still serve"
    assert len(seen.pods) == 1
    assert not seen.rolled_out
    assert seen.rollout_detail == "1 of 2 new replicas have been updated"


def test_the_change_of_template_is_exact_and_restarts_do_not_count(world):
    name = world.name("changed")
    first = world.deployed(name, "app:1")
    born = moment(world.get(name)["metadata"]["creationTimestamp"])
    assert first.template_changed.earliest == first.template_changed.latest
    assert born <= first.template_changed.earliest <= datetime.now(UTC), "the controller may be busy"

    world.kubectl("set", "image", f"deployment/{name}", "app=app:2")
    second = world.settled(name)
    assert second.template_changed.earliest == second.template_changed.latest
    assert second.template_changed.earliest >= first.template_changed.earliest
    assert second.template_digest != first.template_digest
    assert [(r.number, r.images[0]) for r in second.previous] == [(1, "app:1")]

    for _ in range(2):
        world.kubectl("patch", "deployment", name, "--patch", restarted(second))
        third = world.settled(name)
        second = third
    assert third.template_changed == world.see(name).template_changed
    assert third.template_digest == second.template_digest
    assert [(r.number, r.images[0]) for r in third.previous] == [(1, "app:1")]
    assert facts(third)[Fact.RECENT_ROLLOUT].truth is True


def restarted(seen: Observation) -> str:
    """A restart stamped by generation: `kubectl rollout restart` refuses two within a second."""
    at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=seen.generation)
    annotations = {"kubectl.kubernetes.io/restartedAt": at.strftime("%Y-%m-%dT%H:%M:%SZ")}
    return json.dumps({"spec": {"template": {"metadata": {"annotations": annotations}}}})


def test_after_an_undo_only_bounds_are_known(world):
    name = world.name("undone")
    first = world.deployed(name, "app:1")
    second = world.deployed(name, "app:1", "app:2")
    started = datetime.now(UTC)
    world.kubectl("rollout", "undo", f"deployment/{name}")
    third = world.settled(name)

    changed = third.template_changed
    assert third.images[0] == "app:1"
    assert third.template_digest == first.template_digest
    assert changed.earliest == second.template_changed.earliest, "it came back after app:2 was made"
    assert changed.earliest <= started <= changed.latest + timedelta(seconds=1)
    assert changed.latest <= third.at + timedelta(seconds=1)
    assert [r.images[0] for r in third.previous] == ["app:2"]

    world.kubectl("rollout", "restart", f"deployment/{name}")
    fourth = world.settled(name)
    assert fourth.template_changed.earliest == changed.earliest
    assert fourth.template_changed.latest >= changed.earliest


LIMITS = {"cpu": "500m", "memory": "1Gi"}


@pytest.mark.parametrize(
    ("limits", "usage", "expected", "why"),
    [
        pytest.param(LIMITS, ("450m", "512Mi"), 0.9, None, id="cpu is the scarcer"),
        pytest.param(LIMITS, ("50000000n", "896Mi"), 0.875, None, id="memory is the scarcer"),
        pytest.param(None, ("450m", "512Mi"), None, "no container has a cpu or memory limit", id="no limits"),
        pytest.param(LIMITS, None, None, "there are no metrics of the current pods", id="no metrics"),
    ],
)
def test_usage(world, limits, usage, expected, why):
    name = world.name("usage")
    world.deployed(name, "app:1", limits=limits)
    if usage:
        for pod in world.see(name).pods:
            measure(world, pod.name, name, *usage)
    seen = world.see(name)

    assert seen.usage == (pytest.approx(expected) if expected else None)
    assert seen.unreadable.get("usage") == why
    assert facts(seen)[Fact.RESOURCE_PRESSURE].truth is (True if expected else None)


def measure(world, pod: str, app: str, cpu: str, memory: str) -> None:
    """What metrics-server would say."""
    body = {
        "apiVersion": "metrics.k8s.io/v1beta1",
        "kind": "PodMetrics",
        "metadata": {"name": pod, "namespace": world.namespace, "labels": {"app": app, "team": "ahsan"}},
        "timestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "window": "15s",
        "containers": [
            {"name": "app", "usage": {"cpu": cpu, "memory": memory}},
            {"name": "sidecar", "usage": {"cpu": "1m", "memory": "1Mi"}},
        ],
    }
    world.kubectl("create", "-f", "-", stdin=json.dumps(body))


def autoscaler(name: str) -> dict[str, Any]:
    """In version v1, which servers of every age know."""
    return {
        "apiVersion": "autoscaling/v1",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": name},
        "spec": {
            "minReplicas": 1,
            "maxReplicas": 4,
            "targetCPUUtilizationPercentage": 80,
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
        },
    }


def test_an_autoscaler_on_the_target(world):
    name, other = world.name("scaled"), world.name("other")
    world.deployed(name, "app:1")
    for scaled in (name, other):
        world.apply(autoscaler(scaled))

    seen = world.see(name)

    assert [(hpa.name, hpa.minimum, hpa.maximum) for hpa in seen.hpas] == [(name, 1, 4)]
    assert facts(seen)[Fact.HPA].truth is True


def test_a_paused_deployment_and_a_gitops_mark(world):
    name = world.name("marked")
    world.deployed(name, "app:1")
    world.kubectl("rollout", "pause", f"deployment/{name}")
    world.kubectl("annotate", "deployment", name, "argocd.argoproj.io/tracking-id=bizra:apps/Deployment:x")
    world.kubectl("label", "deployment", name, "remediator/enabled-", "app.kubernetes.io/managed-by=Helm")

    seen = world.see(name)

    assert seen.paused
    assert not seen.opted_in
    assert seen.gitops == ("annotation argocd.argoproj.io/tracking-id=bizra:apps/Deployment:x",)
    assert seen.controller is None


def test_the_evidence_of_a_crash(world, manifest):
    name = world.name("witness")
    world.apply(manifest(name, "app:crash"))

    def seen_crashed() -> Any:
        seen = world.cluster.observe(world.target(name), logs=True)
        crashed = [pod for pod in seen.pods or () if pod.endings]
        told = {
            (one.about, one.reason) for one in seen.events or ()
        }  # Kubernetes writes them when it finds time
        scaled = (f"Deployment/{name}", "ScalingReplicaSet") in told
        return seen if scaled and crashed and len(crashed) == len(seen.pods) else None

    seen = eventually(seen_crashed)

    assert all(name in one.about for one in seen.events)
    assert {(end.container, end.exit_code) for pod in seen.pods for end in pod.endings} >= {("app", 1)}
    # The real API server of our tests has no kubelet that it could ask for a log, and says so.
    told = seen.unreadable.get("logs", "") or "".join(line for log in seen.logs for line in log.lines)
    assert "HTTP 5" in told or "lab: " in told


def test_disruption_budgets_on_its_pods(world):
    name = world.name("budgeted")
    world.deployed(name, "app:1")
    served = world.kubectl("api-versions").split()
    version = "policy/v1" if "policy/v1" in served else "policy/v1beta1"
    for budget, app in ((name, name), (f"{name}-other", "other")):
        kind = {"apiVersion": version, "kind": "PodDisruptionBudget", "metadata": {"name": budget}}
        world.apply({**kind, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": app}}}})

    assert [one.partition(" allows ")[0] for one in world.see(name).budgets or ()] == [name]


def test_a_deployment_that_is_not_there(world):
    seen = world.cluster.observe(Target(world.namespace, "nobody"))

    assert isinstance(seen, Unseen)
    assert seen.reason is Reason.TARGET_NOT_FOUND


def test_ping(world):
    assert world.cluster.ping() is None
