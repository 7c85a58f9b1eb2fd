"""What a person says is about a step they can see, and frees the target for what waited."""

from __future__ import annotations

import pytest

from remediator.core.actions import RolloutUndo
from remediator.core.facts import Fact
from remediator.core.incidents import Phase
from remediator.core.policy import Mode, Step
from remediator.core.reasons import Reason
from remediator.lifecycle.person import Meant, NotNow, Person
from tests.builders import RESTART, UNDO, a_playbook, a_policy, a_revision, an_alert


@pytest.fixture
def escalated(drama):
    """The score's incident is a person's turn, and the node went down meanwhile."""
    drama.policy = a_policy(a_playbook(), a_playbook(RESTART, alert="HiveDown"))
    drama.receive()
    drama.run()
    assert drama.incident.phase is Phase.ESCALATED
    drama.receive(an_alert("HiveDown"))
    return drama


def acknowledge(drama, policy):
    return Person(drama.journal, policy).acknowledge(1, by="ada", now=drama.now)


def test_an_acknowledged_incident_makes_room_for_the_alert_that_waited(escalated):
    said = acknowledge(escalated, escalated.policy)

    assert said == "acknowledged by ada and closed; incident 2 begins with an alert that waited"
    second, first = escalated.journal.incidents()
    assert (first.phase, second.phase) == (Phase.CLOSED, Phase.DECIDING)
    assert (second.alert, escalated.told(2)[0]) == ("HiveDown", ("opened", "still_firing"))


def test_without_a_policy_nothing_begins(escalated):
    assert acknowledge(escalated, None) == "acknowledged by ada and closed"
    assert [one.phase for one in escalated.journal.incidents()] == [Phase.CLOSED]


def test_what_waited_on_a_target_that_left_the_policy_begins_nothing(escalated):
    without = a_policy(*escalated.policy.playbooks.values(), targets=())
    assert acknowledge(escalated, without) == "acknowledged by ada and closed"
    assert len(escalated.journal.incidents()) == 1


def test_nothing_that_waited_begins_nothing(drama):
    drama.receive()
    drama.run()
    assert acknowledge(drama, drama.policy) == "acknowledged by ada and closed"


@pytest.mark.parametrize("policy", [None, a_policy(a_playbook(UNDO, UNDO, UNDO))], ids=["none", "another"])
@pytest.mark.parametrize("word", ["approve", "reject"])
def test_what_is_approved_or_refused_is_named_as_it_was_decided(drama, policy, word):
    """Whatever the file says that the person's command finds: it may be newer than what decided."""
    drama.policy = a_policy(mode=Mode.APPROVE)
    drama.receive()
    drama.run(minutes=1)

    said = getattr(Person(drama.journal, policy), word)(1, by="ada", now=drama.now)

    step = "step 3, rolling restart"
    assert said.startswith(f"{step}: {word.removesuffix('e')}ed by ada")
    assert drama.story().events[-1]["detail"] == f"{step}, by ada"


def test_an_undo_is_approved_with_its_revision_and_asked_for_anew_when_that_is_another(drama):
    undo = Step(action=RolloutUndo(), when=(Fact.PREVIOUS_REVISION,))
    drama.policy = a_policy(a_playbook(undo), mode=Mode.APPROVE)
    drama.cluster.change(template_digest="bad7", revision=7, previous=(a_revision(6, "good6"),))
    drama.receive()
    drama.run(seconds=10)
    person = Person(drama.journal)
    asked = drama.story().events[-1]["detail"]
    assert asked == 'rollout undo to revision 6: remediator approve 1 --action "rollout undo to revision 6"'
    meant = Meant(action="rollout undo to revision 6")
    assert person.approve(1, by="ada", now=drama.now, meant=meant).startswith(
        "step 1, rollout undo to revision 6"
    )

    older = (a_revision(5, "good5"),)
    drama.cluster.change(template_digest="bad7", revision=8, generation=8, previous=older)
    drama.run(seconds=30)
    assert (drama.story().attempts, drama.incident.hold_reason) == ((), Reason.AWAITING_APPROVAL)
    assert "rollout undo to revision 5" in drama.story().events[-1]["detail"]
    with pytest.raises(NotNow, match="waits for step 1, rollout undo to revision 5, not for"):
        person.approve(1, by="ada", now=drama.now, meant=meant)


def test_what_waited_for_an_approval_before_it_was_kept_by_what_it_does_is_asked_for_anew(drama):
    drama.policy = a_policy(mode=Mode.APPROVE)
    drama.receive()
    drama.run(minutes=1)
    with drama.journal.transaction() as tx:
        tx.note_person(1, now=drama.now, approved_action=None)
    said = Person(drama.journal).approve(1, by="ada", now=drama.now)
    assert said.startswith("step 3, of an older version, which will be asked for anew: approved")
    drama.run(minutes=1)
    assert drama.cluster.asked == []
    Person(drama.journal).approve(1, by="ada", now=drama.now)
    drama.run(minutes=1)
    assert drama.done == ["restart"]
