"""The worker thread of a process: claim a due incident, advance it one step, release; until told to stop.

Every replica runs one, and the journal's leases say who does what. A wake-up from this process' webhook
comes at once; what others received is found by polling.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Protocol
from uuid import uuid4

from remediator.lifecycle import Lifecycle
from remediator.logs import logger
from remediator.ports import Claim, JournalUnavailable, LeaseLost

LONGEST_BACKOFF = 5.0


def utc_now() -> datetime:
    return datetime.now(UTC)


class Queue(Protocol):
    """The part of the journal that hands out work."""

    def claim(self, owner: str, *, lease: timedelta, now: datetime) -> Claim | None:
        """Lease one due incident."""
        ...

    def next_due(self, *, now: datetime) -> timedelta | None:
        """How long until the next incident is due."""
        ...

    def release(self, claim: Claim) -> None:
        """Give a lease back."""
        ...


class Worker:
    """One thread that advances incidents."""

    def __init__(
        self,
        lifecycle: Lifecycle,
        queue: Queue,
        *,
        idle: timedelta,
        clock: Callable[[], datetime] = utc_now,
        each_round: Callable[[], None] = lambda: None,
    ) -> None:
        self._lifecycle = lifecycle
        self._queue = queue
        self._idle = idle
        self._clock = clock
        self._each_round = each_round
        self._owner = f"{os.getpid()}-{uuid4().hex[:12]}"
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="worker", daemon=True)
        self._log = logger("worker")
        self._trouble = ""

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """Look for due incidents now."""
        self._wake.set()

    def drain(self) -> None:
        """Take no new step. Safe in a signal handler: it does not wait."""
        self._stopping.set()
        self._wake.set()

    def stop(self, *, within: timedelta) -> bool:
        """Take no new step, finish the one in hand; whether it finished within that time."""
        self.drain()
        if self._thread.is_alive():
            self._thread.join(within.total_seconds())
        return not self._thread.is_alive()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def step(self) -> bool:
        """Claim one due incident and advance it as far as it goes at once; whether there was one."""
        lease = self._lifecycle.world.pace.lease
        claim = self._queue.claim(self._owner, lease=lease, now=self._clock())
        if claim is None:
            return False
        incident = claim.incident
        try:
            current: Claim | None = claim
            while current is not None and not self._stopping.is_set():
                current = self._lifecycle.advance(current, now=self._clock())
            if current is not None:
                self._queue.release(current)
        except LeaseLost:
            self._log.warning("lease lost", incident=incident.id, target=str(incident.target))
        except JournalUnavailable:
            raise
        except Exception:  # noqa: BLE001 - one incident's trouble must not stop the others
            # The claim is counted: after some of these the incident is escalated as poisoned.
            self._log.exception("step failed", incident=incident.id, phase=incident.phase.value)
        return True

    def _run(self) -> None:
        backoff = 0.1
        while not self._stopping.is_set():
            try:
                self._each_round()
                self._wake.clear()
                busy = self.step()
                pause = 0.0 if busy else self._until_due()
                backoff = 0.1
                self._recovered_from_trouble()
            except JournalUnavailable as error:
                self._say_once(str(error))
                pause = backoff = min(backoff * 2, LONGEST_BACKOFF)
            except Exception as error:  # noqa: BLE001 - the worker must outlive whatever happens
                self._say_once(f"{type(error).__name__}: {error}")
                pause = backoff = min(backoff * 2, LONGEST_BACKOFF)
            if pause:
                self._wake.wait(pause)

    def _until_due(self) -> float:
        due = self._queue.next_due(now=self._clock())
        return min(self._idle, due or self._idle).total_seconds()

    def _say_once(self, trouble: str) -> None:
        if trouble != self._trouble:
            self._log.error("worker cannot work", error=trouble)
        self._trouble = trouble

    def _recovered_from_trouble(self) -> None:
        if self._trouble:
            self._log.info("worker works again")
        self._trouble = ""
