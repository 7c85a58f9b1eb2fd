"""What becomes of one sending, whatever the API server answers and wherever the process dies."""

from datetime import timedelta

import pytest

from remediator.core.actions import RestartIntent, ScaleIntent, UndoIntent
from remediator.core.execution import Delivery, Sent
from remediator.core.incidents import AttemptState, Phase
from remediator.core.reasons import Reason
from remediator.lifecycle import MOST_CLAIMS
from remediator.lifecycle.act import MOST_OUTRUN, MOST_TRIES
from remediator.lifecycle.person import Person
from remediator.ports import LeaseLost
from tests.builders import (
    APEX,
    RESTART,
    SCALE,
    UNDO,
    a_criterion,
    a_playbook,
    a_policy,
    an_alert,
    recently,
    with_limits,
)
from tests.worlds import WELL, Crash, Drama


def applied_but_unclear(drama):
    """The change is made, the answer gets lost."""

    def send(target, intent):
        drama.cluster.apply(target, intent)
        return Sent(delivery=Delivery.UNCLEAR, detail="timed out")

    return send


def somebody_changes_it(drama, delivery):
    """Somebody else is faster."""

    def send(_target, _intent):
        drama.cluster.change(generation=99)
        return Sent(delivery=delivery, detail="too late")

    return send


def the_attempt(drama, number=0):
    return drama.story().attempts[number]


@pytest.mark.parametrize("race", [False, True], ids=["between two tries", "at the last moment"])
def test_what_somebody_else_did_is_not_taken_for_ours(drama, race):
    drama.policy = a_policy(a_playbook(SCALE))
    drama.cluster.change(usage=0.95)
    by_hand = {"replicas": 5, "ready": 5, "generation": 8}

    def refuse(_target, _intent):
        drama.cluster.change(**by_hand)
        return Sent(delivery=Delivery.CONFLICT, detail="5 replicas are wanted, as intended; nothing was sent")

    drama.cluster.script.append(refuse if race else Delivery.NOT_SENT)
    drama.receive()
    drama.step()
    drama.cluster.change(**by_hand)
    drama.metrics.values[APEX] = WELL
    drama.run(hours=2)
    attempt = the_attempt(drama)
    assert (attempt.state, attempt.reason) == (AttemptState.WITHDRAWN, Reason.CHANGED_BY_OTHERS)
    assert "not by us" in next(one["detail"] for one in drama.story().events if one["kind"] == "withdrawn")
    assert drama.counted("actions", action="scale") == 0
    assert (drama.cluster.effects, drama.cluster.live[APEX].replicas) == ([], 5)


def test_somebody_elses_undo_is_given_its_time_and_neither_repeated_nor_taken_back(drama):
    drama.policy = a_policy(a_playbook(UNDO, RESTART))
    drama.cluster.change(template_changed=recently())
    drama.cluster.script.append(Delivery.NOT_SENT)
    drama.receive()
    drama.step()
    intent = the_attempt(drama).intent
    drama.cluster.change(template_digest=intent.target_digest, generation=8, revision=8)
    drama.run(seconds=90)
    drama.metrics.values[APEX] = WELL
    drama.run(minutes=3)
    assert drama.incident.reason is Reason.RECOVERED
    assert ("applied", "applied") in drama.told()
    assert "not by us" in next(one["detail"] for one in drama.story().events if one["kind"] == "applied")
    assert (drama.cluster.effects, drama.counted("actions", action="undo")) == ([], 0)


def test_an_answer_that_got_lost_is_recognised_and_not_sent_again(drama):
    drama.heal_on(RestartIntent)
    drama.cluster.script.append(applied_but_unclear(drama))
    drama.receive()
    drama.run()
    assert drama.done == ["restart"]
    assert len(drama.cluster.asked) == 1
    assert drama.incident.reason is Reason.RECOVERED
    event = next(event for event in drama.story().events if event["kind"] == "applied")
    assert event["data"]["recognised"] is True
    assert drama.counted("unclear_answers", action="restart") == 1


def test_an_unclear_answer_without_effect_is_sent_again_with_the_same_intent(drama):
    drama.heal_on(RestartIntent)
    drama.cluster.script.append(Delivery.UNCLEAR)
    drama.receive()
    drama.run()
    first, second = drama.cluster.asked
    assert first == second
    assert drama.done == ["restart"]
    assert the_attempt(drama).tries == 2


