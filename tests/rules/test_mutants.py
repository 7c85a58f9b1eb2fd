"""Change one thing in the rules: the structural checks or promtool's unit tests have to notice.

`make mutants` tries every change; by default, and in CI, each sixteenth is tried, always the same ones.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from remediator.alignment.expressions import parse
from tests.components import missing
from tests.rules.mutants import Mutant, mutants
from tests.rules.structure import CHECKS, FOLDER, SHIPPED, Rules, load, name_of, selectors

ONE_IN = 1 if os.environ.get("MUTANTS") == "all" else 16
SCRATCH = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
TESTS = sorted((FOLDER / "tests").glob("*.yml"))

LAVISH = {**os.environ, "GOGC": "400"}
"""A quarter of the time of so short a run is garbage collection."""

EQUIVALENT = {
    ("RemediatorRulesUnknown", "expr: group at 0 -> group by (instance)"): "what is recorded has no instance",
    ("Watchdog", "expr: 1 at 7 -> 2"): "any value fires",
    ("Watchdog", "expr: 1 at 7 -> 0"): "any value fires",
}
"""Changes that change nothing anybody can see, and why."""


@pytest.mark.real
@pytest.mark.timeout(900)
def test_every_change_of_a_rule_is_noticed(capsys: pytest.CaptureFixture[str]) -> None:
    if not shutil.which("promtool"):
        missing("no promtool on PATH")
    tried = list(islice(mutants(), 0, None, ONE_IN))
    with ProcessPoolExecutor(max_workers=2) as pool:
        noticed = list(pool.map(is_noticed, tried, chunksize=4))
    survived = {(one.rule, one.what) for one, killed in zip(tried, noticed, strict=True) if not killed}
    expected = EQUIVALENT.keys() & {(one.rule, one.what) for one in tried}
    killed = len(tried) - len(survived)
    with capsys.disabled():
        line = f"rules: {len(tried)} mutants, {killed} killed, {len(expected)} equivalent"
        print(f"\n{line}")  # noqa: T201 - how many there were is part of the proof
    assert sorted(survived) == sorted(expected)
    if ONE_IN == 1:
        assert expected == EQUIVALENT.keys(), "a change listed as equivalent is made no more"


def is_noticed(mutant: Mutant) -> bool:
    return not kept(mutant.rules) or not behaves(mutant)


def kept(rules: Rules) -> bool:
    """Whether the rules still pass every structural check."""
    try:
        for check in CHECKS:
            check(rules)
    except (AssertionError, KeyError, TypeError, ValueError, StopIteration):
        return False
    return True


def behaves(mutant: Mutant) -> bool:
    """Whether the unit tests that have to do with the rule still pass.

    Each test gets the rules that it names and what those read, and no others: the same in less time.
    """
    place = Path(tempfile.mkdtemp(dir=SCRATCH))
    (place / "tests").symlink_to(FOLDER / "tests")
    try:
        for test, needed in _of_interest(mutant.file, mutant.rule):
            for name, document in mutant.rules.files.items():
                (place / name).write_text(json.dumps(_only(needed, document)))  # JSON is YAML
            command = ["promtool", "test", "rules", str(place / "tests" / test)]
            if subprocess.run(command, env=LAVISH, capture_output=True, timeout=120, check=False).returncode:
                return False
    finally:
        shutil.rmtree(place)
    return True


def _only(names: frozenset[str], document: dict[str, Any]) -> dict[str, Any]:
    groups = [
        {**group, "rules": [rule for rule in group["rules"] if name_of(rule) in names]}
        for group in document["groups"]
    ]
    return {"groups": groups}


@cache
def _of_interest(file: str, rule: str) -> list[tuple[str, frozenset[str]]]:
    """The unit tests that the rule matters to, the quickest first, with the rules that each needs."""
    found = [
        (test, _needed(test))
        for test in TESTS
        if f"../{file}" in load(test)["rule_files"] and rule in _needed(test)
    ]
    found.sort(key=lambda one: (len(one[1]), one[0].stat().st_size))
    return [(test.name, needed) for test, needed in found]


@cache
def _needed(test: Path) -> frozenset[str]:
    """The rules that a unit test names, and what those read."""
    text = test.read_text()
    names = {
        name
        for name in map(name_of, SHIPPED.all)
        if re.search(rf"(?<![\w:]){re.escape(name)}(?![\w:])", text)
    }
    for _ in range(5):
        names |= {one for rule in SHIPPED.all if name_of(rule) in names for one in _reads(rule["expr"])}
    return frozenset(names)


def _reads(expr: str) -> set[str]:
    return {str(selector.name) for selector in selectors(parse(expr))}
