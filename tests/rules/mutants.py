"""The shipped rules with one thing changed at a time: what the tests have to notice."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.rules.structure import SHIPPED, Rules, name_of, seconds

COMPARISONS = {
    "==": ["!="],
    "!=": ["=="],
    "<": ["<=", ">"],
    ">": [">=", "<"],
    "<=": ["<", ">="],
    ">=": [">", "<="],
}
NEGATED = {"=": "!=", "!=": "=", "=~": "!~", "!~": "=~"}
AGGREGATIONS = {"avg": "min", "sum": "max", "min": "max", "max": "min", "count": "max"}
SETS = {"and": "unless", "or": "and", "unless": "and"}

_STRING = r'"[^"]*"'
_MATCHER = re.compile(rf"(\w+)(=~|!~|!=|=)({_STRING})\s*(,?)")
_COMPARISON = re.compile(r"(?<= )(==|!=|>=|<=|>|<)(?= )")
_NUMBER = re.compile(r"(?<![\w.:$\[\"])\d+(?:\.\d+)?(?![\w.:\]])")
_LIST = re.compile(r"\b(by|on)(\s*)\(([^()]*)\)")
_PLAIN = re.compile(r"\b(sum|max|min|count|avg|group)(?=\()")
_RANGE = re.compile(r"\[(\d+)([smhd])\]")
_ARGUMENT = re.compile(rf"(?<=[ (\n]){_STRING}")
_WORD = re.compile(r"\b(" + "|".join([*AGGREGATIONS, *SETS]) + r")\b(?=\s)")


@dataclass(frozen=True)
class Mutant:
    """One change, in words, and the rules with it."""

    file: str
    rule: str
    what: str
    rules: Rules = field(repr=False)


def mutants() -> Iterator[Mutant]:
    """Every change, in the order of the files."""
    for file, document in SHIPPED.files.items():
        for number, group in enumerate(document["groups"]):
            yield _changed(
                file, group["name"], "interval doubled", [number], interval=_doubled(group["interval"])
            )
            for index, rule in enumerate(group["rules"]):
                for what, changes in _changes(rule):
                    yield _changed(file, name_of(rule), what, [number, "rules", index], **changes)


def _changed(file: str, rule: str, what: str, path: list[Any], **changes: Any) -> Mutant:
    document = copy.deepcopy(SHIPPED.files[file])
    owner = document["groups"]
    for key in path:
        owner = owner[key]
    for key, value in changes.items():
        name = "for" if key == "hold" else key
        if value is None:
            owner.pop(name)
        else:
            owner[name] = value
    return Mutant(file, rule, what, Rules({**SHIPPED.files, file: document}))


def _changes(rule: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    kind = "alert" if "alert" in rule else "record"
    yield f"{kind} renamed", {kind: rule[kind] + "x"}
    for what, expr in expressions(rule["expr"]):
        yield f"expr: {what}", {"expr": expr}
    step = (
        60 if seconds(rule.get("for", "0s")) >= 3600 else 15
    )  # what is tested over hours is tested by the minute
    for key, name in (("hold", "for"), ("keep_firing_for", "keep_firing_for")):
        if name in rule:
            yield from ((f"{name} {what}", {key: to}) for what, to in _holds(rule[name], step))
    if kind == "alert" and "for" not in rule:
        yield "for added", {"hold": "1m"}
    for part in ("labels", "annotations"):
        given = rule.get(part, {})
        for key, value in given.items():
            yield f"{part}: {key} dropped", {part: {k: v for k, v in given.items() if k != key}}
            yield f"{part}: {key} changed", {part: {**given, key: f"{value}x"}}


def _holds(duration: str, step: int) -> Iterator[tuple[str, str | None]]:
    length = seconds(duration)
    yield "dropped", None
    yield f"{step}s longer", f"{length + step}s"
    yield f"{step}s shorter", f"{length - step}s"


def _doubled(duration: str) -> str:
    return f"{2 * seconds(duration)}s"


def expressions(expr: str) -> Iterator[tuple[str, str]]:
    """Each change of one thing in an expression, with words for it."""
    braces = [hit.span() for hit in re.finditer(r"\{[^{}]*\}", expr)]
    for pattern, within, others in _KINDS:
        for hit in pattern.finditer(expr):
            if within is None or within == any(start <= hit.start() < end for start, end in braces):
                for text in others(hit):
                    where = f"{hit[0].strip()} at {hit.start()}"
                    changed = expr[: hit.start()] + text + expr[hit.end() :]
                    yield f"{where} -> {text.strip() or 'nothing'}", changed


def _ranges(hit: re.Match[str]) -> Iterator[str]:
    length = seconds(f"{hit[1]}{hit[2]}")
    yield from (f"[{length * 2}s]", f"[{length // 2}s]")


def _matchers(hit: re.Match[str]) -> Iterator[str]:
    name, op, value, comma = hit.groups()
    yield ""
    yield f"{name}{NEGATED[op]}{value}{comma}"
    yield f'{name}{op}"x"{comma}'


def _lists(hit: re.Match[str]) -> Iterator[str]:
    """Every label left out; an empty list gets one."""
    labels = [label.strip() for label in hit[3].split(",") if label.strip()]
    for label in labels or [""]:
        kept = ", ".join(one for one in labels if one != label) if labels else "version"
        yield f"{hit[1]} ({kept})"


def _plain(hit: re.Match[str]) -> Iterator[str]:
    yield f"{hit[1]} by (instance) "
    if hit[1] in AGGREGATIONS:
        yield AGGREGATIONS[hit[1]]


def _numbers(text: str) -> Iterator[str]:
    if "." in text:
        yield from (f"{float(text) * factor:.6g}" for factor in (1.1, 0.9))
    else:
        yield from (str(int(text) + step) for step in (1, -1))


_KINDS: tuple[tuple[re.Pattern[str], bool | None, Callable[[re.Match[str]], Iterable[str]]], ...] = (
    (_RANGE, None, _ranges),
    (_COMPARISON, None, lambda hit: COMPARISONS[hit[1]]),
    (_NUMBER, False, lambda hit: _numbers(hit[0])),
    (_MATCHER, True, _matchers),
    (_LIST, None, _lists),
    (_PLAIN, None, _plain),
    (_WORD, None, lambda hit: [{**AGGREGATIONS, **SETS}[hit[1]]]),
    (_ARGUMENT, False, lambda hit: ['"x"']),
)
"""What to look for, whether between braces, and what to put there."""
