"""The running stand-in: scrapes, evaluates and notifies on their intervals, and answers queries.

Three threads besides the HTTP server, one per concern, so that a slow webhook delays no evaluation. Only
this module and the scraper read the clock.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Self
from urllib.parse import quote_plus

import requests
import yaml

from remediator.lab.listener import Listener
from remediator.lab.prometheus.api import QueryApi, requests_of
from remediator.lab.prometheus.compress import compress
from remediator.lab.prometheus.notifications import AlertNow, Notifications, Outcome
from remediator.lab.prometheus.routing import Routing
from remediator.lab.prometheus.rules import RuleGroup, read_groups, rule_files
from remediator.lab.prometheus.scrape import Scraper, Target
from remediator.lab.prometheus.series import LOOKBACK_MS, MINUTE_MS, SeriesStore

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

_RETENTION_MS = 360 * MINUTE_MS
_SHORTEST_RETENTION_MS = 10 * MINUTE_MS
_LOOKS_PER_INTERVAL = 5
_OK, _SERVER_ERROR = range(200, 300), range(500, 600)


class LabPrometheus:
    """Stand-in for Prometheus and Alertmanager; a context manager."""

    def __init__(
        self,
        *,
        rules: Sequence[Path],
        sd_url: str | None = None,
        targets: Sequence[Target] = (),
        scrape_interval: float = 15.0,
        speed: float = 1.0,
        webhook: str | None = None,
        token_file: Path | None = None,
        routing: Routing | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self.scrape_interval = scrape_interval / speed
        self.webhook = webhook
        self.token_file = token_file
        self.groups = [group for file in rule_files(rules) for group in _groups_of(file, speed)]
        self.store = SeriesStore(
            lookback_ms=round(LOOKBACK_MS / speed),
            retention_ms=max(_SHORTEST_RETENTION_MS, round(_RETENTION_MS / speed)),
        )
        self._lock = threading.Lock()
        self._api = QueryApi(self.store, self.groups, self._lock)
        self._listener = Listener(host, port, requests_of(self._api.answer))
        self.url = self._listener.url
        self._scraper = Scraper(self.store, self._lock, sd_url, fixed=list(targets))
        self._notifications = Notifications(
            routing or compressed_routing(speed), speed=speed, external_url=self.url
        )
        self._session = requests.Session()
        self._session.trust_env = False
        self._stopped = threading.Event()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        evaluation = min((group.interval_ms for group in self.groups), default=MINUTE_MS) / 1000
        self._start(self._listener.listen)
        self._start(lambda: self._every(self.scrape_interval, self._scrape))
        self._start(lambda: self._every(evaluation / _LOOKS_PER_INTERVAL, self.evaluate_due))
        if self.webhook is not None:
            self._start(
                lambda: self._every(min(1.0, self._notifications.routing.group_wait or 1.0) / 4, self._notify)
            )
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._listener.close()
        for thread in self._threads:
            thread.join(timeout=10)
        self._scraper.close()
        self._session.close()

    def _start(self, run: Callable[[], None]) -> None:
        thread = threading.Thread(target=run, daemon=True, name="lab-prometheus")
        thread.start()
        self._threads.append(thread)

    def _every(self, seconds: float, step: Callable[[], None]) -> None:
        pause = 0.0
        while not self._stopped.wait(pause):
            began = time.monotonic()
            step()
            pause = max(0.0, seconds - (time.monotonic() - began))

    def _scrape(self) -> None:
        self._scraper.scrape_all()
        with self._lock:
            self.store.forget_old(time.time_ns() // 1_000_000)
        self._api.ready = True

    def evaluate_due(self) -> None:
        """Evaluate the groups whose interval has passed."""
        now = time.time_ns() // 1_000_000
        with self._lock:
            for group in self.groups:
                if group.due_at <= now:
                    late = now - group.due_at > group.interval_ms
                    group.due_at = (now if late else group.due_at) + group.interval_ms
                    group.evaluate(self.store, now)

    def alerts(self) -> list[AlertNow]:
        """Alerts that fire or have just been resolved."""
        with self._lock:
            return [
                AlertNow(
                    labels=dict(alert.labels),
                    annotations=dict(sorted(alert.annotations.items())),
                    starts_at=alert.fired_at / 1000,
                    ends_at=None if alert.resolved_at is None else alert.resolved_at / 1000,
                    generator_url=f"{self.url}/graph?g0.expr={quote_plus(rule.expr)}&g0.tab=1",
                )
                for group in self.groups
                for rule in group.alerting()
                for alert in rule.active.values()
                if alert.fired_at is not None
            ]

    def _notify(self) -> None:
        self._notifications.offer(self.alerts(), time.time())
        for delivery in self._notifications.due(time.time()):
            outcome = self._post(delivery.body)
            self._notifications.settle(delivery, outcome, time.time())

    def _post(self, body: dict[str, object]) -> Outcome:
        assert self.webhook is not None
        headers = {"User-Agent": "Alertmanager/0.33.0 (remediator lab)"}
        with suppress(OSError):  # an unreadable token: the receiver will say 401
            if self.token_file is not None:
                headers["Authorization"] = f"Bearer {self.token_file.read_text().strip()}"
        try:
            answer = self._session.post(
                self.webhook, json=body, headers=headers, timeout=10, allow_redirects=False
            )
        except requests.RequestException:
            return Outcome.RETRY
        if answer.status_code in _OK:
            return Outcome.SENT
        return Outcome.RETRY if answer.status_code in _SERVER_ERROR else Outcome.REFUSED


def compressed_routing(speed: float) -> Routing:
    default = Routing()
    return Routing(
        group_wait=default.group_wait / speed,
        group_interval=default.group_interval / speed,
        repeat_interval=default.repeat_interval / speed,
    )


def _groups_of(file: Path, speed: float) -> list[RuleGroup]:
    text = file.read_text(encoding="utf-8")
    return read_groups(yaml.safe_load(compress(text, speed) if speed != 1 else text))
