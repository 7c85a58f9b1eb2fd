"""What Prometheus scrapes from us. Sums come from the journal: they survive and agree on every replica.

Every label value is present from the start, so that `increase()` sees the first event.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from remediator import __version__
from remediator.core.actions import ACTION_KINDS, Target
from remediator.core.decide import NEVER_ESCALATE
from remediator.core.incidents import BREAKER, Pause, Phase
from remediator.core.policy import Policy
from remediator.core.reasons import Reason
from remediator.core.verification import Verdict
from remediator.ports import JournalUnavailable

Labels = tuple[tuple[str, str], ...]

_R = Reason
_ALERT_REASONS = (
    _R.INCIDENT_OPENED,
    _R.INCIDENT_JOINED,
    _R.REPEATED,
    _R.STILL_FIRING,
    _R.JUST_CLOSED,
    _R.RESOLVED,
    _R.NO_PLAYBOOK,
    _R.NO_TARGET,
    _R.UNKNOWN_TARGET,
    _R.MALFORMED_ALERT,
    _R.IMPLAUSIBLE_TIME,
)
_HOLD_REASONS = (
    _R.PAUSED,
    _R.BREAKER_OPEN,
    _R.CLUSTER_UNREACHABLE,
    _R.NOT_FIRING,
    _R.NO_DATA,
    _R.PROMETHEUS_UNREACHABLE,
    _R.CONDITION_CLEARED,
    _R.ROLLOUT_IN_PROGRESS,
    _R.DEPLOYMENT_PAUSED,
    _R.SCALED_TO_ZERO,
    _R.ACTION_IN_FLIGHT,
    _R.COOLDOWN,
    _R.TARGET_BUDGET,
    _R.TARGET_DAILY_BUDGET,
    _R.OVERALL_BUDGET,
    _R.TOO_MANY_AT_ONCE,
    _R.STORM,
    _R.OUTSIDE_CHANGE_WINDOW,
    _R.OBSERVE_MODE,
    _R.AWAITING_APPROVAL,
)
_DECIDED_ESCALATIONS = (  # what guardrails and steps hand over, and holds that outlast the patience
    _R.TARGET_NOT_FOUND,
    _R.NOT_OPTED_IN,
    _R.FORBIDDEN_TARGET,
    _R.FORBIDDEN,
    _R.APPROVAL_REFUSED,
    _R.NO_STEP_APPLIES,
    _R.STEPS_EXHAUSTED,
    *(reason for reason in _HOLD_REASONS if reason not in NEVER_ESCALATE),
)
_ESCALATION_REASONS = (
    *_DECIDED_ESCALATIONS,
    _R.REFUSED_BY_CLUSTER,
    _R.OUTCOME_UNKNOWN,
    _R.WORSE_AFTER_ACTION,
    _R.POISONED,
    _R.POLICY_CHANGED,
)
_DECISIONS = {
    "act": (_R.STEP_APPLIES,),
    "hold": _HOLD_REASONS,
    "escalate": _DECIDED_ESCALATIONS,
    "ignore": (_R.CONDITION_CLEARED, _R.RESOLVED),
}
_CLOSED_REASONS = (_R.RECOVERED, _R.CONDITION_CLEARED, _R.RESOLVED, _R.ACKNOWLEDGED)
_OUTCOMES = (*(v.value for v in Verdict if v is not Verdict.PENDING), "withdrawn", "abandoned")


def _each(label: str, values: Iterable[str]) -> list[Labels]:
    return [((label, str(value)),) for value in values]


COUNTERS: dict[str, tuple[str, tuple[str, ...], list[Labels]]] = {
    "notifications": ("Notifications journaled.", (), [()]),
    "alerts": ("Alerts received, by what became of them.", ("reason",), _each("reason", _ALERT_REASONS)),
    "truncated_alerts": ("Alerts that Alertmanager left out of notifications.", (), [()]),
    "incidents": (
        "Incidents opened.",
        ("reason",),
        _each("reason", (_R.INCIDENT_OPENED, _R.STILL_FIRING)),
    ),
    "decisions": (
        "Decisions; a hold counts once for each change of reason.",
        ("decision", "reason"),
        [
            (("decision", decision), ("reason", reason.value))
            for decision, reasons in _DECISIONS.items()
            for reason in reasons
        ],
    ),
    "actions": ("Changes that the API server accepted.", ("action",), _each("action", ACTION_KINDS)),
    "attempts": (
        "Attempts ended, by outcome.",
        ("action", "outcome"),
        [(("action", kind), ("outcome", outcome)) for kind in ACTION_KINDS for outcome in _OUTCOMES],
    ),
    "unclear_answers": (
        "Writes or reads of the API server to be asked again.",
        ("action",),
        _each("action", ACTION_KINDS),
    ),
    "act_seconds": ("Seconds from opening an incident to an accepted change, in sum.", (), [()]),
    "escalations": ("Incidents handed to a person.", ("reason",), _each("reason", _ESCALATION_REASONS)),
    "closed": ("Incidents closed.", ("reason",), _each("reason", _CLOSED_REASONS)),
    "closed_seconds": (
        "Seconds from opening to closing an incident, in sum.",
        ("reason",),
        _each("reason", _CLOSED_REASONS),
    ),
    "breaker_opened": ("Times the breaker opened.", (), [()]),
}
"""Durable counters: name in the journal -> help, label names, label sets present from the start."""


class Sums(Protocol):
    """The part of the journal that the metrics read."""

    def counters(self) -> dict[tuple[str, Labels], float]:
        """The durable counters."""
        ...

    def gauges(self) -> dict[str, int]:
        """Open incidents by phase."""
        ...

    def pauses(self, *, now: datetime) -> list[Pause]:
        """The pauses in force."""
        ...

    def open_phases(self) -> dict[Target, Phase]:
        """The targets that have an open incident, and the phase it is in."""
        ...

    def spent(self, *, since: datetime) -> list[tuple[Target, datetime]]:
        """The attempts since then that count against the budgets."""
        ...

    def last_applied(self) -> dict[tuple[Target, str], datetime]:
        """When the API server last accepted a change, by target and kind of action."""
        ...


class JournalCollector(Collector):
    """Reads the journal at each scrape. Without a journal it says so, and nothing else."""

    def __init__(
        self,
        journal: Sums,
        *,
        clock: Callable[[], datetime],
        policy_digest: Callable[[], str],
        policy_bad: Callable[[], bool],
        worker_alive: Callable[[], bool],
    ) -> None:
        self._journal = journal
        self._clock = clock
        self._policy_digest = policy_digest
        self._policy_bad = policy_bad
        self._worker_alive = worker_alive

    def collect(self) -> Iterator[Metric]:
        """Yield all families."""
        yield from self._process()
        available = 1
        try:
            families = list(self._durable())
        except JournalUnavailable:
            families, available = [], 0
        yield GaugeMetricFamily(
            "remediator_journal_available", "Whether the journal could be read.", value=available
        )
        yield from families

    def _process(self) -> Iterator[Metric]:
        build = GaugeMetricFamily("remediator_build_info", "The version.", labels=["version"])
        build.add_metric([__version__], 1)
        yield build
        policy = GaugeMetricFamily("remediator_policy_info", "The policy in force.", labels=["digest"])
        policy.add_metric([self._policy_digest()], 1)
        yield policy
        yield GaugeMetricFamily(
            "remediator_policy_rejected",
            "1 while the policy file has mistakes and an older policy is in force.",
            value=int(self._policy_bad()),
        )
        yield GaugeMetricFamily(
            "remediator_worker_alive", "Whether this process' worker runs.", value=int(self._worker_alive())
        )

    def _durable(self) -> Iterator[Metric]:
        sums = self._journal.counters()
        for name, (text, labels, present) in COUNTERS.items():
            family = CounterMetricFamily(f"remediator_{name}", text, labels=labels)
            values = dict.fromkeys(present, 0.0)
            values |= {key[1]: value for key, value in sums.items() if key[0] == name}
            for label_set, value in sorted(values.items()):
                family.add_metric([dict(label_set)[label] for label in labels], value)
            yield family
        phases = self._journal.gauges()
        incidents = GaugeMetricFamily("remediator_open_incidents", "Open incidents.", labels=["phase"])
        for phase in Phase:
            if phase is not Phase.CLOSED:
                incidents.add_metric([phase.value], phases.get(phase.value, 0))
        yield incidents
        pauses = self._journal.pauses(now=self._clock())
        yield GaugeMetricFamily(
            "remediator_pauses",
            "Pauses that people set.",
            value=sum(pause.by != BREAKER for pause in pauses),
        )
        yield GaugeMetricFamily(
            "remediator_breaker_open",
            "Whether the breaker is open.",
            value=int(any(pause.by == BREAKER for pause in pauses)),
        )


class TargetCollector(Collector):
    """What the journal says of each target in the policy: its incident, last actions, and budgets left.

    The label is `target`, because a `namespace` would be taken for our own. Without a journal: nothing.
    """

    def __init__(self, journal: Sums, *, clock: Callable[[], datetime], policy: Callable[[], Policy]) -> None:
        self._journal = journal
        self._clock = clock
        self._policy = policy

    def collect(self) -> Iterator[Metric]:
        """Yield all families."""
        policy = self._policy()
        try:
            families = [self._phases(policy), self._last_actions(policy), *self._budgets(policy)]
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
        for target in policy.targets:
            for phase in Phase:
                if phase is not Phase.CLOSED:
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
            for kind in ACTION_KINDS:
                at = applied.get((target, kind))
                family.add_metric([str(target), kind], at.timestamp() if at else 0)
        return family

    def _budgets(self, policy: Policy) -> Iterator[Metric]:
        limits, now = policy.limits, self._clock()
        spent = self._journal.spent(since=now - limits.longest)
        family = GaugeMetricFamily(
            "remediator_budget_left", "Actions that the target has left.", labels=["target", "budget"]
        )
        for target in policy.targets:
            times = [at for one, at in spent if one == target]
            for budget, most, per in (
                (_R.TARGET_BUDGET, limits.target_actions, limits.target_per),
                (_R.TARGET_DAILY_BUDGET, limits.target_per_day, limits.day),
            ):
                family.add_metric([str(target), budget.value], _left(times, most, per, now))
        yield family
        yield GaugeMetricFamily(
            "remediator_overall_budget_left",
            "Actions that all targets together have left.",
            value=_left([at for _, at in spent], limits.overall_actions, limits.overall_per, now),
        )


def _left(times: Iterable[datetime], most: int, per: timedelta, now: datetime) -> int:
    """What is left of a budget: the guardrail holds at 0."""
    return max(0, most - sum(at > now - per for at in times))


def http_requests(registry: CollectorRegistry) -> Counter:
    """The one counter that lives in the process: an unauthenticated request must not cost a write."""
    return Counter(
        "remediator_http_requests", "HTTP answers of this process.", ["endpoint", "code"], registry=registry
    )