@pytest.mark.parametrize("delivery", [Delivery.NOT_SENT, Delivery.CONFLICT])
def test_what_certainly_had_no_effect_is_tried_again(drama, delivery):
    drama.heal_on(RestartIntent)
    drama.cluster.script.extend([delivery] * (MOST_TRIES - 1))
    drama.receive()
    drama.run()
    assert drama.done == ["restart"]
    assert the_attempt(drama).tries == MOST_TRIES


@pytest.mark.parametrize(
    ("asked", "waited"), [(1, 2), (20, 20), (3600, 60)], ids=["less", "more", "too long"]
)
def test_an_api_server_that_asks_to_be_left_alone_is_for_a_minute_at_most(drama, asked, waited):
    again_after = timedelta(seconds=asked)
    sent = Sent(delivery=Delivery.NOT_SENT, detail="HTTP 429", again_after=again_after)
    drama.heal_on(RestartIntent)
    drama.cluster.script.append(lambda *_: sent)
    drama.receive()
    drama.run()
    attempt = the_attempt(drama)
    assert (attempt.applied_at - attempt.intended_at).total_seconds() == waited
    assert drama.incident.reason is Reason.RECOVERED


def test_sending_is_not_tried_for_ever_and_what_was_never_sent_is_withdrawn(drama):
    drama.cluster.script.extend([Delivery.NOT_SENT] * 99)
    drama.receive()
    drama.run()
    assert len(drama.cluster.asked) == MOST_TRIES
    assert the_attempt(drama).state is AttemptState.WITHDRAWN
    assert (drama.incident.phase, drama.incident.reason) == (Phase.ESCALATED, Reason.CLUSTER_UNREACHABLE)


def test_sending_is_not_tried_for_ever_and_what_may_have_been_sent_is_given_up(drama):
    drama.cluster.script.extend([Delivery.UNCLEAR] * 99)
    drama.receive()
    drama.run()
    assert len(drama.cluster.asked) == MOST_TRIES
    assert the_attempt(drama).state is AttemptState.ABANDONED
    assert (drama.incident.phase, drama.incident.reason) == (Phase.ESCALATED, Reason.OUTCOME_UNKNOWN)


def test_a_refusal_goes_to_a_person_and_spends_no_budget(drama):
    drama.cluster.script.append(Delivery.REFUSED)
    drama.receive()
    drama.run()
    assert len(drama.cluster.asked) == 1
    assert the_attempt(drama).state is AttemptState.WITHDRAWN
    assert (drama.incident.phase, drama.incident.reason) == (Phase.ESCALATED, Reason.FORBIDDEN)


def test_a_refusal_without_a_reason_is_a_refusal_by_the_cluster(drama):
    drama.cluster.script.append(lambda _target, _intent: Sent(delivery=Delivery.REFUSED, detail="422"))
    drama.receive()
    drama.run()
    assert drama.incident.reason is Reason.REFUSED_BY_CLUSTER


@pytest.mark.parametrize("delivery", [Delivery.CONFLICT, Delivery.NOT_SENT, Delivery.REFUSED])
def test_a_later_no_does_not_rule_out_an_earlier_sending(drama, delivery):
    """The first answer never came; only the second one is certain to be without effect."""
    drama.cluster.script.extend([Delivery.UNCLEAR, somebody_changes_it(drama, delivery)])
    if delivery is Delivery.REFUSED:
        drama.cluster.script[1] = Delivery.REFUSED
    drama.receive()
    drama.run(seconds=10)
    assert the_attempt(drama).state is AttemptState.ABANDONED
    assert drama.incident.phase is Phase.ESCALATED


def test_what_somebody_else_changed_first_is_decided_anew(drama):
    drama.heal_on(RestartIntent)
    drama.cluster.script.append(somebody_changes_it(drama, Delivery.CONFLICT))
    drama.receive()
    drama.run()
    first, second = drama.story().attempts
    assert (first.state, first.reason) == (AttemptState.WITHDRAWN, Reason.CHANGED_BY_OTHERS)
    assert (second.intent.generation, second.step) == (99, first.step)
    assert drama.done == ["restart"]


