"""Policy, rules and routing held together: every mistake at once, each with file and line."""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path

from remediator.alignment.delivery import undelivered
from remediator.alignment.expected import (
    broken_links,
    incomplete,
    mixed_versions,
    rules_version,
    targetless,
)
from remediator.alignment.located import Mistake
from remediator.alignment.playbooks import (
    PolicyEntries,
    broken_runbooks,
    read_entries,
    unknown_version,
    unpaired,
    unservable,
)
from remediator.alignment.routing import read_routing
from remediator.alignment.rules import RuleSet, read_rules
from remediator.alignment.series import read_series
from remediator.alignment.unknown import unknown_series, unparsable

SERIES = "series.yml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """What to hold together; what is None is left out."""

    policy: Path
    rules: Path | None = None
    series: Path | None = None
    routing: Path | None = None
    docs: Path | None = None
    receiver: str | None = None
    """The receiver that posts to the remediator; without it, whichever posts to .../webhook."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alignment:
    mistakes: tuple[Mistake, ...]
    alerts: int
    playbooks: int
    rules_version: str | None


def places_beside(
    policy: Path,
    *,
    rules: Path | None = None,
    series: Path | None = None,
    routing: Path | None = None,
    docs: Path | None = None,
    receiver: str | None = None,
    without: Container[str] = (),
) -> Places:
    """Fill in what is not given with what lies beside the policy, as in this repository, and is there."""
    base = policy.parent
    rules = rules or _there(base / "prometheus-rules")
    if rules and not series:
        series = (rules if rules.is_dir() else rules.parent) / SERIES
    return Places(
        policy=policy,
        rules=None if "rules" in without else rules,
        series=None if "series" in without else series,
        routing=None if "routing" in without else routing or _there(base / "alertmanager/alertmanager.yml"),
        docs=None if "docs" in without else docs or _there(base / "docs"),
        receiver=receiver,
    )


def _there(path: Path) -> Path | None:
    return path if path.exists() else None


def check_alignment(places: Places) -> Alignment:
    """Find all mistakes, in the order of file and line. Raises OSError when a file cannot be read."""
    entries = read_entries(places.policy)
    rules = read_rules(places.rules) if places.rules else RuleSet(alerts=(), records=(), mistakes=())
    found = [
        *rules.mistakes,
        *_documents(places, entries, rules),
        *_rules_alone(rules),
        *_rules_and_policy(places, entries, rules),
        *_delivery(places, entries, rules),
    ]
    return Alignment(
        mistakes=tuple(sorted(set(found))),
        alerts=len(rules.alerts),
        playbooks=len(entries.playbooks) if entries else 0,
        rules_version=rules_version(rules),
    )


def _documents(places: Places, entries: PolicyEntries | None, rules: RuleSet) -> Iterator[Mistake]:
    if places.docs:
        yield from broken_links(rules, places.docs, places.policy.parent)
    if places.docs and entries:
        yield from broken_runbooks(entries, places.docs, places.policy.parent)


def _rules_alone(rules: RuleSet) -> Iterator[Mistake]:
    yield from incomplete(rules)
    yield from targetless(rules)
    yield from mixed_versions(rules)


def _rules_and_policy(places: Places, entries: PolicyEntries | None, rules: RuleSet) -> Iterator[Mistake]:
    yield from unparsable(rules, entries)
    if places.rules is None or not rules.complete:
        return  # what an unread file defines would only seem to be missing
    if entries:
        yield from unpaired(entries, rules)
        yield from unservable(entries, rules)
        yield from unknown_version(entries, rules)
    if places.series:
        exported, mistakes = read_series(places.series)
        yield from mistakes
        if not mistakes:
            yield from unknown_series(rules, entries, exported, str(places.series))


def _delivery(places: Places, entries: PolicyEntries | None, rules: RuleSet) -> Iterator[Mistake]:
    if places.routing is None:
        return
    routing = read_routing(places.routing)
    if isinstance(routing, list):
        yield from routing
    else:
        yield from undelivered(rules, routing, entries, places.receiver)
