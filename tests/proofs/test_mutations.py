"""Each mutation fits the code, names tests that are there, and is caught. All of them: `make mutants`."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.proofs.mutants import mutated, row, run_all
from tests.proofs.mutations import MUTATIONS, Mutation

ROOT = Path(__file__).parents[2]
QUICK = (
    "send before the intent is durable",
    "do not ask the object after a crash whether it happened",
    "let a worker write that has lost its lease",
    "drop the index of one open incident per target",
    "scale beyond the target's bounds",
    "do not ask for a pause before the write",
    "accept data from before the settle point",
)
"""One of each kind, tried with every run of the tests."""


def names_in(path: str) -> set[str]:
    module = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(module) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_mutation_fits_and_names_tests_that_are_there(mutation: Mutation) -> None:
    assert mutated(mutation) != (ROOT / mutation.path).read_text(encoding="utf-8")
    for name in mutation.caught_by:
        path, _, test = name.partition("::")
        assert test in {*names_in(path), ""}, name


def test_a_mutation_of_each_kind_is_caught(record_property: Callable[[str, object], None]) -> None:
    outcomes = list(run_all([one for one in MUTATIONS if one.name in QUICK]))
    assert len(outcomes) == len(QUICK)
    assert [row(one) for one in outcomes if one.caught_by is None] == []
    record_property("proof", f"mutations: {len(outcomes)} of {len(MUTATIONS)} tried, all caught")
