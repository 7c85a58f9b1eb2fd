"""The durable counters, with every label value present from the start: `increase()` sees the first event."""

from __future__ import annotations

from collections.abc import Iterable

from remediator.core.announcements import Told
from remediator.core.decide import NEVER_ESCALATE
from remediator.core.incidents import ATTEMPT_KINDS
from remediator.core.reasons import Reason
from remediator.core.verification import Verdict
from remediator.metrics.sums import Labels

_R = Reason
_ALERT_REASONS = (
    _R.INCIDENT_OPENED,
    _R.INCIDENT_JOINED,
    _R.REPEATED,
    _R.STILL_FIRING,
    _R.JUST_CLOSED,
    _R.RESOLVED,
    _R.NO_PLAYBOOK,
    _R.NO_TARGET,
    _R.UNKNOWN_TARGET,
    _R.MALFORMED_ALERT,
    _R.IMPLAUSIBLE_TIME,
    _R.WATCHDOG,
    _R.SUPPRESSED,
    _R.VANISHED,
)
_HOLD_REASONS = (
    _R.PAUSED,
    _R.PAUSE_UNREADABLE,
    _R.BREAKER_OPEN,
    _R.CLUSTER_UNREACHABLE,
    _R.UNAUTHENTICATED,
    _R.NOT_FIRING,
    _R.NO_DATA,
    _R.PROMETHEUS_UNREACHABLE,
    _R.BLIND,
    _R.CONDITION_CLEARED,
    _R.ROLLOUT_IN_PROGRESS,
    _R.DEPLOYMENT_PAUSED,
    _R.SCALED_TO_ZERO,
    _R.AUTOSCALER_GROWING,
    _R.ACTION_IN_FLIGHT,
    _R.COOLDOWN,
    _R.TARGET_BUDGET,
    _R.TARGET_DAILY_BUDGET,
    _R.OVERALL_BUDGET,
    _R.TOO_MANY_AT_ONCE,
    _R.STORM,
    _R.OUTSIDE_CHANGE_WINDOW,
    _R.OBSERVE_MODE,
    _R.AWAITING_APPROVAL,
)
_DECIDED_ESCALATIONS = (  # what guardrails and steps hand over, and holds that outlast the patience
    _R.TARGET_NOT_FOUND,
    _R.NOT_OPTED_IN,
    _R.FORBIDDEN_TARGET,
    _R.FORBIDDEN,
    _R.APPROVAL_REFUSED,
    _R.NO_STEP_APPLIES,
    _R.STEPS_EXHAUSTED,
    *(reason for reason in _HOLD_REASONS if reason not in NEVER_ESCALATE),
)
_ESCALATION_REASONS = (
    *_DECIDED_ESCALATIONS,
    _R.STORM,  # once for each storm
    _R.REFUSED_BY_CLUSTER,
    _R.CHANGED_BY_OTHERS,
    _R.OUTCOME_UNKNOWN,
    _R.WORSE_AFTER_ACTION,
    _R.POISONED,
    _R.POLICY_CHANGED,
    _R.RETURN_FAILED,
)
_DECISIONS = {
    "act": (_R.STEP_APPLIES,),
    "hold": _HOLD_REASONS,
    "escalate": _DECIDED_ESCALATIONS,
    "ignore": (_R.CONDITION_CLEARED, _R.RESOLVED),
}
_CLOSED_REASONS = (_R.RECOVERED, _R.CONDITION_CLEARED, _R.RESOLVED, _R.ACKNOWLEDGED)
_RETURN_REASONS = (
    _R.RETURNED,
    _R.CHANGED_BY_OTHERS,
    _R.HPA_OWNS_REPLICAS,
    _R.OWNED_ELSEWHERE,
    _R.REPLICAS_AT_BOUND,
    _R.VOLUMES_WOULD_GO,
    _R.TARGET_NOT_FOUND,
    _R.NOT_OPTED_IN,
    _R.FORBIDDEN_TARGET,
    _R.FORBIDDEN,
    _R.APPROVAL_REFUSED,
    _R.ACKNOWLEDGED,
    _R.TAKEN_OVER,
    _R.POLICY_CHANGED,
    _R.RETURN_FAILED,
    _R.REFUSED_BY_CLUSTER,
    _R.CLUSTER_UNREACHABLE,
    _R.OUTCOME_UNKNOWN,
    _R.POISONED,
)
_OUTCOMES = (*(v.value for v in Verdict if v is not Verdict.PENDING), "withdrawn", "abandoned")


def _each(label: str, values: Iterable[str]) -> list[Labels]:
    return [((label, str(value)),) for value in values]


COUNTERS: dict[str, tuple[str, tuple[str, ...], list[Labels]]] = {
    "notifications": ("Notifications journaled.", (), [()]),
    "alerts": ("Alerts received, by what became of them.", ("reason",), _each("reason", _ALERT_REASONS)),
    "truncated_alerts": ("Alerts that Alertmanager left out of notifications.", (), [()]),
    "unknown_rules_alerts": ("Alerts of rules that the policy does not know.", (), [()]),
    "incidents": (
        "Incidents opened.",
        ("reason",),
        _each("reason", (_R.INCIDENT_OPENED, _R.STILL_FIRING)),
    ),
    "decisions": (
        "Decisions; a hold counts once for each change of reason.",
        ("decision", "reason"),
        [
            (("decision", decision), ("reason", reason.value))
            for decision, reasons in _DECISIONS.items()
            for reason in reasons
        ],
    ),
    "actions": ("Changes that the API server accepted.", ("action",), _each("action", ATTEMPT_KINDS)),
    "attempts": (
        "Attempts ended, by outcome.",
        ("action", "outcome"),
        [(("action", kind), ("outcome", outcome)) for kind in ATTEMPT_KINDS for outcome in _OUTCOMES],
    ),
    "unclear_answers": (
        "Writes or reads of the API server to be asked again.",
        ("action",),
        _each("action", ATTEMPT_KINDS),
    ),
    "act_seconds": ("Seconds from opening an incident to an accepted change, in sum.", (), [()]),
    "escalations": (
        "Incidents handed to a person, and storms.",
        ("reason",),
        _each("reason", _ESCALATION_REASONS),
    ),
    "closed": ("Incidents closed.", ("reason",), _each("reason", _CLOSED_REASONS)),
    "closed_seconds": (
        "Seconds from opening to closing an incident, in sum.",
        ("reason",),
        _each("reason", _CLOSED_REASONS),
    ),
    "storms": ("Storms: each is one escalation for all its incidents.", (), [()]),
    "announcements": (
        "Lines of timelines told as Kubernetes Events, or why not.",
        ("outcome",),
        _each("outcome", [told.value for told in Told if told is not Told.AGAIN]),
    ),
    "returns": (
        "Scale-ups whose return came to an end: given back, or kept and why.",
        ("reason",),
        _each("reason", _RETURN_REASONS),
    ),
    "breaker_opened": ("Times the breaker opened.", (), [()]),
}
"""Durable counters: name in the journal -> help, label names, label sets present from the start."""
