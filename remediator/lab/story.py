"""The demo: five incidents on the stage, told live, each checked against how it should end."""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from remediator.lab.scenes import ENDS, SCENES, Scene, ending
from remediator.lab.stage import NAMESPACE, NotStarted, Stage, eventually
from remediator.lab.telling import JsonTeller, Teller

_EXAMPLES = """\
examples:
  remediator demo                      five incidents in about two minutes
  remediator demo --only "a leak"      one of them
  remediator demo --stand-in           without prometheus and alertmanager, also when they are there
  remediator demo --json               one JSON object a line
"""
_DEADLINE = 60.0


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
        events: list[dict[str, Any]] = self.story["events"]
        kinds = [event["kind"] for event in events]
        # What becomes of a scale-up later is a story of its own.
        until = kinds.index("returning") + 1 if "returning" in kinds else len(events)
        fresh, self.seen = events[self.seen : until], until
        return fresh

    @property
    def over(self) -> bool:
        return any(event["kind"] in ENDS for event in self.story.get("events", ()))


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
    ended, reason = ending(story)
    kinds = [attempt["intent"]["kind"] for attempt in story["attempts"]]
    checks = [
        (story["alert"] == scene.alert, f"it was {story['alert']} that fired, not {scene.alert}"),
        (kinds == [scene.action], f"the actions were {kinds}, not [{scene.action!r}]"),
        (ended == scene.phase, f"it ended {ended}, not {scene.phase}"),
        (reason == scene.reason, f"the reason was {reason}, not {scene.reason}"),
        (story["timeline_intact"], "the timeline's hashes do not fit"),
        (stage.writes(scene.deployment) == 1, f"{stage.writes(scene.deployment)} writes, not 1"),
    ]
    return [complaint for holds, complaint in checks if not holds]
