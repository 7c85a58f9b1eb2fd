"""The policy file: YAML in, frozen `core.policy` types out, every mistake named by line and path.

All mistakes are reported at once: the shape by `policy_schema`, the meaning here.
"""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import time
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import yaml
from pydantic import ValidationError

from remediator.core.actions import Action, RollingRestart, RolloutUndo, Scale, Target
from remediator.core.durations import parse_duration
from remediator.core.facts import FactRules
from remediator.core.policy import (
    ChangeWindow,
    Limits,
    Playbook,
    Policy,
    Step,
    TargetPolicy,
)
from remediator.core.verification import Criterion, Good
from remediator.policy_schema import (
    DAYS,
    GOOD,
    ChangeWindowModel,
    LimitsModel,
    PlaybookModel,
    PolicyModel,
    ScaleModel,
    StepModel,
    VerifyModel,
    known_keys,
)

KeyPath = tuple[str | int, ...]

_VARIABLE = re.compile(r"\$\{?(\w+)\}?")
_SYSTEM_NAMESPACES = ("kube-system", "kube-public", "kube-node-lease")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """One thing wrong with the file. `line` counts from 1."""

    line: int
    path: str
    message: str

    def __str__(self) -> str:
        return (
            f"line {self.line}: {self.path}: {self.message}"
            if self.path
            else f"line {self.line}: {self.message}"
        )


class PolicyMistakes(ValueError):
    """The policy file cannot be used; `mistakes` has all of them."""

    def __init__(self, source: str, mistakes: Iterable[Mistake]) -> None:
        self.source = source
        self.mistakes = tuple(sorted(mistakes, key=lambda mistake: mistake.line))
        super().__init__("\n".join(f"{source}: {mistake}" for mistake in self.mistakes))


