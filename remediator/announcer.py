"""The thread of a process that tells Kubernetes what the journal says. Nothing waits for it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta

from remediator.core.actions import Target
from remediator.core.announcements import Told
from remediator.core.permissions import CREATE_EVENTS
from remediator.lifecycle.announce import announce
from remediator.lifecycle.world import World
from remediator.logs import logger
from remediator.permissions import needed_on_each

EVERY = timedelta(seconds=1)
_GOOD = frozenset({Told.WRITTEN, Told.OBSERVING})


class Announcer:
    """Every replica has one: whoever is second finds the Event there."""

    def __init__(self, world: World, *, clock: Callable[[], datetime], every: timedelta = EVERY) -> None:
        self._world = world
        self._clock = clock
        self._every = every
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="announcer", daemon=True)
        self._log = logger("announcer")
        self._said: str | None = None
        self._in_vain: tuple[Target, ...] = ()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Tell nothing more. What is on its way is not waited for."""
        self._stopping.set()

    def look(self) -> None:
        """Tell what waits, and log it once when something cannot be told."""
        needs = needed_on_each(self._world.policy())
        wanted = any(CREATE_EVENTS in permissions for permissions in needs.values())
        found = announce(self._world, wanted=wanted, now=self._clock(), in_vain=self._in_vain)
        self._in_vain = found.in_vain
        if found.told:
            self._say(next((told.value for told in found.told if told not in _GOOD), None))

    def _say(self, trouble: str | None) -> None:
        if trouble == self._said:
            return
        self._said = trouble
        if trouble is None:
            self._log.info("Events are written again")
        else:
            fix = "remediator rbac" if trouble == Told.FORBIDDEN else None
            self._log.warning("Events are not written; nothing else depends on them", why=trouble, fix=fix)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self.look()
            except Exception as error:  # noqa: BLE001 - whatever happens here must not end the process
                self._say(f"{type(error).__name__}: {error}")
            self._stopping.wait(self._every.total_seconds())