def test_a_scale_is_decided_anew_when_somebody_deployed_though_the_count_is_the_same(drama):
    drama.policy = a_policy(a_playbook(SCALE))
    drama.cluster.change(usage=0.95)
    drama.receive()
    drama.advance_once()
    drama.cluster.change(generation=99)
    drama.step()
    first, second = drama.story().attempts
    assert (first.state, first.reason) == (AttemptState.WITHDRAWN, Reason.CHANGED_BY_OTHERS)
    assert (second.state, second.intent.generation) == (AttemptState.APPLIED, 99)
    assert drama.done == ["scale"]


def test_a_count_that_somebody_set_back_after_an_unclear_answer_is_not_set_again(drama):
    """It is what it was before our write, but not because that did not happen."""
    drama.policy = a_policy(a_playbook(SCALE))
    drama.cluster.change(usage=0.95)

    def lost_and_set_back(target, intent):
        drama.cluster.apply(target, intent)
        drama.cluster.change(replicas=3, generation=9)
        return Sent(delivery=Delivery.UNCLEAR, detail="timed out")

    drama.cluster.script.append(lost_and_set_back)
    drama.receive()
    drama.run()
    assert (drama.incident.phase, drama.incident.reason) == (Phase.ESCALATED, Reason.OUTCOME_UNKNOWN)
    assert drama.done == ["scale"]


def test_somebody_who_is_faster_every_time_is_left_to_a_person(drama):
    """Each time anew, and within one step: without an end it would never come to rest."""
    generations = iter(range(100, 200))

    def send(_target, _intent):
        drama.cluster.change(generation=next(generations))
        return Sent(delivery=Delivery.CONFLICT, detail="too late")

    drama.cluster.script.extend([send] * 99)
    drama.receive()
    drama.run()
    assert (drama.incident.phase, drama.incident.reason) == (Phase.ESCALATED, Reason.CHANGED_BY_OTHERS)
    assert {attempt.state for attempt in drama.story().attempts} == {AttemptState.WITHDRAWN}
    assert len(drama.cluster.asked) == MOST_OUTRUN
    assert "5 times somebody was faster" in drama.story().events[-1]["detail"]


def test_what_was_decided_just_now_is_sent_without_being_recognised_first(drama, monkeypatch):
    """Nothing can have been sent yet, and the sending looks at the object itself."""
    monkeypatch.setattr(drama.cluster, "recognise", None)
    drama.receive()
    drama.step()
    assert drama.done == ["restart"]


def test_what_somebody_else_changed_just_before_the_sending_is_decided_anew_at_once(drama):
    drama.heal_on(RestartIntent)
    drama.cluster.script.append(somebody_changes_it(drama, Delivery.CONFLICT))
    drama.receive()
    drama.step()
    first, second = drama.story().attempts
    assert (first.state, first.reason) == (AttemptState.WITHDRAWN, Reason.CHANGED_BY_OTHERS)
    assert second.state is AttemptState.APPLIED
    assert second.intended_at == first.intended_at


def test_what_somebody_changed_after_an_unclear_answer_goes_to_a_person(drama):
    drama.cluster.script.append(somebody_changes_it(drama, Delivery.UNCLEAR))
    drama.receive()
    drama.run()
    assert the_attempt(drama).state is AttemptState.ABANDONED
    assert (drama.incident.phase, drama.incident.reason) == (Phase.ESCALATED, Reason.OUTCOME_UNKNOWN)
    assert len(drama.cluster.asked) == 1


def test_an_api_server_that_goes_away_before_the_sending_is_waited_for(drama):
    drama.heal_on(RestartIntent)
    drama.receive()
    drama.advance_once()
    drama.cluster.away = True
    drama.run(minutes=10)
    assert drama.cluster.asked == []
    drama.cluster.away = False
    drama.run()
    assert drama.done == ["restart"]


def test_an_api_server_that_stays_away_before_the_sending_leads_to_a_person(drama):
    drama.receive()
    drama.advance_once()
    drama.cluster.away = True
    drama.run()
    assert the_attempt(drama).state is AttemptState.WITHDRAWN
    assert (drama.incident.phase, drama.incident.reason) == (Phase.ESCALATED, Reason.CLUSTER_UNREACHABLE)


def test_an_api_server_that_stays_away_after_an_unclear_sending_leads_to_a_person(drama):
    drama.cluster.script.append(Delivery.UNCLEAR)
    drama.receive()
    drama.step()
    drama.cluster.away = True
    drama.run()
    assert the_attempt(drama).state is AttemptState.ABANDONED
    assert drama.incident.reason is Reason.OUTCOME_UNKNOWN


# Crashes

