"""Waiting for a condition, never for time."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

import requests

T = TypeVar("T")

PATIENCE = 90.0
"""Seconds, only against hangs: a busy machine takes many times as long as an idle one, and is not wrong."""


def eventually(
    look: Callable[[], T | None],
    what: str | Callable[[], object] = "it",
    *,
    within: float = PATIENCE,
    every: float = 0.05,
) -> T:
    """The first true answer. A program that does not listen, or no longer, has not answered yet.

    `what` is told when it does not come; a function is asked for it only then.
    """
    deadline = time.monotonic() + within
    while True:
        found = None
        with suppress(requests.ConnectionError):
            found = look()
        if found:
            return found
        if time.monotonic() >= deadline:
            told = what() if callable(what) else what
            raise AssertionError(f"not within {within:g} s: {told}; last: {found!r}")
        time.sleep(every)
