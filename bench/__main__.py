"""`make bench`: measure, say it beside its target, and write it into docs/performance.md."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from bench import accept, act, chain, curve, footprint, takeover
from bench.figures import Figure, NotMeasured, Result, table, write_between_markers
from bench.product import Failed

PAGE = Path(__file__).parent.parent / "docs" / "performance.md"
GROUPS: dict[str, Callable[[Path], list[Result]]] = {
    "act": act.measure,
    "accept": accept.measure,
    "footprint": footprint.measure,
    "curve": curve.measure,
    "chain": chain.measure,
    "takeover": takeover.measure,
}
_LIBRARIES = ("flask", "gunicorn", "SQLAlchemy", "requests", "urllib3")


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--only", choices=GROUPS, action="append", help="this group; may be given again")
    parser.add_argument("--no-write", action="store_true", help=f"leave {PAGE.name} as it is")
    given = parser.parse_args()
    chosen = given.only or list(GROUPS)
    results: list[Result] = []
    began = time.monotonic()
    for name in chosen:
        print(f"measuring {name} ...", flush=True)
        since = time.monotonic()
        results += _measured(name)
        print(f"  {time.monotonic() - since:.0f} s", flush=True)
    said = table(results)
    print(f"\n{said}\n")
    if chosen == list(GROUPS) and not given.no_write:
        minutes = (time.monotonic() - began) / 60
        write_between_markers(PAGE, f"{_conditions(minutes)}\n\n{said}")
        print(f"written to {PAGE}")
    missed = [result.name for result in results if isinstance(result, Figure) and result.met is False]
    failed = [
        result for result in results if isinstance(result, NotMeasured) and result.why.startswith("failed")
    ]
    for name in missed:
        print(f"missed: {name}")
    sys.exit(1 if missed or failed else 0)


def _measured(name: str) -> list[Result]:
    """One group, in a folder that goes away. A failure of one does not end the others."""
    folder = Path(tempfile.mkdtemp(prefix=f"remediator-bench-{name}-"))
    try:
        return GROUPS[name](folder)
    except (Failed, OSError, AssertionError, subprocess.SubprocessError) as error:
        return [NotMeasured(group=name, why=f"failed: {type(error).__name__}: {error}")]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _conditions(minutes: float) -> str:
    """Machine, versions, how."""
    libraries = ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
    programs = [
        _said("prometheus", "--version"),
        _said("alertmanager", "--version"),
        _said("kubectl", "version", "--client"),
    ]
    return (
        f"{time.strftime('%Y-%m-%d', time.gmtime())}, `make bench`, {minutes:.0f} minutes. "
        f"{os.cpu_count()} cores ({_processor()}), {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {libraries}. "
        f"{'. '.join(line for line in programs if line)}.\n"
        f"One-minute load of the machine at the end: {os.getloadavg()[0]:.1f}, our own included."
    )


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next(
        (line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine()
    )


def _said(program: str, *arguments: str) -> str:
    if shutil.which(program) is None:
        return ""
    run = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    return (run.stdout or run.stderr).partition("\n")[0].partition(" (")[0]


if __name__ == "__main__":
    main()
