"""How fast time passes inside the simulated cluster.

Every duration of its own (starting a pod, back-off, a progress deadline) is divided by
`speed`; timestamps stay real, so that clients see the cluster as if it were merely quick.
"""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Pace:
    speed: float = 1.0
    ready_seconds: float = 0.2  # from scheduled to Ready
    slow_seconds: float = 8.0  # the same, for an image tagged ...slow
    stop_seconds: float = 0.2  # from asked to stop to gone
    back_off_seconds: float = 10.0  # between restarts of a crashing container

    def __post_init__(self) -> None:
        if self.speed <= 0:
            raise ValueError(f"speed must be greater than 0, not {self.speed}")

    def lasts(self, seconds: float) -> float:
        """How long `seconds` of the cluster's time take on the clock."""
        return seconds / self.speed

    def now(self) -> float:
        return time.monotonic()
