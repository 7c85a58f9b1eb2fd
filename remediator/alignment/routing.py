"""Alertmanager's configuration: which receivers an alert reaches, and which inhibitions may hold it back.

Time intervals are left out: when they mute is not a matter of alignment.
Source: Alertmanager `dispatch/route.go` (Match, newRoute) and `pkg/labels/parse.go`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from remediator.alignment.located import (
    KeyPath,
    Located,
    Mistake,
    Unreadable,
    mapping,
    mappings,
    read_located,
)

_MATCHER = re.compile(r"""\s*("(?:[^"\\]|\\.)*"|[^\s=!~"]+)\s*(=~|!~|!=|=)\s*(.*?)\s*""", re.DOTALL)
_COMMA = re.compile(r""",(?=(?:[^"\\]|\\.|"(?:[^"\\]|\\.)*")*$)""")
_EVERY_LABEL = frozenset(["..."])


class BadMatcher(ValueError):
    """A matcher that cannot be read; the message quotes it."""


@dataclass(frozen=True, slots=True)
class Matcher:
    name: str
    op: str
    value: str

    def matches(self, labels: Mapping[str, str]) -> bool:
        text = labels.get(self.name, "")
        hit = text == self.value if self.op in {"=", "!="} else bool(re.fullmatch(self.value, text))
        return hit != self.op.startswith("!")


Matchers = tuple[Matcher, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A node of the route tree, with what it inherits filled in."""

    path: KeyPath
    receiver: str
    matchers: Matchers
    group_by: frozenset[str]
    continues: bool
    routes: tuple[Route, ...]

    def groups_apart(self, *labels: str) -> bool:
        """Whether one group never mixes different values of these labels."""
        return self.group_by == _EVERY_LABEL or self.group_by >= set(labels)

    def reached(self, labels: Mapping[str, str]) -> list[Route]:
        """Find the routes that notify of an alert, in the order of the tree."""
        if not _all(self.matchers, labels):
            return []
        found: list[Route] = []
        for route in self.routes:
            below = route.reached(labels)
            found += below
            if below and not route.continues:
                break
        return found or [self]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inhibition:
    """While a source fires, targets with the same `equal` labels are not notified of."""

    source: Matchers
    target: Matchers
    equal: tuple[str, ...]

    def holds_back(self, labels: Mapping[str, str], source: Mapping[str, str]) -> bool:
        """Whether an alert may be held back by that source, the `equal` labels aside."""
        return _all(self.target, labels) and _all(self.source, source)


@dataclass(frozen=True, slots=True, kw_only=True)
class Routing:
    document: Located = field(repr=False)
    root: Route
    receivers: Mapping[str, tuple[KeyPath, Mapping[str, Any]]]
    inhibitions: tuple[Inhibition, ...]


def read_routing(file: Path) -> Routing | list[Mistake]:
    """Read Alertmanager's configuration, or say why that cannot be done."""
    try:
        document = read_located(file)
    except Unreadable as error:
        return [error.mistake]
    mistakes: list[Mistake] = []
    root = _route(document, ("route",), document.value.get("route"), None, mistakes)
    inhibitions = tuple(_inhibitions(document, mistakes))
    if root is None or mistakes:
        return mistakes
    return Routing(document=document, root=root, receivers=_receivers(document), inhibitions=inhibitions)


def _route(
    document: Located, path: KeyPath, value: Any, parent: Route | None, mistakes: list[Mistake]
) -> Route | None:
    if not isinstance(value, dict):
        mistakes.append(document.mistake(path, "write a route as a mapping with receiver and matchers"))
        return None
    group_by = frozenset(_texts(value.get("group_by")))  # an empty list is inherited, as if it were not there
    own = Route(
        path=path,
        receiver=str(value.get("receiver") or (parent.receiver if parent else "")),
        matchers=_matchers(document, path, value, mistakes),
        group_by=_EVERY_LABEL if "..." in group_by else group_by or (parent.group_by if parent else group_by),
        continues=value.get("continue") is True,
        routes=(),
    )
    routes: list[Route] = []
    for index, below in enumerate(_list(value.get("routes"))):
        route = _route(document, (*path, "routes", index), below, own, mistakes)
        routes += [route] if route else []
    return Route(
        path=path,
        receiver=own.receiver,
        matchers=own.matchers,
        group_by=own.group_by,
        continues=own.continues,
        routes=tuple(routes),
    )


def _matchers(
    document: Located, path: KeyPath, value: Mapping[str, Any], mistakes: list[Mistake], prefix: str = ""
) -> Matchers:
    """Matchers in today's way of writing, and in the two old ones."""
    found = []
    for key, op in ((f"{prefix}match", "="), (f"{prefix}match_re", "=~")):
        found += [Matcher(str(name), op, str(text)) for name, text in mapping(value.get(key)).items()]
    for index, line in enumerate(_texts(value.get(f"{prefix}matchers"))):
        try:
            found += read_matchers(line)
        except BadMatcher as error:
            mistakes.append(document.mistake((*path, f"{prefix}matchers", index), str(error)))
    for matcher in found:
        try:
            re.compile(matcher.value if "~" in matcher.op else "")
        except re.error as error:
            mistakes.append(document.mistake(path, f"mend the regular expression {matcher.value!r}: {error}"))
    return tuple(found)


def read_matchers(line: str) -> list[Matcher]:
    """One entry of `matchers`, which may hold several: `{a="b", c!~"d|e"}`."""
    text = line.strip().removeprefix("{").removesuffix("}")
    return [_matcher(part) for part in _COMMA.split(text) if part.strip()]


def _matcher(text: str) -> Matcher:
    found = _MATCHER.fullmatch(text)
    if found is None:
        raise BadMatcher(f'{text.strip()!r} is no matcher: write e.g. remediation="auto"')
    return Matcher(_unquoted(found[1]), found[2], _unquoted(found[3]))


def _unquoted(text: str) -> str:
    if len(text) > 1 and text[0] == text[-1] == '"':
        return re.sub(r"\\(.)", lambda hit: "\n" if hit[1] == "n" else hit[1], text[1:-1])
    return text


def _inhibitions(document: Located, mistakes: list[Mistake]) -> Iterator[Inhibition]:
    for index, rule in enumerate(_list(document.value.get("inhibit_rules"))):
        path: KeyPath = ("inhibit_rules", index)
        if not isinstance(rule, dict):
            mistakes.append(document.mistake(path, "write an inhibition as a mapping"))
            continue
        yield Inhibition(
            source=_matchers(document, path, rule, mistakes, "source_"),
            target=_matchers(document, path, rule, mistakes, "target_"),
            equal=tuple(_texts(rule.get("equal"))),
        )


def _receivers(document: Located) -> dict[str, tuple[KeyPath, Mapping[str, Any]]]:
    return {
        str(one.get("name")): (("receivers", index), one)
        for index, one in mappings(document.value.get("receivers"))
    }


def _all(matchers: Matchers, labels: Mapping[str, str]) -> bool:
    return all(matcher.matches(labels) for matcher in matchers)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _texts(value: Any) -> list[str]:
    return [str(one) for one in _list(value)]
