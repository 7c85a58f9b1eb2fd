"""What the order of a StatefulSet forbids, and when its rollout is stuck."""

import pytest

from remediator.core.actions import RollingRestart, RolloutUndo, Scale, Target, Workload
from remediator.core.decide import decide
from remediator.core.decisions import Act, Escalate, Hold
from remediator.core.evidence import snapshot
from remediator.core.facts import Autoscaler, Fact, FactRules, Order, PodSeen, Strategy, facts_from
from remediator.core.permissions import WRITE_STATEFUL_SET, needed_by, reads_of
from remediator.core.policy import Step, TargetPolicy
from remediator.core.reasons import Reason
from remediator.core.seen import Ending, NumberedPod
from remediator.core.steps import weigh_steps
from tests.builders import (
    APEX,
    NOW,
    a_playbook,
    a_policy,
    a_revision,
    a_situation,
    ago,
    an_incident,
    an_observation,
)

LEDGER = Target(APEX.namespace, "bizra-ledger", Workload.STATEFUL_SET)
RESTART, UNDO = Step(action=RollingRestart()), Step(action=RolloutUndo())
UP, DOWN = Step(action=Scale(5)), Step(action=Scale(1, down=True))
AT_REST = Order(unready=())
ONE_AWAY = Strategy(missing=1)
SLOW = PodSeen(name="ledger-1", ready=False)
CRASHED = Ending(container="app", reason="Error", exit_code=1, at=ago(minutes=1), restarts=4)
CRASHING = PodSeen(name="ledger-1", ready=False, waiting=("CrashLoopBackOff",), endings=(CRASHED,))
PULLING = PodSeen(name="ledger-1", ready=False, waiting=("ImagePullBackOff",))
UNPLACED = PodSeen(name="ledger-2", ready=False, unschedulable="0/3 nodes are available")


def unready(*pods):
    return tuple(NumberedPod(number=int(pod.name[-1]), pod=pod) for pod in pods)


def seen(order=AT_REST, **overrides):
    return an_observation(**{"order": order, "strategy": ONE_AWAY, **overrides})


def of(*steps, order=AT_REST, **overrides):
    return a_situation(
        playbook=a_playbook(*steps),
        incident=an_incident(target=LEDGER),
        seen=seen(order, **overrides),
        target_policy=TargetPolicy(target=LEDGER, min_replicas=1, max_replicas=10),
    )


