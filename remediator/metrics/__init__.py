"""What Prometheus scrapes from us. Sums come from the journal: they survive and agree on every replica.

    counters.py  which counters there are      journal.py  the whole installation
    targets.py   each target                   sums.py     what is read from the journal

A scrape costs as much as there are targets and open incidents, however long the journal is.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter

from remediator.metrics.counters import COUNTERS
from remediator.metrics.journal import JournalCollector
from remediator.metrics.targets import TargetCollector

__all__ = ["COUNTERS", "JournalCollector", "TargetCollector", "http_requests"]


def http_requests(registry: CollectorRegistry) -> Callable[[str, int], None]:
    """Give what counts an answer, by endpoint and status.

    The one counter that lives in the process, whose number is a label: an unauthenticated request must not
    cost a write. Each scrape reaches another one of several gunicorn workers. With the counters of all in
    one series every step down would look like a restart, and nothing that failed once would ever seem to end.
    """
    counter = Counter(
        "remediator_http_requests",
        "HTTP answers of this process.",
        ["process", "endpoint", "code"],
        registry=registry,
    )
    process = str(os.getpid())
    return lambda endpoint, code: counter.labels(process, endpoint, code).inc()
