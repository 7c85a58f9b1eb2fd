"""Counters and gauges of the whole installation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from remediator import __version__
from remediator.core.incidents import BREAKER, OVER, Phase
from remediator.metrics.counters import COUNTERS
from remediator.metrics.sums import Sums
from remediator.ports import JournalUnavailable


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
            if phase not in OVER:
                incidents.add_metric([phase.value], phases.get(phase.value, 0))
        yield incidents
        yield GaugeMetricFamily(
            "remediator_returns_pending",
            "Scale-ups that are still to be given back.",
            value=self._journal.returns_pending(),
        )
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
        yield GaugeMetricFamily(
            "remediator_storm_open",
            "Whether there is a storm, whose incidents are held.",
            value=int(self._journal.storm() is not None),
        )
        heard = self._journal.watchdog_at()
        yield GaugeMetricFamily(
            "remediator_watchdog_timestamp_seconds",
            "When the Watchdog was last heard; 0 if it never was, and nothing watches the way of the alerts.",
            value=heard.timestamp() if heard else 0,
        )
