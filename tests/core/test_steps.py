"""Which step is next, and exactly what would be sent for it."""

from dataclasses import replace
from datetime import timedelta

import pytest

from remediator.core.actions import RestartIntent, RollingRestart, RolloutUndo, Scale, ScaleIntent, UndoIntent
from remediator.core.decisions import History
from remediator.core.facts import Autoscaler, Fact, PodSeen, Strategy, Unseen
from remediator.core.incidents import AttemptState
from remediator.core.policy import Step, TargetPolicy
from remediator.core.reasons import Reason
from remediator.core.seen import Between
from remediator.core.steps import intent_for, weigh_steps
from tests.builders import (
    APEX,
    NOW,
    RESTART,
    SCALE,
    UNDO,
    a_playbook,
    a_revision,
    a_situation,
    an_attempt,
    an_observation,
    an_undo_intent,
    recently,
)

ALWAYS_UNDO = Step(action=RolloutUndo())
RECREATE = Strategy(kind="Recreate", missing=3)
ON_GUARD = TargetPolicy(target=APEX, min_replicas=1, max_replicas=10)
DOWN = Step(action=Scale(1, down=True))


def reasons(situation):
    return [verdict.reason for verdict in weigh_steps(situation)]


def of(*steps, **overrides):
    """The situation of a playbook with these steps."""
    seen = overrides.pop("seen", {})
    seen = an_observation(**seen) if isinstance(seen, dict) else seen
    return a_situation(playbook=a_playbook(*steps), seen=seen, **overrides)


SINCE = Between(earliest=NOW, latest=NOW)
"""After the alert started."""
ROUGHLY = Between(earliest=NOW - timedelta(hours=1), latest=NOW)

