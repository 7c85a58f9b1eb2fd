"""Builds everything. The only module that names concrete adapters."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from remediator.adapters.alertmanager import AlertmanagerPeers
from remediator.adapters.journal import SqlJournal
from remediator.adapters.journal.backup import copy_sqlite
from remediator.adapters.journal.timeline import Line
from remediator.adapters.kubernetes import KubernetesCluster, Unconfigured
from remediator.adapters.prometheus import PrometheusMetrics
from remediator.core.policy import Policy
from remediator.lifecycle import Lifecycle, Pace, World
from remediator.logs import logger
from remediator.policy_file import PolicyMistakes, read_policy
from remediator.ports import JournalUnavailable, Keep
from remediator.settings import SettingMistake, Settings, variable
from remediator.worker import Worker


class PolicySource:
    """The policy in force. A changed file is read again; a bad one changes nothing and is said."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._bytes: bytes | None = path.read_bytes()
        self._policy = read_policy(path)
        self._lock = threading.Lock()
        self._log = logger("policy")
        self.mistakes: str | None = None
        """Why the file as it is now cannot be used; None while it is in force."""

    def current(self) -> Policy:
        return self._policy

    def reload(self) -> None:
        """Read the file again if its text changed."""
        with self._lock:
            try:
                found = self._path.read_bytes()
                if found == self._bytes:
                    return
                self._policy = read_policy(self._path)
                self._bytes = found
            except PolicyMistakes as error:
                self._bytes = found
                self._complain(str(error))
                return
            except OSError as error:
                self._bytes = None  # when it is back, it is read whatever is in it
                self._complain(str(error))
                return
            self.mistakes = None
            self._log.info("policy reloaded", digest=self._policy.digest)

    def _complain(self, mistakes: str) -> None:
        if mistakes != self.mistakes:
            self._log.error(
                "policy not reloaded, the old one stays", kept=self._policy.digest, error=mistakes
            )
        self.mistakes = mistakes


@dataclass(frozen=True, slots=True, kw_only=True)
class Remediator:
    """One wired process."""

    settings: Settings
    journal: SqlJournal
    cluster: KubernetesCluster
    metrics: PrometheusMetrics
    alertmanagers: AlertmanagerPeers | None
    """None when none is configured: then we only know what we are told."""
    policy: PolicySource
    lifecycle: Lifecycle
    worker: Worker


def open_journal(settings: Settings) -> SqlJournal:
    """The journal, at this build's schema; what it records is logged. Raises JournalUnavailable."""
    log = logger("timeline")

    def tell(line: Line) -> None:
        fields = line._asdict()
        kind = fields.pop("kind")
        if kind not in _IN_THE_NOTIFICATIONS_LINE:
            (log.warning if kind in _FOR_A_PERSON else log.info)(kind, **fields)

    journal = SqlJournal(settings.database, tell=tell)
    journal.migrate()
    return journal


_IN_THE_NOTIFICATIONS_LINE = ("joined", "resolved")
_FOR_A_PERSON = ("escalated", "storm", "breaker")


def find_journal(settings: Settings) -> SqlJournal:
    """The journal that is served, at this build's schema. Raises JournalUnavailable.

    Also where there is none yet: a pause in a new one of our own would stop nothing and look as if it had.
    """
    journal = SqlJournal(settings.database)
    if not journal.made():
        raise JournalUnavailable(
            f"there is no journal {journal}: run this where `remediator serve` runs,"
            f" or name its journal by --database or {variable('database')}"
        )
    journal.migrate()
    return journal


def back_up(settings: Settings, to: Path) -> int:
    """Copy a SQLite journal; returns the size in bytes. Raises JournalUnavailable, OSError."""
    return copy_sqlite(Path(settings.database.removeprefix("sqlite:///")), to)


def prune_journal(
    journal: SqlJournal,
    settings: Settings,
    policy: Policy,
    *,
    now: datetime,
    within: timedelta | None = None,
) -> dict[str, int]:
    """Delete what is not to be kept; returns how much of what. Raises JournalUnavailable."""
    keep = Keep(
        incidents=settings.keep_incidents,
        most_incidents=settings.keep_most_incidents,
        notifications=settings.keep_notifications,
        most_notifications=settings.keep_most_notifications,
        history=policy.limits.longest,
    )
    return journal.prune(keep, now=now, within=within)


def build(settings: Settings, policy: PolicySource | None = None) -> Remediator:
    """Wire a process, with a policy that has been read already or by reading it; starts nothing.

    Raises PolicyMistakes, SettingMistake, JournalUnavailable, OSError.
    """
    policy = policy or PolicySource(settings.policy)
    cluster = _cluster(settings)
    journal = open_journal(settings)
    metrics = PrometheusMetrics(settings.prometheus)
    pace = Pace(recheck=settings.recheck, poll=settings.poll, lease=settings.lease)
    world = World(journal=journal, cluster=cluster, metrics=metrics, policy=policy.current, pace=pace)
    lifecycle = Lifecycle(world)
    return Remediator(
        settings=settings,
        journal=journal,
        cluster=cluster,
        metrics=metrics,
        alertmanagers=AlertmanagerPeers(settings.alertmanager) if settings.alertmanager else None,
        policy=policy,
        lifecycle=lifecycle,
        worker=Worker(lifecycle, journal, idle=settings.idle, each_round=policy.reload),
    )


@contextmanager
def foreseeing(settings: Settings) -> Iterator[Remediator]:
    """Wire what only looks. Where nobody serves yet, its journal is an empty one that goes away again."""
    journal = SqlJournal(settings.database)
    made = journal.made()
    journal.close()
    if made:
        yield build(settings)
        return
    with TemporaryDirectory() as folder:
        empty = build(replace(settings, database=f"sqlite:///{folder}/journal.db"))
        yield empty
        empty.journal.close()


def _cluster(settings: Settings) -> KubernetesCluster:
    kubeconfig = str(settings.kubeconfig) if settings.kubeconfig else None
    try:
        return KubernetesCluster.from_environment(kubeconfig, connect_timeout=1.5, read_timeout=5.0)
    except Unconfigured as error:
        raise SettingMistake(
            f"{str(error).rstrip('.')}; {variable('kubeconfig')} takes a kubeconfig file"
        ) from None


__all__ = [
    "PolicySource",
    "Remediator",
    "back_up",
    "build",
    "find_journal",
    "foreseeing",
    "open_journal",
    "prune_journal",
    "read_policy",
]
