"""A scale-up is given back after the recovery, step by step, unless something speaks against it."""

from dataclasses import replace
from datetime import UTC, timedelta

import pytest

from remediator.core.actions import RollingRestart, Scale, ScaleIntent
from remediator.core.execution import Delivery, RolloutState, Sent
from remediator.core.facts import Fact
from remediator.core.incidents import AttemptState, Phase
from remediator.core.policy import ChangeWindow, Mode, Returns, Step
from remediator.core.reasons import Reason
from remediator.core.seen import Autoscaler
from remediator.core.verification import Verdict
from remediator.lifecycle import MOST_CLAIMS
from remediator.lifecycle.person import Meant, NotNow, Person
from tests.builders import (
    APEX,
    NOW,
    RESTART,
    SCALE,
    a_criterion,
    a_playbook,
    a_policy,
    an_alert,
    an_incident,
    an_observation,
    with_limits,
)
from tests.worlds import NOT_FOUND, SICK, UNAUTHENTICATED, WELL, Crash

HALF_AN_HOUR = timedelta(minutes=30)
ONE_RETURN = [
    ("held", "return_waiting"),
    ("decided", "return_due"),
    ("applied", "applied"),
    ("rolled_out", "rolled_out"),
    ("judged", "recovered"),
]


def scaled(drama, *, resolved=True, **policy):
    """A scale-up from 3 to 5 that helped; the clock stands at the recovery."""
    drama.policy = replace(a_policy(a_playbook(SCALE)), **policy)
    drama.cluster.change(usage=0.95)
    drama.heal_on(ScaleIntent)
    drama.receive()
    drama.run(minutes=2)
    if resolved:
        drama.receive(an_alert(firing=False))
    return drama


def counts(drama):
    """The replica counts that were set, in their order."""
    return [intent.replicas_to for _, intent in drama.cluster.effects if isinstance(intent, ScaleIntent)]


def needs(drama, replicas):
    """The service is well from that many replicas on."""

    def ask(_query):
        return WELL if drama.cluster.observe(APEX).replicas >= replicas else SICK

    drama.metrics.on_ask = ask


def test_the_original_count_comes_back_one_by_one_each_proven_by_our_own_query(drama):
    scaled(drama)
    assert (drama.incident.phase, drama.incident.reason) == (Phase.RETURNING, Reason.RECOVERED)
    recovered = drama.incident.closed_at
    drama.run(hours=2)
    assert counts(drama) == [5, 4, 3]
    up, first, second = drama.story().attempts
    assert (up.kind, first.kind, second.kind) == ("scale", "return", "return")
    assert [attempt.verdict for attempt in (up, first, second)] == [Verdict.RECOVERED] * 3
    resolved = NOW + timedelta(minutes=2)  # until then the alert was firing, whatever our query said
    assert HALF_AN_HOUR <= first.intended_at - resolved < HALF_AN_HOUR + timedelta(minutes=1)
    assert timedelta(minutes=5) <= second.intended_at - first.ended_at < timedelta(minutes=6)
    assert drama.incident.phase is Phase.CLOSED
    assert (drama.incident.closed_at, drama.incident.reason) == (recovered, Reason.RECOVERED)
    assert drama.told()[5:] == [
        ("closed", "recovered"),
        ("returning", "return_waiting"),
        ("held", "still_firing"),
        *ONE_RETURN,
        *ONE_RETURN,
        ("returned", "returned"),
    ]
    assert drama.counted("returns", reason="returned") == 1
    assert (drama.counted("actions", action="scale"), drama.counted("actions", action="return")) == (1, 2)


def test_how_much_comes_back_how_fast_is_the_policys(drama):
    scaled(drama, returns=Returns(after=timedelta(minutes=2), by=9, every=timedelta(minutes=1)))
    drama.run(minutes=10)
    assert counts(drama) == [5, 3]


