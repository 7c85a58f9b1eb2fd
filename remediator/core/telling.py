"""How often a timeline tells the same again: holds may take turns, and alerts flap, for weeks."""

from __future__ import annotations

from datetime import datetime, timedelta

TOLD_FOR = timedelta(hours=1)
"""So long what was told counts as told, whatever came in between."""
LONG = 200
"""Events of a timeline from which on alerts that come and go are not told each time."""


def retold(last: datetime | None, *, now: datetime) -> str | None:
    """What to add when the same is told again; None: it was told lately. `last` is when that was."""
    if last is None:
        return ""
    if abs(now - last) < TOLD_FOR:  # either way: a clock set back hides nothing for long
        return None
    return f"; told at {last:%Y-%m-%d %H:%M:%S} UTC too: what takes turns is told once an hour"