CASES = [
    pytest.param(of(RESTART), Reason.STEP_APPLIES, "", id="restart"),
    pytest.param(of(UP), Reason.STEP_APPLIES, "", id="up"),
    pytest.param(of(DOWN), Reason.STEP_APPLIES, "", id="down"),
    pytest.param(
        of(UNDO),
        Reason.STATEFUL_NOT_UNDONE,
        "by hand, when the data allows it: kubectl rollout undo --to-revision=6, then delete the pods",
        id="undo",
    ),
    pytest.param(
        of(UNDO, previous=()), Reason.STATEFUL_NOT_UNDONE, "no older revision", id="undo without a past"
    ),
    pytest.param(
        of(UNDO, previous=None), Reason.STATEFUL_NOT_UNDONE, "no older revision", id="undo, past unknown"
    ),
    pytest.param(
        of(RESTART, order=Order(on_delete=True, unready=())),
        Reason.ON_DELETE,
        "delete its pods one by one",
        id="OnDelete",
    ),
    pytest.param(of(UP, order=Order(on_delete=True, unready=())), Reason.STEP_APPLIES, "", id="OnDelete, up"),
    pytest.param(
        of(RESTART, order=Order(partition=2, unready=())),
        Reason.PARTITIONED,
        "the partition is 2, of 3 pods",
        id="partition",
    ),
    pytest.param(of(UP, order=Order(partition=2, unready=())), Reason.STEP_APPLIES, "", id="partition, up"),
    *(
        pytest.param(
            of(step, order=Order(unready=unready(CRASHING)), ready=2),
            Reason.WAITS_FOR_POD,
            "ledger-1 CrashLoopBackOff, app ended with 1 (Error) at 11:59:00, 4 restarts; once the cause is "
            "mended: kubectl delete pod ledger-1",
            id=f"a pod fails: {step.action}",
        )
        for step in (RESTART, UP)
    ),
    pytest.param(
        of(RESTART, order=Order(unready=unready(SLOW)), ready=2),
        Reason.WAITS_FOR_POD,
        "ledger-1 is not ready; once",
        id="a pod is slow",
    ),
    pytest.param(
        of(DOWN, order=Order(unready=unready(UNPLACED)), ready=2),
        Reason.STEP_APPLIES,
        "",
        id="down: the one that goes is not ready",
    ),
    pytest.param(
        of(DOWN, order=Order(unready=unready(SLOW, UNPLACED)), ready=1),
        Reason.WAITS_FOR_POD,
        "ledger-2, unschedulable: 0/3 nodes are available; once",
        id="down: two that go are not ready",
    ),
    pytest.param(
        of(DOWN, order=Order(unready=unready(PodSeen(name="ledger-0", ready=False))), ready=2),
        Reason.WAITS_FOR_POD,
        "ledger-0 is not ready",
        id="down: one that stays is not ready",
    ),
    *(
        pytest.param(
            of(step, order=Order(one_by_one=False, unready=unready(CRASHING)), ready=2),
            Reason.STEP_APPLIES,
            "",
            id=f"in parallel: {step.action}",
        )
        for step in (RESTART, UP, DOWN)
    ),
    pytest.param(
        of(RESTART, order=Order(unready=None), unreadable={"pods": "forbidden"}),
        Reason.FACT_UNKNOWN,
        "whether a pod is not ready is unknown: forbidden",
        id="pods unknown",
    ),
    pytest.param(
        of(DOWN, order=Order(unready=(), drops_volumes=True)),
        Reason.VOLUMES_WOULD_GO,
        "whenScaled is Delete",
        id="down: the volumes go",
    ),
    pytest.param(
        of(UP, order=Order(unready=(), drops_volumes=True)), Reason.STEP_APPLIES, "", id="up: volumes come"
    ),
    pytest.param(
        of(RESTART, replicas=1, ready=1),
        Reason.WOULD_INTERRUPT,
        "a rollout may take 1 pods away before their successors are ready, and 1 of 1 are ready",
        id="the only pod",
    ),
    pytest.param(
        of(RESTART, order=Order(one_by_one=False, unready=unready(SLOW, UNPLACED)), ready=1),
        Reason.WOULD_INTERRUPT,
        "and 1 of 3 are ready",
        id="in parallel: the only one that serves",
    ),
]


HPA = Autoscaler(name="ledger", minimum=2, maximum=9, uid="H")
RAISE = Step(action=Scale(5, raises_minimum=True))
CASES += [
    pytest.param(of(RAISE, hpas=(HPA,)), Reason.STEP_APPLIES, "", id="raise the minimum"),
    pytest.param(
        of(RAISE, hpas=(HPA,), order=Order(unready=unready(SLOW)), ready=2),
        Reason.WAITS_FOR_POD,
        "ledger-1 is not ready",
        id="raise the minimum: the pods would not come",
    ),
    pytest.param(of(UP, hpas=(HPA,)), Reason.HPA_OWNS_REPLICAS, "ledger", id="an autoscaler's replicas"),
    pytest.param(
        of(UP, gitops=("annotation argocd",)), Reason.OWNED_ELSEWHERE, "argocd", id="GitOps' replicas"
    ),
]


@pytest.mark.parametrize(("situation", "reason", "detail"), CASES)
def test_a_step_on_a_stateful_set(situation, reason, detail):
    (verdict,) = weigh_steps(situation)
    assert verdict.reason is reason
    assert detail in verdict.detail


ROLLING = {"rolled_out": False, "rollout_detail": "1 of 3 pods have been updated", "ready": 2}
NEW = (PodSeen(name="ledger-2", ready=True), CRASHING)
OLD_ONLY = (PodSeen(name="ledger-2", ready=True),)