def test_a_return_spends_no_budget_and_starts_no_cooldown(drama):
    tight = with_limits(a_policy(a_playbook(SCALE, RESTART)), target_actions=2, overall_actions=2)
    scaled(drama, **{name: getattr(tight, name) for name in ("limits", "playbooks")})
    drama.run(hours=2)
    assert counts(drama) == [5, 4, 3]
    assert len(drama.journal.spent(since=NOW - timedelta(seconds=1))) == 1


def test_a_step_may_say_that_its_replicas_stay(drama):
    stays = Step(action=Scale(5, returns=False), when=(Fact.RESOURCE_PRESSURE,))
    scaled(drama, playbooks={"AhsanScoreLow": a_playbook(stays)})
    drama.run(hours=2)
    assert (counts(drama), drama.incident.phase) == ([5], Phase.CLOSED)


def test_a_scale_up_that_did_not_help_comes_back_after_the_step_that_did(drama):
    drama.policy = a_policy(a_playbook(SCALE, RESTART))
    drama.cluster.change(usage=0.95)
    drama.metrics.on_ask = lambda _query: WELL if "restart" in drama.done else SICK
    drama.receive()
    drama.run(minutes=20)
    drama.receive(an_alert(firing=False))
    drama.run(hours=2)
    assert drama.done == ["scale", "restart", "scale", "scale"]
    assert counts(drama) == [5, 4, 3]


# What speaks against it for good


def somebody_scales(drama):
    drama.cluster.change(replicas=7)


def an_autoscaler_appears(drama):
    drama.cluster.change(hpas=(Autoscaler(name="web", maximum=9),))


def it_is_made_anew(drama):
    drama.cluster.change(uid="uid-2")


def it_is_deleted(drama):
    drama.cluster.live[APEX] = NOT_FOUND


def gitops_takes_it(drama):
    drama.cluster.change(gitops=("label argocd",))


def it_opts_out(drama):
    drama.cluster.change(opted_in=False)


def the_policy_forgets_it(drama):
    drama.policy = replace(drama.policy, playbooks={})


def the_least_is_raised(drama):
    bounds = {APEX: replace(drama.policy.targets[APEX], min_replicas=5)}
    drama.policy = replace(drama.policy, targets=bounds)


KEPT = [
    pytest.param(somebody_scales, "changed_by_others", "7 replicas are wanted, we left 5", id="a person"),
    pytest.param(an_autoscaler_appears, "hpa_owns_replicas", "web", id="an HPA"),
    pytest.param(it_is_made_anew, "changed_by_others", "made anew", id="another Deployment"),
    pytest.param(it_is_deleted, "target_not_found", "404", id="gone"),
    pytest.param(gitops_takes_it, "owned_elsewhere", "label argocd", id="GitOps"),
    pytest.param(it_opts_out, "not_opted_in", "label", id="opted out"),
    pytest.param(the_policy_forgets_it, "policy_changed", "0123456789ab", id="no playbook"),
    pytest.param(the_least_is_raised, "replicas_at_bound", "least is 5", id="the bounds"),
]


@pytest.mark.parametrize(("meanwhile", "reason", "words"), KEPT)
def test_what_somebody_touched_meanwhile_is_theirs(drama, meanwhile, reason, words):
    scaled(drama)
    drama.run(minutes=10)
    meanwhile(drama)
    drama.run(hours=2)
    assert counts(drama) == [5]
    assert drama.incident.phase is Phase.CLOSED
    assert drama.told()[-1] == ("kept", reason)
    assert words in drama.story().events[-1]["detail"]
    assert drama.counted("returns", reason=reason) == 1


def test_somebody_who_scales_between_two_returns_keeps_it(drama):
    scaled(drama)
    drama.run(minutes=33)
    somebody_scales(drama)
    drama.run(hours=2)
    assert counts(drama) == [5, 4]
    assert drama.told()[-1] == ("kept", "changed_by_others")


def test_a_return_overridden_while_it_rolls_out_ends_there(drama):
    scaled(drama)
    drama.cluster.rollouts.append(RolloutState.OVERRIDDEN)
    drama.run(hours=2)
    assert counts(drama) == [5, 4]
    assert (drama.told()[-1], drama.incident.phase) == (("kept", "changed_by_others"), Phase.CLOSED)


