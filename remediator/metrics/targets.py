"""Gauges of each target."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from remediator.core.actions import Target
from remediator.core.incidents import ATTEMPT_KINDS, OVER, Phase
from remediator.core.policy import Policy
from remediator.core.reasons import Reason
from remediator.metrics.sums import Sums
from remediator.ports import JournalUnavailable


class TargetCollector(Collector):
    """What the journal says of each target in the policy: its incident, last actions, and budgets left.

    The label is `target`, because a `namespace` would be taken for our own. Without a journal it is only
    the versions of the rules that the policy was made for.
    """

    def __init__(self, journal: Sums, *, clock: Callable[[], datetime], policy: Callable[[], Policy]) -> None:
        self._journal = journal
        self._clock = clock
        self._policy = policy

    def collect(self) -> Iterator[Metric]:
        """Yield all families."""
        policy = self._policy()
        rules = GaugeMetricFamily(
            "remediator_policy_rules_info",
            "Versions of the rules that the policy in force was made for.",
            labels=["version"],
        )
        for version in policy.rules_versions:
            rules.add_metric([version], 1)
        if policy.rules_versions:
            yield rules
        try:
            families = [
                self._phases(policy),
                self._last_actions(policy),
                *self._budgets(policy),
                self._blind(policy),
            ]
        except JournalUnavailable:
            return
        yield from families

    def _phases(self, policy: Policy) -> Metric:
        phases = self._journal.open_phases()
        family = GaugeMetricFamily(
            "remediator_target_phase",
            "1 for the phase that the target's open incident is in.",
            labels=["target", "phase"],
        )
        # A target that is no longer in the policy may have an incident that waits for a person.
        for target in sorted({*policy.targets, *phases}):
            for phase in Phase:
                if phase not in OVER:
                    family.add_metric([str(target), phase.value], int(phases.get(target) is phase))
        return family

    def _last_actions(self, policy: Policy) -> Metric:
        applied = self._journal.last_applied()
        family = GaugeMetricFamily(
            "remediator_last_action_timestamp_seconds",
            "When the API server last accepted a change; 0 if it never did.",
            labels=["target", "action"],
        )
        for target in policy.targets:
            for kind in ATTEMPT_KINDS:
                at = applied.get((target, kind))
                family.add_metric([str(target), kind], at.timestamp() if at else 0)
        return family

    def _budgets(self, policy: Policy) -> Iterator[Metric]:
        limits, now = policy.limits, self._clock()
        spent = self._journal.spent(since=now - limits.longest)
        times: dict[Target, list[datetime]] = {}
        for target, at in spent:
            times.setdefault(target, []).append(at)
        family = GaugeMetricFamily(
            "remediator_budget_left", "Actions that the target has left.", labels=["target", "budget"]
        )
        for target in policy.targets:
            for budget, most, per in (
                (Reason.TARGET_BUDGET, limits.target_actions, limits.target_per),
                (Reason.TARGET_DAILY_BUDGET, limits.target_per_day, limits.day),
            ):
                family.add_metric([str(target), budget.value], _left(times.get(target, ()), most, per, now))
        yield family
        yield GaugeMetricFamily(
            "remediator_overall_budget_left",
            "Actions that all targets together have left.",
            value=_left([at for _, at in spent], limits.overall_actions, limits.overall_per, now),
        )

    def _blind(self, policy: Policy) -> Metric:
        heard = self._journal.watchdog_at()
        return GaugeMetricFamily(
            "remediator_blind",
            "Whether the Watchdog, once heard, has been silent too long: every action is held.",
            value=int(heard is not None and self._clock() >= heard + policy.limits.watchdog),
        )


def _left(times: Iterable[datetime], most: int, per: timedelta, now: datetime) -> int:
    """What is left of a budget: the guardrail holds at 0."""
    return max(0, most - sum(at > now - per for at in times))
