"""What the page names is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from tests.proofs.mutations import MUTATIONS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")


def test_every_test_it_names_is_there() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)
    assert len(named) > 20
    for path, test in named:
        module = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        assert test in {node.name for node in ast.walk(module) if isinstance(node, ast.FunctionDef)}, test


def test_it_lists_every_mutation_and_no_other() -> None:
    rows = re.findall(r"^\| (.+?) \| .+? \| `test_\w+` \|$", PAGE.partition("## Mutations")[2], re.MULTILINE)
    assert rows == [mutation.name for mutation in MUTATIONS]
