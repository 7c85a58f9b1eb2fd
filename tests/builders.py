"""Values with boring defaults: a test names only what it is about."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from remediator.core.actions import (
    MinimumIntent,
    RestartIntent,
    RollingRestart,
    RolloutUndo,
    Scale,
    ScaleIntent,
    Target,
    UndoIntent,
)
from remediator.core.alerts import Alert, AlertStatus, Notification
from remediator.core.announcements import Announcement
from remediator.core.decisions import History, Situation
from remediator.core.facts import Between, Fact, FactRules, Observation, PodSeen, Revision, facts_from
from remediator.core.incidents import Attempt, AttemptState, Incident, Pause, Phase
from remediator.core.intake import Admission
from remediator.core.policy import Limits, Mode, Playbook, Policy, Step, TargetPolicy
from remediator.core.reasons import Reason
from remediator.core.verification import Criterion, Good, Sample

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
"""A Monday at noon."""
APEX = Target("bizra-testnet", "bizra-apex")
QUERY = 'score{namespace="$namespace",deployment="$deployment"}'


def ago(**span: float) -> datetime:
    return NOW - timedelta(**span)


def after(**span: float) -> datetime:
    return NOW + timedelta(**span)


def labels_for(name: str = "AhsanScoreLow", target: Target = APEX) -> dict[str, str]:
    return {"alertname": name, "namespace": target.namespace, target.kind.label: target.name}


def an_alert(
    name: str = "AhsanScoreLow", *, target: Target = APEX, firing: bool = True, **overrides: Any
) -> Alert:
    given: dict[str, Any] = {
        "fingerprint": f"{name}{target.namespace}{target.name}".replace("-", ""),
        "status": AlertStatus.FIRING if firing else AlertStatus.RESOLVED,
        "labels": labels_for(name, target),
        "annotations": {},
        "starts_at": ago(minutes=1),
    }
    return Alert(**{**given, **overrides})


def an_announcement(**overrides: Any) -> Announcement:
    given: dict[str, Any] = {
        "number": 1,
        "target": APEX,
        "incident": 7,
        "opened_at": NOW,
        "alert": "HiveDown",
        "at": NOW,
        "kind": "applied",
        "reason": Reason.APPLIED,
        "detail": "attempt 1: rolling restart",
        "digest": "0123456789abcdef",
    }
    return Announcement(**{**given, **overrides})


def a_notification(*alerts: Alert, **overrides: Any) -> Notification:
    given: dict[str, Any] = {"group_key": "{}:{}", "receiver": "remediator"}
    return Notification(**{**given, "alerts": alerts or (an_alert(),), **overrides})


def an_admission(alert: Alert | None = None, *, target: Target = APEX) -> Admission:
    return Admission(alert=alert or an_alert(target=target), reason=Reason.INCIDENT_OPENED, target=target)


def an_alert_body(name: str = "AhsanScoreLow", **overrides: Any) -> dict[str, Any]:
    """One alert as Alertmanager writes it."""
    given = {
        "status": "firing",
        "labels": labels_for(name),
        "annotations": {"summary": "low"},
        "startsAt": "2026-03-02T11:59:00Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus:9090/graph",
        "fingerprint": "c0ffee0123456789",
    }
    return {key: value for key, value in {**given, **overrides}.items() if value is not ...}


def a_body(*alerts: Any, **overrides: Any) -> dict[str, Any]:
    """One notification as Alertmanager writes it. `...` leaves a key out."""
    given = {
        "version": "4",
        "groupKey": '{}:{alertname="AhsanScoreLow"}',
        "truncatedAlerts": 0,
        "status": "firing",
        "receiver": "remediator",
        "alerts": list(alerts) if alerts else [an_alert_body()],
    }
    return {key: value for key, value in {**given, **overrides}.items() if value is not ...}


def a_revision(number: int = 6, digest: str = "old", **overrides: Any) -> Revision:
    given: dict[str, Any] = {"replica_set_uid": f"rs-{number}", "number": number, "digest": digest}
    return Revision(**{**given, "images": (f"hive:{number}",), **overrides})


def an_observation(**overrides: Any) -> Observation:
    """A Deployment at rest with three ready pods, rolled out long ago, with something to go back to."""
    given: dict[str, Any] = {
        "at": NOW,
        "uid": "uid-1",
        "generation": 7,
        "template_digest": "new",
        "replicas": 3,
        "ready": 3,
        "opted_in": True,
        "template_changed": Between(earliest=ago(days=9), latest=ago(days=9)),
        "revision": 7,
        "images": ("hive:7",),
        "previous": (a_revision(),),
        "pods": tuple(PodSeen(name=f"pod-{number}", ready=True) for number in range(3)),
        "usage": 0.3,
        "hpas": (),
    }
    return Observation(**{**given, **overrides})


def recently(minutes: float = 10) -> Between:
    return Between(earliest=ago(minutes=minutes), latest=ago(minutes=minutes))


def a_criterion(**overrides: Any) -> Criterion:
    given: dict[str, Any] = {
        "query": QUERY,
        "good": Good(">=", 95),
        "settle": timedelta(seconds=30),
        "samples": 3,
        "every": timedelta(seconds=10),
        "within": timedelta(minutes=5),
    }
    return Criterion(**{**given, **overrides})


UNDO = Step(action=RolloutUndo(), when=(Fact.RECENT_ROLLOUT, Fact.PREVIOUS_REVISION))
SCALE = Step(action=Scale(5), when=(Fact.RESOURCE_PRESSURE,))
RESTART = Step(action=RollingRestart())


def a_playbook(*steps: Step, alert: str = "AhsanScoreLow", **overrides: Any) -> Playbook:
    given: dict[str, Any] = {"alert": alert, "steps": steps or (UNDO, SCALE, RESTART)}
    return Playbook(**{**given, "verify": a_criterion(), **overrides})


def a_policy(*playbooks: Playbook, targets: tuple[Target, ...] = (APEX,), **overrides: Any) -> Policy:
    given: dict[str, Any] = {
        "mode": Mode.AUTO,
        "targets": {
            target: TargetPolicy(target=target, min_replicas=1, max_replicas=10) for target in targets
        },
        "playbooks": {playbook.alert: playbook for playbook in playbooks or (a_playbook(),)},
        "limits": Limits(),
        "digest": "0123456789ab",
    }
    return Policy(**{**given, **overrides})


def an_incident(**overrides: Any) -> Incident:
    given: dict[str, Any] = {
        "id": 1,
        "target": APEX,
        "alert": "AhsanScoreLow",
        "phase": Phase.DECIDING,
        "opened_at": ago(minutes=1),
        "alert_started_at": ago(minutes=1),
        "phase_since": ago(minutes=1),
    }
    return Incident(**{**given, **overrides})


def a_restart_intent(**overrides: Any) -> RestartIntent:
    given: dict[str, Any] = {
        "uid": "uid-1",
        "generation": 7,
        "template_digest": "new",
        "restarted_at": "2026-03-02T12:00:00Z",
    }
    return RestartIntent(**{**given, **overrides})


def an_undo_intent(**overrides: Any) -> UndoIntent:
    given: dict[str, Any] = {
        "uid": "uid-1",
        "generation": 7,
        "template_digest": "new",
        "replica_set_uid": "rs-6",
        "revision": 6,
        "target_digest": "old",
    }
    return UndoIntent(**{**given, **overrides})


def a_scale_intent(before: int = 3, after: int = 5, **overrides: Any) -> ScaleIntent:
    given: dict[str, Any] = {"uid": "uid-1", "generation": 7}
    return ScaleIntent(**{**given, "replicas_from": before, "replicas_to": after, **overrides})


def a_minimum_intent(before: int = 3, after: int = 5, **overrides: Any) -> MinimumIntent:
    given: dict[str, Any] = {"uid": "uid-1", "generation": 7, "autoscaler": "web", "autoscaler_uid": "hpa-1"}
    return MinimumIntent(**{**given, "replicas_from": before, "replicas_to": after, **overrides})


def an_attempt(**overrides: Any) -> Attempt:
    """A restart of two hours ago that did not help."""
    given: dict[str, Any] = {
        "id": 1,
        "incident_id": 1,
        "target": APEX,
        "step": 2,
        "intent": a_restart_intent(),
        "state": AttemptState.JUDGED,
        "intended_at": ago(hours=2),
        "ended_at": ago(hours=2) + timedelta(minutes=5),
    }
    return Attempt(**{**given, **overrides})


def a_pause(scope: str = "all", **overrides: Any) -> Pause:
    given: dict[str, Any] = {"id": 1, "scope": scope, "by": "ada", "why": "maintenance"}
    return Pause(**{**given, "since": ago(minutes=5), **overrides})


def a_sample(value: float | None = 80, at: datetime = NOW, **overrides: Any) -> Sample:
    given = {} if value is not None else {"reason": Reason.NO_DATA, "detail": "the query returned no series"}
    return Sample(**{"at": at, "value": value, **given, **overrides})


def a_situation(
    *, playbook: Playbook | None = None, rules: FactRules | None = None, now: datetime = NOW, **overrides: Any
) -> Situation:
    """A firing alert on a healthy Deployment whose score is bad: the restart is what applies."""
    incident = overrides.pop("incident", an_incident())
    seen = overrides.pop("seen", an_observation())
    facts = {}
    if isinstance(seen, Observation):
        started = incident.alert_started_at
        facts = dict(facts_from(seen, alert_started_at=started, rules=rules or FactRules()))
    given: dict[str, Any] = {
        "incident": incident,
        "firing": True,
        "playbook": playbook or a_playbook(),
        "target_policy": TargetPolicy(target=APEX, min_replicas=1, max_replicas=10),
        "seen": seen,
        "facts": facts,
        "condition": a_sample(80, now),
        "history": History(),
    }
    return Situation(**{**given, **overrides})


def with_limits(policy: Policy, **limits: Any) -> Policy:
    return replace(policy, limits=replace(policy.limits, **limits))
