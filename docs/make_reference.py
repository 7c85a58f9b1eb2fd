"""Write docs/reference.md and docs/policy.schema.json from the code. `make docs`; a test holds them equal."""

from __future__ import annotations

import ast
import inspect
import json
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import click

from remediator import cli, settings
from remediator.core.announcements import ANNOUNCED, RECOVERED
from remediator.core.decide import NEVER_ESCALATE
from remediator.core.facts import Fact
from remediator.core.guardrails import GUARDRAILS
from remediator.core.incidents import Phase
from remediator.core.reasons import Reason
from remediator.metrics import COUNTERS
from remediator.policy_schema import json_schema

HERE = Path(__file__).parent

GAUGES = {
    "remediator_build_info{version}": "The version.",
    "remediator_policy_info{digest}": "The policy in force.",
    "remediator_policy_rejected": "1 while the policy file has mistakes and an older policy is in force.",
    "remediator_policy_rules_info{version}": "Versions of the rules that the policy in force was made for.",
    "remediator_worker_alive": "Whether this process' worker thread runs.",
    "remediator_journal_available": "Whether the journal could be read for this scrape.",
    "remediator_open_incidents{phase}": "Open incidents.",
    "remediator_target_phase{target,phase}": "1 for the phase that the target's open incident is in.",
    "remediator_budget_left{target,budget}": "Actions the target has left, by the budget that would hold: `target_budget` or `target_daily_budget`.",
    "remediator_overall_budget_left": "Actions that all targets together have left.",
    "remediator_last_action_timestamp_seconds{target,action}": "When the API server last accepted a change; 0 if it never did.",
    "remediator_returns_pending": "Scale-ups that are still to be given back.",
    "remediator_pauses": "Pauses that people set.",
    "remediator_breaker_open": "Whether the breaker is open.",
    "remediator_storm_open": "Whether there is a storm, whose incidents are held.",
    "remediator_watchdog_timestamp_seconds": "When the Watchdog was last heard; 0 if it never was, and nothing watches the way of the alerts.",
    "remediator_blind": "Whether the Watchdog, once heard, has been silent too long: every action is held.",
    "remediator_http_requests_total{process,endpoint,code}": "HTTP answers of one gunicorn worker, by its number; not from the journal.",
}


def reference() -> str:
    """The text of docs/reference.md."""
    parts = ["# Reference", "", "Generated from the code by `make docs`.", ""]
    for title, lines in (
        ("Commands", _commands()),
        ("Settings", _settings()),
        ("Guardrails", _guardrails()),
        ("Facts", _facts()),
        ("Phases", _phases()),
        ("Reasons", _reasons()),
        ("Kubernetes Events", _events()),
        ("Metrics", _metrics()),
    ):
        parts += [f"## {title}", "", *lines, ""]
    return "\n".join(parts).rstrip() + "\n"


def _commands() -> Iterator[str]:
    yield "`remediator COMMAND --help` has options and examples."
    yield ""
    yield from _table("command", "what it does")
    for name, command in sorted(cli.main.commands.items()):
        arguments = [p.human_readable_name for p in command.params if isinstance(p, click.Argument)]
        line = " ".join([f"remediator {name}", *arguments])
        yield f"| `{line}` | {command.get_short_help_str(200)} |"


def _settings() -> Iterator[str]:
    yield from _table("variable", "default", "meaning")
    docs = _field_docs(settings.Settings)
    for field in fields(settings.Settings):
        default = field.default
        shown = "" if default is None else settings.shown(default)
        yield f"| `{settings.variable(field.name)}` | `{shown}` | {docs[field.name]} |".replace(
            "| `` |", "| |"
        )


def _guardrails() -> Iterator[str]:
    yield "In the order in which they are asked. The first objection is the decision; all are recorded."
    yield ""
    yield from _table("guardrail", "what it asks")
    for name, check in GUARDRAILS:
        yield f"| `{name}` | {_one_line(inspect.getdoc(check))} |"


def _facts() -> Iterator[str]:
    yield "A fact is true, false or unknown; unknown never satisfies a step's `when`."
    yield ""
    yield ", ".join(f"`{fact}`" for fact in Fact)


def _phases() -> Iterator[str]:
    yield ", ".join(f"`{phase}`" for phase in Phase)


def _reasons() -> Iterator[str]:
    never = ", ".join(f"`{reason}`" for reason in sorted(NEVER_ESCALATE))
    yield f"An incident that is held goes to a person when the policy's `patience` is over, except for {never}."
    yield ""
    yield from _table("reason", "in words")
    for reason in Reason:
        yield f"| `{reason}` | {reason.sentence} |"


def _events() -> Iterator[str]:
    yield "What `kubectl describe deployment` shows of an incident, as far as [create events](permissions.md) is allowed."
    yield ""
    yield from _table("Event", "type", "when")
    for kind, reason, meaning in (*ANNOUNCED.values(), RECOVERED):
        yield f"| `{reason}` | {kind} | {meaning} |"


def _metrics() -> Iterator[str]:
    yield "Sums come from the journal: they survive restarts and are the same on every replica."
    yield ""
    yield from _table("metric", "meaning")
    for name, (text, labels, _) in COUNTERS.items():
        shown = f"{{{','.join(labels)}}}" if labels else ""
        yield f"| `remediator_{name}_total{shown}` | {text} |"
    for name, text in GAUGES.items():
        yield f"| `{name}` | {text} |"


def _table(*columns: str) -> Iterator[str]:
    yield f"| {' | '.join(columns)} |"
    yield f"| {' | '.join('---' for _ in columns)} |"


def _field_docs(owner: type) -> dict[str, str]:
    """The string under each field of a dataclass."""
    body = ast.parse(inspect.getsource(owner)).body[0]
    assert isinstance(body, ast.ClassDef)
    docs: dict[str, str] = {}
    for field, text in zip(body.body, body.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr):
            assert isinstance(field.target, ast.Name)
            docs[field.target.id] = _one_line(ast.literal_eval(text.value))
    return docs


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split())


if __name__ == "__main__":
    (HERE / "reference.md").write_text(reference())
    (HERE / "policy.schema.json").write_text(json.dumps(json_schema(), indent=2) + "\n")