def an_alert_comes_in_while_it_is_given_back(drama, name):
    """And then somebody else sets another count."""

    def override(_target, _intent):
        drama.receive(an_alert(name, starts_at=drama.now))
        drama.cluster.rollouts.append(RolloutState.OVERRIDDEN)

    drama.cluster.on_effect = override


def and_outruns_it(drama, name):
    def send(_target, _intent):
        drama.receive(an_alert(name, starts_at=drama.now))
        somebody_scales(drama)
        return Sent(delivery=Delivery.CONFLICT, detail="too late")

    drama.cluster.script.append(send)


@pytest.mark.parametrize(
    ("comes", "name"),
    [
        (an_alert_comes_in_while_it_is_given_back, "HiveDown"),
        (an_alert_comes_in_while_it_is_given_back, "AhsanScoreLow"),
        (and_outruns_it, "HiveDown"),
    ],
)
def test_an_alert_that_joined_a_return_is_dealt_with_when_others_end_it(drama, comes, name):
    """It joined because the return owned the target; nobody else would look after it."""
    both = {one.alert: one for one in (a_playbook(SCALE), a_playbook(RESTART, alert="HiveDown"))}
    scaled(drama, playbooks=both)
    comes(drama, name)
    drama.run(hours=2)
    first, second = reversed(drama.journal.incidents())
    assert ("joined", "incident_joined") in drama.told(first.id)
    assert drama.told(first.id)[-1] == ("kept", "changed_by_others")
    assert (second.alert, second.phase, second.reason) == (name, Phase.CLOSED, Reason.CONDITION_CLEARED)


def test_an_alert_that_joined_a_return_that_was_withdrawn_does_not_wait_for_it(drama):
    both = {one.alert: one for one in (a_playbook(SCALE), a_playbook(RESTART, alert="HiveDown"))}
    scaled(drama, playbooks=both)
    drama.run(minutes=29)
    while drama.incident.phase is not Phase.ACTING:
        drama.forward(seconds=60)
        drama.advance_once()
    drama.receive(an_alert("HiveDown", starts_at=drama.now))
    paused(drama)
    drama.run(minutes=5)
    first, second = reversed(drama.journal.incidents())
    assert (first.phase, drama.story(first.id).attempts[-1].reason) == (Phase.RETURNING, Reason.PAUSED)
    assert second.alert == "HiveDown"


# What it waits for


def paused(drama):
    with drama.journal.transaction() as tx:
        tx.engage_pause(scope="all", by="ada", why="lunch", until=None, now=drama.now)
    return lambda: drama.journal.end_pauses(scope=None, by="ada", now=drama.now)


def unwell(drama):
    drama.metrics.values[APEX] = SICK
    return lambda: drama.metrics.values.update({APEX: WELL})


def without_data(drama):
    drama.metrics.values[APEX] = None
    return lambda: drama.metrics.values.update({APEX: WELL})


def cut_off(drama):
    drama.cluster.away = True
    return lambda: setattr(drama.cluster, "away", False)


def unauthenticated(drama):
    seen, drama.cluster.live[APEX] = drama.cluster.live[APEX], UNAUTHENTICATED
    return lambda: drama.cluster.live.update({APEX: seen})


def hpas_unread(drama):
    drama.cluster.change(hpas=None, unreadable={"hpas": "timed out"})
    return lambda: drama.cluster.change(hpas=())


def observing(drama):
    before, drama.policy = drama.policy, replace(drama.policy, mode=Mode.OBSERVE)
    return lambda: setattr(drama, "policy", before)


def outside_hours(drama):
    never = replace(an_hour(), days=frozenset())
    before, drama.policy = drama.policy, replace(drama.policy, change_windows=(never,))
    return lambda: setattr(drama, "policy", before)


