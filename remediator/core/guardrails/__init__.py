"""The named checks that may say "not now, because ...".

    people.py    what people said       present.py   how it is now
    past.py      what was done before   proposal.py  what is asked, what may be answered

`GUARDRAILS` is the order of evaluation and of the docs. Each guardrail looks at one thing and answers
None to let the action pass, a Hold with its reason, or an Escalate when waiting cannot help.
"""

from __future__ import annotations

from collections.abc import Callable

from remediator.core.guardrails.past import (
    at_once,
    breaker_trips,
    cooldown,
    monitoring,
    one_action_per_target,
    overall_budget,
    storm,
    stormy,
    target_budget,
)
from remediator.core.guardrails.people import breaker, change_window, mode, paused
from remediator.core.guardrails.present import (
    COMES_BACK,
    autoscaler,
    condition,
    deployment_paused,
    rollout,
    scaled_to_zero,
    still_firing,
    target,
)
from remediator.core.guardrails.proposal import Objection, Proposal

__all__ = ["COMES_BACK", "GUARDRAILS", "LIMITS", "Objection", "Proposal", "breaker_trips", "stormy"]

GUARDRAILS: tuple[tuple[str, Callable[[Proposal], Objection]], ...] = (
    ("storm", storm),
    ("paused", paused),
    ("target", target),
    ("still_firing", still_firing),
    ("condition", condition),
    ("monitoring", monitoring),
    ("rollout", rollout),
    ("deployment_paused", deployment_paused),
    ("scaled_to_zero", scaled_to_zero),
    ("autoscaler", autoscaler),
    ("one_action_per_target", one_action_per_target),
    ("cooldown", cooldown),
    ("target_budget", target_budget),
    ("overall_budget", overall_budget),
    ("at_once", at_once),
    ("breaker", breaker),
    ("change_window", change_window),
    ("mode", mode),
)


LIMITS = frozenset(
    {
        "monitoring",
        "one_action_per_target",
        "cooldown",
        "target_budget",
        "overall_budget",
        "at_once",
        "breaker",
        "change_window",
        "mode",
    }
)
"""Guardrails that bound an action. Where no step is left to take, they have nothing to say."""
