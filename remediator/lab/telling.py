"""Tells the demo's story while it happens: to a person, or to a program."""

from __future__ import annotations

import json
import sys
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.markup import escape

from remediator.lab.scenes import Scene, ending
from remediator.lab.stage import Stage


class Teller:
    """Tells the story to a person."""

    COLOURS = {  # noqa: RUF012 - a constant
        "opened": "bold red",
        "decided": "bold yellow",
        "applied": "yellow",
        "rolled_out": "cyan",
        "judged": "cyan",
        "closed": "bold green",
        "escalated": "bold magenta",
    }

    def __init__(self) -> None:
        self._console = Console(highlight=False, soft_wrap=True)

    def opens(self, stage: Stage) -> None:
        self._console.print(f"Prometheus and Alertmanager: {escape(stage.cast)}")
        self._console.print(f"time runs {stage.speed:g} times faster: a minute is {60 / stage.speed:g} s")

    def scene(self, scene: Scene) -> None:
        title = f"{scene.title} on {scene.deployment}"
        self._console.print(f"\n[bold]{escape(title)}[/]\n  {escape(scene.said)}")

    def event(self, event: dict[str, Any], elapsed: float, _speed: float) -> None:
        colour = self.COLOURS.get(event["kind"], "dim")
        word = f"[{colour}]{escape(event['kind'].replace('_', ' '))}[/]"
        padding = " " * max(1, 11 - len(event["kind"]))
        self._console.print(f"  {elapsed:5.1f} s  {word}{padding}{escape(event['detail'])}")
        for line in _evidence(event):
            self._console.print(f"                      [dim]{escape(line)}[/]")

    def scene_ends(self, scene: Scene, story: dict[str, Any], elapsed: float, failures: list[str]) -> None:
        recovered = ending(story)[1] == "recovered"
        ended = "recovered" if recovered else f"handed over: {story['sentence']}"
        opened = datetime.fromisoformat(story["opened_at"])
        fired = datetime.fromisoformat(story["alert_started_at"])
        after = (opened - fired).total_seconds()
        mark = "[green]as it should[/]" if not failures else f"[bold red]{escape('; '.join(failures))}[/]"
        self._console.print(
            f"  {escape(ended)} {elapsed:.1f} s after the fault; Alertmanager told us {after:.1f} s after "
            f"{scene.alert} fired: {mark}"
        )

    def fails(self, complaint: str) -> None:
        self._console.print(f"[bold red]{escape(complaint)}[/]")

    def ends(self, scenes: int, failures: list[str]) -> None:
        good = f"[bold green]{scenes} of {scenes} incidents ended as they should[/]"
        self._console.print("\n" + (good if not failures else f"[bold red]{len(failures)} complaints[/]"))


def _evidence(event: dict[str, Any]) -> list[str]:
    if event["kind"] not in ("decided", "escalated") or not event["data"]:
        return []
    data = event["data"]
    seen = [f"observed: {f['because']}" for f in data.get("facts", {}).values() if f["truth"]]
    passed_over = [
        f"passed over {step['action']}: {step['detail']}"
        for step in data.get("steps", [])
        if step["reason"] != "step_applies"
    ]
    return seen + passed_over


class JsonTeller(Teller):
    """Tells the story to a program, one JSON object a line."""

    def opens(self, stage: Stage) -> None:
        _line({"kind": "stage", "prometheus": stage.cast, "speed": stage.speed})

    def scene(self, scene: Scene) -> None:
        _line({"kind": "scene", "title": scene.title, "deployment": scene.deployment})

    def event(self, event: dict[str, Any], elapsed: float, speed: float) -> None:
        _line({**event, "elapsed": round(elapsed, 3), "speed": speed})

    def scene_ends(self, scene: Scene, story: dict[str, Any], elapsed: float, failures: list[str]) -> None:
        _line(
            {
                "kind": "ended",
                "title": scene.title,
                "phase": ending(story)[0],
                "elapsed": elapsed,
                "failures": failures,
            }
        )

    def fails(self, complaint: str) -> None:
        _line({"kind": "failed", "complaint": complaint})

    def ends(self, scenes: int, failures: list[str]) -> None:
        _line({"kind": "end", "incidents": scenes, "failures": failures})


def _line(value: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(value, default=str) + "\n")
    sys.stdout.flush()
