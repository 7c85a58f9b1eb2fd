"""What does not work right now: looked for when somebody asks, by one thread at a time.

What is asked of Kubernetes and Prometheus may take its whole time-out. That must not hold the threads that
take notifications in: whoever asks gets what is known by then.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

FRESH = 5.0
"""Seconds for which one look serves all who ask."""
WITHIN = 5.0
"""Seconds that whoever began a look waits for it."""
BRIEFLY = 0.3
"""Seconds that the others wait."""


class Seen(NamedTuple):
    trouble: dict[str, str]
    """By name, why it does not work, or that it has not answered yet."""
    seconds_old: float


class _Look:
    """One look, under way or done."""

    def __init__(self, looks: Mapping[str, Callable[[], str | None]], clock: Callable[[], float]) -> None:
        self._looks = looks
        self._clock = clock
        self._found: dict[str, str | None] = {}
        self._asked: tuple[str, float] | None = None
        self.done = threading.Event()
        self.at = clock()

    def run(self) -> None:
        for name, look in self._looks.items():
            self._asked = name, self._clock()
            try:
                self._found[name] = look()
            except Exception as error:  # noqa: BLE001 - one trouble must not hide the others
                self._found[name] = f"{type(error).__name__}: {error}"
        self.at = self._clock()
        self.done.set()

    def told(self) -> Seen:
        asked, now = self._asked, self._clock()
        found = dict(self._found)
        for name in self._looks.keys() - found.keys():
            found[name] = "not asked yet"
            if asked is not None and asked[0] == name:
                found[name] = f"no answer for {now - asked[1]:.1f} s"
        trouble = {name: why for name in self._looks if (why := found[name])}
        return Seen(trouble, now - self.at if self.done.is_set() else 0.0)


class Troubles:
    """What does not work, by name: each look says why, or None. They are asked in their order."""

    def __init__(
        self,
        looks: Mapping[str, Callable[[], str | None]],
        *,
        clock: Callable[[], float] = time.monotonic,
        within: float = WITHIN,
        briefly: float = BRIEFLY,
    ) -> None:
        self._looks = looks
        self._clock = clock
        self._within = within
        self._briefly = briefly
        self._lock = threading.Lock()
        self._look: _Look | None = None

    def seen(self) -> Seen:
        """What is known now, or soon."""
        wait = self._briefly
        with self._lock:
            look = self._look
            if look is None or (look.done.is_set() and self._clock() - look.at >= FRESH):
                look, wait = _Look(self._looks, self._clock), self._within
                self._look = look
                threading.Thread(target=look.run, name="troubles", daemon=True).start()
        look.done.wait(wait)
        return look.told()
