"""What the timeline says is told on the target: after it was committed, once, and nothing waits for it."""

import threading
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from remediator.announcer import Announcer
from remediator.core.actions import RestartIntent, Target
from remediator.core.announcements import Told
from remediator.core.policy import Mode
from remediator.core.reasons import Reason
from remediator.lifecycle.announce import AT_ONCE, MOST_IN_VAIN, NEWS, announce
from tests.builders import RESTART, a_playbook, a_policy, an_alert
from tests.worlds import Crash


def tell(drama, *, wanted=True):
    return announce(drama.lifecycle.world, wanted=wanted, now=drama.now).told


def told(drama):
    return [one.event_reason for one in drama.cluster.announced]


def waiting(drama):
    with drama.journal.reading() as tx:
        return [one.kind for one in tx.announcements(most=99)]


def test_a_recovery_is_told_step_by_step(drama):
    drama.heal_on(RestartIntent)
    drama.receive()
    drama.run()

    assert tell(drama) == [Told.WRITTEN] * 3
    assert told(drama) == ["RemediationDecided", "RemediationStarted", "RemediationRecovered"]
    assert "rolling restart helped" in drama.cluster.announced[-1].message
    assert drama.counted("announcements", outcome="written") == 3
    assert tell(drama) == []


def test_what_did_not_help_and_who_is_next_is_told(drama):
    drama.policy = a_policy(a_playbook(RESTART))
    drama.receive()
    drama.run()
    tell(drama)

    assert told(drama)[-2:] == ["RemediationDidNotHelp", "RemediationEscalated"]
    assert "already_tried" not in drama.cluster.announced[-1].message
    assert "step 1 was tried in this incident" in drama.cluster.announced[-1].message


def test_a_refusal_is_told_with_its_reason(drama):
    drama.cluster.change(opted_in=False)
    drama.receive()
    drama.run()
    tell(drama)

    (event,) = drama.cluster.announced
    assert (event.type, event.event_reason) == ("Warning", "RemediationEscalated")
    assert "remediator/enabled" in event.message


def test_what_was_not_committed_is_not_told(drama):
    drama.receive()
    drama.crash_at(1, committed=False)
    with pytest.raises(Crash):
        drama.step()
    drama.restart()

    assert waiting(drama) == []


def test_a_process_that_dies_after_telling_tells_again_and_nothing_is_lost(drama):
    drama.receive()
    drama.step()
    assert waiting(drama) == ["decided", "applied"]
    drama.crash_at(1, committed=False)
    with pytest.raises(Crash):
        tell(drama)
    drama.restart()

    tell(drama)

    names = [one.name for one in drama.cluster.announced]
    assert names == [names[0], names[0], names[2]]
    assert drama.counted("announcements", outcome="written") == 2
    assert waiting(drama) == []


def test_two_replicas_count_a_line_once(drama):
    drama.receive()
    drama.step()
    with drama.journal.reading() as tx:
        first, *_ = tx.announcements(most=9)
    with drama.journal.transaction() as tx:
        assert tx.announced(first.number)
    with drama.journal.transaction() as tx:
        assert not tx.announced(first.number)


def test_a_line_that_another_replica_told_meanwhile_is_not_counted_again(drama, monkeypatch):
    drama.receive()
    drama.step()
    first = drama.cluster.announce

    def told_elsewhere(one):
        with drama.journal.transaction() as tx:
            assert tx.announced(one.number)
        return first(one)

    monkeypatch.setattr(drama.cluster, "announce", told_elsewhere)

    assert tell(drama) == [Told.WRITTEN] * len(told(drama))
    assert drama.counted("announcements", outcome="written") == 0
    assert waiting(drama) == []


@pytest.mark.parametrize("trouble", [Told.FORBIDDEN, Told.GONE, Told.REFUSED])
def test_what_cannot_be_told_is_dropped_and_counted(drama, trouble):
    drama.cluster.telling = trouble
    drama.heal_on(RestartIntent)
    drama.receive()
    drama.run()

    assert tell(drama) == [trouble] * 3
    assert drama.counted("announcements", outcome=trouble.value) == 3
    assert drama.incident.reason is Reason.RECOVERED


def test_while_the_api_server_is_away_it_waits_and_then_is_no_news(drama):
    drama.receive()
    drama.step()
    drama.cluster.telling = Told.AGAIN

    assert tell(drama) == [Told.AGAIN]
    assert waiting(drama) == ["decided", "applied"]
    drama.forward(seconds=NEWS.total_seconds() + 1)
    assert tell(drama) == [Told.LATE] * 2
    assert drama.counted("announcements", outcome="late") == 2
    assert len(drama.cluster.announced) == 1


def targets_of(namespace, count):
    return [Target(namespace, f"app-{number}") for number in range(count)]


