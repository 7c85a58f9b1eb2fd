"""`remediator serve`: gunicorn with threads, and in each of its processes one worker thread.

Everything that holds a connection is built after the fork. On SIGTERM the worker thread takes no new
step, requests are finished, the step in hand too, and the process exits in time.
"""

from __future__ import annotations

import gc
import json
import signal
import sys
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Any

from gunicorn.app.base import BaseApplication
from gunicorn.glogging import Logger as GunicornsOwnLogger

from remediator.announcer import Announcer
from remediator.logs import logger
from remediator.metrics import JournalCollector, TargetCollector
from remediator.ports import JournalUnavailable
from remediator.preflight import Preflight
from remediator.settings import Settings
from remediator.slow_clients import BoundedWorker
from remediator.troubles import Troubles
from remediator.upkeep import Upkeep
from remediator.web import Doors, create_app
from remediator.wiring import PolicySource, Remediator, build
from remediator.worker import utc_now

GRACE = timedelta(seconds=25)
"""How long a step in hand may take after SIGTERM; below Kubernetes' default of 30 s."""


SWITCH = 0.001
"""Seconds after which a thread that only computes (a scrape, a page) lets another one go on.

Python's own 5 ms would come on top of every answer that the worker waits for meanwhile.
"""

_MEMORY = "/dev/shm"  # noqa: S108 - gunicorn's heartbeat must not wait for a disk


class Unservable(Exception):
    """The settings do not allow a start. The message says what to do."""


def check_startable(settings: Settings) -> None:
    """Refuse what would be unsafe, and fail in the foreground rather than in a forked process."""
    if settings.token_file is None:
        if not settings.insecure:
            raise Unservable(
                "no token configured: set REMEDIATOR_TOKEN_FILE to a file with a bearer token, "
                "or use --insecure to serve without one on loopback"
            )
        if not settings.on_loopback:
            raise Unservable(f"--insecure serves on loopback only, not on {settings.listen}")
    elif not settings.token_file.read_bytes().strip():
        raise Unservable(f"the token file {settings.token_file} is empty")