INTENTS = [
    pytest.param({}, RestartIntent, "restart", id="restart"),
    pytest.param({"usage": 0.95}, ScaleIntent, "scale", id="scale"),
    pytest.param({"template_changed": recently()}, UndoIntent, "undo", id="undo"),
]


def crash(_target, _intent):
    raise Crash


@pytest.mark.parametrize(("seen", "kind", "name"), INTENTS)
def test_a_crash_before_the_effect_loses_nothing(drama, seen, kind, name):
    drama.cluster.change(**seen)
    drama.heal_on(kind)
    drama.cluster.script.append(crash)
    drama.receive()
    with pytest.raises(Crash):
        drama.run()
    drama.run("two")
    assert drama.done == [name]
    assert drama.incident.reason is Reason.RECOVERED


@pytest.mark.parametrize(("seen", "kind", "name"), INTENTS)
def test_a_crash_after_the_effect_repeats_nothing(drama, seen, kind, name):
    def effect_then_crash(target, intent):
        drama.cluster.apply(target, intent)
        raise Crash

    drama.cluster.change(**seen)
    drama.heal_on(kind)
    drama.cluster.script.append(effect_then_crash)
    drama.receive()
    with pytest.raises(Crash):
        drama.run()
    drama.run("two")
    assert drama.done == [name]
    assert len(drama.cluster.asked) == 1
    assert drama.incident.reason is Reason.RECOVERED


def test_what_somebody_changed_after_a_crash_goes_to_a_person(drama):
    """Whether it had been applied can no longer be told: that it may have been is on record from before."""

    def effect_then_crash(target, intent):
        drama.cluster.apply(target, intent)
        raise Crash

    drama.cluster.change(usage=0.95)
    drama.cluster.script.append(effect_then_crash)
    drama.receive()
    with pytest.raises(Crash):
        drama.run()
    drama.cluster.change(replicas=4)
    drama.run("two")
    assert the_attempt(drama).state is AttemptState.ABANDONED
    assert drama.incident.reason is Reason.OUTCOME_UNKNOWN


@pytest.mark.parametrize("committed", [True, False], ids=["after commit", "before commit"])
def test_a_crash_around_any_transaction_loses_and_repeats_nothing(tmp_path, committed):
    """One story, killed around its first, second, ... transaction, until it plays through unharmed."""
    for transaction in range(1, 60):
        folder = tmp_path / str(transaction)
        folder.mkdir()
        quick = a_criterion(settle=timedelta(), samples=1, within=timedelta(seconds=20))
        short = with_limits(a_policy(a_playbook(UNDO, RESTART, verify=quick)), cooldown=timedelta())
        drama = Drama(folder, short)
        drama.cluster.change(template_changed=recently())
        drama.heal_on(RestartIntent)  # the undo does not help
        drama.receive()
        drama.crash_at(transaction, committed=committed)
        try:
            drama.run()
        except Crash:
            drama.restart()
            drama.run("two")
            unharmed = False
        else:
            unharmed = True
        assert drama.done == ["undo", "restart"]
        assert len(drama.cluster.asked) == 2
        assert drama.incident.reason is Reason.RECOVERED
        drama.close()
        if unharmed:
            return
    raise AssertionError("the story has more transactions than expected")


@pytest.mark.parametrize("committed", [True, False], ids=["after commit", "before commit"])
def test_a_crash_while_receiving_is_made_good_by_alertmanagers_retry(drama, committed):
    drama.heal_on(RestartIntent)
    drama.crash_at(1, committed=committed)
    with pytest.raises(Crash):
        drama.receive()
    drama.restart()
    drama.receive()
    drama.run()
    assert drama.done == ["restart"]
    assert len(drama.journal.incidents()) == 1


def test_a_worker_that_was_overtaken_while_it_thought_sends_nothing(drama):
    drama.receive()
    slow = drama.lifecycle.advance(drama.claim("slow"), now=drama.now)
    drama.step("quick")
    assert drama.done == ["restart"]
    with pytest.raises(LeaseLost):
        drama.lifecycle.advance(slow, now=drama.now)
    assert len(drama.cluster.asked) == 1


