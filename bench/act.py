"""From a notification received to the PATCH sent: one at a time, all facts observed, all of it journaled."""

from __future__ import annotations

import shutil
import statistics
import subprocess
import time
from pathlib import Path

from bench.figures import Figure, NotMeasured, Result, percentile
from bench.floor import Floor
from bench.product import World, eventually, running
from bench.sending import Client, notification

GROUP = "From a notification received to the PATCH sent"
ROUNDS, EACH = 5, 25
"""A new process and a new journal each round: a day with hundreds of attempts is not what a policy allows."""
WARM = 8
_KUBECTL = 5
_NS, _MS = 1e9, 1e3


def received_to_patch(client: Client, world: World, target: str) -> float:
    """Seconds. What comes after the PATCH is given the time to be over before the next begins."""
    body = notification([target])
    began = time.monotonic_ns()
    client.post(body)
    patched, at = world.next_patch()
    assert patched == target, f"{patched} was patched instead of {target}"
    time.sleep(0.02)
    return (at - began) / _NS


def measure(folder: Path) -> list[Result]:
    world = World()
    try:
        rounds = [_round(folder / f"act-{number}", world) for number in range(ROUNDS)]
        kubectl, one_call = _kubectl(world, folder), Floor(world.url).one_call()
    finally:
        world.close()
    ours = [seconds for us, _ in rounds for seconds in us]
    bare = [seconds for _, floor in rounds for seconds in floor]
    ratio = statistics.median(statistics.median(us) / statistics.median(floor) for us, floor in rounds)
    p50 = statistics.median(ours)
    found: list[Result] = [
        Figure(group=GROUP, name="p50", value=p50 * _MS, unit="ms", at_most=15),
        Figure(group=GROUP, name="p99", value=percentile(ours, 0.99) * _MS, unit="ms", at_most=50),
        Figure(
            group=GROUP,
            name="the floor: the same HTTP calls, bare, p50",
            value=statistics.median(bare) * _MS,
            unit="ms",
        ),
        Figure(group=GROUP, name="one call of the stub, bare", value=one_call * _MS, unit="ms"),
        Figure(group=GROUP, name="ratio to the floor", value=ratio, unit="x", at_most=2),
    ]
    if kubectl is None:
        return [*found, NotMeasured(group=GROUP, why="kubectl is not on PATH")]
    name = "`kubectl rollout restart` as a process"
    return [
        *found,
        Figure(group=GROUP, name=name, value=kubectl * _MS, unit="ms"),
        Figure(group=GROUP, name="quicker than kubectl", value=kubectl / p50, unit="x", at_least=10),
    ]


def _round(folder: Path, world: World) -> tuple[list[float], list[float]]:
    """Seconds of each of ours, and of each at the floor."""
    targets = [f"bench/app-{number}" for number in range(WARM + EACH)]
    with running(folder, world, targets) as product:
        eventually(product.permitted, "answer to what we may do", within=60)
        client, floor = Client(product.port), Floor(world.url)
        ours = [received_to_patch(client, world, target) for target in targets]
        bare = []
        for target in targets:
            bare.append(floor.chain(target))
            world.next_patch()
        client.close()
    return ours[WARM:], bare[WARM:]


def _kubectl(world: World, folder: Path) -> float | None:
    """Seconds, the median; its cache is warm."""
    if shutil.which("kubectl") is None:
        return None
    kubeconfig = str(world.kubeconfig(folder))
    command = ["kubectl", "--kubeconfig", kubeconfig, f"--cache-dir={folder / 'kubectl'}", "-n", "bench"]
    took = []
    for _ in range(_KUBECTL + 1):  # the first one fills its cache
        began = time.monotonic()
        subprocess.run([*command, "rollout", "restart", "deployment/app"], check=True, capture_output=True)
        took.append(time.monotonic() - began)
        world.next_patch()
    return statistics.median(took[1:])
