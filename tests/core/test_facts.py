"""What follows from what was observed."""

import math
from dataclasses import replace
from datetime import timedelta

import pytest

from remediator.core.facts import (
    Autoscaler,
    Between,
    Fact,
    FactRules,
    PodSeen,
    Strategy,
    facts_from,
    with_usage,
)
from remediator.core.seen import Ending
from tests.builders import a_revision, ago, an_observation, recently

STARTED = ago(minutes=1)
RULES = FactRules()


def judge(**overrides):
    return facts_from(an_observation(**overrides), alert_started_at=STARTED, rules=RULES)


def a_pod(**overrides):
    return PodSeen(**{"name": "pod-0", "ready": False, **overrides})


def between(earliest, latest):
    return Between(earliest=STARTED - timedelta(minutes=earliest), latest=STARTED - timedelta(minutes=latest))


def ended(**overrides):
    """One pod that is not ready, whose container failed half a minute ago and runs again."""
    given = {"container": "app", "reason": "Error", "exit_code": 1, "at": ago(seconds=30), "restarts": 3}
    return {"pods": (a_pod(endings=(Ending(**{**given, **overrides}),)),)}


OOM = {"reason": "OOMKilled", "exit_code": 137}
QUOTA = "exceeded quota: small, requested: pods=1"
GONE = {"unreadable": {"pods": "forbidden", "hpas": "forbidden", "usage": "no metrics"}}

