"""One connection for many threads, in the order of asking.

SQLAlchemy's own queue lets whoever has just given the connection back take it again before those who wait:
a thread that is busy enough keeps all others out until their time-out.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Any

from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool


class Turns:
    """A lock that is handed on in the order of asking."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._taken = False
        self._line: deque[threading.Lock] = deque()

    def take(self, timeout: float) -> bool:
        """Wait for one's turn, so many seconds at most; whether it came."""
        with self._guard:
            if not self._taken:
                self._taken = True
                return True
            mine = threading.Lock()
            mine.acquire()
            self._line.append(mine)
        if mine.acquire(timeout=timeout):
            return True
        with self._guard:
            if mine not in self._line:
                return True  # handed on to us at the last moment
            self._line.remove(mine)
            return False

    def hand_on(self) -> None:
        """To who has waited longest."""
        with self._guard:
            if self._line:
                self._line.popleft().release()
            else:
                self._taken = False


class OneInTurn(QueuePool):
    """A pool of one connection."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._turns = Turns()

    def _do_get(self) -> ConnectionPoolEntry:
        if not self._turns.take(self._timeout):
            raise PoolTimeout(f"others kept the connection for {self._timeout:g} s")
        try:
            return super()._do_get()
        except BaseException:
            self._turns.hand_on()
            raise

    def _do_return_conn(self, record: ConnectionPoolEntry) -> None:
        super()._do_return_conn(record)
        self._turns.hand_on()
