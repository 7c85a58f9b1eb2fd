"""What the images install is pinned, with hashes, and fits what the package asks for."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
ASKED = [Requirement(one) for one in (*PROJECT["dependencies"], *EXTRAS["postgres"], *EXTRAS["demo"])]
LOCK = (ROOT / "requirements.lock").read_text()
PINNED = {
    canonicalize_name(name): version for name, version in re.findall(r"(?m)^([\w.-]+)==(\S+) \\$", LOCK)
}


@pytest.mark.parametrize("requirement", ASKED, ids=lambda requirement: requirement.name)
def test_every_dependency_is_pinned_within_its_bounds(requirement):
    assert requirement.specifier.contains(PINNED[canonicalize_name(requirement.name)])


def test_everything_pinned_has_hashes_and_comes_from_nowhere_in_particular():
    entries = re.findall(r"(?m)^[\w.-]+==.*(?:\n    .*)+", LOCK)

    assert len(entries) == len(PINNED)
    assert [entry for entry in entries if "--hash=sha256:" not in entry] == []
    assert "://" not in LOCK
    assert not re.search(r"(?m)^-", LOCK)