ONE_STEP = [
    pytest.param(
        of(ALWAYS_UNDO, seen={"template_changed": SINCE}),
        Reason.DEPLOYED_SINCE,
        "after the alert started",
        id="an undo would come back to what was sick",
    ),
    pytest.param(
        of(ALWAYS_UNDO, seen={"template_changed": ROUGHLY}),
        Reason.DEPLOYED_SINCE,
        "or may have changed",
        id="an undo would take back somebody's undo",
    ),
    pytest.param(of(RESTART), Reason.STEP_APPLIES, "no earlier step applies", id="restart"),
    pytest.param(
        of(UNDO, seen={"template_changed": recently()}), Reason.STEP_APPLIES, "recent_rollout: ", id="undo"
    ),
    pytest.param(of(UNDO), Reason.FACT_FALSE, "recent_rollout is false", id="a fact is false"),
    pytest.param(
        of(UNDO, seen={"template_changed": None}),
        Reason.FACT_UNKNOWN,
        "recent_rollout is unknown",
        id="unknown",
    ),
    pytest.param(
        of(ALWAYS_UNDO, seen={"previous": ()}), Reason.NO_PREVIOUS_REVISION, "no older", id="no past"
    ),
    pytest.param(
        of(ALWAYS_UNDO, seen={"previous": None}), Reason.FACT_UNKNOWN, "not observed", id="past unreadable"
    ),
    pytest.param(
        of(ALWAYS_UNDO, seen={"gitops": ("argocd",)}),
        Reason.OWNED_ELSEWHERE,
        "argocd",
        id="undo under GitOps",
    ),
    pytest.param(
        of(ALWAYS_UNDO, seen={"controller": "Hive/apex"}),
        Reason.OWNED_ELSEWHERE,
        "Hive",
        id="undo under operator",
    ),
    pytest.param(
        of(RESTART, seen={"gitops": ("argocd",)}), Reason.STEP_APPLIES, "", id="restart under GitOps"
    ),
    pytest.param(
        of(SCALE, seen={"usage": 0.9, "pods": (PodSeen(name="p", ready=False, unschedulable="full"),)}),
        Reason.NO_ROOM,
        "1 of 1 pods of the current template unschedulable: full",
        id="no room for more",
    ),
    *(
        pytest.param(
            of(step, seen={"strategy": RECREATE, **seen}, target_policy=target),
            Reason.WOULD_INTERRUPT if refused else Reason.STEP_APPLIES,
            "strategy Recreate takes every pod away before the first new one starts, and 3 of 3 are ready"
            if refused
            else "",
            id=f"{name}: {step.action}",
        )
        for step in (RESTART, ALWAYS_UNDO)
        for name, seen, target, refused in (
            ("an outage", {}, ON_GUARD, True),
            ("an outage that was accepted", {}, replace(ON_GUARD, accept_outage=True), False),
            ("nothing serves anyway", {"ready": 0}, ON_GUARD, False),
            ("one stays", {"strategy": Strategy(missing=2)}, ON_GUARD, False),
        )
    ),
    pytest.param(of(SCALE, seen={"usage": 0.9, "strategy": RECREATE}), Reason.STEP_APPLIES, "", id="scaling"),
    pytest.param(of(SCALE, seen={"usage": 0.9}), Reason.STEP_APPLIES, "resource_pressure: ", id="scale up"),
    pytest.param(
        of(SCALE, seen={"usage": 0.9, "gitops": ("flux",)}),
        Reason.OWNED_ELSEWHERE,
        "flux",
        id="scale under GitOps",
    ),
    pytest.param(
        of(SCALE, seen={"usage": 0.9, "hpas": (Autoscaler(name="hive", maximum=4),)}),
        Reason.HPA_OWNS_REPLICAS,
        "hive",
        id="scale under HPA",
    ),
    pytest.param(
        of(SCALE, seen={"usage": 0.9, "hpas": None}), Reason.FACT_UNKNOWN, "autoscaler", id="HPAs unreadable"
    ),
    pytest.param(
        of(SCALE, seen={"usage": 0.9, "replicas": 5}),
        Reason.REPLICAS_AT_BOUND,
        "5 replicas",
        id="already there",
    ),
    pytest.param(
        of(SCALE, seen={"usage": 0.9, "replicas": 8}),
        Reason.REPLICAS_AT_BOUND,
        "8 replicas",
        id="up is not down",
    ),
    pytest.param(of(DOWN), Reason.STEP_APPLIES, "", id="scale down"),
    pytest.param(of(DOWN, seen={"replicas": 1}), Reason.REPLICAS_AT_BOUND, "1 replicas", id="already down"),
    pytest.param(
        of(
            SCALE,
            seen={"usage": 0.9},
            target_policy=TargetPolicy(target=APEX, min_replicas=1, max_replicas=4),
        ),
        Reason.REPLICAS_AT_BOUND,
        "5 is outside 1 to 4",
        id="above the bounds",
    ),
    pytest.param(
        of(DOWN, target_policy=TargetPolicy(target=APEX, min_replicas=2, max_replicas=4)),
        Reason.REPLICAS_AT_BOUND,
        "1 is outside 2 to 4",
        id="below the bounds",
    ),
    pytest.param(
        of(RESTART, seen=Unseen(reason=Reason.CLUSTER_UNREACHABLE, detail="timed out")),
        Reason.FACT_UNKNOWN,
        "timed out",
        id="nothing was seen",
    ),
    pytest.param(
        of(RESTART, tried=(an_attempt(step=0),)), Reason.ALREADY_TRIED, "step 1 was tried", id="tried before"
    ),
    pytest.param(
        of(RESTART, tried=(an_attempt(step=0, state=AttemptState.WITHDRAWN),)),
        Reason.STEP_APPLIES,
        "",
        id="withdrawn is not tried",
    ),
    pytest.param(
        of(RESTART, tried=(an_attempt(step=0, state=AttemptState.ABANDONED),)),
        Reason.ALREADY_TRIED,
        "",
        id="abandoned is tried",
    ),
]


@pytest.mark.parametrize(("situation", "reason", "says"), ONE_STEP)
def test_a_step_says_why_it_is_or_is_not_the_one(situation, reason, says):
    (verdict,) = weigh_steps(situation)
    assert verdict.reason is reason
    assert says in verdict.detail
    assert verdict.chosen is (reason is Reason.STEP_APPLIES)


