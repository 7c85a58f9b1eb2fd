"""The processes that are measured: the stub, and `remediator serve` as anybody runs it."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TOKEN = "bench-token"  # noqa: S105 - opens nothing
ALERT = "BenchScoreLow"
_QUERY = 'avg(score{namespace="$namespace",deployment="$deployment"})'
_TICKS = os.sysconf("SC_CLK_TCK")
_MIB = 1024.0


class Failed(Exception):
    """What was to be measured did not happen."""


def eventually(condition: Callable[[], Any], what: str, within: float = 30.0, every: float = 0.02) -> None:
    """Wait for it. Raises Failed."""
    end = time.monotonic() + within
    while not condition():
        if time.monotonic() > end:
            raise Failed(f"no {what} within {within:g} s")
        time.sleep(every)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def stop(process: subprocess.Popen[Any]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class World:
    """The stub, in a process of its own, and what it saw being patched."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.stub"], stdout=subprocess.PIPE, text=True
        )
        self.port = int(self._line())
        self.url = f"http://127.0.0.1:{self.port}"

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def next_patch(self) -> tuple[str, int]:
        """Wait for the next real write: its target, and when it came (monotonic nanoseconds)."""
        target, at = self._line().split()
        return target, int(at)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()

    def kubeconfig(self, folder: Path) -> Path:
        named = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "stub", "cluster": {"server": self.url}}],
            "users": [{"name": "bench", "user": {"token": "x"}}],
            "contexts": [{"name": "bench", "context": {"cluster": "stub", "user": "bench"}}],
            "current-context": "bench",
        }
        path = folder / "kubeconfig"
        path.write_text(json.dumps(named))
        return path


def policy(targets: Sequence[str]) -> str:
    """One playbook for all targets, and no budget that would end the measuring."""
    most = 1_000_000
    text = {
        "version": 1,
        "mode": "auto",
        "targets": [
            {"namespace": ns, "deployment": name, "replicas": {"min": 1, "max": 10}}
            for ns, _, name in (target.partition("/") for target in targets)
        ],
        "limits": {
            "per_target": {"actions": most, "per_day": most, "cooldown": "0s"},
            "in_all": {"actions": most, "at_once": most},
            "storm": {"targets": most},
            "breaker": {"not_recovered": most},
        },
        "playbooks": [
            {
                "alert": ALERT,
                "steps": [{"undo": {}, "when": ["recent_rollout"]}, {"restart": {}}],
                "verify": {"query": _QUERY, "good": ">= 95"},
            }
        ],
    }
    return json.dumps(text)  # YAML too


@dataclass(kw_only=True)
class Product:
    """One `remediator serve` in a folder of its own. Its kubeconfig and Prometheus are the stub's."""

    folder: Path
    world: World
    targets: Sequence[str]
    database: str = ""
    environ: dict[str, str] = field(default_factory=dict)
    port: int = 0
    started_in: float = 0.0
    """Seconds from the start of the process until it said that it is ready."""

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "token").write_text(TOKEN)
        (self.folder / "policy.yaml").write_text(policy(self.targets))
        self.port = free_port()
        self.database = self.database or f"sqlite:///{self.folder / 'journal.db'}"
        given = {
            "LISTEN": f"127.0.0.1:{self.port}",
            "TOKEN_FILE": str(self.folder / "token"),
            "POLICY": str(self.folder / "policy.yaml"),
            "DATABASE": self.database,
            "KUBECONFIG": str(self.world.kubeconfig(self.folder)),
            "PROMETHEUS": self.world.url,
            "POLL": "60s",  # what was patched is left alone: the stub does not roll out
            "LOG": "json",
            **self.environ,
        }
        clean = {key: value for key, value in os.environ.items() if not key.startswith("REMEDIATOR_")}
        began = time.monotonic()
        with (self.folder / "serve.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "remediator", "serve"],
                env={**clean, **{f"REMEDIATOR_{key}": value for key, value in given.items()}},
                cwd=self.folder,
                stdout=log,
                stderr=log,
            )
        eventually(self._ready, "readiness", within=60, every=0.01)
        self.started_in = time.monotonic() - began

    def _ready(self) -> bool:
        if self.process.poll() is not None:
            raise Failed((self.folder / "serve.log").read_text()[-2000:])
        try:
            return self.get("/readyz")[0] == http.client.OK
        except OSError:
            return False

    def get(self, path: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("GET", path, headers={"Authorization": f"Bearer {TOKEN}"})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def permitted(self) -> bool:
        """Whether the review of permissions at the start is over."""
        return "permissions" not in json.loads(self.get("/readyz?verbose=1")[1])["trouble"]

    def cli(self, *args: str) -> None:
        subprocess.run(
            [sys.executable, "-m", "remediator", *args],
            env={**os.environ, "REMEDIATOR_DATABASE": self.database},
            cwd=self.folder,
            check=True,
            capture_output=True,
        )

    def processes(self) -> list[int]:
        """Gunicorn's master and its workers."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [self.process.pid, *(int(child) for child in children.split())]

    def memory(self) -> float:
        """MiB, the proportional set sizes of all processes summed: shared pages count once."""
        total = 0.0
        for pid in self.processes():
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) / _MIB
        return total

    def threads(self) -> int:
        return sum(len(list(Path(f"/proc/{pid}/task").iterdir())) for pid in self.processes())

    def cpu_seconds(self) -> float:
        total = 0
        for pid in self.processes():
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
        return total / _TICKS

    def stop(self) -> None:
        stop(self.process)


@contextmanager
def running(
    folder: Path, world: World, targets: Sequence[str], database: str = "", **environ: str
) -> Iterator[Product]:
    product = Product(folder=folder, world=world, targets=targets, database=database, environ=environ)
    try:
        yield product
    finally:
        product.stop()
