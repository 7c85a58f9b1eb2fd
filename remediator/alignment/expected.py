"""What every alert has to carry, whether an automatic one can name its target, and one version for all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from remediator.alignment.expressions import LabelSet, labels_of, parse
from remediator.alignment.located import Mistake
from remediator.alignment.rules import KINDS, Rule, RuleSet
from remediator.alignment.runbook import broken

LABELS = ("severity", "service", "remediation")
ANNOTATIONS = ("summary", "description", "runbook_url", "dashboard_url", "rules_version")
_REMEDIATION = {"auto", "none"}
_INFO = "_rules_info"


def incomplete(rules: RuleSet) -> Iterator[Mistake]:
    """Labels and annotations that an alert lacks."""
    for rule in rules.alerts:
        for kind, wanted, given in (
            ("labels", LABELS, rule.labels),
            ("annotations", ANNOTATIONS, rule.annotations),
        ):
            lacking = [name for name in wanted if name not in given]
            if lacking:
                yield rule.mistake(f"give {rule.name} the {kind} {', '.join(lacking)}", kind)
        value = rule.labels.get("remediation", "none")
        if value not in _REMEDIATION:
            message = f"{rule.name}: remediation is {value!r}; write auto or none"
            yield rule.mistake(message, "labels", "remediation")


def targetless(rules: RuleSet) -> Iterator[Mistake]:
    """Automatic alerts that cannot say which workload they are about."""
    for rule, given in labelled(rules):
        lacking = [] if "namespace" in given else ["namespace"]
        lacking += [] if any(kind in given for kind in KINDS) else [" or ".join(KINDS)]
        if lacking:
            names = " and ".join(lacking)
            message = f"{rule.name} is automatic and its series have no {names}: keep it in the aggregation"
            yield rule.mistake(f"{message}, or write it as a label", "expr")


def labelled(rules: RuleSet) -> Iterator[tuple[Rule, LabelSet]]:
    """The automatic alerts with the labels that they have when they fire."""
    recorded = _recorded(rules)
    for rule in rules.automatic:
        try:
            yield rule, labels_of(parse(rule.expr), recorded).plus(frozenset(rule.labels))
        except ValueError:
            continue  # said elsewhere


def _recorded(rules: RuleSet) -> Callable[[str], LabelSet | None]:
    """Labels of recorded series, worked out once; of several records with one name, what all have."""
    records: dict[str, list[Rule]] = {}
    for rule in rules.records:
        records.setdefault(rule.name, []).append(rule)
    known: dict[str, LabelSet | None] = {}

    def labels(name: str) -> LabelSet | None:
        if name not in known:
            known[name] = None  # a record that reads itself: nothing can be said
            found: LabelSet | None = None
            for rule in records.get(name, ()):
                try:
                    one = labels_of(parse(rule.expr), labels).plus(frozenset(rule.labels))
                except ValueError:
                    continue
                found = one if found is None else found.both(one)
            known[name] = found
        return known[name]

    return labels


def broken_links(rules: RuleSet, docs: Path, base: Path) -> Iterator[Mistake]:
    """Alerts whose runbook is not in the documents."""
    for rule in rules.alerts:
        link = rule.annotations.get("runbook_url")
        if link and (message := broken(link, docs, base)):
            yield rule.mistake(message, "annotations", "runbook_url")


def rules_version(rules: RuleSet) -> str | None:
    """The version that most rules carry."""
    versions = Counter(version for _, version, _ in _versions(rules))
    return versions.most_common(1)[0][0] if versions else None


def versioned(rules: RuleSet) -> Iterator[tuple[str, str]]:
    """The places of rules that say their version, with that version."""
    return ((rule.place, version) for rule, version, _ in _versions(rules))


def mixed_versions(rules: RuleSet) -> Iterator[Mistake]:
    """Rules of another version than the rest."""
    common = rules_version(rules)
    where = next((place for place, version in versioned(rules) if version == common), "")
    for rule, version, path in _versions(rules):
        if version != common:
            message = f"{rule.name} is of rules version {version}, and {where} of {common}"
            yield rule.mistake(f"{message}: all rules of a release carry one version", *path)


def _versions(rules: RuleSet) -> Iterator[tuple[Rule, str, tuple[str, str]]]:
    for rule in rules.alerts:
        if "rules_version" in rule.annotations:
            yield rule, rule.annotations["rules_version"], ("annotations", "rules_version")
    for rule in rules.records:
        if rule.name.endswith(_INFO) and "version" in rule.labels:
            yield rule, rule.labels["version"], ("labels", "version")
