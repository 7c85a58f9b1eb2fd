"""The policy as alignment sees it: playbooks and targets with their lines, and whether alerts fit them.

Reads what is there: `policy_file` has already said what is wrong with the file itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from remediator.alignment.expected import labelled, rules_version, versioned
from remediator.alignment.located import Located, Mistake, Unreadable, mapping, mappings, read_located
from remediator.alignment.rules import KINDS, RuleSet
from remediator.alignment.runbook import broken
from remediator.core.actions import Workload
from remediator.core.policy import selects


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
    document: Located = field(repr=False)
    playbooks: tuple[PlaybookEntry, ...]
    targets: tuple[Mapping[str, str], ...]
    """The labels that alerts about them have: a namespace and the name of the workload."""
    rules_versions: tuple[str, ...]

    def kinds_of(self, alert: str) -> tuple[str, ...]:
        """The kinds of workload that the alert's playbook is for, as its query says; all without one."""
        query = next((playbook.query for playbook in self.playbooks if playbook.alert == alert), "")
        return tuple(kind.label for kind in Workload if selects(query, kind))

    def targets_of(self, alert: str) -> tuple[Mapping[str, str], ...]:
        """The targets that the alert's playbook is for."""
        kinds = self.kinds_of(alert)
        return tuple(target for target in self.targets if any(kind in target for kind in kinds))

    usage_query: str

    def mistake(self, message: str, *where: str, word: str = "") -> Mistake:
        return self.document.mistake(where, message, word=word)


def read_entries(file: Path) -> PolicyEntries | None:
    """Read playbooks and targets; None when the file is no YAML mapping."""
    try:
        document = read_located(file)
    except Unreadable:
        return None
    versions = document.value.get("rules_versions")
    return PolicyEntries(
        document=document,
        rules_versions=tuple(map(str, versions)) if isinstance(versions, list) else (),
        usage_query=_text(mapping(document.value.get("facts")).get("usage_query")),
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
            {name: _text(one[name]) for name in ("namespace", *KINDS) if name in one}
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


def unservable(entries: PolicyEntries, rules: RuleSet) -> Iterator[Mistake]:
    """Automatic alerts about a kind of workload that their playbook's query cannot select."""
    for rule, given in labelled(rules):
        about, selected = [name for name in KINDS if name in given], entries.kinds_of(rule.name)
        if about and selected and not set(about) & set(selected):
            message = f"{rule.name} names a {about[0]}, and its playbook's query selects a {selected[0]}"
            yield rule.mistake(f"{message}: write ${about[0]} or $workload there", "expr")


def unknown_version(entries: PolicyEntries, rules: RuleSet) -> Iterator[Mistake]:
    """Rules of a version that the policy does not list; a policy that lists none takes any."""
    version = rules_version(rules)
    if version and entries.rules_versions and version not in entries.rules_versions:
        where = next(place for place, one in versioned(rules) if one == version)
        message = f"the rules are of version {version} ({where}), which is not listed here"
        hint = "see that the playbooks still fit, then list it"
        yield entries.document.mistake(("rules_versions",), f"{message}: {hint}")


def broken_runbooks(entries: PolicyEntries, docs: Path, base: Path) -> Iterator[Mistake]:
    """Playbooks whose runbook is not in the documents."""
    for playbook in entries.playbooks:
        if playbook.runbook and (message := broken(playbook.runbook, docs, base)):
            yield playbook.mistake(message, "runbook")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