def an_hour():
    return ChangeWindow(
        days=frozenset(range(7)), opens=NOW.time(), closes=(NOW + timedelta(hours=1)).time(), zone=UTC
    )


def firing_again(drama):
    drama.receive(an_alert(), body="again")
    return lambda: drama.receive(an_alert(firing=False), body="gone")


def lacking(drama):
    from remediator.core.permissions import WRITE_SCALE  # noqa: PLC0415

    drama.cluster.change(missing_permissions=(WRITE_SCALE,))
    return lambda: drama.cluster.change(missing_permissions=())


HELD = [
    pytest.param(paused, "paused", id="paused"),
    pytest.param(unwell, "unwell", id="not well"),
    pytest.param(without_data, "no_data", id="no data"),
    pytest.param(cut_off, "cluster_unreachable", id="API server away"),
    pytest.param(unauthenticated, "unauthenticated", id="credentials refused"),
    pytest.param(hpas_unread, "fact_unknown", id="perhaps an HPA"),
    pytest.param(observing, "observe_mode", id="observe"),
    pytest.param(outside_hours, "outside_change_window", id="change window"),
    pytest.param(lacking, "forbidden", id="no permission"),
]


@pytest.mark.parametrize(("begins", "reason"), HELD)
def test_a_return_waits_with_its_reason_and_goes_on(drama, begins, reason):
    scaled(drama)
    ends = begins(drama)
    drama.run(hours=1)
    assert counts(drama) == [5]
    assert ("held", reason) in drama.told()
    assert (drama.incident.phase, drama.incident.hold_reason) == (Phase.RETURNING, Reason(reason))
    ends()
    drama.run(hours=1)
    assert counts(drama) == [5, 4, 3]


def test_an_alert_that_still_fires_gives_nothing_back(drama):
    scaled(drama, resolved=False)
    drama.run(hours=1)
    assert (counts(drama), drama.incident.hold_reason) == ([5], Reason.STILL_FIRING)


def test_well_means_well_all_the_time(drama):
    scaled(drama)
    drama.run(minutes=25)
    drama.metrics.values[APEX] = SICK
    drama.run(minutes=2)
    drama.metrics.values[APEX] = WELL
    drama.run(minutes=29)
    assert counts(drama) == [5]
    drama.run(minutes=3)
    assert counts(drama) == [5, 4]


def test_a_person_is_asked_first_when_the_policy_says_approve(drama):
    scaled(drama)
    drama.policy = replace(drama.policy, mode=Mode.APPROVE)
    drama.run(hours=1)
    assert drama.incident.hold_reason is Reason.AWAITING_APPROVAL
    held = drama.story().events[-1]["detail"]
    assert held == 'scale down to 4: remediator approve 1 --action "the return of a scale-up"'
    with pytest.raises(NotNow, match=r"waits for the return of a scale-up, not for step 1$"):
        Person(drama.journal).approve(drama.incident.id, by="ada", now=drama.now, meant=Meant(step=1))
    meant = Meant(action="the return of a scale-up")
    Person(drama.journal).approve(drama.incident.id, by="ada", now=drama.now, meant=meant)
    drama.run(hours=1)
    assert counts(drama) == [5, 4, 3]


def test_a_person_may_refuse_it(drama):
    scaled(drama)
    drama.policy = replace(drama.policy, mode=Mode.APPROVE)
    drama.run(hours=1)
    said = Person(drama.journal).reject(drama.incident.id, by="ada", now=drama.now)
    drama.run(hours=1)
    assert said == "the return of a scale-up: rejected by ada; the replicas stay"
    assert (counts(drama), drama.told()[-1]) == ([5], ("kept", "approval_refused"))


def test_a_person_may_say_that_the_replicas_stay(drama):
    scaled(drama)
    drama.forward(minutes=1)
    claim = drama.claim()
    said = Person(drama.journal).acknowledge(drama.incident.id, by="ada", now=drama.now)
    assert said == "acknowledged by ada: the replicas stay"
    with pytest.raises(Exception, match="incident 1"):  # whoever looks at it right now has lost it
        drama.lifecycle.advance(claim, now=drama.now)
    drama.run(hours=1)
    assert (counts(drama), drama.told()[-1]) == ([5], ("kept", "acknowledged"))
    with pytest.raises(NotNow):
        Person(drama.journal).acknowledge(drama.incident.id, by="ada", now=drama.now)