STUCK = [
    pytest.param(seen(), False, "no rollout is in progress", id="at rest"),
    pytest.param(
        seen(Order(unready=unready(CRASHING))), False, "no rollout is in progress", id="a pod fails later"
    ),
    pytest.param(
        seen(Order(unready=unready(CRASHING)), **ROLLING),
        True,
        "it waits for ledger-1 CrashLoopBackOff",
        id="a pod fails",
    ),
    pytest.param(
        seen(Order(unready=unready(PULLING)), **ROLLING), True, "it waits for ledger-1 ImagePull", id="pull"
    ),
    pytest.param(
        seen(Order(unready=unready(UNPLACED)), **ROLLING),
        True,
        "it waits for ledger-2, unschedulable",
        id="no room",
    ),
    pytest.param(seen(Order(unready=unready(SLOW)), **ROLLING), False, "no pod that it waits", id="slow"),
    pytest.param(
        seen(Order(unready=None), **ROLLING, unreadable={"pods": "forbidden"}),
        None,
        "forbidden",
        id="unknown",
    ),
    pytest.param(
        seen(Order(one_by_one=False, unready=unready(CRASHING)), **ROLLING, pods=NEW),
        True,
        "it waits for ledger-1",
        id="in parallel: a new pod fails",
    ),
    pytest.param(
        seen(Order(one_by_one=False, unready=unready(CRASHING)), **ROLLING, pods=OLD_ONLY),
        False,
        "no pod that it waits",
        id="in parallel: an old pod is replaced as it is",
    ),
]


@pytest.mark.parametrize(("observation", "stuck", "because"), STUCK)
def test_when_the_rollout_of_a_stateful_set_is_stuck(observation, stuck, because):
    facts = facts_from(observation, alert_started_at=NOW, rules=FactRules())
    assert facts[Fact.ROLLOUT_STUCK].truth is stuck
    assert because in facts[Fact.ROLLOUT_STUCK].because


POLICY = a_policy(targets=(LEDGER,))


def test_a_rollout_that_waits_for_a_failing_pod_goes_to_a_person_at_once():
    situation = of(RESTART, UP, order=Order(unready=unready(CRASHING)), **ROLLING)
    decision = decide(situation, POLICY, NOW)
    assert isinstance(decision, Escalate)
    assert decision.reason is Reason.NO_STEP_APPLIES
    assert "kubectl delete pod ledger-1" in decision.detail


def test_a_rollout_that_is_only_slow_is_waited_for():
    decision = decide(of(RESTART, order=Order(unready=unready(SLOW)), **ROLLING), POLICY, NOW)
    assert isinstance(decision, Hold)
    assert decision.reason is Reason.ROLLOUT_IN_PROGRESS


def test_a_stuck_rollout_that_lacks_room_may_be_made_smaller():
    decision = decide(
        of(DOWN, order=Order(unready=unready(UNPLACED)), pods=(UNPLACED,), **ROLLING), POLICY, NOW
    )
    assert isinstance(decision, Act)
    assert decision.action == Scale(1, down=True)


def test_who_has_not_opted_in_is_told_how():
    decision = decide(of(RESTART, opted_in=False), POLICY, NOW)
    assert isinstance(decision, Escalate)
    assert decision.detail == 'kubectl label statefulset NAME remediator/enabled="true"'


def test_strategy_on_delete_in_words():
    assert Strategy(kind="OnDelete").words == "strategy OnDelete replaces a pod only once somebody deletes it"


def test_the_evidence_has_the_order_of_a_stateful_set_and_nothing_new_of_a_deployment():
    assert snapshot(seen(Order(unready=unready(SLOW))))["order"]["unready"][0]["pod"]["name"] == "ledger-1"
    assert "order" not in snapshot(an_observation())


def test_what_is_needed_of_a_stateful_set():
    kind = Workload.STATEFUL_SET
    assert [str(one) for one in needed_by(Scale(2), kind)] == [
        "get statefulsets/scale (apps)",
        "patch statefulsets/scale (apps)",
    ]
    assert needed_by(RollingRestart(), kind) == (WRITE_STATEFUL_SET,)
    assert needed_by(RolloutUndo(), kind) == ()
    reads = [str(one) for one in reads_of(kind)]
    assert reads[:3] == ["get statefulsets (apps)", "list controllerrevisions (apps)", "list pods"]


def test_a_missing_permission_refuses_the_step():
    (verdict,) = weigh_steps(of(RESTART, missing_permissions=(WRITE_STATEFUL_SET,)))
    assert verdict.reason is Reason.FORBIDDEN
    assert "patch statefulsets (apps) on bizra-testnet/statefulset/bizra-ledger" in verdict.detail


def test_a_previous_revision_is_a_fact_as_for_a_deployment():
    facts = facts_from(seen(previous=(a_revision(),)), alert_started_at=NOW, rules=FactRules())
    assert facts[Fact.PREVIOUS_REVISION].truth is True
