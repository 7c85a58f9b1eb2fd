"""YAML that knows where each value stands, and the mistakes that are named by file and line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

KeyPath = tuple[str | int, ...]


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Mistake:
    """One thing to put right. `line` counts from 1, `path` is the place in the document."""

    file: str
    line: int
    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}"


class Unreadable(ValueError):
    """The file is not a YAML mapping; `mistake` says why."""

    def __init__(self, mistake: Mistake) -> None:
        self.mistake = mistake
        super().__init__(str(mistake))


@dataclass(frozen=True, slots=True, kw_only=True)
class Located:
    """A YAML mapping, and where each of its values begins and ends."""

    file: str
    value: dict[str, Any]
    text: tuple[str, ...] = field(repr=False)
    spans: dict[KeyPath, tuple[int, int]] = field(repr=False)

    def line(self, path: KeyPath) -> int:
        """Where the value stands, or the nearest thing around it."""
        return self._span(path)[0]

    def mistake(self, path: KeyPath, message: str, *, word: str = "") -> Mistake:
        """Say what is wrong at the path; with `word`, at the line of the value that has the word."""
        first, last = self._span(path)
        found = re.compile(rf"(?<![\w:]){re.escape(word)}(?![\w:])")
        hits = (
            n for n in range(first, min(last, len(self.text)) + 1) if word and found.search(self.text[n - 1])
        )
        return Mistake(file=self.file, line=next(hits, first), path=dotted(path), message=message)

    def _span(self, path: KeyPath) -> tuple[int, int]:
        while path not in self.spans:
            path = path[:-1]
        return self.spans[path]


def read_located(file: Path) -> Located:
    """Read one YAML mapping. Raises Unreadable, or OSError when there is no such file."""
    line, problem = 1, "the file is empty"
    try:
        text = file.read_text(encoding="utf-8")
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        value = loader.construct_document(node) if node is not None else None
        if node is not None and isinstance(value, dict):
            spans = dict(_spans(node, ()))
            spans[()] = (1, len(text.splitlines()) or 1)
            return Located(file=str(file), value=value, text=tuple(text.splitlines()), spans=spans)
        problem = "this is no YAML mapping" if node is not None else problem
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        problem = f"not YAML: {getattr(error, 'problem', None) or error}"
    except UnicodeDecodeError:
        problem = "not UTF-8"
    except RecursionError:
        problem = "the file refers to itself, or is nested too deep"
    except ValueError as error:  # a value that YAML takes for a date or a number, and that is none
        problem = f"not YAML: {error}"
    raise Unreadable(Mistake(file=str(file), line=line, path="", message=problem))


def dotted(path: KeyPath) -> str:
    """`groups[0].rules[3].labels`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def mapping(value: Any) -> dict[str, Any]:
    """The value if it is a mapping, else an empty one: its shape is for others to judge."""
    return value if isinstance(value, dict) else {}


def mappings(value: Any) -> list[tuple[int, dict[str, Any]]]:
    """The mappings of a list, each with its index."""
    items = value if isinstance(value, list) else []
    return [(index, one) for index, one in enumerate(items) if isinstance(one, dict)]


def _spans(node: yaml.Node, path: KeyPath) -> Iterator[tuple[KeyPath, tuple[int, int]]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield (*path, key.value), (key.start_mark.line + 1, _last(value))
            yield from _spans(value, (*path, key.value))
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield (*path, index), (value.start_mark.line + 1, _last(value))
            yield from _spans(value, (*path, index))


def _last(node: yaml.Node) -> int:
    """The last line of a value; a block's end mark is at the start of the line behind it."""
    behind = node.end_mark.column == 0 and node.end_mark.line > node.start_mark.line
    return int(node.end_mark.line) + (0 if behind else 1)
