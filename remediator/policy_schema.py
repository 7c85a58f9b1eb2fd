"""The shape of the policy file as pydantic models, and its JSON Schema for editors.

Only the shape: what the values mean together is checked in `policy_file`.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from remediator.core.actions import Target, Workload
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
    """A Deployment or a StatefulSet: exactly one of the two names."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": [kind.label]} for kind in Workload]},
    )

    namespace: str
    deployment: str | None = None
    statefulset: str | None = None
    replicas: ReplicasModel
    accept_outage: bool = False

    @model_validator(mode="after")
    def _names_one(self) -> Self:
        if len(self._named()) != 1:
            raise ValueError(f"a target has exactly one of {' and '.join(kind.label for kind in Workload)}")
        return self

    def _named(self) -> list[tuple[str, Workload]]:
        return [(name, kind) for kind in Workload if (name := getattr(self, kind.label)) is not None]

    @property
    def kind(self) -> Workload:
        return self._named()[0][1]

    @property
    def words(self) -> str:
        """As a Target is written, also when its name is none."""
        ((name, kind),) = self._named()
        between = "" if kind is Workload.DEPLOYMENT else f"{kind.label}/"
        return f"{self.namespace}/{between}{name}"

    @property
    def target(self) -> Target:
        """Raises ValueError when that is no Kubernetes name."""
        ((name, kind),) = self._named()
        return Target(self.namespace, name, kind)


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
    watchdog: Span = "10m"


class ScaleModel(Section):
    """`to`: scale up to so many, for a time unless `returns` is false. `down_to`: scale down to that many.

    `under_hpa`: where an autoscaler owns the replica count, refuse, or raise its `minReplicas` instead.
    """

    to: Count | None = None
    down_to: Count | None = None
    returns: bool = True
    under_hpa: Literal["refuse", "raise_min"] = "refuse"


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
    usage_query: str | None = None


class EvidenceModel(Section):
    """`logs`: keep the last lines of a crashed container, whatever the service wrote into them."""

    logs: bool = False


class ReturnsModel(Section):
    """A scale-up is given back `by` so many replicas at a time, once the service has stayed well."""

    after: Span = "30m"
    by: Count = 1
    every: Span = "5m"


class ChangeWindowModel(Section):
    days: Annotated[tuple[Day, ...], Field(min_length=1)] = DAYS
    opens: Annotated[str, Field(pattern=r"^\d\d:\d\d$")]
    closes: Annotated[str, Field(pattern=r"^\d\d:\d\d$")]
    timezone: str = "UTC"


class PolicyModel(Section):
    """What the remediator may do, to which workloads, how often, and what proves recovery."""

    version: Literal[1]
    mode: Mode = Mode.OBSERVE
    targets: tuple[TargetModel, ...]
    limits: LimitsModel = LimitsModel()
    facts: FactsModel = FactsModel()
    evidence: EvidenceModel = EvidenceModel()
    returns: ReturnsModel = ReturnsModel()
    change_windows: tuple[ChangeWindowModel, ...] = ()
    rules_versions: tuple[Annotated[str, Field(min_length=1, examples=["1.2.0"])], ...] = ()
    playbooks: tuple[PlaybookModel, ...]


def json_schema() -> dict[str, Any]:
    """Describe the file for editors: the JSON Schema of the policy."""
    schema = PolicyModel.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "remediator policy"}


def known_keys() -> list[str]:
    """Every key the file may have, for "did you mean"."""
    return [key for model in Section.__subclasses__() for key in model.model_fields]
