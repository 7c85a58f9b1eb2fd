"""Break each guarantee in a copy of the package and see the named test notice: `make mutants`.

python -m tests.proofs.mutants [WORDS...]      all, or those whose name holds one of the words
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.proofs.mutations import MUTATIONS, Mutation

ROOT = Path(__file__).parents[2]
NEEDED = ("remediator", "tests", "docs", "prometheus-rules", "alertmanager", "policy.yaml", "pyproject.toml")
LONGEST = 300
TESTS_FAILED = 1
_SURVIVED = "NOBODY: it survived"


@dataclass(frozen=True, slots=True)
class Outcome:
    mutation: Mutation
    caught_by: str | None
    """The test that failed; None when all passed or something else went wrong."""
    said: str


def mutated(mutation: Mutation) -> str:
    """The text of the file with the mutation in it. Raises ValueError when it does not fit any more."""
    text = (ROOT / mutation.path).read_text(encoding="utf-8")
    if text.count(mutation.old) != 1:
        raise ValueError(f"{mutation.name}: {text.count(mutation.old)} times in {mutation.path}")
    changed = text.replace(mutation.old, mutation.new)
    compile(changed, mutation.path, "exec")
    return changed


def run(mutation: Mutation) -> Outcome:
    """Apply one mutation to a copy and run its tests there."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for name in NEEDED:
            place = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            place(ROOT / name, copy / name)
        (copy / mutation.path).write_text(mutated(mutation), encoding="utf-8")
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-n", "0", "--tb=no", *mutation.caught_by]
        if not mutation.needs:
            command += ["-m", "not real"]
        done = subprocess.run(  # noqa: PLW1510 - its failure is what we want
            command,
            cwd=copy,
            env={**os.environ, "PYTHONPATH": str(copy), "SOAK": "", "CASES": "25", "CI": ""},
            capture_output=True,
            text=True,
            timeout=LONGEST,
        )
    said = done.stdout + done.stderr
    failed = re.search(r"^FAILED (\S+?)(?:\[.*)?(?: - .*)?$", said, re.MULTILINE)
    caught = failed[1] if done.returncode == TESTS_FAILED and failed else None
    return Outcome(mutation, caught, said)


def run_all(mutations: Sequence[Mutation]) -> Iterator[Outcome]:
    """Their outcomes, in order, each as soon as it is known. Some at once: WORKERS."""
    with ThreadPoolExecutor(int(os.environ.get("WORKERS", "2"))) as threads:
        yield from threads.map(run, mutations)


def row(one: Outcome) -> str:
    """Its line of the table."""
    caught = f"`{one.caught_by.rpartition('::')[2]}`" if one.caught_by else _SURVIVED
    return f"| {one.mutation.name} | {one.mutation.promise} | {caught} |"


def main(words: Sequence[str]) -> int:
    named = [one for one in MUTATIONS if not words or any(word in one.name for word in words)]
    chosen = [one for one in named if not one.needs or os.environ.get(one.needs)]
    for one in named:
        if one not in chosen:
            sys.stdout.write(f"{one.name}: {one.needs} is not set\n")
    survived = []
    sys.stdout.write("| mutation | promise | caught by |\n| --- | --- | --- |\n")
    for outcome in run_all(chosen):
        sys.stdout.write(f"{row(outcome)}\n")
        sys.stdout.flush()
        if outcome.caught_by is None:
            survived.append(outcome)
    sys.stdout.write(f"\n{len(chosen)} mutations, {len(chosen) - len(survived)} caught\n")
    for outcome in survived:
        sys.stdout.write(f"\n{outcome.mutation.name}:\n{outcome.said[-2000:]}\n")
    return 1 if survived else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