# What the service does not bear


def test_when_the_query_goes_bad_it_goes_back_up_once_and_a_person_takes_over(drama):
    scaled(drama)
    needs(drama, 4)
    drama.run(hours=3)
    assert counts(drama) == [5, 4, 3, 4]
    assert (drama.incident.phase, drama.incident.reason) == (Phase.ESCALATED, Reason.RETURN_FAILED)
    assert "well again with 4 replicas, not with 3" in drama.story().events[-1]["detail"]
    down, up = drama.story().attempts[-2:]
    assert (down.verdict, up.verdict) == (Verdict.NOT_RECOVERED, Verdict.RECOVERED)
    assert down.ended_at - down.rolled_out_at == timedelta(seconds=60)  # as soon as three samples are bad
    assert drama.counted("returns", reason="return_failed") == 1
    Person(drama.journal).acknowledge(drama.incident.id, by="ada", now=drama.now)
    assert drama.journal.returns_pending() == 0


def test_no_data_after_a_return_is_not_borne_either(drama):
    scaled(drama)
    drama.metrics.on_ask = lambda _query: None if drama.cluster.observe(APEX).replicas == 4 else WELL
    drama.run(hours=3)
    assert counts(drama) == [5, 4, 5]
    assert drama.incident.reason is Reason.RETURN_FAILED


def test_a_service_that_stays_bad_after_going_back_up_is_a_persons_too(drama):
    scaled(drama)
    drama.metrics.on_ask = lambda _query: WELL if counts(drama) == [5] else SICK
    drama.run(hours=3)
    assert counts(drama) == [5, 4, 5]
    assert (drama.incident.phase, drama.incident.reason) == (Phase.ESCALATED, Reason.RETURN_FAILED)


def test_a_pause_keeps_it_from_going_back_up_and_says_so(drama):
    scaled(drama)
    needs(drama, 5)
    drama.cluster.on_effect = lambda *_: paused(drama)
    drama.run(hours=3)
    assert counts(drama) == [5, 4]
    assert (drama.incident.phase, drama.incident.reason) == (Phase.ESCALATED, Reason.RETURN_FAILED)
    assert "not put up again: all is paused by ada: lunch" in drama.story().events[-1]["detail"]


def test_a_deploy_after_a_return_that_was_not_borne_leaves_the_count_to_a_person(drama):
    scaled(drama)
    needs(drama, 5)
    drama.cluster.on_effect = lambda *_: deployed(drama) if counts(drama) == [5, 4] else None
    drama.run(hours=3)
    assert counts(drama) == [5, 4]
    assert (drama.incident.phase, drama.incident.reason) == (Phase.ESCALATED, Reason.RETURN_FAILED)
    assert "not put up again: somebody else changed" in drama.story().events[-1]["detail"]


def deployed(drama):
    drama.cluster.change(generation=drama.cluster.live[APEX].generation + 1, template_digest="theirs")


def test_a_pause_at_the_last_moment_keeps_it_from_going_back_up_too(drama):
    scaled(drama)
    needs(drama, 5)
    drama.run(minutes=29)
    while len(drama.story().attempts) < 3:
        drama.forward(seconds=60)
        drama.advance_once()
    paused(drama)
    drama.run(minutes=5)
    assert counts(drama) == [5, 4]
    assert drama.incident.reason is Reason.RETURN_FAILED
    assert "not put up again: a person paused" in drama.story().events[-1]["detail"]


def no_longer_in_the_policy(drama):
    drama.policy = replace(drama.policy, mode=Mode.OBSERVE)


