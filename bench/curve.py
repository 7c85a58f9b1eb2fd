"""The cost curve: whether anything grows with the journal. Three journals, three processes, in turns."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from bench.act import received_to_patch
from bench.figures import Figure, Result
from bench.product import Product, World, eventually, running
from bench.seeded import EVENTS_EACH, seed
from bench.sending import Client, notification
from bench.stub import LEFT_ALONE

GROUP = "The cost curve: 10², 10⁴ and 10⁶ journaled events"
SIZES = (10**2, 10**4, 10**6)
TURNS, EACH = 8, 12
_ALONE = f"{LEFT_ALONE}/app"
_MS = 1e3


def measure(folder: Path) -> list[Result]:
    targets = [f"bench/app-{n}" for n in range(TURNS * EACH // 2 + 3)]
    with ExitStack() as stack:
        worlds = [World() for _ in SIZES]
        for world in worlds:
            stack.callback(world.close)
        products = []
        for size, world in zip(SIZES, worlds, strict=True):
            home = folder / f"curve-{size}"
            seed(home / "journal.db", size // EVENTS_EACH)
            products.append(stack.enter_context(running(home, world, [*targets, _ALONE])))
        return _measure(products, worlds, targets)


def _measure(products: list[Product], worlds: list[World], targets: list[str]) -> list[Result]:
    clients = [Client(product.port) for product in products]
    for product, client, world in zip(products, clients, worlds, strict=True):
        eventually(product.permitted, "answer to what we may do", within=60)
        for target in targets[:3]:
            received_to_patch(client, world, target)
        client.post(notification([_ALONE]))
    left = targets[3:]
    asked: dict[str, tuple[int, Callable[[int, int], float], float | None]] = {
        "accept": (EACH, lambda one, _: _timed(lambda: clients[one].post(notification([_ALONE]))), 1.3),
        "decide and act": (
            EACH // 2,
            lambda one, n: received_to_patch(clients[one], worlds[one], left[n]),
            1.3,
        ),
        "the page `/`": (EACH // 2, lambda one, _: _timed(lambda: clients[one].get("/")), None),
        "`/api/v1/incidents`": (
            EACH,
            lambda one, _: _timed(lambda: clients[one].get("/api/v1/incidents")),
            None,
        ),
        "`/api/v1/incidents?open`": (
            EACH,
            lambda one, _: _timed(lambda: clients[one].get("/api/v1/incidents?open")),
            None,
        ),
        "`/metrics`": (EACH // 2, lambda one, _: _timed(lambda: clients[one].get("/metrics")), None),
    }
    return [figure for name, (each, ask, most) in asked.items() for figure in _figures(name, each, ask, most)]


def _figures(name: str, each: int, ask: Callable[[int, int], float], most: float | None) -> list[Figure]:
    """Medians of each turn, the best turn of each journal."""
    medians: list[list[float]] = [[] for _ in SIZES]
    for turn in range(TURNS):
        for one in range(len(SIZES)):
            some = [ask(one, turn * each + n) for n in range(each)]
            medians[one].append(statistics.median(some))
    best = [min(found) * _MS for found in medians]
    ratio = best[-1] / best[0]
    values = [
        Figure(group=GROUP, name=f"{name} at {size:,} events", value=value, unit="ms")
        for size, value in zip(SIZES, best, strict=True)
    ]
    return [*values, Figure(group=GROUP, name=f"{name}: growth", value=ratio, unit="x", at_most=most)]


def _timed(do: Callable[[], object]) -> float:
    began = time.monotonic()
    do()
    return time.monotonic() - began