def test_the_first_step_that_applies_is_taken_and_later_ones_are_not_looked_at():
    assert reasons(a_situation(seen=an_observation(template_changed=recently()))) == [Reason.STEP_APPLIES]
    assert reasons(a_situation(seen=an_observation(usage=0.9))) == [Reason.FACT_FALSE, Reason.STEP_APPLIES]
    assert reasons(a_situation()) == [Reason.FACT_FALSE, Reason.FACT_FALSE, Reason.STEP_APPLIES]


def undo(state=AttemptState.JUDGED, **overrides):
    return an_attempt(step=9, state=state, intent=an_undo_intent(**overrides))


UNDONE = [
    pytest.param({"tried": (undo(),)}, Reason.ALREADY_UNDONE, "one undo", id="in this incident"),
    pytest.param(
        {"tried": (undo(AttemptState.WITHDRAWN),)}, Reason.STEP_APPLIES, "", id="withdrawn in this incident"
    ),
    pytest.param(
        {"history": History(attempts=(undo(target_digest="new"),))},
        Reason.ALREADY_UNDONE,
        "itself the result of our undo",
        id="the present template came from an undo",
    ),
    pytest.param(
        {"history": History(attempts=(undo(AttemptState.ABANDONED, target_digest="new"),))},
        Reason.ALREADY_UNDONE,
        "itself",
        id="it may have come from an undo",
    ),
    pytest.param(
        {"history": History(attempts=(undo(template_digest="old", target_digest="older"),))},
        Reason.NO_PREVIOUS_REVISION,
        "",
        id="the only past is one we fled from",
    ),
    pytest.param(
        {
            "history": History(
                attempts=(replace(undo(target_digest="new"), target=replace(APEX, namespace="x")),)
            )
        },
        Reason.STEP_APPLIES,
        "",
        id="another target's undo",
    ),
]


@pytest.mark.parametrize(("overrides", "reason", "says"), UNDONE)
def test_an_undo_is_never_undone_or_repeated(overrides, reason, says):
    (verdict,) = weigh_steps(of(ALWAYS_UNDO, **overrides))
    assert verdict.reason is reason
    assert says in verdict.detail


def test_a_restart_intent_carries_the_time_and_the_generation():
    assert intent_for(RollingRestart(), a_situation(), NOW) == RestartIntent(
        uid="uid-1", generation=7, template_digest="new", restarted_at="2026-03-02T12:00:00Z"
    )


def test_a_scale_intent_carries_both_counts():
    assert intent_for(Scale(5), a_situation(), NOW) == ScaleIntent(
        uid="uid-1", generation=7, replicas_from=3, replicas_to=5
    )


def test_an_undo_intent_carries_both_templates_and_skips_what_an_undo_fled_from():
    seen = an_observation(previous=(a_revision(6, "bad"), a_revision(5, "fine")))
    fled = History(attempts=(undo(template_digest="bad", target_digest="other"),))
    intent = intent_for(RolloutUndo(), a_situation(seen=seen, history=fled), NOW)
    assert intent == UndoIntent(
        uid="uid-1",
        generation=7,
        template_digest="new",
        replica_set_uid="rs-5",
        revision=5,
        target_digest="fine",
    )


def test_there_is_no_intent_without_an_observation():
    blind = a_situation(seen=Unseen(reason=Reason.CLUSTER_UNREACHABLE, detail=""))
    with pytest.raises(TypeError, match="observed target"):
        intent_for(RollingRestart(), blind, NOW)


def test_all_facts_of_a_step_have_to_hold():
    both = Step(action=RollingRestart(), when=(Fact.SINGLE_REPLICA, Fact.OOM_KILLED))
    (verdict,) = weigh_steps(of(both, seen={"replicas": 1}))
    assert verdict.reason is Reason.FACT_FALSE
    assert "oom_killed" in verdict.detail
