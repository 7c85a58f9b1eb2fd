"""What follows from what was observed."""

from datetime import timedelta

import pytest

from remediator.core.facts import Between, Fact, FactRules, PodSeen, facts_from
from tests.builders import a_revision, ago, an_observation, recently

STARTED = ago(minutes=1)
RULES = FactRules()


def judge(**overrides):
    return facts_from(an_observation(**overrides), alert_started_at=STARTED, rules=RULES)


def a_pod(**overrides):
    return PodSeen(**{"name": "pod-0", "ready": False, **overrides})


def between(earliest, latest):
    return Between(earliest=STARTED - timedelta(minutes=earliest), latest=STARTED - timedelta(minutes=latest))


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
        pytest.param(Fact.IMAGE_PULL_FAILING, {"pods": (a_pod(waiting=(why,)),)}, True, "pull", id=why)
        for why in ("ImagePullBackOff", "ErrImagePull", "InvalidImageName")
    ),
    pytest.param(Fact.OOM_KILLED, {"pods": (a_pod(oom_killed=True),)}, True, "out of memory", id="OOM"),
    pytest.param(Fact.OOM_KILLED, {}, False, "0 of 3", id="no OOM"),
    pytest.param(
        Fact.UNSCHEDULABLE, {"pods": (a_pod(unschedulable="no node"),)}, True, "unschedulable", id="no node"
    ),
    pytest.param(Fact.UNSCHEDULABLE, {}, False, "0 of 3", id="scheduled"),
    # resources
    pytest.param(Fact.RESOURCE_PRESSURE, {"usage": 0.8}, True, "80%", id="pressure"),
    pytest.param(Fact.RESOURCE_PRESSURE, {"usage": 0.79}, False, "79%", id="no pressure"),
    pytest.param(Fact.RESOURCE_PRESSURE, {"usage": 0.0}, False, "0%", id="idle"),
    pytest.param(Fact.RESOURCE_PRESSURE, {"usage": None, **GONE}, None, "no metrics", id="no limit set"),
    # owners
    pytest.param(Fact.HPA, {"hpas": ("hive",)}, True, "hive", id="an autoscaler"),
    pytest.param(Fact.HPA, {}, False, "no HorizontalPodAutoscaler", id="no autoscaler"),
    pytest.param(Fact.HPA, {"hpas": None, **GONE}, None, "forbidden", id="autoscalers unreadable"),
    pytest.param(Fact.GITOPS_OWNED, {"gitops": ("argocd", "flux")}, True, "argocd, flux", id="gitops"),
    pytest.param(Fact.GITOPS_OWNED, {}, False, "no mark", id="no gitops"),
    pytest.param(Fact.OPERATOR_OWNED, {"controller": "Hive/apex"}, True, "Hive/apex", id="operator"),
    pytest.param(Fact.OPERATOR_OWNED, {}, False, "no controlling owner", id="no operator"),
    # the Deployment
    pytest.param(Fact.PAUSED, {"paused": True}, True, "are paused", id="paused"),
    pytest.param(Fact.PAUSED, {}, False, "not paused", id="not paused"),
    pytest.param(Fact.SINGLE_REPLICA, {"replicas": 1}, True, "1 replicas", id="single"),
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
