"""Notifications acknowledged durably per second, in turns with a bare handler that commits one row for each.

Each notification is new, of alerts of targets whose incidents a person has: each alert joins an incident,
with an event in its timeline, and none is acted on.
"""

from __future__ import annotations

import random
import sqlite3
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.figures import Figure, NotMeasured, Result, percentile
from bench.postgres import WITHOUT, asked, database
from bench.product import Product, World, eventually, free_port, running, stop
from bench.sending import Client, Load, load, notification
from bench.stub import LEFT_ALONE

GROUP = "Notifications acknowledged durably"
TURNS, SECONDS = 2, 1.5
CELLS = [(clients, alerts) for alerts in (1, 100) for clients in (4, 64)]
TARGETS = [f"{LEFT_ALONE}/app-{n}" for n in range(100)]
_MS = 1e3


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    name: str
    port: int
    stored: Callable[[], int]
    """How many notifications its database holds."""
    loads: dict[tuple[int, int], list[Load]] = field(default_factory=dict)
    lost: list[int] = field(default_factory=list)
    """Of each load, how many were acknowledged and are not there."""


def measure(folder: Path) -> list[Result]:
    world = World()
    try:
        with (
            _bare(folder) as bare,
            running(folder / "accept", world, TARGETS) as product,
            _on_postgres(folder, world) as postgres,
        ):
            file = folder / "accept" / "journal.db"
            servers = [bare, _prepared("SQLite", product, lambda: _rows(file, "notifications"))]
            servers += [postgres] if postgres else []
            for server in servers:
                load(server.port, 4, 0.5, lambda: _one(1))
            for cell in CELLS:
                for _ in range(TURNS):
                    for server in servers:
                        _take_turn(server, *cell)
            found = [figure for server in servers for figure in _figures(server, bare)]
            why = f"on PostgreSQL: {WITHOUT}"
            return found if postgres else [*found, NotMeasured(group=GROUP, why=why)]
    finally:
        world.close()


def _one(alerts: int) -> bytes:
    return notification(random.sample(TARGETS, alerts))


def _take_turn(server: Server, clients: int, alerts: int) -> None:
    before = server.stored()
    most = 1500 if alerts == 1 else 300
    sent = load(server.port, clients, SECONDS, lambda: _one(alerts), most=most)
    server.loads.setdefault((clients, alerts), []).append(sent)
    server.lost.append(max(0, sent.accepted - (server.stored() - before)) + sent.refused)


def _figures(server: Server, bare: Server) -> Iterator[Result]:
    for (clients, alerts), loads in server.loads.items():
        what = f"{server.name}, {clients} clients, {alerts} alert{'s' if alerts > 1 else ''} each"
        rate = statistics.median(one.per_second for one in loads)
        yield Figure(group=GROUP, name=what, value=rate, unit="/s")
        if server is bare:
            continue
        latencies = [seconds for one in loads for seconds in one.latencies]
        most = 100 if clients == CELLS[0][0] else None
        p99 = percentile(latencies, 0.99) * _MS
        yield Figure(group=GROUP, name=f"{what}: p99", value=p99, unit="ms", at_most=most)
        ratios = [
            us.per_second / it.per_second for us, it in zip(loads, bare.loads[clients, alerts], strict=True)
        ]
        ratio = statistics.median(ratios)
        least = 0.7 if server.name == "SQLite" and alerts == 1 else None
        yield Figure(group=GROUP, name=f"{what}: ratio to bare", value=ratio, unit="x", at_least=least)
    if server is not bare:
        name = f"{server.name}: acknowledged and not in the journal, or not acknowledged"
        yield Figure(group=GROUP, name=name, value=sum(server.lost), at_most=0)


def _prepared(name: str, product: Product, stored: Callable[[], int]) -> Server:
    """Begin an incident on each target, and wait until each is with a person."""
    eventually(product.permitted, "answer to what we may do", within=60)
    client = Client(product.port)
    client.post(notification(TARGETS))
    client.close()
    with_a_person = f'remediator_open_incidents{{phase="escalated"}} {float(len(TARGETS))}'.encode()
    eventually(lambda: with_a_person in product.get("/metrics")[1], "escalation of every incident", every=0.5)
    return Server(name=name, port=product.port, stored=stored)


def _rows(file: Path, table: str) -> int:
    db = sqlite3.connect(file, timeout=10)
    try:
        found: int = db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608 - ours
        return found
    finally:
        db.close()


@contextmanager
def _bare(folder: Path) -> Iterator[Server]:
    port, file = free_port(), folder / "bare.db"
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.bare", str(port), str(file)], stderr=subprocess.DEVNULL
    )
    try:
        eventually(lambda: _answers(port), "bare handler")
        yield Server(name="bare Flask and SQLite", port=port, stored=lambda: _rows(file, "received"))
    finally:
        stop(process)


def _answers(port: int) -> bool:
    try:
        client = Client(port)
    except OSError:
        return False
    answered = client.post(notification(TARGETS[:1])) > 0
    client.close()
    return answered


@contextmanager
def _on_postgres(folder: Path, world: World) -> Iterator[Server | None]:
    """In a database of its own. None where there is no PostgreSQL."""
    with database() as url:
        if url is None:
            yield None
            return
        with running(folder / "postgres", world, TARGETS, url) as product:
            yield _prepared("PostgreSQL", product, lambda: asked(url, "SELECT count(*) FROM notifications"))