def test_a_worker_that_was_overtaken_at_the_last_moment_has_no_second_effect(drama):
    """It passed its last check, slept, and another acted meanwhile: the precondition stops its write."""
    drama.heal_on(RestartIntent)

    def overtaken(target, intent):
        drama.step("quick")
        return drama.cluster.apply(target, intent)

    drama.cluster.script.append(overtaken)
    drama.receive()
    with pytest.raises(LeaseLost):
        drama.step("slow")
    drama.run("quick")
    assert drama.done == ["restart"]
    assert drama.incident.reason is Reason.RECOVERED


def test_a_worker_that_comes_back_after_all_is_over_is_told_so(drama):
    drama.heal_on(RestartIntent)
    drama.receive()
    slow = drama.lifecycle.advance(drama.claim("slow"), now=drama.now)
    drama.run("quick")
    with pytest.raises(LeaseLost):
        drama.lifecycle.advance(slow, now=drama.now)


def test_a_worker_whose_attempt_another_has_ended_is_told_so(drama):
    drama.receive()
    drama.advance_once()
    slow = drama.claim("slow")
    with drama.journal.transaction() as tx:
        tx.abandon_attempts(slow.incident.id, Reason.POISONED, now=drama.now)
    with pytest.raises(LeaseLost, match="another worker has ended the attempt"):
        drama.lifecycle.advance(slow, now=drama.now)
    assert drama.cluster.asked == []


# Poison


def test_an_incident_that_kills_every_worker_goes_to_a_person(drama):
    drama.receive()
    drama.cluster.script.extend([crash] * 99)
    deaths = 0
    while drama.incident.phase is not Phase.ESCALATED:
        try:
            drama.step(f"worker-{deaths}")
        except Crash:
            deaths += 1
    assert deaths < MOST_CLAIMS
    assert the_attempt(drama).state is AttemptState.ABANDONED


def test_claims_without_any_progress_poison_an_incident(drama):
    drama.receive()
    for number in range(MOST_CLAIMS):
        drama.claim(f"worker-{number}")
    drama.step()
    assert (drama.incident.phase, drama.incident.reason) == (Phase.ESCALATED, Reason.POISONED)
    assert "10 claims without progress in phase deciding" in drama.story().events[-1]["detail"]


def test_a_poisoned_incident_leaves_no_attempt_in_flight_to_block_its_target_for_ever(drama):
    drama.policy = a_policy(a_playbook(RESTART))
    drama.receive()
    drama.step()
    drama.forward(seconds=5)
    for number in range(MOST_CLAIMS):
        drama.claim(f"worker-{number}")
    drama.run()
    assert ("escalated", "poisoned") in drama.told()
    assert the_attempt(drama).state is AttemptState.ABANDONED
    Person(drama.journal).acknowledge(drama.incident.id, by="ada", now=drama.now)
    drama.forward(minutes=10)
    drama.heal_on(RestartIntent)
    drama.receive(an_alert(starts_at=drama.now))
    drama.run()
    assert drama.incident.reason is Reason.RECOVERED


def test_ten_claims_with_progress_between_them_poison_nothing(drama):
    drama.metrics.values[APEX] = None
    drama.receive()
    for _ in range(3 * MOST_CLAIMS):
        assert drama.step()
        drama.forward(seconds=15)
    assert drama.incident.reason is not Reason.POISONED


@pytest.mark.parametrize("phase", [Phase.ESCALATED, Phase.CLOSED])
def test_there_is_nothing_to_advance_in_a_phase_that_is_over(drama, phase):
    from dataclasses import replace  # noqa: PLC0415

    drama.receive()
    claim = drama.claim(lease=timedelta(seconds=20))
    over = replace(claim, incident=replace(claim.incident, phase=phase))
    with pytest.raises(ValueError, match="nothing to advance"):
        drama.lifecycle.advance(over, now=drama.now)


@pytest.mark.parametrize(
    ("step", "words"), [(RESTART, "rolling restart"), (UNDO, "rollout undo to revision 6")]
)
def test_what_is_sent_says_what_it_is_and_why(drama, step, words):
    drama.policy = a_policy(a_playbook(step))
    drama.cluster.change(template_changed=recently())
    drama.receive()
    drama.step()
    assert drama.cluster.causes == [
        f"remediator: {words} for AhsanScoreLow (incident 1, {drama.now:%Y-%m-%dT%H:%M:%SZ})"
    ]


def test_what_is_sent_again_says_the_same(drama):
    drama.cluster.script.append(Delivery.CONFLICT)
    drama.receive()
    drama.run()
    first, second, *_ = drama.cluster.causes
    assert first == second
