"""What the shape of the policy file alone cannot say: whether its values fit together, and what they mean.

Between `policy_schema`, which knows the shape, and `policy_file`, which knows the lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import time
from zoneinfo import ZoneInfo

from remediator.core.actions import Action, RollingRestart, RolloutUndo, Scale, Target, Workload
from remediator.core.durations import parse_duration
from remediator.core.facts import FactRules
from remediator.core.policy import (
    ANY_KIND,
    ChangeWindow,
    Limits,
    Playbook,
    Policy,
    Returns,
    Step,
    TargetPolicy,
    selects,
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
    TargetModel,
    VerifyModel,
)

KeyPath = tuple[str | int, ...]

_VARIABLE = re.compile(r"\$\{?(\w+)\}?")
_NAMED_BY = (*(kind.label for kind in Workload), ANY_KIND.removeprefix("$"))
"""The variables that name the workload: of one kind, or of either."""
MOST_SAMPLES = 1000

_SYSTEM_NAMESPACES = ("kube-system", "kube-public", "kube-node-lease")


def mistakes_in(model: PolicyModel) -> Iterator[tuple[KeyPath, str]]:
    """What the shape alone cannot say."""
    yield from _target_mistakes(model)
    yield from _unserved(model)
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
        yield from _step_mistakes(_served(model, playbook), playbook, path)
        yield from _verify_mistakes(playbook.verify, (*path, "verify"))
    if model.facts.usage_query is not None:
        yield from _query_mistakes(model.facts.usage_query, ("facts", "usage_query"))
    for index, window in enumerate(model.change_windows):
        yield from _window_mistakes(window, ("change_windows", index))


def _target_mistakes(model: PolicyModel) -> Iterator[tuple[KeyPath, str]]:
    seen: set[Target] = set()
    for index, target in enumerate(model.targets):
        path: KeyPath = ("targets", index)
        try:
            named = target.target
        except ValueError as error:
            yield path, str(error)
        else:
            if named in seen:
                yield path, "the target is listed twice"
            seen.add(named)
        if target.namespace in _SYSTEM_NAMESPACES:
            yield (*path, "namespace"), f"{target.namespace} is never touched"
        if target.replicas.min > target.replicas.max:
            yield (*path, "replicas"), f"min {target.replicas.min} is above max {target.replicas.max}"


def _unserved(model: PolicyModel) -> Iterator[tuple[KeyPath, str]]:
    """A target that no playbook can be about is left alone for ever, and nobody knows before it is sick."""
    for index, target in enumerate(model.targets):
        if model.playbooks and not any(target in _served(model, playbook) for playbook in model.playbooks):
            kind = target.kind.label
            yield (
                ("targets", index),
                f"no playbook is for a {kind}: a query has to select by ${kind} or {ANY_KIND}",
            )


def _step_mistakes(
    targets: list[TargetModel], playbook: PlaybookModel, path: KeyPath
) -> Iterator[tuple[KeyPath, str]]:
    for index, step in enumerate(playbook.steps):
        here: KeyPath = (*path, "steps", index)
        given = [name for name in ("restart", "undo", "scale") if name in step.model_fields_set]
        if len(given) != 1:
            yield here, f"a step has exactly one of restart, undo, scale; this one has {len(given)}"
        if "scale" in given:
            yield from _scale_mistakes(targets, step.scale or ScaleModel(), (*here, "scale"))


def _served(model: PolicyModel, playbook: PlaybookModel) -> list[TargetModel]:
    """The targets that the playbook may be about: its query says of which kind."""
    return [target for target in model.targets if selects(playbook.verify.query, target.kind)]


def _scale_mistakes(
    targets: list[TargetModel], scale: ScaleModel, path: KeyPath
) -> Iterator[tuple[KeyPath, str]]:
    wanted = [count for count in (scale.to, scale.down_to) if count is not None]
    if len(wanted) != 1:
        yield path, "a scale has exactly one of to (up) and down_to"
        return
    if scale.down_to is not None and "returns" in scale.model_fields_set:
        yield (*path, "returns"), "only a scale-up is given back"
    if scale.down_to is not None and scale.under_hpa == "raise_min":
        yield (*path, "under_hpa"), "only a scale-up can raise the minimum of an autoscaler"
    for target in targets:
        if not target.replicas.min <= wanted[0] <= target.replicas.max:
            bounds = f"{target.replicas.min} to {target.replicas.max}"
            yield (
                path,
                f"{wanted[0]} is outside the bounds {bounds} of {target.words}",
            )


def _query_mistakes(query: str, path: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    used = set(_VARIABLE.findall(query))
    for name in sorted(used - {"namespace", *_NAMED_BY}):
        yield path, f"${name} is not substituted; only {_listed(('namespace', *_NAMED_BY))} are"
    named_by = [name for name in _NAMED_BY if name in used]
    if len(named_by) > 1:
        yield path, f"the query has to select one target: it can have one of {_listed(_NAMED_BY)}"
    for name in ("namespace", *(named_by or _NAMED_BY[:1])):
        if name not in used:
            yield path, f"the query has to select one target: ${name} is missing"
        elif f'"${name}"' not in query:
            yield path, f'${name} has to stand alone in double quotes: {name}="${name}"'


def _listed(names: tuple[str, ...]) -> str:
    *most, last = (f"${name}" for name in names)
    return f"{', '.join(most)} and {last}"


def _verify_mistakes(verify: VerifyModel, path: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    yield from _query_mistakes(verify.query, (*path, "query"))
    every, within = parse_duration(verify.every), parse_duration(verify.within)
    if parse_duration(verify.settle) + (verify.samples - 1) * every >= within:
        yield (*path, "within"), f"{verify.within} is too short for settle and {verify.samples} samples"
    if within > MOST_SAMPLES * every:  # each is kept with its attempt, and told with the verdict
        yield (
            (*path, "every"),
            f"a sample every {verify.every} within {verify.within} is more than {MOST_SAMPLES}",
        )


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


def policy_from(model: PolicyModel, digest: str) -> Policy:
    targets = [
        TargetPolicy(
            target=item.target,
            min_replicas=item.replicas.min,
            max_replicas=item.replicas.max,
            accept_outage=item.accept_outage,
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
            usage_query=model.facts.usage_query,
        ),
        returns=Returns(
            after=parse_duration(model.returns.after),
            by=model.returns.by,
            every=parse_duration(model.returns.every),
        ),
        change_windows=tuple(_window(item) for item in model.change_windows),
        rules_versions=model.rules_versions,
        logs=model.evidence.logs,
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
        raises = step.scale.under_hpa == "raise_min"
        return Scale(step.scale.to, returns=step.scale.returns, raises_minimum=raises)
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
        watchdog=parse_duration(model.watchdog),
    )


def _window(model: ChangeWindowModel) -> ChangeWindow:
    return ChangeWindow(
        days=frozenset(DAYS.index(day) for day in model.days),
        opens=time.fromisoformat(model.opens),
        closes=time.fromisoformat(model.closes),
        zone=ZoneInfo(model.timezone),
    )