def no_longer_within_bounds(drama):
    bounds = {APEX: replace(drama.policy.targets[APEX], max_replicas=4)}
    drama.policy = replace(drama.policy, targets=bounds)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (no_longer_in_the_policy, "no longer lets us act"),
        (no_longer_within_bounds, "5 is above the policy's 4"),
    ],
)
def test_a_policy_that_changed_meanwhile_keeps_it_from_going_back_up(drama, change, words):
    scaled(drama)
    needs(drama, 5)
    drama.cluster.on_effect = lambda *_: change(drama)
    drama.run(hours=1)
    assert counts(drama) == [5, 4]
    assert (drama.incident.phase, drama.incident.reason) == (Phase.ESCALATED, Reason.RETURN_FAILED)
    assert words in drama.story().events[-1]["detail"]


def test_returns_that_are_not_borne_feed_the_breaker(drama):
    scaled(drama, limits=replace(drama.policy.limits, breaker_not_recovered=1))
    needs(drama, 5)
    drama.run(hours=3)
    assert ("breaker", "breaker_open") in drama.told()


# Beside other incidents


def test_another_incident_on_the_target_is_dealt_with_first_and_the_wait_begins_anew(drama):
    drama.policy = a_policy(a_playbook(SCALE), a_playbook(RESTART, alert="HiveDown"))
    playbooks = drama.policy.playbooks
    scaled(drama, playbooks=playbooks)
    drama.run(minutes=20)
    drama.metrics.values[APEX] = SICK
    drama.receive(an_alert("HiveDown", starts_at=drama.now))
    drama.cluster.on_effect = lambda *_: drama.metrics.values.update({APEX: WELL})
    drama.run(minutes=10)
    second, first = drama.journal.incidents()
    assert (second.reason, first.phase) == (Reason.RECOVERED, Phase.RETURNING)
    assert ("held", "open_incident") in drama.told(first.id)
    drama.run(minutes=20)
    assert counts(drama) == [5]
    drama.run(hours=1)
    assert counts(drama) == [5, 4, 3]


def test_a_later_scale_up_takes_the_return_over(drama):
    more = Step(action=Scale(8))
    drama.policy = a_policy(a_playbook(SCALE), a_playbook(more, alert="HiveDown"))
    scaled(drama, playbooks=drama.policy.playbooks)
    drama.run(minutes=20)
    drama.metrics.values[APEX] = SICK
    drama.receive(an_alert("HiveDown", starts_at=drama.now))
    drama.run(minutes=5)
    drama.receive(an_alert("HiveDown", firing=False))
    second, first = drama.journal.incidents()
    assert (first.phase, drama.told(first.id)[-1]) == (Phase.CLOSED, ("kept", "taken_over"))
    assert (second.phase, second.return_to) == (Phase.RETURNING, 3)
    drama.run(hours=3)
    assert counts(drama) == [5, 8, 7, 6, 5, 4, 3]


def test_an_alert_that_comes_while_a_return_is_carried_out_begins_the_next_incident(drama):
    down = a_playbook(RESTART, alert="HiveDown", verify=a_criterion(query=a_criterion().query + " + 0"))
    drama.policy = a_policy(a_playbook(SCALE), down)
    scaled(drama, playbooks=drama.policy.playbooks)
    drama.cluster.on_effect = lambda *_: drama.receive(an_alert("HiveDown", starts_at=drama.now))
    drama.run(minutes=33)
    second, first = drama.journal.incidents()
    assert (second.alert, first.phase) == ("HiveDown", Phase.RETURNING)
    assert second.opened_at == drama.story(first.id).attempts[-1].ended_at


def test_the_same_alert_firing_again_during_a_return_begins_an_incident_when_it_turns_bad(drama):
    scaled(drama)
    once: list[object] = []

    def alert_once(*_):
        if not once:
            once.append(drama.receive(an_alert(starts_at=drama.now)))

    drama.cluster.on_effect = alert_once
    drama.run(minutes=34)
    assert len(drama.journal.incidents()) == 1
    drama.metrics.values[APEX] = SICK
    drama.run(minutes=2)
    second, first = drama.journal.incidents()
    assert (second.alert, second.phase) == ("AhsanScoreLow", Phase.VERIFYING)
    assert (first.phase, first.hold_reason) == (Phase.RETURNING, Reason.OPEN_INCIDENT)


