"""Two replicas on one PostgreSQL: how long until what one of them had in hand is done by the other.

Both as shipped, with a lease of 25 s. One is told of many targets at once, and goes once it has begun.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from bench.figures import Figure, NotMeasured, Result
from bench.postgres import WITHOUT, asked, database
from bench.product import Product, World, eventually, running
from bench.sending import Client, notification

GROUP = "A replica goes in the midst of its work, another takes over"
MANY = 12
Leaving = Callable[[Product, str], None]
_LEFT = "SELECT count(*) FROM incidents WHERE phase IN ('deciding', 'acting')"
_HELD = "SELECT count(*) FROM incidents WHERE lease_owner LIKE %s"


def measure(folder: Path) -> list[Result]:
    found: list[Result] = []
    for how, name, most in (
        (_kill, "taken over after `kill -9`", 30),
        (_ask_to_stop, "gone on with after SIGTERM", 2),
    ):
        with database() as url:
            if url is None:
                return [NotMeasured(group=GROUP, why=WITHOUT)]
            seconds = _leaves(folder / how.__name__, url, how)
        found.append(Figure(group=GROUP, name=name, value=seconds, unit="s", at_most=most))
    return found


def _leaves(folder: Path, url: str, how: Leaving) -> float:
    """Seconds from then until each target has been acted on."""
    world, targets = World(), [f"bench/app-{number}" for number in range(MANY)]
    try:
        with (
            running(folder / "one", world, targets, url) as one,
            running(folder / "two", world, targets, url),
        ):
            eventually(one.permitted, "answer to what we may do", within=60)
            client = Client(one.port)
            client.post(notification(targets))
            client.close()
            world.next_patch()
            how(one, url)
            gone = time.monotonic()
            eventually(lambda: asked(url, _LEFT) == 0, "end of the work", within=90)
            return time.monotonic() - gone
    finally:
        world.close()


def _kill(one: Product, url: str) -> None:
    """All its processes at once, while the worker has an incident in hand."""
    processes = one.processes()
    worker = processes[-1]
    while True:
        os.kill(worker, signal.SIGSTOP)
        if asked(url, _HELD, f"{worker}-%"):
            break
        os.kill(worker, signal.SIGCONT)
        time.sleep(0.001)
    for process in processes:
        os.kill(process, signal.SIGKILL)


def _ask_to_stop(one: Product, _url: str) -> None:
    one.process.terminate()
