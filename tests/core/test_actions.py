"""The three actions, their intents and their words."""

import json

import pytest

from remediator.core.actions import (
    ACTION_KINDS,
    RollingRestart,
    RolloutUndo,
    Scale,
    ScaleIntent,
    Target,
    Workload,
    describe,
    intent_from_record,
    intent_to_record,
    kind_of,
    restart_timestamp,
)
from remediator.core.incidents import (
    TRANSITIONS,
    WORKING_PHASES,
    AttemptState,
    IllegalTransition,
    Phase,
    check_transition,
)
from remediator.core.reasons import SENTENCES, Reason
from tests.builders import APEX, NOW, a_pause, a_restart_intent, after, an_undo_intent

SCALE = ScaleIntent(uid="uid-1", generation=7, replicas_from=3, replicas_to=5)

INTENTS = [
    pytest.param(RollingRestart(), a_restart_intent(), "restart", "rolling restart", id="restart"),
    pytest.param(RolloutUndo(), an_undo_intent(), "undo", "rollout undo to revision 6", id="undo"),
    pytest.param(Scale(5), SCALE, "scale", "scale from 3 to 5 replicas", id="scale"),
]


@pytest.mark.parametrize(("action", "intent", "kind", "words"), INTENTS)
def test_an_action_and_its_intent_have_one_kind_and_survive_the_journal(action, intent, kind, words):
    assert kind_of(action) == kind_of(intent) == kind
    assert describe(intent) == words
    assert intent_from_record(json.loads(json.dumps(intent_to_record(intent)))) == intent


def test_there_are_four_kinds():
    assert ACTION_KINDS == ("restart", "undo", "scale", "raise_min")


def test_actions_say_what_they_do():
    assert [str(action) for action in (RollingRestart(), RolloutUndo(), Scale(5), Scale(1, down=True))] == [
        "rolling restart",
        "rollout undo",
        "scale up to 5",
        "scale down to 1",
    ]


@pytest.mark.parametrize("replicas", [0, -1])
def test_nothing_is_ever_scaled_below_one(replicas):
    with pytest.raises(ValueError, match="never scaled below 1"):
        Scale(replicas, down=True)


def test_a_target_is_written_as_kubectl_does():
    assert str(APEX) == "bizra-testnet/bizra-apex"


WRITTEN = [
    pytest.param("a/b", Target("a", "b"), id="a Deployment"),
    pytest.param("a/statefulset/b", Target("a", "b", Workload.STATEFUL_SET), id="a StatefulSet"),
]


@pytest.mark.parametrize(("text", "target"), WRITTEN)
def test_a_target_is_read_as_it_is_written(text, target):
    assert (str(target), Target.parse(text)) == (text, target)


def test_a_deployment_may_be_written_like_any_kind():
    assert Target.parse("a/deployment/b") == Target("a", "b")


@pytest.mark.parametrize("text", ["", "a", "a/", "/b", "a/b/c", "a/StatefulSet/b", "a/statefulset/b/c"])
def test_what_names_no_target_is_refused(text):
    with pytest.raises(ValueError, match="is not"):
        Target.parse(text)


def test_workloads_of_two_kinds_with_one_name_are_two_targets():
    assert Target("a", "b") != Target("a", "b", Workload.STATEFUL_SET)


def test_a_target_has_to_be_a_kubernetes_name():
    with pytest.raises(ValueError, match="not a Kubernetes name"):
        Target("bizra-testnet", "a b")


def test_the_restart_time_is_kubectls():
    assert restart_timestamp(NOW) == "2026-03-02T12:00:00Z"


ALLOWED = {(before, phase) for before, phases in TRANSITIONS.items() for phase in phases}


@pytest.mark.parametrize("before", list(Phase))
@pytest.mark.parametrize("phase", list(Phase))
def test_phases_follow_each_other_as_drawn(before, phase):
    if (before, phase) in ALLOWED:
        check_transition(before, phase)
    else:
        with pytest.raises(IllegalTransition, match=f"{before} -> {phase}"):
            check_transition(before, phase)


def test_a_closed_incident_stays_closed_and_an_escalated_one_can_only_close():
    assert TRANSITIONS[Phase.CLOSED] == frozenset()
    assert TRANSITIONS[Phase.ESCALATED] == {Phase.CLOSED}


def test_a_worker_has_every_phase_but_a_persons_and_the_end():
    assert set(Phase) - set(WORKING_PHASES) == {Phase.ESCALATED, Phase.CLOSED}


def test_an_attempt_is_in_flight_until_it_is_judged_withdrawn_or_abandoned():
    ended = {state for state in AttemptState if not state.in_flight}
    assert ended == {AttemptState.JUDGED, AttemptState.WITHDRAWN, AttemptState.ABANDONED}


COVERS = [
    ("all", True),
    ("namespace:bizra-testnet", True),
    ("namespace:bizra", False),
    ("target:bizra-testnet/bizra-apex", True),
    ("target:bizra-testnet/bizra", False),
    ("playbook:AhsanScoreLow", True),
    ("playbook:HiveDown", False),
    ("", False),
    ("All", False),
]


@pytest.mark.parametrize(("scope", "covered"), COVERS)
def test_a_pause_covers_its_scope(scope, covered):
    assert a_pause(scope).covers(APEX, "AhsanScoreLow", NOW) is covered


def test_a_pause_ends_at_its_time():
    pause = a_pause(until=after(minutes=1))
    assert pause.covers(APEX, "AhsanScoreLow", after(seconds=59))
    assert not pause.covers(APEX, "AhsanScoreLow", after(minutes=1))


def test_every_reason_has_a_sentence():
    assert set(SENTENCES) == set(Reason)
    assert len(set(SENTENCES.values())) == len(Reason)
    assert Reason.NO_DATA.sentence == SENTENCES[Reason.NO_DATA]