def read_policy(path: Path) -> Policy:
    """Read and check the file. Raises PolicyMistakes, or OSError when it cannot be read."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise PolicyMistakes(str(path), [Mistake(line=line, path="", message="not UTF-8")]) from None
    return parse_policy(text, source=str(path))


def parse_policy(text: str, *, source: str = "policy") -> Policy:
    """Check the text of a policy file. Raises PolicyMistakes."""
    try:
        node, value = _yaml(text, source)
        lines = dict(_lines(node, ()))
        mistakes = list(_twice(node, ()))
    except RecursionError:
        endless = Mistake(line=1, path="", message="the file refers to itself, or is nested too deep")
        raise PolicyMistakes(source, [endless]) from None
    try:
        model = PolicyModel.model_validate(value)
    except ValidationError as error:
        items = error.errors()
        shape = [_from_pydantic(item, lines) for item in items if not _follows(item, items)]
        raise PolicyMistakes(source, mistakes + shape) from None
    mistakes += [_mistake(path, message, lines) for path, message in _meaning(model)]
    if mistakes:
        raise PolicyMistakes(source, mistakes)
    return _policy(model, hashlib.sha256(text.encode()).hexdigest()[:12])


def _yaml(text: str, source: str) -> tuple[yaml.Node, Any]:
    """The text as YAML nodes, which know their lines, and as values."""
    line = 1
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if node is not None:
            return node, yaml.safe_load(text)
        problem = "the file is empty"
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        problem = getattr(error, "problem", None) or "not YAML"
    except ValueError as error:  # a value that YAML takes for a date or a number, and that is none
        problem = str(error)
    raise PolicyMistakes(source, [Mistake(line=line, path="", message=problem)])


def _lines(node: yaml.Node, path: KeyPath) -> Iterator[tuple[KeyPath, int]]:
    yield path, node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield (*path, key.value), key.start_mark.line + 1
            yield from ((p, n) for p, n in _lines(value, (*path, key.value)) if p != (*path, key.value))
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from _lines(value, (*path, index))


def _twice(node: yaml.Node, path: KeyPath) -> Iterator[Mistake]:
    """Keys given twice: YAML would silently keep the last."""
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                line = key.start_mark.line + 1
                yield Mistake(line=line, path=_dotted((*path, key.value)), message="the key is given twice")
            seen.add(key.value)
            yield from _twice(value, (*path, key.value))
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from _twice(value, (*path, index))


def _follows(item: Any, items: Iterable[Any]) -> bool:
    """Whether a list is only too short because what is in it was refused."""
    return item["type"] == "too_short" and any(
        other["loc"][: len(item["loc"])] == item["loc"] and other is not item for other in items
    )


def _from_pydantic(item: Any, lines: dict[KeyPath, int]) -> Mistake:
    path: KeyPath = tuple(item["loc"])
    message: str = item["msg"]
    match item["type"]:
        case "extra_forbidden":
            close = difflib.get_close_matches(str(path[-1]), known_keys(), n=1)
            message = f"unknown key{f', did you mean {close[0]!r}?' if close else ''}"
        case "invalid_key":
            path, message = (*path[:-1], str(path[-1])), "a key has to be a text"
        case "too_short":
            message = "at least one is needed"
        case "missing":
            message = "this key is missing"
        case "value_error":
            message = str(item["ctx"]["error"])
        case "enum" | "literal_error":
            message = f"{item['input']!r} is not one of {item['ctx']['expected']}"
        case "string_type":
            message = f"{item['input']!r} is not a text: put it in quotes, with its unit or comparison"
    return _mistake(path, message, lines)


def _mistake(path: KeyPath, message: str, lines: dict[KeyPath, int]) -> Mistake:
    known = path
    while known not in lines and known:
        known = known[:-1]
    return Mistake(line=lines.get(known, 1), path=_dotted(path), message=message)


def _dotted(path: KeyPath) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _meaning(model: PolicyModel) -> Iterator[tuple[KeyPath, str]]:
    """What the shape alone cannot say."""
    yield from _target_mistakes(model)
    seen: dict[str, int] = {}
    for index, playbook in enumerate(model.playbooks):
        path: KeyPath = ("playbooks", index)
        if playbook.alert in seen:
            yield (
                (*path, "alert"),
                f"{playbook.alert!r} already has a playbook (playbooks[{seen[playbook.alert]}])",
            )
        seen.setdefault(playbook.alert, index)
        if playbook.mode is not None and model.mode.stricter(playbook.mode) is not playbook.mode:
            yield (
                (*path, "mode"),
                f"{playbook.mode} is laxer than the policy's {model.mode}; it may only be stricter",
            )
        yield from _step_mistakes(model, playbook, path)
        yield from _verify_mistakes(playbook.verify, (*path, "verify"))
    for index, window in enumerate(model.change_windows):
        yield from _window_mistakes(window, ("change_windows", index))


def _target_mistakes(model: PolicyModel) -> Iterator[tuple[KeyPath, str]]:
    seen: set[tuple[str, str]] = set()
    for index, target in enumerate(model.targets):
        path: KeyPath = ("targets", index)
        try:
            Target(target.namespace, target.deployment)
        except ValueError as error:
            yield path, str(error)
        if target.namespace in _SYSTEM_NAMESPACES:
            yield (*path, "namespace"), f"{target.namespace} is never touched"
        if (target.namespace, target.deployment) in seen:
            yield path, "the target is listed twice"
        seen.add((target.namespace, target.deployment))
        if target.replicas.min > target.replicas.max:
            yield (*path, "replicas"), f"min {target.replicas.min} is above max {target.replicas.max}"


def _step_mistakes(
    model: PolicyModel, playbook: PlaybookModel, path: KeyPath
) -> Iterator[tuple[KeyPath, str]]:
    for index, step in enumerate(playbook.steps):
        here: KeyPath = (*path, "steps", index)
        given = [name for name in ("restart", "undo", "scale") if name in step.model_fields_set]
        if len(given) != 1:
            yield here, f"a step has exactly one of restart, undo, scale; this one has {len(given)}"
        if "scale" in given:
            yield from _scale_mistakes(model, step.scale or ScaleModel(), (*here, "scale"))


def _scale_mistakes(model: PolicyModel, scale: ScaleModel, path: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    wanted = [count for count in (scale.to, scale.down_to) if count is not None]
    if len(wanted) != 1:
        yield path, "a scale has exactly one of to (up) and down_to"
        return
    for target in model.targets:
        if not target.replicas.min <= wanted[0] <= target.replicas.max:
            bounds = f"{target.replicas.min} to {target.replicas.max}"
            yield (
                path,
                f"{wanted[0]} is outside the bounds {bounds} of {target.namespace}/{target.deployment}",
            )


def _verify_mistakes(verify: VerifyModel, path: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    used = set(_VARIABLE.findall(verify.query))
    for name in sorted(used - {"namespace", "deployment"}):
        yield (*path, "query"), f"${name} is not substituted; only $namespace and $deployment are"
    for name in ("namespace", "deployment"):
        if name not in used:
            yield (*path, "query"), f"the query has to select one target: ${name} is missing"
        elif f'"${name}"' not in verify.query:
            yield (*path, "query"), f'${name} has to stand alone in double quotes: {name}="${name}"'
    needed = parse_duration(verify.settle) + (verify.samples - 1) * parse_duration(verify.every)
    if needed >= parse_duration(verify.within):
        yield (*path, "within"), f"{verify.within} is too short for settle and {verify.samples} samples"


def _window_mistakes(window: ChangeWindowModel, path: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    if window.opens >= window.closes:
        yield path, "opens has to be before closes; write two windows for one that crosses midnight"
    for name in ("opens", "closes"):
        try:
            time.fromisoformat(getattr(window, name))
        except ValueError as error:
            yield (*path, name), str(error)
    try:
        ZoneInfo(window.timezone)
    except (ValueError, OSError, KeyError):
        yield (*path, "timezone"), f"{window.timezone!r} is not a known time zone"


def _policy(model: PolicyModel, digest: str) -> Policy:
    targets = [
        TargetPolicy(
            target=Target(item.namespace, item.deployment),
            min_replicas=item.replicas.min,
            max_replicas=item.replicas.max,
        )
        for item in model.targets
    ]
    return Policy(
        mode=model.mode,
        targets={item.target: item for item in targets},
        playbooks={item.alert: _playbook(item) for item in model.playbooks},
        limits=_limits(model.limits),
        facts=FactRules(
            recent_rollout=parse_duration(model.facts.recent_rollout),
            resource_pressure=model.facts.resource_pressure,
        ),
        change_windows=tuple(_window(item) for item in model.change_windows),
        digest=digest,
    )


def _playbook(model: PlaybookModel) -> Playbook:
    comparison, threshold = GOOD.fullmatch(model.verify.good).groups()  # type: ignore[union-attr]
    return Playbook(
        alert=model.alert,
        runbook=model.runbook,
        mode=model.mode,
        steps=tuple(Step(action=_action(step), when=step.when) for step in model.steps),
        verify=Criterion(
            query=model.verify.query,
            good=Good(comparison, float(threshold)),
            settle=parse_duration(model.verify.settle),
            samples=model.verify.samples,
            every=parse_duration(model.verify.every),
            within=parse_duration(model.verify.within),
        ),
    )


def _action(step: StepModel) -> Action:
    if "restart" in step.model_fields_set:
        return RollingRestart()
    if step.scale is None:
        return RolloutUndo()
    if step.scale.to is not None:
        return Scale(step.scale.to)
    return Scale(step.scale.down_to or 1, down=True)


def _limits(model: LimitsModel) -> Limits:
    return Limits(
        target_actions=model.per_target.actions,
        target_per=parse_duration(model.per_target.per),
        target_per_day=model.per_target.per_day,
        cooldown=parse_duration(model.per_target.cooldown),
        overall_actions=model.in_all.actions,
        overall_per=parse_duration(model.in_all.per),
        at_once=model.in_all.at_once,
        storm_targets=model.storm.targets,
        storm_within=parse_duration(model.storm.within),
        breaker_not_recovered=model.breaker.not_recovered,
        breaker_within=parse_duration(model.breaker.within),
        patience=parse_duration(model.patience),
        rollout_within=parse_duration(model.rollout),
    )


def _window(model: ChangeWindowModel) -> ChangeWindow:
    return ChangeWindow(
        days=frozenset(DAYS.index(day) for day in model.days),
        opens=time.fromisoformat(model.opens),
        closes=time.fromisoformat(model.closes),
        zone=ZoneInfo(model.timezone),
    )
