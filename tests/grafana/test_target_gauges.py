"""The gauges of each target: there from the start, and the same as what the guardrails count."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from sqlalchemy import create_engine, text

from remediator.adapters.journal import SqlJournal
from remediator.core.actions import RestartIntent, Target
from remediator.core.guardrails.past import _over
from remediator.core.incidents import ATTEMPT_KINDS, OVER, Phase
from remediator.core.reasons import Reason
from remediator.metrics import TargetCollector
from remediator.metrics.targets import _left
from tests.builders import APEX, NOW, RESTART, a_playbook, a_policy
from tests.worlds import Drama

MIND = Target("bizra-testnet", "bizra-mind")
NAME = "bizra-testnet/bizra-apex"


@pytest.fixture
def drama(tmp_path):
    played = Drama(tmp_path, a_policy(a_playbook(RESTART), targets=(APEX, MIND)))
    yield played
    played.close()


@pytest.fixture
def gauges(drama):
    registry = CollectorRegistry()
    registry.register(TargetCollector(drama.journal, clock=lambda: drama.now, policy=lambda: drama.policy))

    def gauge(name, **labels):
        return registry.get_sample_value(f"remediator_{name}", labels)

    return gauge


@pytest.mark.parametrize("target", [NAME, "bizra-testnet/bizra-mind"])
def test_every_target_and_value_is_there_from_the_start(gauges, target):
    assert gauges("budget_left", target=target, budget="target_budget") == 3
    assert gauges("budget_left", target=target, budget="target_daily_budget") == 8
    assert gauges("overall_budget_left") == 10
    for kind in ATTEMPT_KINDS:
        assert gauges("last_action_timestamp_seconds", target=target, action=kind) == 0
    for phase in set(Phase) - set(OVER):
        assert gauges("target_phase", target=target, phase=phase) == 0


def test_an_action_shows_on_its_target_only(drama, gauges):
    drama.receive()
    drama.run(seconds=20)
    applied = drama.story().attempts[0].applied_at
    assert gauges("last_action_timestamp_seconds", target=NAME, action="restart") == applied.timestamp()
    assert gauges("budget_left", target=NAME, budget="target_budget") == 2
    assert gauges("budget_left", target=NAME, budget="target_daily_budget") == 7
    assert gauges("budget_left", target=str(MIND), budget="target_budget") == 3
    assert gauges("overall_budget_left") == 9
    assert gauges("target_phase", target=NAME, phase="verifying") == 1
    assert gauges("target_phase", target=NAME, phase="deciding") == 0
    assert gauges("target_phase", target=str(MIND), phase="verifying") == 0


def test_budgets_come_back_and_the_last_action_stays(drama, gauges):
    drama.heal_on(RestartIntent)
    drama.receive()
    drama.run()
    acted = drama.story().attempts[0].intended_at
    drama.now = acted + timedelta(hours=1)
    assert gauges("budget_left", target=NAME, budget="target_budget") == 3
    assert gauges("budget_left", target=NAME, budget="target_daily_budget") == 7
    drama.forward(days=1)
    assert gauges("budget_left", target=NAME, budget="target_daily_budget") == 8
    assert gauges("last_action_timestamp_seconds", target=NAME, action="restart") > 0
    assert gauges("target_phase", target=NAME, phase="verifying") == 0


def test_an_escalated_incident_shows_until_a_person_acknowledges(drama, gauges):
    drama.receive()
    drama.run()
    assert gauges("target_phase", target=NAME, phase="escalated") == 1


def test_an_incident_of_a_target_that_left_the_policy_shows_too(drama, gauges):
    drama.receive()
    drama.run()
    drama.policy = a_policy(a_playbook(RESTART), targets=(MIND,))
    assert gauges("target_phase", target=NAME, phase="escalated") == 1
    assert gauges("target_phase", target=str(MIND), phase="escalated") == 0
    assert gauges("budget_left", target=NAME, budget="target_budget") is None


def test_the_versions_of_the_rules_that_the_policy_knows_show(drama, gauges):
    assert gauges("policy_rules_info", version="1.2.0") is None
    drama.policy = a_policy(a_playbook(RESTART), rules_versions=("1.1.0", "1.2.0"))
    assert gauges("policy_rules_info", version="1.1.0") == gauges("policy_rules_info", version="1.2.0") == 1


def test_a_withdrawn_attempt_spends_nothing(drama, gauges):
    drama.receive()
    drama.run(seconds=20)
    (attempt,) = drama.story().attempts
    engine = create_engine(drama.journal._engine.url)
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE attempts SET state = 'withdrawn' WHERE id = {attempt.id}"))
    engine.dispose()
    assert gauges("budget_left", target=NAME, budget="target_budget") == 3
    assert gauges("overall_budget_left") == 10


def test_without_a_journal_nothing_is_claimed(tmp_path):
    journal = SqlJournal(f"sqlite:///{tmp_path}/none/journal.db")
    collector = TargetCollector(journal, clock=lambda: NOW, policy=a_policy)
    assert list(collector.collect()) == []
    journal.close()


@given(
    ages=st.lists(st.integers(min_value=0, max_value=90), max_size=6),
    most=st.integers(min_value=1, max_value=4),
)
def test_nothing_is_left_exactly_when_the_guardrail_holds(ages, most):
    times = [NOW - timedelta(minutes=age) for age in ages]
    holds = _over(times, most, timedelta(hours=1), Reason.TARGET_BUDGET, NOW) is not None
    assert (_left(times, most, timedelta(hours=1), NOW) == 0) is holds
