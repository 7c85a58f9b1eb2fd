"""Start, memory, threads and CPU: idle, with 1,000 open incidents, after 100,000 closed ones.

Memory is the sum over gunicorn's processes of their proportional set size: pages they share count once.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path

from bench.figures import Figure, Result
from bench.product import Product, World, eventually, running
from bench.seeded import seed
from bench.sending import Client, notification

GROUP = "Footprint"
STARTS, WATCHED = 3, 10.0
OPEN, CLOSED = 1_000, 100_000
_PATH = "/api/v1/incidents"


def measure(folder: Path) -> list[Result]:
    world = World()
    try:
        started, idle = _idle(folder, world)
        return [
            Figure(group=GROUP, name="start to ready", value=started, unit="s", at_most=1.5),
            *idle,
            *_with_open_incidents(folder, world, threads=int(idle[1].value)),
            *_after_closed_incidents(folder, world),
        ]
    finally:
        world.close()


def _idle(folder: Path, world: World) -> tuple[float, list[Figure]]:
    """The second and later starts, as those after a first one that made the journal."""
    times = []
    for _ in range(STARTS):
        with running(folder / "idle", world, ["bench/app"]) as product:
            times.append(product.started_in)
    with running(folder / "idle", world, ["bench/app"]) as product:
        eventually(product.permitted, "answer to what we may do")
        time.sleep(2)
        before = product.cpu_seconds()
        time.sleep(WATCHED)
        cpu = (product.cpu_seconds() - before) / WATCHED * 100
        memory, threads = product.memory(), product.threads()
    return statistics.median(times), [
        Figure(group=GROUP, name="idle: memory", value=memory, unit="MiB", at_most=90),
        Figure(group=GROUP, name="idle: threads", value=threads),
        Figure(group=GROUP, name="idle: CPU", value=cpu, unit="%", at_most=1),
    ]


def _with_open_incidents(folder: Path, world: World, *, threads: int) -> list[Figure]:
    """Held by a pause: each is observed and decided again every 15 s."""
    targets = [f"bench-{n % 10}/app-{n}" for n in range(OPEN)]
    with running(folder / "open", world, targets) as product:
        product.cli("pause", "--why", "bench")
        client = Client(product.port)
        for start in range(0, OPEN, 10):
            client.post(notification(targets[start : start + 10]))
        client.close()
        eventually(lambda: _held(product) == OPEN, "hold of every incident", within=90, every=1)
        memory = max(_sampled(product))
        most = product.threads()
    return [
        Figure(group=GROUP, name="1,000 open incidents: memory", value=memory, unit="MiB", at_most=130),
        Figure(group=GROUP, name="1,000 open incidents: threads", value=most, at_most=threads + 10),
    ]


def _held(product: Product) -> int:
    return _counted(product, b'remediator_open_incidents{phase="deciding"} ')


def _counted(product: Product, line: bytes) -> int:
    text = product.get("/metrics")[1]
    return int(float(text.partition(line)[2].split(b"\n")[0] or 0))


def _sampled(product: Product) -> list[float]:
    found = []
    for _ in range(5):
        time.sleep(1)
        found.append(product.memory())
    return found


def _after_closed_incidents(folder: Path, world: World) -> list[Figure]:
    seed(folder / "closed" / "journal.db", CLOSED)
    with running(folder / "closed", world, ["bench/app"]) as product:
        client = Client(product.port)
        for _ in range(20):
            client.get(_PATH)
            client.get("/metrics")
        client.close()
        return [
            Figure(
                group=GROUP, name="after 100,000 closed incidents: start", value=product.started_in, unit="s"
            ),
            Figure(
                group=GROUP, name="after 100,000 closed incidents: memory", value=product.memory(), unit="MiB"
            ),
        ]