def serve(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT. Raises Unservable and what `build` raises."""
    check_startable(settings)
    remediator = build(settings)  # says now what is wrong with the policy, the kubeconfig or the journal
    remediator.journal.close()
    remediator.cluster.close()
    policy = remediator.policy
    del remediator
    _share_memory()
    _Gunicorn(settings, policy).run()


def _share_memory() -> None:
    """Let the processes that gunicorn forks share what is there: a collection would write to it."""
    gc.collect()
    gc.freeze()


class Process:
    """One gunicorn process: the wired remediator, its worker thread and its web application."""

    def __init__(self, remediator: Remediator) -> None:
        self.remediator = remediator
        self.draining = threading.Event()
        self.preflight = Preflight(remediator.cluster, remediator.policy.current)
        self.upkeep = Upkeep(remediator, clock=utc_now)
        self.announcer = Announcer(remediator.lifecycle.world, clock=utc_now)
        doors = Doors(
            lifecycle=remediator.lifecycle,
            journal=remediator.journal,
            clock=utc_now,
            wake=remediator.worker.wake,
            worker_alive=lambda: remediator.worker.alive,
            draining=self.draining.is_set,
            trouble=self._troubles().seen,
            token_file=remediator.settings.token_file,
            max_body=remediator.settings.max_body,
        )
        doors.registry.register(
            JournalCollector(
                remediator.journal,
                clock=utc_now,
                policy_digest=lambda: remediator.policy.current().digest,
                policy_bad=lambda: remediator.policy.mistakes is not None,
                worker_alive=lambda: remediator.worker.alive,
            )
        )
        doors.registry.register(
            TargetCollector(remediator.journal, clock=utc_now, policy=remediator.policy.current)
        )
        self.app = create_app(doors)

    def start(self) -> None:
        self.remediator.worker.start()
        self.preflight.start()
        self.upkeep.start()
        self.announcer.start()

    def stop(self) -> None:
        """Finish the step in hand, then let go of everything."""
        self.draining.set()
        self.preflight.stop()
        self.upkeep.stop()
        self.announcer.stop()
        if not self.remediator.worker.stop(within=GRACE):
            logger("serve").error("the step in hand did not finish in time; its lease will run out")
        self.remediator.cluster.close()
        self.remediator.journal.close()

    def _troubles(self) -> Troubles:
        """What is asked of others comes last."""
        return Troubles(
            {
                "policy": lambda: self.remediator.policy.mistakes,
                "permissions": lambda: self.preflight.complaint,
                "alertmanager": lambda: self.upkeep.alertmanager_trouble,
                "watchdog": self.upkeep.watchdog_trouble,
                "kubernetes": self.remediator.cluster.ping,
                "prometheus": self.remediator.metrics.ping,
                "rules": self._unknown_rules,
            }
        )

    def _unknown_rules(self) -> str | None:
        """Whether Prometheus evaluates rules that the policy in force was not made for."""
        known = self.remediator.policy.current().rules_versions
        if not known:
            return None
        others = ",".join(f"version!={json.dumps(version)}" for version in known)
        found = self.remediator.metrics.ask(f"count(remediator_rules_info{{{others}}})", now=utc_now())
        if not found.value:
            return None
        return f"Prometheus evaluates rules that the policy does not know; it knows {', '.join(known)}"


class _Gunicorn(BaseApplication):  # type: ignore[misc]
    def __init__(self, settings: Settings, policy: PolicySource) -> None:
        self._settings = settings
        self._policy = policy
        self._process: Process | None = None
        super().__init__()

    def load_config(self) -> None:
        settings = self._settings
        for name, value in {
            "bind": settings.listen,
            "workers": settings.workers,
            "worker_class": BoundedWorker,
            "threads": settings.threads,
            "timeout": 60,
            "graceful_timeout": int(GRACE.total_seconds()),
            "keepalive": 75,
            "worker_tmp_dir": _MEMORY if Path(_MEMORY).is_dir() else None,
            "logger_class": "remediator.serve.GunicornLogger",
            "post_worker_init": _started,
            "worker_exit": _exiting,
            "control_socket_disable": True,
        }.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        """Build everything in the forked process."""
        try:
            self._process = Process(build(self._settings, self._policy))
        except JournalUnavailable as error:
            logger("serve").error("cannot start", error=str(error))
            raise SystemExit(1) from None
        return self._process.app


def _started(worker: Any) -> None:
    """After the fork and the load: start the thread, and hear of SIGTERM before gunicorn drains."""
    process: Process = worker.app._process  # noqa: SLF001 - ours
    sys.setswitchinterval(SWITCH)
    process.start()
    inherited: Callable[[int, FrameType | None], Any] = signal.getsignal(signal.SIGTERM)  # type: ignore[assignment]

    def on_sigterm(number: int, frame: FrameType | None) -> None:
        process.remediator.worker.drain()
        inherited(number, frame)

    signal.signal(signal.SIGTERM, on_sigterm)
    settings = process.remediator.settings
    logger("serve").info("ready", listen=settings.listen, policy=process.remediator.policy.current().digest)


def _exiting(_server: Any, worker: Any) -> None:
    process: Process | None = getattr(worker.app, "_process", None)
    if process is not None:
        process.stop()


class GunicornLogger(GunicornsOwnLogger):  # type: ignore[misc]
    """Gunicorn's warnings and errors as our log lines. No access log: journal and metrics tell more."""

    def setup(self, cfg: Any) -> None:
        """Hand everything to the root logger, which `logs.configure_logs` has set up."""
        self.cfg = cfg
        self.error_log.propagate = True
        self.access_log.disabled = True


__all__ = ["GunicornLogger", "Process", "Unservable", "check_startable", "serve"]
