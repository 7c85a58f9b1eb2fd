"""What is asked once more right before a write: since the decision anything may have changed.

Only what can be asked without the decision's situation. Each answer is one that the decision gives too, so
that what is stopped here is held or refused there.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import assert_never

from remediator.core.actions import (
    Action,
    CountIntent,
    Intent,
    MinimumIntent,
    RestartIntent,
    RollingRestart,
    RolloutUndo,
    Scale,
    ScaleIntent,
    SetMinimum,
    UndoIntent,
)
from remediator.core.incidents import RETURN_STEP, Incident, Pause
from remediator.core.marks import Stop
from remediator.core.policy import Mode, Playbook, Policy, TargetPolicy
from remediator.core.reasons import Reason


def stop_before(
    intent: Intent, step: int, incident: Incident, policy: Policy, pauses: Iterable[Pause], *, now: datetime
) -> Stop | None:
    """Why an intent, once decided upon, is not to be sent now after all; or None.

    `step` is its attempt's. `policy` is the one in force now, which may be another than the one that decided.
    """
    for pause in pauses:
        if pause.covers(incident.target, incident.alert, now):
            return Stop(reason=Reason.PAUSED, detail=f"{pause.scope} is paused by {pause.by}: {pause.why}")
    playbook = policy.playbook_for(incident.alert, incident.target)
    bounds = policy.targets.get(incident.target)
    if playbook is None or bounds is None:
        detail = f"policy {policy.digest} no longer lets us act here"
        return Stop(reason=Reason.POLICY_CHANGED, detail=detail)
    if not _is_of(step, intent, playbook):
        detail = f"step {step + 1} is another one now, policy {policy.digest}"
        return Stop(reason=Reason.POLICY_CHANGED, detail=detail)
    return (
        _window_stop(step, intent, policy, now)
        or _mode_stop(step, incident, policy.mode_for(playbook))
        or _bounds_stop(step, intent, bounds)
    )


def _is_of(step: int, intent: Intent, playbook: Playbook) -> bool:
    """Whether the intent is what that step of the playbook comes to."""
    if step == RETURN_STEP:
        return True
    return step < len(playbook.steps) and _comes_to(playbook.steps[step].action, intent)


def _comes_to(action: Action, intent: Intent) -> bool:
    match action:
        case RollingRestart():
            return isinstance(intent, RestartIntent)
        case RolloutUndo():
            return isinstance(intent, UndoIntent)
        case Scale(to=count, raises_minimum=raises):
            kinds = CountIntent if raises else ScaleIntent
            return isinstance(intent, kinds) and intent.replicas_to == count
        case SetMinimum(to=count):
            return isinstance(intent, MinimumIntent) and intent.replicas_to == count
        case _ as never:
            assert_never(never)


def _window_stop(step: int, intent: Intent, policy: Policy, now: datetime) -> Stop | None:
    """A window bounds when a change is made; the way up again takes one back that was made within it."""
    closed = policy.closed(now)
    if closed is None or (step == RETURN_STEP and isinstance(intent, CountIntent) and _is_up(intent)):
        return None
    return Stop(reason=Reason.OUTSIDE_CHANGE_WINDOW, detail=closed)


def _is_up(intent: CountIntent) -> bool:
    return intent.replicas_to > intent.replicas_from


def _mode_stop(step: int, incident: Incident, mode: Mode) -> Stop | None:
    match mode:
        case Mode.AUTO:
            return None
        case Mode.OBSERVE:
            return Stop(
                reason=Reason.OBSERVE_MODE, detail="the policy no longer lets us act here, only observe"
            )
        case Mode.APPROVE:
            if incident.approved_by is not None and incident.approved_step == step:
                return None
            return Stop(reason=Reason.AWAITING_APPROVAL, detail="the policy now asks a person first")
        case _ as never:
            assert_never(never)


def _bounds_stop(step: int, intent: Intent, bounds: TargetPolicy) -> Stop | None:
    """Up no further than the most, down no further than the least, wherever it stands now."""
    if not isinstance(intent, CountIntent):
        return None
    to, up = intent.replicas_to, _is_up(intent)
    # An autoscaler's least that is given back is its owner's.
    least = 1 if step == RETURN_STEP and isinstance(intent, MinimumIntent) else bounds.min_replicas
    if to <= bounds.max_replicas if up else to >= least:
        return None
    words = f"above the policy's {bounds.max_replicas}" if up else f"below the policy's {least}"
    return Stop(reason=Reason.REPLICAS_AT_BOUND, detail=f"{to} is {words}")
