"""A StatefulSet from the alert to the end: its own label, query and rules; else the flow of any target."""

from dataclasses import replace

import pytest

from remediator.announcer import Announcer
from remediator.core.actions import ScaleIntent, Target, Workload
from remediator.core.facts import FactRules, Order, PodSeen, Strategy
from remediator.core.incidents import Phase
from remediator.core.reasons import Reason
from remediator.core.seen import NumberedPod
from tests.builders import (
    APEX,
    RESTART,
    SCALE,
    UNDO,
    a_criterion,
    a_playbook,
    a_policy,
    a_sample,
    an_alert,
    an_observation,
    recently,
)
from tests.worlds import SICK

LEDGER = Target(APEX.namespace, APEX.name, Workload.STATEFUL_SET)
"""With the name of the Deployment that everything else is about."""
VERIFY = a_criterion(query='score{namespace="$namespace",statefulset="$statefulset"}')
UNREADY = NumberedPod(number=1, pod=PodSeen(name="bizra-apex-1", ready=False))


def playbook(*steps, **overrides):
    return a_playbook(*steps, verify=VERIFY, **overrides)


def world(drama, *steps, order=None, **seen):
    drama.policy = a_policy(playbook(*steps), targets=(APEX, LEDGER))
    drama.metrics.values[LEDGER] = SICK
    given = {"uid": "uid-2", "strategy": Strategy(missing=1), "order": order or Order(unready=()), **seen}
    drama.cluster.live[LEDGER] = an_observation(**given)
    return drama


def alert(**overrides):
    return an_alert(target=LEDGER, **overrides)


def test_a_stateful_set_is_restarted_and_the_deployment_of_that_name_is_not(drama):
    world(drama, RESTART).heal_on(object)
    drama.receive(alert())
    drama.run()
    assert [target for target, _ in drama.cluster.effects] == [LEDGER]
    assert drama.incident.target == LEDGER
    assert drama.told()[-1] == ("closed", "recovered")
    assert any('statefulset="bizra-apex"' in query for query, _ in drama.metrics.asked)


def test_both_workloads_of_one_name_have_their_incident(drama):
    world(drama, RESTART)
    either = a_criterion(query=VERIFY.query.replace("$statefulset", "$workload"))
    drama.policy = a_policy(a_playbook(RESTART, verify=either), targets=(APEX, LEDGER))
    drama.receive(an_alert(), alert())
    assert {incident.target for incident in drama.journal.incidents()} == {APEX, LEDGER}


def test_an_undo_is_passed_over_with_its_reason_and_the_next_step_is_taken(drama):
    world(drama, UNDO, RESTART, template_changed=recently()).heal_on(object)
    drama.receive(alert())
    drama.run()
    assert drama.done == ["restart"]
    decided = next(event for event in drama.story().events if event["kind"] == "decided")
    assert [step["reason"] for step in decided["data"]["steps"]] == ["stateful_not_undone", "step_applies"]


def test_a_pod_that_is_not_ready_hands_it_to_a_person_who_is_told_which(drama):
    world(drama, UNDO, RESTART, order=Order(unready=(UNREADY,)), ready=2, template_changed=recently())
    drama.receive(alert())
    drama.run()
    assert drama.cluster.effects == []
    assert (drama.incident.phase, drama.incident.reason) == (Phase.ESCALATED, Reason.NO_STEP_APPLIES)
    assert "kubectl delete pod bizra-apex-1" in drama.story().events[-1]["detail"]


def test_an_alert_whose_playbook_is_for_deployments_is_recorded_and_left_alone(drama):
    world(drama, RESTART)
    drama.policy = a_policy(a_playbook(RESTART), targets=(APEX, LEDGER))
    receipt = drama.receive(alert())
    assert [admission.reason for admission, _ in receipt.admissions] == [Reason.NO_PLAYBOOK]


def test_a_policy_that_is_reloaded_without_a_playbook_of_that_kind_hands_it_over(drama):
    world(drama, RESTART)
    drama.receive(alert())
    drama.policy = a_policy(a_playbook(RESTART), targets=(APEX, LEDGER))
    drama.run()
    assert drama.incident.reason is Reason.POLICY_CHANGED


def scaled_up(drama, **seen):
    world(drama, SCALE, usage=0.95, **seen).heal_on(ScaleIntent)
    drama.receive(alert())
    drama.run(minutes=2)
    drama.receive(alert(firing=False))
    assert [intent.replicas_to for _, intent in drama.cluster.effects] == [5]
    return drama


def test_a_scale_up_is_given_back(drama):
    scaled_up(drama).run(hours=2)
    assert [intent.replicas_to for _, intent in drama.cluster.effects] == [5, 4, 3]


def test_a_scale_up_is_kept_where_giving_it_back_would_delete_volumes(drama):
    scaled_up(drama, order=Order(unready=(), drops_volumes=True)).run(hours=2)
    assert [intent.replicas_to for _, intent in drama.cluster.effects] == [5]
    assert drama.told()[-1] == ("kept", "volumes_would_go")
    assert drama.counted("returns", reason="volumes_would_go") == 1


def test_nothing_is_given_back_while_a_pod_is_not_ready(drama):
    scaled_up(drama).cluster.change(LEDGER, order=Order(unready=(UNREADY,)))
    drama.run(hours=1)
    assert [intent.replicas_to for _, intent in drama.cluster.effects] == [5]
    assert ("held", "waits_for_pod") in drama.told()
    drama.cluster.change(LEDGER, order=Order(unready=()))
    drama.run(hours=2)
    assert [intent.replicas_to for _, intent in drama.cluster.effects] == [5, 4, 3]


def test_a_pause_of_the_stateful_set_leaves_the_deployment_alone(drama):
    world(drama, RESTART)
    with drama.journal.transaction() as tx:
        tx.engage_pause(scope=f"target:{LEDGER}", by="ada", why="backup", until=None, now=drama.now)
    drama.policy = replace(
        drama.policy,
        playbooks={**drama.policy.playbooks, "HiveDown": a_playbook(RESTART, alert="HiveDown")},
    )
    drama.receive(alert(), an_alert("HiveDown"))
    drama.run(minutes=10)
    assert {target for target, _ in drama.cluster.effects} == {APEX}


@pytest.mark.parametrize(
    ("query", "asked", "why"),
    [
        ('u{namespace="$namespace",d="$deployment"}', False, "cannot select a StatefulSet"),
        ('u{namespace="$namespace",d="$workload"}', True, "no series"),
    ],
)
def test_a_usage_query_is_asked_where_it_can_select_the_target(drama, query, asked, why):
    world(drama, SCALE, usage=None)
    drama.policy = replace(drama.policy, facts=FactRules(usage_query=query))
    drama.metrics.on_ask = lambda asked: None if asked.startswith("u{") else a_sample(SICK).value
    drama.receive(alert())
    drama.run(minutes=1)
    assert any(one.startswith("u{") for one, _ in drama.metrics.asked) is asked
    assert why in drama.story().events[-1]["data"]["facts"]["resource_pressure"]["because"]


def test_what_is_done_is_told_on_the_stateful_set(drama):
    world(drama, RESTART)
    drama.policy = replace(drama.policy, targets=a_policy(targets=(LEDGER,)).targets)
    drama.receive(alert())
    drama.run(minutes=1)
    Announcer(drama.lifecycle.world, clock=lambda: drama.now).look()
    assert {one.target for one in drama.cluster.announced} == {LEDGER}
