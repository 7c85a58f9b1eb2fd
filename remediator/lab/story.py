"""The demo: five incidents on the stage, told live, each checked against how it should end."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from importlib import resources
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from remediator.lab.stage import IMAGE, NAMESPACE, NotStarted, Stage, eventually

_EXAMPLES = """\
examples:
  remediator demo                      five incidents in about two minutes
  remediator demo --only "a leak"      one of them
  remediator demo --stand-in           without prometheus and alertmanager, also when they are there
  remediator demo --json               one JSON object a line
"""
_DEADLINE = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One incident: what is done to the node, and how it should end."""

    title: str
    said: str
    deployment: str
    harm: Callable[[Stage, str], None]
    alert: str
    action: str
    phase: str = "closed"
    reason: str = "recovered"


def _inject(fault: str) -> Callable[[Stage, str], None]:
    return lambda stage, deployment: stage.node.inject(NAMESPACE, deployment, fault)


SCENES = (
    Scene(
        title="a bad deploy",
        said="somebody deploys v2.2.0-bad: its pods start, but their score is poor",
        deployment="bizra-apex",
        harm=lambda stage, name: stage.set_image(name, IMAGE.replace("v2.1.0", "v2.2.0-bad")),
        alert="AhsanScoreLow",
        action="undo",
    ),
    Scene(
        title="a leak",
        said="the running pods leak connections until one operation in eight fails",
        deployment="bizra-mind",
        harm=_inject("leak"),
        alert="HiveErrorRateHigh",
        action="restart",
    ),
    Scene(
        title="an overload",
        said="more work arrives than three pods can do",
        deployment="bizra-gate",
        harm=_inject("overload"),
        alert="HiveLatencyP99High",
        action="scale",
    ),
    Scene(
        title="a lost process",
        said="the process in every pod dies and the containers stay",
        deployment="bizra-core",
        harm=_inject("lost_process"),
        alert="HiveDown",
        action="restart",
    ),
    Scene(
        title="something incurable",
        said="an upstream dependency answers wrongly, whatever is done here",
        deployment="bizra-vault",
        harm=_inject("incurable"),
        alert="AhsanScoreLow",
        action="restart",
        phase="escalated",
        reason="steps_exhausted",
    ),
)


def run(argv: list[str]) -> int:
    """Play the demo; returns the exit status."""
    options = _options(argv)
    scenes = [scene for scene in SCENES if not options.only or scene.title == options.only]
    teller = JsonTeller() if options.json else Teller()
    with tempfile.TemporaryDirectory(prefix="remediator-demo-") as temporary:
        directory = options.keep or Path(temporary)
        directory.mkdir(parents=True, exist_ok=True)
        stage = Stage(
            options.home,
            directory.resolve(),
            speed=options.speed,
            deployments=[scene.deployment for scene in SCENES],
            stand_in=options.stand_in,
        )
        try:
            with stage:
                teller.opens(stage)
                failures = [failure for scene in scenes for failure in play(stage, scene, teller)]
        except NotStarted as error:
            teller.fails(f"{error}; see the logs with --keep DIR")
            return 1
    teller.ends(len(scenes), failures)
    return 1 if failures else 0


def _options(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="remediator demo",
        description="Play five incidents against a simulated cluster and tell the story.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--speed", type=float, default=30.0, help="times faster than life (default 30)")
    parser.add_argument("--only", choices=[scene.title for scene in SCENES], help="play one incident")
    parser.add_argument("--stand-in", action="store_true", help="do not use prometheus and alertmanager")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument(
        "--keep", type=Path, metavar="DIR", help="keep logs, journal and configurations there"
    )
    parser.add_argument(
        "--home",
        type=Path,
        default=_home(),
        metavar="DIR",
        help="where policy.yaml and prometheus-rules/ are",
    )
    return parser.parse_args(argv)


def _home() -> Path:
    """The checkout, or the data installed with the package."""
    checkout = Path(str(resources.files("remediator"))).parent
    return checkout if (checkout / "prometheus-rules").is_dir() else Path.cwd()


@dataclass(slots=True)
class Watch:
    """Follows one incident's timeline and passes on what is new."""

    stage: Stage
    deployment: str
    number: int = 0
    seen: int = 0
    story: dict[str, Any] = field(default_factory=dict)

    def news(self) -> list[dict[str, Any]]:
        if not self.number:
            mine = [i for i in self.stage.incidents() if i["target"] == f"{NAMESPACE}/{self.deployment}"]
            if not mine:
                return []
            self.number = mine[-1]["id"]
        self.story = self.stage.story(self.number)
        fresh: list[dict[str, Any]] = self.story["events"][self.seen :]
        self.seen = len(self.story["events"])
        return fresh

    @property
    def over(self) -> bool:
        return self.story.get("phase") in ("closed", "escalated")


def play(stage: Stage, scene: Scene, teller: Teller) -> list[str]:
    """Play one scene; returns what was not as it should be."""
    teller.scene(scene)
    harmed = time.monotonic()
    scene.harm(stage, scene.deployment)
    watch = Watch(stage, scene.deployment)

    def look() -> bool:
        for event in watch.news():
            teller.event(event, time.monotonic() - harmed, stage.speed)
        return watch.over

    try:
        eventually(look, f"{scene.title} did not end", within=_DEADLINE)
    except NotStarted as error:
        teller.fails(str(error))
        return [str(error)]
    failures = [f"{scene.title}: {failure}" for failure in _wrong(stage, scene, watch.story)]
    teller.scene_ends(scene, watch.story, time.monotonic() - harmed, failures)
    return failures


def _wrong(stage: Stage, scene: Scene, story: dict[str, Any]) -> list[str]:
    kinds = [attempt["intent"]["kind"] for attempt in story["attempts"]]
    checks = [
        (story["alert"] == scene.alert, f"it was {story['alert']} that fired, not {scene.alert}"),
        (kinds == [scene.action], f"the actions were {kinds}, not [{scene.action!r}]"),
        (story["phase"] == scene.phase, f"it ended {story['phase']}, not {scene.phase}"),
        (story["reason"] == scene.reason, f"the reason was {story['reason']}, not {scene.reason}"),
        (story["timeline_intact"], "the timeline's hashes do not fit"),
        (stage.writes(scene.deployment) == 1, f"{stage.writes(scene.deployment)} writes, not 1"),
    ]
    return [complaint for holds, complaint in checks if not holds]


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
        ended = "recovered" if story["reason"] == "recovered" else f"handed over: {story['sentence']}"
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
                "phase": story["phase"],
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
