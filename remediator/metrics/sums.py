"""What the metrics need of the journal: each read is bounded by what is open, recent or summed."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from remediator.core.actions import Target
from remediator.core.incidents import Pause, Phase, Storm

Labels = tuple[tuple[str, str], ...]


class Sums(Protocol):
    """The part of the journal that the metrics read."""

    def counters(self) -> dict[tuple[str, Labels], float]:
        """The durable counters."""
        ...

    def gauges(self) -> dict[str, int]:
        """Open incidents by phase."""
        ...

    def pauses(self, *, now: datetime) -> list[Pause]:
        """The pauses in force."""
        ...

    def storm(self) -> Storm | None:
        """The storm that is not over, if there is one."""
        ...

    def watchdog_at(self) -> datetime | None:
        """When the Watchdog was last heard, or None."""
        ...

    def open_phases(self) -> dict[Target, Phase]:
        """The targets that have an open incident, and the phase it is in."""
        ...

    def spent(self, *, since: datetime) -> list[tuple[Target, datetime]]:
        """The attempts since then that count against the budgets."""
        ...

    def returns_pending(self) -> int:
        """Scale-ups that are still to be given back."""
        ...

    def last_applied(self) -> dict[tuple[Target, str], datetime]:
        """When the API server last accepted a change, by target and kind of action."""
        ...
