"""Programs as processes of their own, and waiting for what they do."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import requests

from tests.waiting import PATIENCE, eventually

T = TypeVar("T")


class Program:
    """A program in a process group of its own, with a log file."""

    def __init__(
        self, name: str, command: Sequence[str], directory: Path, environ: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self._log = directory / f"{name}.log"
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **(environ or {})},
                cwd=directory,
                start_new_session=True,
            )

    @property
    def said(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        """kill -9, the whole process group."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(timeout=10)

    def terminate(self) -> None:
        """SIGTERM to the program itself, as an init system sends it."""
        self._process.terminate()

    def ended(self, *, within: float) -> int:
        """Its exit status."""
        return self._process.wait(timeout=within)


class Programs:
    """All programs of a test: none outlives it, and their logs are shown when it fails."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._started: list[Program] = []

    def start(self, name: str, *command: str, environ: Mapping[str, str] | None = None) -> Program:
        program = Program(name, command, self.directory, environ)
        self._started.append(program)
        return program

    def answers(self, program: Program, url: str, *, within: float = PATIENCE) -> None:
        """Wait until a program that was just started answers there."""

        def look() -> bool:
            assert program.running, f"{program.name} ended:\n{program.said}"
            return requests.get(url, timeout=5).ok

        eventually(look, f"{program.name} answers {url}", within=within)

    def end(self) -> None:
        for program in self._started:
            program.kill()
        for name, said in {program.name: program.said for program in self._started}.items():
            print(f"---------------- {name}\n{said[-20_000:]}")  # noqa: T201 - pytest shows it beside a failure