def test_nothing_is_given_back_while_anything_is_in_flight_anywhere(drama):
    from remediator.core.actions import Target  # noqa: PLC0415

    other = Target("bizra-testnet", "other")
    drama.policy = a_policy(a_playbook(SCALE, RESTART), targets=(APEX, other))
    scaled(drama, targets=drama.policy.targets, playbooks=drama.policy.playbooks)
    drama.cluster.live[other] = an_observation()
    drama.metrics.values[other] = SICK
    drama.run(minutes=28)
    drama.cluster.rollouts.extend([RolloutState.WAITING] * 120)
    drama.receive(an_alert(target=other, starts_at=drama.now))
    drama.run(minutes=5)
    first = drama.journal.incidents()[-1]
    assert first.hold_reason is Reason.ACTION_IN_FLIGHT
    drama.run(hours=2)
    assert counts(drama) == [5, 4, 3]


# Whatever happens to a sending or to the process


@pytest.mark.parametrize("committed", [False, True])
@pytest.mark.parametrize("at", range(4, 13))
def test_a_crash_anywhere_in_a_return_leads_to_one_effect(drama, at, committed):
    scaled(drama, returns=Returns(by=2))
    drama.run(minutes=29)
    drama.crash_at(at, committed=committed)
    try:
        drama.run(hours=2)
    except Crash:
        drama.restart()
        drama.run(hours=2)
    assert counts(drama) == [5, 3]
    assert drama.incident.phase is Phase.CLOSED


def test_a_lost_answer_to_a_return_is_recognised(drama):
    scaled(drama)

    def lost(target, intent):
        drama.cluster.apply(target, intent)
        raise Crash

    drama.cluster.script.append(lost)
    with pytest.raises(Crash):
        drama.run(hours=2)
    drama.restart()
    drama.run(hours=2)
    assert counts(drama) == [5, 4, 3]


def test_a_pause_at_the_last_moment_withdraws_it_and_it_waits_again(drama):
    scaled(drama)
    drama.run(minutes=29)
    while drama.incident.phase is not Phase.ACTING:
        drama.forward(seconds=60)
        drama.advance_once()
    resume = paused(drama)
    drama.run(minutes=5)
    assert counts(drama) == [5]
    (_, withdrawn) = drama.story().attempts
    assert (withdrawn.state, withdrawn.reason) == (AttemptState.WITHDRAWN, Reason.PAUSED)
    assert drama.incident.hold_reason is Reason.RETURN_WAITING
    resume()
    drama.run(hours=2)
    assert counts(drama) == [5, 4, 3]


def test_a_refused_return_goes_to_a_person_and_ends(drama):
    scaled(drama)
    drama.cluster.script.append(Delivery.REFUSED)
    drama.run(hours=2)
    assert (drama.incident.phase, drama.incident.reason) == (Phase.ESCALATED, Reason.FORBIDDEN)
    assert drama.counted("returns", reason="forbidden") == 1


def test_a_return_that_kills_its_worker_is_given_up(drama):
    scaled(drama)
    drama.forward(minutes=1)
    for _ in range(MOST_CLAIMS):
        drama.claim()
    drama.step()
    assert (drama.told()[-1], drama.incident.phase) == (("kept", "poisoned"), Phase.CLOSED)


def test_an_incident_of_the_past_can_wait_beside_an_open_one(drama):
    assert an_incident().return_to is None
    assert RollingRestart() == RESTART.action
    scaled(drama)
    drama.receive(an_alert(starts_at=drama.now + timedelta(minutes=1)))
    assert [one.phase for one in drama.journal.incidents(open_only=True)] == [Phase.DECIDING, Phase.RETURNING]
    assert drama.journal.open_phases() == {APEX: Phase.DECIDING}
