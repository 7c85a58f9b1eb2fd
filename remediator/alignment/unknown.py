"""Expressions that cannot be parsed, or that read a series which nobody records or exports."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator

from remediator.alignment.expressions import parse, series_read
from remediator.alignment.located import Mistake
from remediator.alignment.playbooks import PolicyEntries
from remediator.alignment.rules import RuleSet
from remediator.alignment.series import PROMETHEUS_MAKES

Say = Callable[..., Mistake]


def unparsable(rules: RuleSet, entries: PolicyEntries | None) -> Iterator[Mistake]:
    """Expressions that are no PromQL."""
    for owner, expr, say, below in _expressions(rules, entries):
        try:
            parse(expr)
        except ValueError as error:
            yield say(f"{owner} is no PromQL ({error}): mend it", *below)


def unknown_series(
    rules: RuleSet, entries: PolicyEntries | None, exported: frozenset[str], listed: str
) -> Iterator[Mistake]:
    """Series that no rule records and no job exports, as far as the list in the file `listed` knows."""
    known = exported | PROMETHEUS_MAKES | {rule.name for rule in rules.records}
    for owner, expr, say, below in _expressions(rules, entries):
        try:
            names = dict.fromkeys(series_read(parse(expr)))
        except ValueError:
            continue  # said above
        for name in names:
            if not name:
                yield say(f"{owner} selects series without naming them: write the name", *below)
            elif name not in known:
                close = difflib.get_close_matches(name, known, n=1)
                hint = f"did you mean {close[0]}? If not, record" if close else "record"
                message = f"{owner} reads {name}, which no rule records and no job exports"
                yield say(f"{message}: {hint} it, or list it in {listed}", *below, word=name)


def _expressions(
    rules: RuleSet, entries: PolicyEntries | None
) -> Iterator[tuple[str, str, Say, tuple[str, ...]]]:
    for rule in (*rules.alerts, *rules.records):
        yield rule.name, rule.expr, rule.mistake, ("expr",)
    if entries is None:
        return
    if entries.usage_query:
        yield "the usage query", entries.usage_query, entries.mistake, ("facts", "usage_query")
    for playbook in entries.playbooks:
        if playbook.query:
            owner = f"the verification of {playbook.alert}"
            yield owner, playbook.query, playbook.mistake, ("verify", "query")