CASES = [
    # a rollout that ended up to an hour before the alert is recent
    pytest.param(
        Fact.RECENT_ROLLOUT, {"template_changed": between(10, 10)}, True, "10 min before", id="recent"
    ),
    pytest.param(
        Fact.RECENT_ROLLOUT, {"template_changed": between(1, 1)}, True, "60 s before", id="in seconds"
    ),
    pytest.param(
        Fact.RECENT_ROLLOUT, {"template_changed": between(60, 60)}, True, "60 min", id="just recent"
    ),
    pytest.param(
        Fact.RECENT_ROLLOUT, {"template_changed": between(0, 0)}, True, "0 s", id="as the alert began"
    ),
    pytest.param(Fact.RECENT_ROLLOUT, {"template_changed": between(61, 61)}, False, "61 min", id="too old"),
    pytest.param(
        Fact.RECENT_ROLLOUT, {"template_changed": between(180, 180)}, False, " 3 h before", id="in hours"
    ),
    pytest.param(
        Fact.RECENT_ROLLOUT,
        {"template_changed": between(13020, 13020)},
        False,
        " 9 days before",
        id="in days",
    ),
    pytest.param(
        Fact.RECENT_ROLLOUT, {"template_changed": between(-1, -1)}, False, "after the alert", id="too late"
    ),
    pytest.param(
        Fact.RECENT_ROLLOUT,
        {"template_changed": between(70, 10)},
        None,
        "only roughly",
        id="straddles the start",
    ),
    pytest.param(
        Fact.RECENT_ROLLOUT,
        {"template_changed": between(10, -5)},
        None,
        "only roughly",
        id="straddles the end",
    ),
    pytest.param(Fact.RECENT_ROLLOUT, {"template_changed": None}, None, "not observed", id="change unknown"),
    # what there is to go back to
    pytest.param(Fact.PREVIOUS_REVISION, {}, True, "revision 6 differs (hive:6)", id="a previous revision"),
    pytest.param(Fact.PREVIOUS_REVISION, {"previous": ()}, False, "no older revision", id="none"),
    pytest.param(
        Fact.PREVIOUS_REVISION,
        {"previous": None, "unreadable": {"previous": "forbidden"}},
        None,
        "forbidden",
        id="revisions unreadable",
    ),
    # the rollout
    pytest.param(Fact.ROLLOUT_IN_PROGRESS, {}, False, "rollout complete", id="at rest"),
    pytest.param(
        Fact.ROLLOUT_IN_PROGRESS,
        {"rolled_out": False, "rollout_detail": "1 of 3"},
        True,
        "1 of 3",
        id="rolling out",
    ),
    pytest.param(
        Fact.ROLLOUT_STUCK,
        {"rolled_out": False, "progress_deadline_exceeded": True},
        True,
        "deadline exceeded",
        id="stuck",
    ),
    pytest.param(
        Fact.ROLLOUT_STUCK,
        {"rolled_out": False, "replica_failure": "denied by webhook"},
        True,
        "cannot be created: denied by webhook",
        id="stuck before its deadline",
    ),
    pytest.param(Fact.ROLLOUT_STUCK, {"rolled_out": False}, False, "within", id="slow"),
    pytest.param(Fact.ROLLOUT_STUCK, {"progress_deadline_exceeded": True}, False, "", id="was stuck once"),
    # the pods
    pytest.param(
        Fact.CRASH_LOOPING,
        {"pods": (a_pod(waiting=("CrashLoopBackOff",)),)},
        True,
        "1 of 1 pods",
        id="crashing",
    ),
    pytest.param(
        Fact.CRASH_LOOPING, {"pods": (a_pod(waiting=("Pulling",)),)}, False, "0 of 1", id="starting"
    ),
    pytest.param(Fact.CRASH_LOOPING, {"pods": ()}, False, "0 of 0", id="no pods"),
    pytest.param(Fact.CRASH_LOOPING, {"pods": None, **GONE}, None, "forbidden", id="pods unreadable"),
    *(
        pytest.param(Fact.CRASH_LOOPING, {"pods": (a_pod(waiting=(why,)),)}, True, f"pod-0 {why}", id=why)
        for why in ("CreateContainerConfigError", "CreateContainerError", "RunContainerError")
    ),
    pytest.param(
        Fact.CRASH_LOOPING,
        ended(),
        True,
        "pod-0, app ended with 1 (Error) at 11:59:30, 3 restarts",
        id="between two back-offs",
    ),
    pytest.param(Fact.CRASH_LOOPING, ended(restarts=2), False, "0 of 1", id="ended twice"),
    pytest.param(Fact.CRASH_LOOPING, ended(at=ago(minutes=6)), False, "0 of 1", id="ran on since"),
    pytest.param(Fact.CRASH_LOOPING, ended(at=None), False, "0 of 1", id="ended who knows when"),
    pytest.param(
        Fact.CRASH_LOOPING,
        {"pods": (replace(ended()["pods"][0], ready=True),)},
        False,
        "0 of 1",
        id="came back and is ready",
    ),
    pytest.param(
        Fact.CRASH_LOOPING,
        {"pods": (replace(ended()["pods"][0], waiting=("CrashLoopBackOff",)),)},
        True,
        "CrashLoopBackOff, app ended with 1",
        id="crashing, with its last end",
    ),
    *(
        pytest.param(Fact.IMAGE_PULL_FAILING, {"pods": (a_pod(waiting=(why,)),)}, True, "pull", id=why)
        for why in ("ImagePullBackOff", "ErrImagePull", "InvalidImageName", "ErrImageNeverPull")
    ),
    pytest.param(Fact.OOM_KILLED, ended(**OOM), True, "out of memory: pod-0, app ended with 137", id="OOM"),
    pytest.param(Fact.OOM_KILLED, ended(**OOM, at=ago(minutes=60)), True, "137", id="OOM an hour ago"),
    pytest.param(Fact.OOM_KILLED, ended(**OOM, at=ago(minutes=61)), False, "0 of 1", id="OOM in the past"),
    pytest.param(
        Fact.OOM_KILLED, ended(reason="Error", exit_code=137), False, "0 of 1", id="killed by a probe"
    ),
    pytest.param(
        Fact.OOM_KILLED, ended(reason="OOMKilled", exit_code=143), False, "0 of 1", id="a child of it was"
    ),
    pytest.param(Fact.OOM_KILLED, {}, False, "0 of 3", id="no OOM"),
    pytest.param(
        Fact.UNSCHEDULABLE, {"pods": (a_pod(unschedulable="no node"),)}, True, "unschedulable", id="no node"
    ),
    pytest.param(Fact.UNSCHEDULABLE, {}, False, "0 of 3", id="scheduled"),
    pytest.param(
        Fact.UNSCHEDULABLE,
        {"replica_failure": QUOTA},
        True,
        "cannot be created: exceeded quota",
        id="no quota",
    ),
    pytest.param(
        Fact.UNSCHEDULABLE, {"replica_failure": "denied by webhook"}, False, "0 of 3", id="not admitted"
    ),
    pytest.param(Fact.UNSCHEDULABLE, {"pods": None, **GONE}, None, "forbidden", id="pods not seen"),
    # resources
    pytest.param(Fact.RESOURCE_PRESSURE, {"usage": 0.8}, True, "80%", id="pressure"),
    pytest.param(Fact.RESOURCE_PRESSURE, {"usage": 0.79}, False, "79%", id="no pressure"),
    pytest.param(Fact.RESOURCE_PRESSURE, {"usage": 0.0}, False, "0%", id="idle"),
    pytest.param(Fact.RESOURCE_PRESSURE, {"usage": None, **GONE}, None, "no metrics", id="no limit set"),
    # owners
    pytest.param(
        Fact.HPA,
        {"hpas": (Autoscaler(name="hive", maximum=4),)},
        True,
        "hive (1 to 4 replicas)",
        id="an autoscaler",
    ),
    pytest.param(
        Fact.HPA,
        {"hpas": (Autoscaler(name="h", minimum=2, maximum=4, current=3, desired=4, owner="ScaledObject/s"),)},
        True,
        "h (2 to 4 replicas, wants 4 of now 3, made by ScaledObject/s)",
        id="KEDA's autoscaler",
    ),
    pytest.param(
        Fact.HPA,
        {"hpas": (Autoscaler(name="a", maximum=4), Autoscaler(name="b", maximum=9))},
        True,
        "2 autoscalers work against each other: a (1 to 4 replicas), b (1 to 9 replicas)",
        id="two autoscalers",
    ),
    pytest.param(Fact.HPA, {}, False, "no HorizontalPodAutoscaler", id="no autoscaler"),
    pytest.param(Fact.HPA, {"hpas": None, **GONE}, None, "forbidden", id="autoscalers unreadable"),
    pytest.param(Fact.GITOPS_OWNED, {"gitops": ("argocd", "flux")}, True, "argocd, flux", id="gitops"),
    pytest.param(Fact.GITOPS_OWNED, {}, False, "no mark", id="no gitops"),
    pytest.param(Fact.OPERATOR_OWNED, {"controller": "Hive/apex"}, True, "Hive/apex", id="operator"),
    pytest.param(Fact.OPERATOR_OWNED, {}, False, "no controlling owner", id="no operator"),
    # the Deployment
    pytest.param(Fact.PAUSED, {"paused": True}, True, "are paused", id="paused"),
    pytest.param(Fact.PAUSED, {}, False, "not paused", id="not paused"),
    pytest.param(
        Fact.SINGLE_REPLICA,
        {"replicas": 1},
        True,
        "1 replicas wanted; a rollout may take 0 pods",
        id="single",
    ),
    pytest.param(
        Fact.SINGLE_REPLICA,
        {"replicas": 1, "strategy": Strategy(kind="Recreate", missing=1)},
        True,
        "strategy Recreate takes every pod away",
        id="single and recreated",
    ),
    pytest.param(Fact.SINGLE_REPLICA, {"replicas": 0}, False, "0 replicas", id="none wanted"),
]


