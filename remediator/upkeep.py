"""The rounds of a process: reconcile with Alertmanager, end a storm that is over, prune the journal."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from remediator.core.durations import format_duration
from remediator.lifecycle.reconcile import reconcile
from remediator.lifecycle.storm import settle_storm
from remediator.logs import logger
from remediator.rounds import Round, Rounds
from remediator.wiring import Remediator, prune_journal

SETTLE_STORM = timedelta(seconds=10)
PRUNE = timedelta(hours=1)
PRUNE_WITHIN = timedelta(seconds=45)
"""Of one round, so that it ends before its lease does; what is left is for the next."""


class Upkeep:
    """What a process does beside the incidents."""

    def __init__(self, remediator: Remediator, *, clock: Callable[[], datetime]) -> None:
        self._remediator = remediator
        self._clock = clock
        self._log = logger("upkeep")
        self.alertmanager_trouble: str | None = None
        """Why one could not be asked by this process the last time; None: it could, or was not."""
        rounds = [
            Round(name="storm", every=SETTLE_STORM, do=self._settle_storm),
            Round(name="prune", every=PRUNE, do=self._prune),
        ]
        if remediator.alertmanagers is not None:
            every = remediator.settings.reconcile
            rounds.append(Round(name="reconcile", every=every, do=self._reconcile))
        self._rounds = Rounds(remediator.journal.rounds, rounds, clock=clock)

    def start(self) -> None:
        self._rounds.start()

    def stop(self) -> None:
        """Begin nothing more."""
        self._rounds.stop()

    def watchdog_trouble(self) -> str | None:
        """Whether the way of the alerts is watched, and whole. Raises JournalUnavailable."""
        heard = self._remediator.journal.watchdog_at()
        if heard is None:
            return "never heard: nobody notices when alerts do not reach us"
        patience = self._remediator.policy.current().limits.watchdog
        if self._clock() < heard + patience:
            return None
        return (
            f"last heard at {heard:%Y-%m-%d %H:%M:%S} UTC, more than {format_duration(patience)} ago: blind"
        )

    def _settle_storm(self, now: datetime) -> None:
        if settle_storm(self._remediator.lifecycle.world, now=now):
            self._log.info("the storm is over")

    def _prune(self, now: datetime) -> None:
        remediator = self._remediator
        gone = prune_journal(
            remediator.journal, remediator.settings, remediator.policy.current(), now=now, within=PRUNE_WITHIN
        )
        if any(gone.values()):
            self._log.info("pruned", **gone)

    def _reconcile(self, now: datetime) -> None:
        alertmanagers, settings = self._remediator.alertmanagers, self._remediator.settings
        if alertmanagers is None:
            raise ValueError("no Alertmanager is configured")
        found = reconcile(
            self._remediator.lifecycle.world,
            alertmanagers,
            receiver=settings.receiver,
            every=settings.reconcile,
            now=now,
        )
        troubles = [look.trouble for look in found.looks if look.trouble]
        self.alertmanager_trouble = "; ".join(troubles) or None
        if found.news:
            counts = {"missed": found.missed, "suppressed": found.suppressed, "vanished": found.vanished}
            self._log.info("Alertmanager knows otherwise", **counts)
        if found.missed:
            self._remediator.worker.wake()
