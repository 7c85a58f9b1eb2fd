"""What the command line shows on a terminal, made from the JSON values of `views`."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from rich.console import Console
from rich.markup import escape as without_markup
from rich.table import Table

_COLOURS = {
    "closed": "green",
    "recovered": "green",
    "act": "bold yellow",
    "applied": "yellow",
    "decided": "bold yellow",
    "held": "cyan",
    "hold": "cyan",
    "escalated": "bold red",
    "escalate": "bold red",
    "breaker": "bold red",
    "withdrawn": "magenta",
    "abandoned": "red",
}


def escape(text: str) -> str:
    """Text of others as it is: no markup, and no control characters for the terminal to obey."""
    shown = (char if char.isprintable() or char == "\n" else repr(char)[1:-1] for char in text)
    return without_markup("".join(shown))


_LONGEST_KIND = 12
_IN_WORDS = ("held", "escalated", "withdrawn", "abandoned", "breaker")
"""Events after which somebody will ask why: the reason is said in a sentence too."""


def _coloured(word: str) -> str:
    colour = _COLOURS.get(word)
    return f"[{colour}]{escape(word)}[/]" if colour else escape(word)


def _clock(moment: str) -> str:
    return f"{datetime.fromisoformat(moment):%H:%M:%S}"


def show_incidents(records: list[dict[str, Any]], console: Console | None = None) -> None:
    """A table of incidents."""
    console = console or Console(highlight=False)
    if not records:
        console.print("no incidents")
        return
    table = Table("id", "opened (UTC)", "target", "alert", "phase", "reason")
    for record in records:
        opened = f"{datetime.fromisoformat(record['opened_at']):%Y-%m-%d %H:%M:%S}"
        phase, reason = _coloured(record["phase"]), escape(record["reason"] or "")
        table.add_row(
            str(record["id"]), opened, escape(record["target"]), escape(record["alert"]), phase, reason
        )
    console.print(table)


def show_story(record: dict[str, Any], console: Console | None = None) -> None:
    """One incident from beginning to end."""
    console = console or Console(highlight=False)
    title = f"incident {record['id']}: {record['alert']} on {record['target']}, {record['phase']}"
    console.print(f"[bold]{escape(title)}[/]")
    for event in record["events"]:
        padding = " " * max(1, _LONGEST_KIND - len(event["kind"]))
        console.print(
            f"{_clock(event['at'])}  {_coloured(event['kind'])}{padding}{escape(event['reason'])}: "
            f"{escape(event['detail'])}",
            soft_wrap=True,
        )
        if event["kind"] in _IN_WORDS:
            console.print(f"          {escape(event['sentence'])}", soft_wrap=True)
        for line in _weighed_lines(event.get("data") or {}, event["kind"]):
            console.print(f"          [dim]{escape(line)}[/]", soft_wrap=True)
    if not record["timeline_intact"]:
        console.print("[bold red]the timeline's hashes do not fit: somebody changed it[/]")


def _weighed_lines(data: dict[str, Any], kind: str) -> list[str]:
    """What was observed, and why a step was taken or not."""
    if kind not in ("decided", "escalated", "held"):
        return []
    lines = [
        f"fact {name}: {finding['because']}"
        for name, finding in data.get("facts", {}).items()
        if finding["truth"]
    ]
    return lines + [
        f"step {s['step']} {s['action']}: {s['reason']}, {s['detail']}" for s in data.get("steps", [])
    ]


def show_foresights(answer: dict[str, Any], console: Console | None = None) -> None:
    """What would happen to each alert."""
    console = console or Console(highlight=False)
    for alert in answer["alerts"]:
        console.print(
            f"[bold]{escape(alert['alert'])}[/] ({alert['status']}) on {escape(str(alert['target']))}"
        )
        console.print(f"  {escape(alert['reason'])}: {escape(alert['sentence'])}")
        _show_decision(alert, console)
    for refused in answer["refused"]:
        console.print(
            f"[red]alert {refused['index']}[/] {escape(refused['reason'])}: {escape(refused['detail'])}"
        )


def _show_decision(alert: dict[str, Any], console: Console) -> None:
    detail = f" ({alert['decision_detail']})" if alert["decision_detail"] else ""
    console.print(f"  {_coloured(alert['decision'])}: {escape(alert['decision_sentence'] + detail)}")
    table = Table("guardrail", "verdict", "why", box=None, padding=(0, 2))
    for verdict in alert["guardrails"]:
        word = "[green]passes[/]" if verdict["passes"] else f"[cyan]{escape(verdict['reason'] or '-')}[/]"
        table.add_row(verdict["guardrail"], word, escape(verdict["detail"]))
    console.print(table)
    for step in alert["steps"]:
        why = f"{step['reason']}, {step['detail']}"
        console.print(f"  step {step['step']} {escape(step['action'])}: {escape(why)}", soft_wrap=True)
