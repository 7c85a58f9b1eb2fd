"""What the command line shows on a terminal, made from the JSON values of `views`."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from rich.console import Console
from rich.markup import escape as without_markup
from rich.table import Table

_COLOURS = {
    "closed": "green",
    "returning": "cyan",
    "returned": "green",
    "kept": "magenta",
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
_DECIDED = ("decided", "escalated", "held")
"""Events that say what was observed and weighed."""
_IN_WORDS = ("held", "kept", "escalated", "withdrawn", "abandoned", "breaker")
"""Events after which somebody will ask why: the reason is said in a sentence too."""


def _coloured(word: str) -> str:
    colour = _COLOURS.get(word)
    return f"[{colour}]{escape(word)}[/]" if colour else escape(word)


def _clock(moment: str) -> str:
    return f"{datetime.fromisoformat(moment):%H:%M:%S}"


def _moment(moment: str) -> str:
    return f"{datetime.fromisoformat(moment):%Y-%m-%d %H:%M:%S}"


def show_listing(listed: dict[str, list[dict[str, Any]]], console: Console | None = None) -> None:
    """What holds the machine, and a table of incidents."""
    console = console or Console(highlight=False)
    for one in listed["holds"]:
        show_hold(one, console)
    records = listed["incidents"]
    if not records:
        console.print("no incidents")
        return
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("id", "opened (UTC)", "target", "alert", "phase", "reason"):  # a name cut off is no name
        table.add_column(name, overflow="fold", no_wrap=name in ("id", "phase"))
    for record in records:
        opened = _moment(record["opened_at"])
        phase, reason = _coloured(record["phase"]), escape(record["reason"] or "")
        table.add_row(
            str(record["id"]), opened, escape(record["target"]), escape(record["alert"]), phase, reason
        )
    console.print(table)


_HELD = {"breaker": "the breaker is open", "storm": "storm: every incident is held"}


def show_hold(one: dict[str, Any], console: Console | None = None) -> None:
    """A pause, the open breaker or a storm: who, since when, why, and what ends it."""
    console = console or Console(highlight=False)
    what = _HELD.get(one["hold"], f"paused: {one['scope']} by {one['by']}")
    until = f" until {_moment(one['until'])}" if one["until"] else ""
    said = f"since {_moment(one['since'])}{until} UTC: {one['why']}"
    console.print(f"[bold red]{escape(what)}[/] {escape(said)}", soft_wrap=True)
    console.print(f"  ends by: {escape(one['ended_by'])}", soft_wrap=True)


def show_story(record: dict[str, Any], console: Console | None = None) -> None:
    """One incident from beginning to end."""
    console = console or Console(highlight=False)
    title = f"incident {record['id']}: {record['alert']} on {record['target']}, {record['phase']}"
    console.print(f"[bold]{escape(title)}[/]")
    console.print(f"opened {_moment(record['opened_at'])} UTC")
    for event in record["events"]:
        padding = " " * max(1, _LONGEST_KIND - len(event["kind"]))
        console.print(
            f"{_clock(event['at'])}  {_coloured(event['kind'])}{padding}{escape(event['reason'])}: "
            f"{escape(event['detail'])}",
            soft_wrap=True,
        )
        if event["kind"] in _IN_WORDS:
            console.print(f"          {escape(event['sentence'])}", soft_wrap=True)
        data = event.get("data") or {}
        lines = [*_weighed_lines(data), *evidence_lines(data.get("observed") or {})]
        for line in lines if event["kind"] in _DECIDED else ():
            console.print(f"          [dim]{escape(line)}[/]", soft_wrap=True)
    if not record["timeline_intact"]:
        console.print("[bold red]the timeline's hashes do not fit: somebody changed it[/]")
    for one in record["next"]:
        console.print(f"{escape(one['so'])}: [bold]{escape(one['command'])}[/]", soft_wrap=True)
    if record["runbook"] and record["phase"] != "closed":
        console.print(f"What is left for a person: {escape(record['runbook'])}", soft_wrap=True)


def _weighed_lines(data: dict[str, Any]) -> list[str]:
    """What was observed, what could not be, and why a step was taken or not."""
    lines = [
        f"fact {name}: {finding['because']}" if finding["truth"] else f"unknown {name}: {finding['because']}"
        for name, finding in data.get("facts", {}).items()
        if finding["truth"] is not False
    ]
    return lines + [
        f"step {s['step']} {s['action']}: {s['reason']}, {s['detail']}" for s in data.get("steps", [])
    ]


def evidence_lines(observed: dict[str, Any]) -> list[str]:
    """The evidence that no fact has said yet: pods that are not well, budgets, Events, logs."""
    lines = [_pod_line(pod) for pod in observed.get("pods") or () if not pod["ready"]]
    lines += [f"budget {budget}" for budget in observed.get("budgets") or ()]
    lines += [_event_line(event) for event in observed.get("events") or ()]
    for log in observed.get("logs") or ():
        lines += [f"log {log['pod']}/{log['container']}: {line}" for line in log["lines"]]
    lines += [f"not read: {name}, {why}" for name, why in (observed.get("unreadable") or {}).items()]
    left_out = observed.get("left_out") or {}
    return lines + [f"left out: {count} more {name}" for name, count in left_out.items()]


def _pod_line(pod: dict[str, Any]) -> str:
    why = [*pod["waiting"], *(["unschedulable"] if pod["unschedulable"] else [])]
    ends = [
        f"{end['container']} ended with {end['exit_code']} ({end['reason']}) at {end['at'] or '?'}"
        for end in pod["endings"]
    ]
    said = ", ".join([*why, *ends, f"{pod['restarts']} restarts"])
    return f"pod {pod['name']} is not ready: {said}"


def _event_line(event: dict[str, Any]) -> str:
    times = f" x{event['count']}" if event["count"] > 1 else ""
    when = _clock(event["at"]) if event["at"] else "?"
    return f"event {when} {event['kind']} {event['about']} {event['reason']}{times}: {event['message']}"


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
