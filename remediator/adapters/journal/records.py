"""Rows to core values and back."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any

from sqlalchemy import Row

from remediator.core.actions import Target, Workload, intent_from_record
from remediator.core.incidents import Attempt, AttemptState, Incident, Pause, Phase
from remediator.core.reasons import Reason
from remediator.core.verification import Sample, Verdict


def target_from(row: Any) -> Target:
    return Target(row.namespace, row.deployment, Workload(row.target_kind))


def incident_from(row: Row[Any]) -> Incident:
    return Incident(
        id=row.id,
        target=target_from(row),
        alert=row.alert,
        phase=Phase(row.phase),
        opened_at=row.opened_at,
        alert_started_at=row.alert_started_at,
        phase_since=row.phase_since,
        held_since=row.held_since,
        hold_reason=Reason(row.hold_reason) if row.hold_reason else None,
        well_since=row.well_since,
        approved_by=row.approved_by,
        approved_step=row.approved_step,
        approved_action=row.approved_action,
        approval_refused_by=row.approval_refused_by,
        return_to=row.return_to,
        closed_at=row.closed_at,
        reason=Reason(row.reason) if row.reason else None,
    )


def attempt_from(row: Row[Any]) -> Attempt:
    return Attempt(
        id=row.id,
        incident_id=row.incident_id,
        target=target_from(row),
        step=row.step,
        intent=intent_from_record(row.intent),
        state=AttemptState(row.state),
        intended_at=row.intended_at,
        tries=row.tries,
        maybe_sent=row.maybe_sent,
        applied_at=row.applied_at,
        applied_generation=row.applied_generation,
        rolled_out_at=row.rolled_out_at,
        ended_at=row.ended_at,
        verdict=Verdict(row.verdict) if row.verdict else None,
        reason=Reason(row.reason) if row.reason else None,
        ready_before=row.ready_before,
        value_before=row.value_before,
        samples=tuple(_sample_from(item) for item in row.samples),
    )


def sample_to_record(sample: Sample) -> dict[str, Any]:
    finite = sample.value is None or math.isfinite(sample.value)
    return {
        "at": sample.at.isoformat(),
        "value": sample.value if finite else str(sample.value),  # JSON has no infinity
        "reason": sample.reason,
        "detail": sample.detail,
    }


def _sample_from(item: dict[str, Any]) -> Sample:
    return Sample(
        at=datetime.fromisoformat(item["at"]),
        value=None if item["value"] is None else float(item["value"]),
        reason=Reason(item["reason"]) if item["reason"] else None,
        detail=item["detail"],
    )


def pause_from(row: Row[Any]) -> Pause:
    return Pause(id=row.id, scope=row.scope, by=row.by, why=row.why, since=row.since, until=row.until)