def lines_about(drama, targets, *, each):
    """Incidents on these targets, in this order, with so many lines to be told of each."""
    drama.policy = a_policy(targets=(*drama.policy.targets, *targets))
    drama.receive(*(an_alert(target=one) for one in targets), body=str(targets))
    with drama.journal.transaction() as tx:
        for _, number in sorted(tx.open_incidents(targets).items()):
            for line in range(each):
                tx.append(number, "held", Reason.COOLDOWN, f"line {line}", now=drama.now)


@pytest.fixture
def refusing(drama):
    """Namespaces whose Events the API server does not take now."""
    refused: set[str] = set()
    first = drama.cluster.announce

    def announced(one):
        first(one)
        return Told.AGAIN if one.target.namespace in refused else Told.WRITTEN

    drama.cluster.announce = announced
    return refused


def asked(drama):
    """Which targets were asked since this was asked the last time, in order."""
    told = [one.target for one in drama.cluster.announced]
    drama.cluster.announced.clear()
    return told


def test_a_namespace_that_takes_no_events_keeps_no_other_waiting(drama, refusing):
    sick, sound = targets_of("sick", 10), targets_of("sound", 2)
    lines_about(drama, sick, each=AT_ONCE)
    lines_about(drama, sound, each=2)
    refusing.add("sick")
    announcer = Announcer(drama.lifecycle.world, clock=lambda: drama.now)

    rounds = []
    for _ in range(len(sick) // MOST_IN_VAIN + 1):
        announcer.look()
        rounds.append(asked(drama))
    assert rounds[-1] == [sick[-1], sound[0], sound[0], sound[1], sound[1], sick[2]]
    in_vain = [sum(one in sick for one in told) for told in rounds]
    assert max(in_vain) <= MOST_IN_VAIN + 1  # each may take the whole time-out

    lines_about(drama, targets_of("late", 1), each=1)
    announcer.look()
    first, *others = asked(drama)
    assert (first.namespace, [one.namespace for one in others]) == ("late", ["sick"])


def test_what_was_refused_is_told_in_its_order_once_it_is_taken_and_each_target_gets_its_turn(
    drama, refusing
):
    sick = targets_of("sick", 3)
    lines_about(drama, sick, each=3)
    refusing.add("sick")
    announcer = Announcer(drama.lifecycle.world, clock=lambda: drama.now)

    announcer.look()
    assert asked(drama) == sick  # and none of them twice
    for one in (*sick, *sick):
        announcer.look()
        assert asked(drama) == [one]

    refusing.clear()
    announcer.look()
    lines = [(one.target, one.detail) for one in drama.cluster.announced]
    assert lines == [(one, f"line {number}") for one in sick for number in range(3)]
    assert waiting(drama) == []


def test_a_round_tells_no_more_than_so_much_also_when_all_is_taken_again(drama, refusing):
    lines_about(drama, targets_of("sick", 2), each=AT_ONCE)
    refusing.add("sick")
    announcer = Announcer(drama.lifecycle.world, clock=lambda: drama.now)
    announcer.look()
    refusing.clear()
    asked(drama)

    announcer.look()
    assert len(asked(drama)) == AT_ONCE
    announcer.look()
    assert len(asked(drama)) == AT_ONCE
    assert waiting(drama) == []


def test_a_policy_that_only_observes_tells_nothing(drama):
    drama.policy = a_policy(mode=Mode.OBSERVE)
    drama.receive()
    drama.run(minutes=5)
    assert waiting(drama) == ["held"]

    Announcer(drama.lifecycle.world, clock=lambda: drama.now).look()

    assert (drama.cluster.announced, waiting(drama)) == ([], [])


def test_the_thread_says_once_that_it_cannot_and_once_that_it_can_again(drama):
    drama.receive()
    drama.run()
    drama.cluster.telling = Told.FORBIDDEN
    announcer = Announcer(drama.lifecycle.world, clock=lambda: drama.now)
    with capture_logs() as said:
        announcer.look()
        drama.cluster.telling = Told.WRITTEN
        drama.now += timedelta(hours=1)
        number = drama.incident.id
        with drama.journal.transaction() as tx:
            tx.append(number, "held", Reason.COOLDOWN, "x", now=drama.now)
        announcer.look()

    lines = [(line["log_level"], line.get("why"), line.get("fix")) for line in said]
    assert lines == [("warning", "forbidden", "remediator rbac"), ("info", None, None)]


def test_the_thread_tells_by_itself_and_outlives_what_goes_wrong(drama):
    there = threading.Event()
    answers = iter([KeyError("x"), Told.WRITTEN, Told.WRITTEN])

    def announced(_one):
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        there.set()
        return answer

    drama.cluster.announce = announced
    drama.receive()
    drama.step()
    announcer = Announcer(drama.lifecycle.world, clock=lambda: drama.now, every=timedelta(milliseconds=10))
    announcer.start()
    assert there.wait(20)
    announcer.stop()
