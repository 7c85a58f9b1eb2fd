"""What is shown of the journal and of decisions, as JSON values: the same for HTTP and the command line."""

from __future__ import annotations

import math
from collections import Counter as Tally
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any, Protocol

from remediator.core.actions import intent_to_record
from remediator.core.alerts import Notification
from remediator.core.decisions import meaning
from remediator.core.guardrails import GUARDRAILS
from remediator.core.incidents import BREAKER, Attempt, Incident, Pause, Phase, Storm
from remediator.core.intake import Admission
from remediator.core.policy import Policy
from remediator.core.reasons import Reason
from remediator.lifecycle import Foresight, Receipt
from remediator.lifecycle.decide import weighed

MOST_TOLD = 100
"""Alerts of one notification that an answer names; the journal has them all."""
CLOSE_BREAKER = "remediator resume --breaker"


class Story(Protocol):
    """One incident with everything that happened, as the journal tells it."""

    @property
    def incident(self) -> Incident: ...
    @property
    def attempts(self) -> tuple[Attempt, ...]: ...
    @property
    def alerts(self) -> tuple[Mapping[str, Any], ...]: ...
    @property
    def events(self) -> tuple[Mapping[str, Any], ...]: ...
    @property
    def broken_at(self) -> int | None: ...


def received(receipt: Receipt) -> dict[str, Any]:
    """The answer to a stored notification, as JSON values."""
    return {
        "notification": receipt.notification_id,
        "outcomes": dict(Tally(admission.reason.value for admission, _ in receipt.admissions)),
        "refused": receipt.refused,
        "alerts": [
            {**_admission_record(admission), "incident": incident}
            for admission, incident in receipt.admissions[:MOST_TOLD]
        ],
    }


def explained(notification: Notification, foresights: list[Foresight]) -> dict[str, Any]:
    """What would happen to a notification, as JSON values."""
    return {
        "alerts": [foresight_record(foresight) for foresight in foresights],
        "refused": [
            {"index": refused.index, "reason": refused.reason.value, "detail": refused.detail}
            for refused in notification.refused
        ],
    }


def foresight_record(foresight: Foresight) -> dict[str, Any]:
    record = _admission_record(foresight.admission) | {"incident": foresight.incident_id}
    if foresight.explanation is None:
        return record | _undecided(foresight.admission.reason)
    decision = foresight.explanation.decision
    return record | {
        "decision": type(decision).__name__.lower(),
        "decision_reason": decision.reason.value,
        "decision_sentence": decision.reason.sentence,
        "decision_detail": decision.detail,
        "condition": _plain(asdict(foresight.condition)) if foresight.condition else None,
        "facts": {
            fact.value: {"truth": finding.truth, "because": finding.because}
            for fact, finding in (foresight.facts or {}).items()
        },
        **weighed(foresight.explanation),
    }


def _undecided(reason: Reason) -> dict[str, Any]:
    """There is nothing to decide about: the alert is recorded, and no guardrail is asked."""
    return {
        "decision": "ignore",
        "decision_reason": reason.value,
        "decision_sentence": reason.sentence,
        "decision_detail": "",
        "steps": [],
        "guardrails": [
            {"guardrail": name, "passes": None, "reason": None, "detail": "not asked"}
            for name, _ in GUARDRAILS
        ],
    }


def _admission_record(admission: Admission) -> dict[str, Any]:
    return {
        "alert": admission.alert.name,
        "fingerprint": admission.alert.fingerprint,
        "status": admission.alert.status.value,
        "target": str(admission.target) if admission.target else None,
        "reason": admission.reason.value,
        "sentence": admission.reason.sentence,
    }


def incident_record(incident: Incident) -> dict[str, Any]:
    """One incident as JSON values; times are RFC 3339."""
    waits = incident.phase is Phase.RETURNING
    reason = (incident.hold_reason if waits else None) or incident.reason or incident.hold_reason
    return {
        "id": incident.id,
        "target": str(incident.target),
        "alert": incident.alert,
        "phase": incident.phase.value,
        "reason": reason.value if reason else None,
        "sentence": reason.sentence if reason else None,
        "opened_at": incident.opened_at.isoformat(),
        "alert_started_at": incident.alert_started_at.isoformat(),
        "closed_at": incident.closed_at.isoformat() if incident.closed_at else None,
    }


