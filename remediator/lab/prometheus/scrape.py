"""Discovers targets (Prometheus' http_sd format) and scrapes them into the store.

A target carries `job`, `instance` and the labels of its discovery; a scraped label of the same name becomes
`exported_<name>`, as with `honor_labels: false`. Each scrape writes `up`; when it fails or its target
vanishes, the target's other series go stale at once.
"""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import requests
from prometheus_client.parser import text_string_to_metric_families

from remediator.lab.prometheus.series import NAME, Labels, labels_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from threading import Lock

    from remediator.lab.prometheus.series import SeriesStore

_VALID_LABEL = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class Target:
    """One thing to scrape."""

    url: str
    labels: Labels


def targets_of(groups: Iterable[Mapping[str, Any]], job: str) -> list[Target]:
    """Targets of an http_sd answer: meta labels steer the scrape, the others stay."""
    found = []
    for group in groups:
        labels = {str(name): str(value) for name, value in (group.get("labels") or {}).items()}
        for address in group.get("targets") or []:
            scheme = labels.get("__scheme__", "http")
            path = labels.get("__metrics_path__", "/metrics")
            own = {name: value for name, value in labels.items() if not name.startswith("__")}
            found.append(
                Target(f"{scheme}://{address}{path}", labels_of({"job": job, "instance": address, **own}))
            )
    return found


def read_samples(text: str, target: Labels) -> list[tuple[Labels, float]]:
    """Samples of one exposition in the text format, with the target's labels."""
    reserved = dict(target)
    samples = []
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            own = {
                f"exported_{name}" if name in reserved else name: value
                for name, value in sample.labels.items()
            }
            samples.append((labels_of({**own, **reserved, NAME: sample.name}), float(sample.value)))
    return samples


@dataclass
class Scraper:
    """Keeps the store filled from one discovery address and from fixed targets."""

    store: SeriesStore
    lock: Lock
    sd_url: str | None = None
    job: str = "hive"
    fixed: list[Target] = field(default_factory=list)
    timeout: float = 5.0
    _discovered: list[Target] = field(default_factory=list)
    _written: dict[Target, set[Labels]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._pool = ThreadPoolExecutor(max_workers=4, thread_name_prefix="lab-scrape")
        self._session = requests.Session()
        self._session.trust_env = False  # no proxy stands between the lab and its loopback

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)
        self._session.close()

    def scrape_all(self) -> None:
        targets = self._targets()
        for target in set(self._written) - set(targets):
            self._vanished(target)
        list(self._pool.map(self._scrape, targets))

    def _targets(self) -> list[Target]:
        if self.sd_url is not None:
            try:
                answer = self._session.get(self.sd_url, timeout=self.timeout)
                answer.raise_for_status()
                self._discovered = targets_of(answer.json(), self.job)
            except (requests.RequestException, ValueError):
                pass  # as Prometheus does: the last known targets stay
        return list(dict.fromkeys([*self._discovered, *self.fixed]))

    def _scrape(self, target: Target) -> None:
        at = time.time_ns() // 1_000_000
        try:
            answer = self._session.get(target.url, timeout=self.timeout)
            answer.raise_for_status()
            samples = read_samples(answer.text, target.labels)
            up = 1.0
        except (requests.RequestException, ValueError):
            samples, up = [], 0.0
        self.record(target, samples, up, at)

    def record(self, target: Target, samples: list[tuple[Labels, float]], up: float, at: int) -> None:
        """Write the outcome of one scrape that began at `at`."""
        written = {labels for labels, _ in samples}
        with self.lock:
            for labels, value in samples:
                self.store.append(labels, at, value)
            self.store.append(labels_of({**dict(target.labels), NAME: "up"}), at, up)
            self.store.mark_stale(self._written.get(target, set()) - written, at)
            self._written[target] = written

    def _vanished(self, target: Target) -> None:
        at = time.time_ns() // 1_000_000
        with self.lock:
            gone = self._written.pop(target) | {labels_of({**dict(target.labels), NAME: "up"})}
            self.store.mark_stale(gone, at)
