"""What comes round again and again, beside the incidents: one thread in each process, one replica at a time.

Who does a round, and when it was last done, is a row in the journal: a replica that dies in the middle is
followed by another when its lease runs out. What a round does is harmless a second time.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol
from uuid import uuid4

from remediator.logs import logger
from remediator.ports import JournalUnavailable

LEASE = timedelta(seconds=60)
AT_START = timedelta(seconds=5)
"""A process that starts does every round at once, unless another one has just done it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    name: str
    every: timedelta
    do: Callable[[datetime], object]


class Turns(Protocol):
    """The part of the journal that says whose turn it is."""

    def begin(self, name: str, owner: str, *, every: timedelta, lease: timedelta, now: datetime) -> bool:
        """Take the round if it is due and nobody is at it; whether it is ours now."""
        ...

    def end(self, name: str, owner: str, *, now: datetime | None) -> None:
        """Give the round back, done at that moment, or not done."""
        ...


class Rounds:
    """The rounds of a process."""

    def __init__(self, turns: Turns, rounds: Sequence[Round], *, clock: Callable[[], datetime]) -> None:
        self._turns = turns
        self._rounds = rounds
        self._clock = clock
        self._owner = f"{os.getpid()}-{uuid4().hex[:12]}"
        self._begun: set[str] = set()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="rounds", daemon=True)
        self._tick = min((one.every for one in rounds), default=timedelta(seconds=5)) / 4
        self._trouble: dict[str, str] = {}
        self._log = logger("rounds")

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Begin no further round. One under way is not waited for: its lease runs out."""
        self._stopping.set()

    def look(self) -> None:
        """Do each round whose turn it is."""
        for one in self._rounds:
            if self._stopping.is_set():
                return
            try:
                self._do(one)
            except JournalUnavailable as error:
                self._say_once(one.name, str(error))
            except Exception as error:  # noqa: BLE001 - one round's trouble must not stop the others
                self._say_once(one.name, f"{type(error).__name__}: {error}")

    def _do(self, one: Round) -> None:
        every = one.every if one.name in self._begun else min(one.every, AT_START)
        began = self._clock()
        if not self._turns.begin(one.name, self._owner, every=every, lease=LEASE, now=began):
            self._begun.add(one.name)
            return
        done: datetime | None = None
        try:
            one.do(began)
            done = began
        finally:
            self._turns.end(one.name, self._owner, now=done)
        self._begun.add(one.name)
        if self._trouble.pop(one.name, None):
            self._log.info("a round works again", round=one.name)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self.look()
            self._stopping.wait(self._tick.total_seconds())

    def _say_once(self, name: str, trouble: str) -> None:
        if self._trouble.get(name) != trouble:
            self._log.error("a round failed", round=name, error=trouble)
        self._trouble[name] = trouble