@pytest.mark.parametrize(("fact", "seen", "truth", "because"), CASES)
def test_a_fact_is_true_false_or_unknown_and_says_why(fact, seen, truth, because):
    finding = judge(**seen)[fact]
    assert finding.truth is truth
    assert because in finding.because


def test_every_fact_is_present_even_when_nothing_could_be_read():
    blind = judge(template_changed=None, previous=None, pods=None, usage=None, hpas=None)
    assert set(blind) == set(Fact)
    unknown = {fact for fact, finding in blind.items() if finding.truth is None}
    assert unknown == {
        Fact.RECENT_ROLLOUT,
        Fact.PREVIOUS_REVISION,
        Fact.CRASH_LOOPING,
        Fact.IMAGE_PULL_FAILING,
        Fact.OOM_KILLED,
        Fact.UNSCHEDULABLE,
        Fact.RESOURCE_PRESSURE,
        Fact.HPA,
    }


def test_every_finding_has_words():
    assert all(finding.because for finding in judge(previous=(a_revision(images=()),)).values())


def test_the_policy_says_what_recent_and_pressure_mean():
    rules = FactRules(recent_rollout=timedelta(minutes=5), resource_pressure=0.2)
    found = facts_from(an_observation(template_changed=recently(10)), alert_started_at=STARTED, rules=rules)
    assert found[Fact.RECENT_ROLLOUT].truth is False
    assert found[Fact.RESOURCE_PRESSURE].truth is True


@pytest.mark.parametrize(
    ("share", "why_not", "usage", "said"),
    [
        (0.9, "", True, "usage is 90% of the limit on average, says Prometheus"),
        (0.1, "", False, "usage is 10% of the limit on average, says Prometheus"),
        (None, "the query returned no series", None, "no metrics; Prometheus: the query returned no series"),
        (math.inf, "", None, "no metrics; Prometheus: inf is no share"),
        (-0.5, "", None, "no metrics; Prometheus: -0.5 is no share"),
    ],
)
def test_where_there_are_no_pod_metrics_prometheus_says_the_usage(share, why_not, usage, said):
    seen = with_usage(an_observation(usage=None, unreadable={"usage": "no metrics"}), share, why_not)
    finding = facts_from(seen, alert_started_at=STARTED, rules=RULES)[Fact.RESOURCE_PRESSURE]
    assert (finding.truth, finding.because) == (usage, said)
    assert ("usage" in seen.unreadable) is (usage is None)
