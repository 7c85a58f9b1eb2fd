"""The incidents of the demo: what is done to the node, and how each has to end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from remediator.lab.stage import IMAGE, NAMESPACE, Stage

ENDS = ("closed", "escalated")


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


def ending(story: dict[str, Any]) -> tuple[str, str]:
    """How it ended and why. What comes after, a scale-up given back, is a story of its own."""
    return next((event["kind"], event["reason"]) for event in story["events"] if event["kind"] in ENDS)
