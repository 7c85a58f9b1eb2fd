"""The shape of the policy file as pydantic models, and its JSON Schema for editors.

Only the shape: what the values mean together is checked in `policy_file`.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from remediator.core.durations import parse_duration
from remediator.core.facts import Fact
from remediator.core.policy import Mode

GOOD = re.compile(r"(>=|>|<=|<)\s*(-?\d+(?:\.\d+)?)")
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def _checked_duration(text: str) -> str:
    parse_duration(text)
    return text


def _checked_span(text: str) -> str:
    if not parse_duration(text):
        raise ValueError("has to be longer than nothing")
    return text


def _checked_good(text: str) -> str:
    if not GOOD.fullmatch(text):
        raise ValueError(f"{text!r} is not a comparison: write e.g. '>= 95'")
    return text


Duration = Annotated[str, AfterValidator(_checked_duration), Field(examples=["30s", "5m", "1h"])]
Span = Annotated[str, AfterValidator(_checked_span), Field(examples=["30s", "5m", "1h"])]
"""A duration that bounds something: with 0 it would bound nothing."""
Count = Annotated[int, Field(ge=1, strict=True)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ReplicasModel(Section):
    min: Count = 1
    max: Count


class TargetModel(Section):
    namespace: str
    deployment: str
    replicas: ReplicasModel


class PerTargetModel(Section):
    actions: Count = 3
    per: Span = "1h"
    per_day: Count = 8
    cooldown: Duration = "5m"


class InAllModel(Section):
    actions: Count = 10
    per: Span = "1h"
    at_once: Count = 2


class StormModel(Section):
    targets: Count = 3
    within: Span = "10m"


class BreakerModel(Section):
    not_recovered: Count = 3
    within: Span = "1h"


class LimitsModel(Section):
    per_target: PerTargetModel = PerTargetModel()
    in_all: InAllModel = InAllModel()
    storm: StormModel = StormModel()
    breaker: BreakerModel = BreakerModel()
    patience: Span = "15m"
    rollout: Span = "10m"


class ScaleModel(Section):
    """`to`: scale up to that many. `down_to`: scale down to that many."""

    to: Count | None = None
    down_to: Count | None = None


class StepModel(Section):
    restart: Section | None = None
    undo: Section | None = None
    scale: ScaleModel | None = None
    when: tuple[Fact, ...] = ()


class VerifyModel(Section):
    query: str
    good: Annotated[str, AfterValidator(_checked_good), Field(examples=[">= 95"])]
    settle: Duration = "30s"
    samples: Count = 3
    every: Span = "10s"
    within: Span = "5m"


class PlaybookModel(Section):
    alert: Annotated[str, Field(min_length=1)]
    runbook: str = ""
    mode: Mode | None = None
    steps: Annotated[tuple[StepModel, ...], Field(min_length=1)]
    verify: VerifyModel


class FactsModel(Section):
    recent_rollout: Duration = "60m"
    resource_pressure: Annotated[float, Field(gt=0, le=1)] = 0.8


class ChangeWindowModel(Section):
    days: Annotated[tuple[Day, ...], Field(min_length=1)] = DAYS
    opens: Annotated[str, Field(pattern=r"^\d\d:\d\d$")]
    closes: Annotated[str, Field(pattern=r"^\d\d:\d\d$")]
    timezone: str = "UTC"


class PolicyModel(Section):
    """What the remediator may do, to which Deployments, how often, and what proves recovery."""

    version: Literal[1]
    mode: Mode = Mode.OBSERVE
    targets: tuple[TargetModel, ...]
    limits: LimitsModel = LimitsModel()
    facts: FactsModel = FactsModel()
    change_windows: tuple[ChangeWindowModel, ...] = ()
    playbooks: tuple[PlaybookModel, ...]


def json_schema() -> dict[str, Any]:
    """Describe the file for editors: the JSON Schema of the policy."""
    schema = PolicyModel.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "remediator policy"}


def known_keys() -> list[str]:
    """Every key the file may have, for "did you mean"."""
    return [key for model in Section.__subclasses__() for key in model.model_fields]
