"""Prometheus rule files: their alerts and records, each with its place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from remediator.alignment.located import KeyPath, Located, Mistake, Unreadable, mapping, read_located
from remediator.core.actions import Workload

KINDS = tuple(kind.label for kind in Workload)
"""The labels that name a target's workload: each alert has one of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One alert or record. `labels` are the rule's own and its group's."""

    document: Located = field(repr=False)
    path: KeyPath
    kind: str
    name: str
    expr: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    hold: str = ""
    keep_firing: str = ""

    @property
    def automatic(self) -> bool:
        return self.kind == "alert" and self.labels.get("remediation") == "auto"

    @property
    def place(self) -> str:
        return f"{self.document.file}:{self.document.line((*self.path, self.kind))}"

    def mistake(self, message: str, *below: str, word: str = "") -> Mistake:
        """A mistake at the rule's name, or at one of its keys."""
        return self.document.mistake((*self.path, *(below or (self.kind,))), message, word=word)

    def pinned(self) -> dict[str, str]:
        """The target's labels, as far as the rule itself writes them out."""
        names = ("namespace", *KINDS)
        return {name: self.labels[name] for name in names if "{{" not in self.labels.get(name, "{{")}


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleSet:
    """All rules of some files. With a file that cannot be read, nobody knows what is missing."""

    alerts: tuple[Rule, ...]
    records: tuple[Rule, ...]
    mistakes: tuple[Mistake, ...]

    @property
    def complete(self) -> bool:
        return not self.mistakes

    @property
    def automatic(self) -> Iterator[Rule]:
        return (rule for rule in self.alerts if rule.automatic)


def read_rules(place: Path) -> RuleSet:
    """Read a rule file, or all rule files of a folder. YAML without `groups` is something else."""
    rules: list[Rule] = []
    mistakes: list[Mistake] = []
    for file in _files(place):
        try:
            document = read_located(file)
        except Unreadable as error:
            mistakes.append(error.mistake)
            continue
        for found in _rules(document):
            rules.append(found) if isinstance(found, Rule) else mistakes.append(found)
    return RuleSet(
        alerts=tuple(rule for rule in rules if rule.kind == "alert"),
        records=tuple(rule for rule in rules if rule.kind == "record"),
        mistakes=tuple(mistakes),
    )


def _files(place: Path) -> Iterable[Path]:
    if not place.is_dir():
        return [place]
    return sorted(file for file in place.iterdir() if file.suffix in {".yml", ".yaml"})


def _rules(document: Located) -> Iterator[Rule | Mistake]:
    groups = document.value.get("groups", [])
    if not isinstance(groups, list):
        yield document.mistake(("groups",), "write the groups as a list")
        return
    for number, group in enumerate(groups):
        path: KeyPath = ("groups", number)
        rules = group.get("rules", []) if isinstance(group, dict) else None
        if not isinstance(rules, list):
            yield document.mistake(path, "write a group as a mapping with name and a list of rules")
            continue
        for index, rule in enumerate(rules):
            yield _rule(document, (*path, "rules", index), rule, _texts(group.get("labels")))


def _rule(document: Located, path: KeyPath, rule: Any, inherited: Mapping[str, str]) -> Rule | Mistake:
    kinds = [kind for kind in ("alert", "record") if isinstance(rule, dict) and rule.get(kind)]
    if len(kinds) != 1:
        return document.mistake(path, "a rule has either alert or record, with a name")
    if not isinstance(rule.get("expr"), str | int | float):
        return document.mistake(path, f"give {rule[kinds[0]]} an expr")
    return Rule(
        document=document,
        path=path,
        kind=kinds[0],
        name=str(rule[kinds[0]]),
        expr=str(rule["expr"]),
        labels={**inherited, **_texts(rule.get("labels"))},
        annotations=_texts(rule.get("annotations")),
        hold=str(rule.get("for", "")),
        keep_firing=str(rule.get("keep_firing_for", "")),
    )


def _texts(value: Any) -> dict[str, str]:
    """Labels or annotations; an empty one is none."""
    given = mapping(value)
    return {str(key): str(text) for key, text in given.items() if text is not None and text != ""}
