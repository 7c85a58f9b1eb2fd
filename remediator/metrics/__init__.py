"""What Prometheus scrapes from us. Sums come from the journal: they survive and agree on every replica.

    counters.py  which counters there are      journal.py  the whole installation
    targets.py   each target                   sums.py     what is read from the journal

A scrape costs as much as there are targets and open incidents, however long the journal is.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter

from remediator.metrics.counters import COUNTERS
from remediator.metrics.journal import JournalCollector
from remediator.metrics.targets import TargetCollector

__all__ = ["COUNTERS", "JournalCollector", "TargetCollector", "http_requests"]


def http_requests(registry: CollectorRegistry) -> Counter:
    """The one counter that lives in the process: an unauthenticated request must not cost a write."""
    return Counter(
        "remediator_http_requests", "HTTP answers of this process.", ["endpoint", "code"], registry=registry
    )
