"""The generated documents are what the code says."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

from remediator.policy_schema import json_schema

DOCS = Path(__file__).parent.parent / "docs"


def make_reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_reference", DOCS / "make_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_is_up_to_date():
    expected: str = make_reference().reference()

    assert expected == (DOCS / "reference.md").read_text(), "run `make docs`"


def test_the_schema_for_editors_is_up_to_date():
    assert json_schema() == json.loads((DOCS / "policy.schema.json").read_text()), "run `make docs`"
