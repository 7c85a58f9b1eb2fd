"""The policy as alignment sees it: playbooks and targets with their lines, and whether alerts fit them.

Reads what is there: `policy_file` has already said what is wrong with the file itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from remediator.alignment.located import Located, Mistake, Unreadable, mapping, mappings, read_located
from remediator.alignment.rules import RuleSet
from remediator.alignment.runbook import broken


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaybookEntry:
    document: Located = field(repr=False)
    index: int
    alert: str
    runbook: str
    query: str

    def mistake(self, message: str, *below: str, word: str = "") -> Mistake:
        return self.document.mistake(("playbooks", self.index, *below), message, word=word)


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyEntries:
    playbooks: tuple[PlaybookEntry, ...]
    targets: tuple[tuple[str, str], ...]


def read_entries(file: Path) -> PolicyEntries | None:
    """Read playbooks and targets; None when the file is no YAML mapping."""
    try:
        document = read_located(file)
    except Unreadable:
        return None
    return PolicyEntries(
        playbooks=tuple(
            PlaybookEntry(
                document=document,
                index=index,
                alert=_text(one.get("alert")),
                runbook=_text(one.get("runbook")),
                query=_text(mapping(one.get("verify")).get("query")),
            )
            for index, one in mappings(document.value.get("playbooks"))
            if _text(one.get("alert"))
        ),
        targets=tuple(
            (_text(one.get("namespace")), _text(one.get("deployment")))
            for _, one in mappings(document.value.get("targets"))
        ),
    )


def unpaired(entries: PolicyEntries, rules: RuleSet) -> Iterator[Mistake]:
    """Automatic alerts without a playbook, and playbooks without an automatic alert."""
    listed = {playbook.alert for playbook in entries.playbooks}
    defined = {rule.name for rule in rules.alerts}
    automatic = {rule.name for rule in rules.automatic}
    for rule in rules.automatic:
        if rule.name not in listed:
            message = f'{rule.name} is remediation="auto" and has no playbook: add one to the policy,'
            yield rule.mistake(f'{message} or make it remediation="none"')
    for playbook in entries.playbooks:
        if playbook.alert not in defined:
            message = f"no rule defines {playbook.alert}: remove the playbook, or write the alert"
            yield playbook.mistake(message, "alert")
        elif playbook.alert not in automatic:
            where = next(rule.place for rule in rules.alerts if rule.name == playbook.alert)
            message = f'{playbook.alert} is not remediation="auto" ({where})'
            yield playbook.mistake(f"{message}: give it that label, or remove the playbook", "alert")


def broken_runbooks(entries: PolicyEntries, docs: Path, base: Path) -> Iterator[Mistake]:
    """Playbooks whose runbook is not in the documents."""
    for playbook in entries.playbooks:
        if playbook.runbook and (message := broken(playbook.runbook, docs, base)):
            yield playbook.mistake(message, "runbook")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
