"""The policy file: YAML in, frozen `core.policy` types out, every mistake named by line and path.

All mistakes are reported at once: the shape by `policy_schema`, the meaning here.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from remediator.core.policy import Policy
from remediator.policy_meaning import KeyPath, mistakes_in, policy_from
from remediator.policy_schema import PolicyModel, known_keys

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's is ten times quicker, and there with every wheel of PyYAML."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """One thing wrong with the file. `line` counts from 1."""

    line: int
    path: str
    message: str

    def __str__(self) -> str:
        return (
            f"line {self.line}: {self.path}: {self.message}"
            if self.path
            else f"line {self.line}: {self.message}"
        )


class PolicyMistakes(ValueError):
    """The policy file cannot be used; `mistakes` has all of them."""

    def __init__(self, source: str, mistakes: Iterable[Mistake]) -> None:
        self.source = source
        self.mistakes = tuple(sorted(mistakes, key=lambda mistake: mistake.line))
        super().__init__("\n".join(f"{source}: {mistake}" for mistake in self.mistakes))


def read_policy(path: Path) -> Policy:
    """Read and check the file. Raises PolicyMistakes, or OSError when it cannot be read."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise PolicyMistakes(str(path), [Mistake(line=line, path="", message="not UTF-8")]) from None
    return parse_policy(text, source=str(path))


def parse_policy(text: str, *, source: str = "policy") -> Policy:
    """Check the text of a policy file. Raises PolicyMistakes."""
    try:
        node, value = _yaml(text, source)
        lines = dict(_lines(node, ()))
        mistakes = list(_twice(node, ()))
    except RecursionError:
        endless = Mistake(line=1, path="", message="the file refers to itself, or is nested too deep")
        raise PolicyMistakes(source, [endless]) from None
    try:
        model = PolicyModel.model_validate(value)
    except ValidationError as error:
        items = error.errors()
        shape = [_from_pydantic(item, lines) for item in items if not _follows(item, items)]
        raise PolicyMistakes(source, mistakes + shape) from None
    mistakes += [_mistake(path, message, lines) for path, message in mistakes_in(model)]
    if mistakes:
        raise PolicyMistakes(source, mistakes)
    return policy_from(model, hashlib.sha256(text.encode()).hexdigest()[:12])


def _yaml(text: str, source: str) -> tuple[yaml.Node, Any]:
    """The text as YAML nodes, which know their lines, and as values."""
    line = 1
    try:
        loader = _LOADER(text)
        node = loader.get_single_node()
        if node is not None:
            return node, loader.construct_document(node)
        problem = "the file is empty"
    except yaml.YAMLError:
        line, problem = _what_is_wrong(text)
    except (ValueError, TypeError, LookupError, ArithmeticError, AttributeError) as error:
        # A value that YAML takes for a date or a number, or that a tag calls one, and that is none.
        problem = f"a value cannot be read: {error}"
    raise PolicyMistakes(source, [Mistake(line=line, path="", message=problem)])


def _what_is_wrong(text: str) -> tuple[int, str]:
    """Line and words of what is not YAML. The slower parser knows the place better."""
    try:
        yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        return error.problem_mark.line + 1 if error.problem_mark else 1, error.problem or "not YAML"
    except (yaml.YAMLError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError):
        pass
    return 1, "not YAML"


def _lines(node: yaml.Node, path: KeyPath) -> Iterator[tuple[KeyPath, int]]:
    yield path, node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield (*path, key.value), key.start_mark.line + 1
            yield from ((p, n) for p, n in _lines(value, (*path, key.value)) if p != (*path, key.value))
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from _lines(value, (*path, index))


def _twice(node: yaml.Node, path: KeyPath) -> Iterator[Mistake]:
    """Keys given twice: YAML would silently keep the last."""
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                line = key.start_mark.line + 1
                yield Mistake(line=line, path=_dotted((*path, key.value)), message="the key is given twice")
            seen.add(key.value)
            yield from _twice(value, (*path, key.value))
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from _twice(value, (*path, index))


def _follows(item: Any, items: Iterable[Any]) -> bool:
    """Whether a list is only too short because what is in it was refused."""
    return item["type"] == "too_short" and any(
        other["loc"][: len(item["loc"])] == item["loc"] and other is not item for other in items
    )


def _from_pydantic(item: Any, lines: dict[KeyPath, int]) -> Mistake:
    path: KeyPath = tuple(item["loc"])
    message: str = item["msg"]
    match item["type"]:
        case "extra_forbidden":
            close = difflib.get_close_matches(str(path[-1]), known_keys(), n=1)
            message = f"unknown key{f', did you mean {close[0]!r}?' if close else ''}"
        case "invalid_key":
            path, message = (*path[:-1], str(path[-1])), "a key has to be a text"
        case "too_short":
            message = "at least one is needed"
        case "missing":
            message = "this key is missing"
        case "value_error":
            message = str(item["ctx"]["error"])
        case "enum" | "literal_error":
            message = f"{item['input']!r} is not one of {item['ctx']['expected']}"
        case "string_type":
            message = f"{item['input']!r} is not a text: put it in quotes, with its unit or comparison"
    return _mistake(path, message, lines)


def _mistake(path: KeyPath, message: str, lines: dict[KeyPath, int]) -> Mistake:
    known = path
    while known not in lines and known:
        known = known[:-1]
    return Mistake(line=lines.get(known, 1), path=_dotted(path), message=message)


def _dotted(path: KeyPath) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text
