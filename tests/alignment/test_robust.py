"""Whatever stands in the files: mistakes with a line, and never a crash."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from remediator.alignment.located import KeyPath
from tests.alignment.conftest import POLICY, ROUTING, RULES, SERIES

ODD: tuple[Any, ...] = (None, 7, "{{", [], {}, [None, 7, "x", [1], {"name": []}], {"a": [1], "url": 3})


def places(value: Any, path: KeyPath = ()) -> Iterator[KeyPath]:
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, below in items:
        yield from places(below, (*path, key))


def with_odd(document: Any, path: KeyPath, odd: Any) -> Any:
    if not path:
        return odd
    changed = deepcopy(document)
    at = changed
    for part in path[:-1]:
        at = at[part]
    at[path[-1]] = odd
    return changed


@pytest.mark.parametrize("file", [POLICY, RULES, SERIES, ROUTING])
def test_an_odd_value_anywhere_is_survived(shipped, file):
    document = yaml.safe_load(Path(file).read_text())
    for number, path in enumerate([*places(document)][::6]):  # the files repeat themselves
        odd = ODD[number % len(ODD)]
        Path(file).write_text(yaml.safe_dump(with_odd(document, path, odd)))
        for name, line, message in shipped.mistakes():
            assert message
            assert 1 <= line <= Path(name).read_text().count("\n") + 1


@pytest.mark.parametrize(
    "raw", [b"", b"a: [", b"\xff", b"- 1\n", b"&a [*a]", b"a: 2001-99-99\n", b"--- 1\n--- 2\n"]
)
@pytest.mark.parametrize("file", [RULES, SERIES, ROUTING])
def test_what_is_no_yaml_mapping_is_one_mistake_of_that_file(shipped, file, raw):
    Path(file).write_bytes(raw)

    assert [name for name, _, _ in shipped.mistakes()] == [file]