def listing(
    incidents: Iterable[Incident], pauses: Iterable[Pause], storm: Storm | None
) -> dict[str, list[dict[str, Any]]]:
    """What is going on, as JSON values: what holds the machine and how that ends, and the incidents."""
    holds = [_pause_record(pause) for pause in pauses]
    if storm is not None:
        holds.append(
            {
                "hold": "storm",
                "scope": "all",
                "by": None,
                "why": storm.detail,
                "since": storm.began_at.isoformat(),
                "until": None,
                "ended_by": "remediator acknowledge --storm",
            }
        )
    return {"holds": holds, "incidents": [incident_record(incident) for incident in incidents]}


def _pause_record(pause: Pause) -> dict[str, Any]:
    return {
        "hold": "breaker" if pause.by == BREAKER else "pause",
        "scope": pause.scope,
        "by": pause.by,
        "why": pause.why,
        "since": pause.since.isoformat(),
        "until": pause.until.isoformat() if pause.until else None,
        "ended_by": ended_by(pause),
    }


def ended_by(pause: Pause) -> str:
    """The command that ends this pause and no other."""
    if pause.by == BREAKER:
        return CLOSE_BREAKER
    kind, _, name = pause.scope.partition(":")
    return f"remediator resume --{kind} {name}" if name else "remediator resume"


def whats_next(record: Mapping[str, Any], asked: str | None = None) -> list[dict[str, str]]:
    """What a person can say to an incident as it is: why one would, and the command.

    `asked` is the action that a person was asked to approve last.
    """
    number, phase, reason = record["id"], record["phase"], record["reason"]
    keep = ("Let the replicas stay as they are", f"remediator acknowledge {number}")
    stop = ("Stop it", f'remediator pause --target {record["target"]} --why "..."')
    said = [stop]
    if phase == Phase.CLOSED:
        said = []
    elif phase == Phase.ESCALATED:
        said = [
            ("The target is left alone until a person says", f"remediator acknowledge {number}"),
        ]
    elif reason == Reason.AWAITING_APPROVAL:
        which = f"{number} {meaning(asked)}" if asked else f"{number}"
        said = [
            ("It waits for a person. Agree", f"remediator approve {which}"),
            ("Refuse", f"remediator reject {which}"),
        ]
    elif reason == Reason.STORM:
        said = [("Close the storm and all that it holds", "remediator acknowledge --storm")]
    elif reason == Reason.BREAKER_OPEN:
        said = [("Nothing is done anywhere until a person says", CLOSE_BREAKER)]
    elif phase == Phase.RETURNING:
        said = [keep, stop]
    return [{"so": so, "command": command} for so, command in said]


def story_record(story: Story, policy: Policy | None = None) -> dict[str, Any]:
    """One incident with its timeline as JSON values. The policy in force has the runbook's link."""
    record = incident_record(story.incident)
    playbook = policy.playbook_for(story.incident.alert, story.incident.target) if policy else None
    return {
        **record,
        "runbook": playbook.runbook if playbook else None,
        "next": whats_next(record, story.incident.approved_action),
        "timeline_intact": story.broken_at is None,
        "alerts": [
            {
                "alert": alert["alert"],
                "fingerprint": alert["fingerprint"],
                "starts_at": alert["starts_at"].isoformat(),
                "firing": alert["firing"],
            }
            for alert in story.alerts
        ],
        "attempts": [
            _attempt_record(attempt) | {"evidence": evidence_of(attempt.id, story.events)}
            for attempt in story.attempts
        ],
        "events": [
            {
                "seq": event["seq"],
                "at": event["at"].isoformat(),
                "kind": event["kind"],
                "reason": event["reason"],
                "sentence": Reason(event["reason"]).sentence,
                "detail": event["detail"],
                "data": event["data"],
            }
            for event in story.events
        ],
    }


def evidence_of(attempt: int, events: Iterable[Mapping[str, Any]]) -> dict[str, Any] | None:
    """What was seen just before an attempt: it stands in the timeline, under its hash, and only once."""
    for event in events:
        data = event["data"] or {}
        if event["kind"] == "decided" and data.get("attempt") == attempt:
            return {name: data.get(name) for name in ("condition", "observed", "facts")}
    return None


def _attempt_record(attempt: Attempt) -> dict[str, Any]:
    fields = asdict(attempt) | {"intent": intent_to_record(attempt.intent), "target": str(attempt.target)}
    return _plain(fields)  # type: ignore[no-any-return]


def _plain(value: Any) -> Any:
    """The value as JSON has it: RFC 3339 times, and infinity, which JSON lacks, as text."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
