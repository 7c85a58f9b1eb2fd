"""Builds everything. The only module that names concrete adapters."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

from remediator.adapters.journal import SqlJournal
from remediator.adapters.kubernetes import KubernetesCluster, Unconfigured
from remediator.adapters.prometheus import PrometheusMetrics
from remediator.core.policy import Policy
from remediator.lifecycle import Lifecycle, Pace, World
from remediator.logs import logger
from remediator.policy_file import PolicyMistakes, read_policy
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
    policy: PolicySource
    lifecycle: Lifecycle
    worker: Worker


def open_journal(settings: Settings) -> SqlJournal:
    """The journal, at this build's schema. Raises JournalUnavailable."""
    journal = SqlJournal(settings.database)
    journal.migrate()
    return journal


def build(settings: Settings) -> Remediator:
    """Wire a process. Raises PolicyMistakes, SettingMistake, JournalUnavailable, OSError; starts nothing."""
    policy = PolicySource(settings.policy)
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
        policy=policy,
        lifecycle=lifecycle,
        worker=Worker(lifecycle, journal, idle=settings.idle, each_round=policy.reload),
    )


def _cluster(settings: Settings) -> KubernetesCluster:
    kubeconfig = str(settings.kubeconfig) if settings.kubeconfig else None
    try:
        return KubernetesCluster.from_environment(kubeconfig, connect_timeout=1.5, read_timeout=5.0)
    except Unconfigured as error:
        raise SettingMistake(f"{error}; {variable('kubeconfig')} takes a kubeconfig file") from None


__all__ = ["PolicySource", "Remediator", "build", "open_journal", "read_policy"]
