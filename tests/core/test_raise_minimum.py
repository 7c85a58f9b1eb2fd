"""Under an autoscaler: when its minReplicas may be raised, what is sent, and when it is lowered again."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from remediator.core.actions import (
    MinimumIntent,
    Scale,
    ScaleIntent,
    SetMinimum,
    describe,
    in_words,
    intent_from_record,
    intent_to_record,
    kind_of,
)
from remediator.core.decide import decide
from remediator.core.decisions import Act, Hold, Ignore
from remediator.core.facts import Autoscaler
from remediator.core.incidents import RETURN_STEP, AttemptState
from remediator.core.permissions import READ_SCALE, WRITE_MINIMUM, WRITE_SCALE, needed_by, needed_for
from remediator.core.policy import Step, TargetPolicy
from remediator.core.reasons import Reason
from remediator.core.returns import Raised, decide_return, raised_by, took_back
from remediator.core.seen import PodSeen
from remediator.core.steps import intent_for, weigh_steps
from tests.builders import (
    APEX,
    NOW,
    a_playbook,
    a_policy,
    a_sample,
    a_situation,
    ago,
    an_attempt,
    an_incident,
    an_observation,
)

RAISE = Step(action=Scale(5, raises_minimum=True))
WEB = Autoscaler(name="web", uid="hpa-1", minimum=3, maximum=9, current=3)
RAISED = MinimumIntent(
    uid="uid-1", generation=7, autoscaler="web", autoscaler_uid="hpa-1", replicas_from=3, replicas_to=5
)
SCALED = ScaleIntent(uid="uid-1", generation=7, replicas_from=3, replicas_to=5)


def under(*hpas, **seen):
    return a_situation(playbook=a_playbook(RAISE), seen=an_observation(hpas=hpas, **seen))


def hpa(**changes):
    return replace(WEB, **changes)


def test_an_action_and_its_intent_have_one_kind_and_survive_the_journal():
    assert kind_of(SetMinimum(5)) == kind_of(RAISED) == "raise_min"
    assert intent_from_record(json.loads(json.dumps(intent_to_record(RAISED)))) == RAISED
    assert str(SetMinimum(5)) == "raise the autoscaler's minReplicas to 5"
    assert str(SetMinimum(4, down=True)) == "lower the autoscaler's minReplicas to 4"
    assert describe(RAISED) == "raise minReplicas of autoscaler web from 3 to 5"
    assert describe(took_back(RAISED, 9)) == "lower minReplicas of autoscaler web from 5 to 3"
    assert (in_words(RAISED, 3), in_words(SCALED, 3)) == ("minReplicas 3", "3 replicas")


@pytest.mark.parametrize("least", [0, -1])
def test_a_minimum_is_never_set_below_one(least):
    with pytest.raises(ValueError, match="never set below 1"):
        SetMinimum(least, down=True)


def test_it_is_what_a_scale_up_comes_to_and_says_so():
    decision = decide(under(WEB), a_policy(a_playbook(RAISE)), NOW)
    assert isinstance(decision, Act)
    assert (decision.action, decision.intent) == (SetMinimum(5), RAISED)


def test_without_an_autoscaler_it_stays_a_scale_up():
    decision = decide(under(), a_policy(a_playbook(RAISE)), NOW)
    assert isinstance(decision, Act)
    assert (decision.action, decision.intent) == (Scale(5), SCALED)
    assert str(RAISE.action) == "scale up to 5, or an autoscaler's minReplicas"


def test_without_the_opt_in_an_autoscaler_refuses_it():
    situation = replace(under(WEB), playbook=a_playbook(Step(action=Scale(5))))
    (verdict,) = weigh_steps(situation)
    assert (verdict.action, verdict.reason) == (Scale(5), Reason.HPA_OWNS_REPLICAS)


REFUSED = [
    pytest.param(
        under(WEB, hpa(name="web-2", uid="hpa-2")),
        Reason.HPA_OWNS_REPLICAS,
        "2 autoscalers work against each other: web (3 to 9 replicas), web-2",
        id="several",
    ),
    pytest.param(
        under(hpa(owner="ScaledObject/web")),
        Reason.OWNED_ELSEWHERE,
        "autoscaler web (3 to 9 replicas, made by ScaledObject/web)",
        id="KEDA",
    ),
    pytest.param(
        under(hpa(owner="GitOps (label x=y)")), Reason.OWNED_ELSEWHERE, "made by GitOps (label", id="GitOps"
    ),
    pytest.param(
        under(WEB, gitops=("label argocd",)), Reason.OWNED_ELSEWHERE, "label argocd", id="Deployment: GitOps"
    ),
    pytest.param(
        under(WEB, controller="Thing/x"), Reason.OWNED_ELSEWHERE, "Thing/x", id="Deployment: operator"
    ),
    pytest.param(
        under(hpa(minimum=0)), Reason.HPA_OWNS_REPLICAS, "may take the last replica away", id="scales to zero"
    ),
    pytest.param(
        under(hpa(maximum=4)),
        Reason.REPLICAS_AT_BOUND,
        "5 is above maxReplicas of web (3 to 4 replicas)",
        id="above the maximum",
    ),
    pytest.param(
        under(hpa(minimum=5), replicas=6),
        Reason.REPLICAS_AT_BOUND,
        "minReplicas of web (5 to 9 replicas) is not below 5",
        id="not below",
    ),
    pytest.param(
        under(WEB, replicas=9, ready=9),
        Reason.REPLICAS_AT_BOUND,
        "runs its maximum already: minReplicas 5 adds nothing",
        id="at the maximum",
    ),
    pytest.param(
        under(WEB, replicas=5, ready=5),
        Reason.REPLICAS_AT_BOUND,
        "runs 5 replicas already: minReplicas 5 adds nothing",
        id="as many run already",
    ),
    pytest.param(
        under(WEB, pods=(PodSeen(name="p", ready=False, unschedulable="no node"),)),
        Reason.NO_ROOM,
        "no node",
        id="no room",
    ),
    pytest.param(
        replace(under(WEB), target_policy=TargetPolicy(target=APEX, min_replicas=1, max_replicas=4)),
        Reason.REPLICAS_AT_BOUND,
        "5 is outside 1 to 4",
        id="the policy's bounds",
    ),
    pytest.param(
        under(WEB, missing_permissions=(WRITE_MINIMUM,)),
        Reason.FORBIDDEN,
        "we lack patch horizontalpodautoscalers (autoscaling) on bizra-testnet/bizra-apex",
        id="no permission",
    ),
    pytest.param(
        a_situation(
            playbook=a_playbook(RAISE), seen=an_observation(hpas=None, unreadable={"hpas": "timed out"})
        ),
        Reason.FACT_UNKNOWN,
        "whether an autoscaler owns the replicas is unknown: timed out",
        id="unknown",
    ),
]


@pytest.mark.parametrize(("situation", "reason", "says"), REFUSED)
def test_it_is_refused_with_its_reason(situation, reason, says):
    (verdict,) = weigh_steps(situation)
    assert verdict.reason is reason
    assert says in verdict.detail


def test_scaling_needs_no_permission_on_autoscalers_and_the_other_way_round():
    assert needed_by(RAISE.action) == (READ_SCALE, WRITE_SCALE)
    assert needed_by(SetMinimum(5)) == (WRITE_MINIMUM,)
    assert needed_for(RAISE.action) == (READ_SCALE, WRITE_SCALE, WRITE_MINIMUM)
    assert needed_for(Scale(5)) == (READ_SCALE, WRITE_SCALE)
    (verdict,) = weigh_steps(under(WEB, missing_permissions=(WRITE_SCALE,)))
    assert verdict.reason is Reason.STEP_APPLIES
    (verdict,) = weigh_steps(under(missing_permissions=(WRITE_MINIMUM,)))
    assert verdict.reason is Reason.STEP_APPLIES


def test_the_intent_names_the_autoscaler_and_both_counts():
    assert intent_for(SetMinimum(5), under(WEB), NOW) == RAISED


# Giving it back


def applied(*intents):
    return [
        an_attempt(id=number, intent=intent, state=AttemptState.JUDGED, applied_at=ago(hours=1))
        for number, intent in enumerate(intents, start=1)
    ]


def test_what_was_raised_is_left_to_be_lowered():
    assert raised_by(applied(RAISED), a_playbook(RAISE)) == Raised(last=RAISED, home=3)


def test_what_may_stay_is_not():
    stays = Step(action=Scale(5, returns=False, raises_minimum=True))
    assert raised_by(applied(RAISED), a_playbook(stays)) is None


def test_where_an_autoscaler_came_or_went_in_between_only_the_last_count_is_given_back():
    later = replace(SCALED, replicas_from=5, replicas_to=7)
    anew = replace(RAISED, autoscaler_uid="hpa-2", replicas_from=1, replicas_to=6)
    playbook = a_playbook(RAISE)
    assert raised_by(applied(RAISED, later), playbook) == Raised(last=later, home=5)
    assert raised_by(applied(later, RAISED), playbook) == Raised(last=RAISED, home=3)
    assert raised_by(applied(RAISED, anew), playbook) == Raised(last=anew, home=1)


def test_an_earlier_return_is_taken_over_only_where_it_is_the_same_count():
    again = Raised(last=replace(RAISED, replicas_from=4, replicas_to=6), home=4)
    assert again.taking_over(Raised(last=RAISED, home=3)).home == 3
    assert again.taking_over(Raised(last=replace(RAISED, autoscaler_uid="hpa-0"), home=3)).home == 4
    assert again.taking_over(Raised(last=SCALED, home=2)).home == 4


def returning(*hpas, **seen):
    """Half an hour and more after the recovery."""
    return a_situation(
        incident=an_incident(well_since=ago(minutes=40)),
        playbook=a_playbook(RAISE),
        seen=an_observation(hpas=hpas, replicas=5, ready=5, **seen),
        condition=a_sample(97),
        firing=False,
        tried=applied(RAISED),
    )


def gives_back(situation, *, home=3):
    return decide_return(situation, Raised(last=RAISED, home=home), a_policy(), NOW, other_incident=None)


def test_it_is_lowered_step_by_step_whatever_the_autoscaler_runs_by_now():
    for replicas in (5, 8):
        decision = gives_back(replace(returning(hpa(minimum=5)), seen=seen_with(replicas)))
        assert isinstance(decision, Act)
        assert (decision.step, decision.action) == (RETURN_STEP, SetMinimum(4, down=True))
        assert decision.intent == replace(RAISED, replicas_from=5, replicas_to=4)


def seen_with(replicas):
    return an_observation(hpas=(hpa(minimum=5),), replicas=replicas, ready=replicas)


def test_the_policys_least_does_not_bound_what_the_minimum_was():
    situation = replace(
        returning(hpa(minimum=5)), target_policy=TargetPolicy(target=APEX, min_replicas=5, max_replicas=10)
    )
    assert isinstance(gives_back(situation), Act)


KEPT = [
    pytest.param(
        returning(hpa(minimum=6)), Reason.CHANGED_BY_OTHERS, "minReplicas is 6, we left 5", id="set"
    ),
    pytest.param(returning(), Reason.CHANGED_BY_OTHERS, "now there is: no autoscaler", id="gone"),
    pytest.param(
        returning(hpa(minimum=5, uid="hpa-2")), Reason.CHANGED_BY_OTHERS, "now there is: web", id="made anew"
    ),
    pytest.param(
        returning(hpa(minimum=5), hpa(name="b", uid="hpa-2")),
        Reason.CHANGED_BY_OTHERS,
        "now there is: web (5 to 9 replicas), b",
        id="another one",
    ),
    pytest.param(
        returning(hpa(minimum=5, owner="ScaledObject/web")),
        Reason.OWNED_ELSEWHERE,
        "made by ScaledObject/web",
        id="KEDA",
    ),
    pytest.param(
        returning(hpa(minimum=5), gitops=("label argocd",)), Reason.OWNED_ELSEWHERE, "argocd", id="GitOps"
    ),
    pytest.param(
        returning(hpa(minimum=5), uid="uid-2"), Reason.CHANGED_BY_OTHERS, "made anew", id="Deployment anew"
    ),
]


@pytest.mark.parametrize(("situation", "reason", "says"), KEPT)
def test_what_somebody_touched_meanwhile_is_theirs(situation, reason, says):
    decision = gives_back(situation)
    assert isinstance(decision, Ignore)
    assert (decision.reason, says in decision.detail) == (reason, True), decision


def test_it_waits_while_the_autoscaler_cannot_be_read():
    blind = replace(returning(), seen=an_observation(hpas=None, unreadable={"hpas": "timed out"}))
    decision = gives_back(blind)
    assert isinstance(decision, Hold)
    assert (decision.reason, "timed out" in decision.detail) == (Reason.FACT_UNKNOWN, True)


def test_it_waits_for_a_permission_that_was_taken_away():
    decision = gives_back(returning(hpa(minimum=5), missing_permissions=(WRITE_MINIMUM,)))
    assert isinstance(decision, Hold)
    assert decision.reason is Reason.FORBIDDEN


def test_it_waits_its_time():
    early = returning(hpa(minimum=5))
    early = replace(early, incident=replace(early.incident, well_since=NOW - timedelta(minutes=10)))
    decision = gives_back(early)
    assert isinstance(decision, Hold)
    assert decision.reason is Reason.RETURN_WAITING
