"""Why something was done, or was not: one word for metrics and SQL, one sentence for people.

Every decision, refusal and outcome carries one of these. The word is the value of a metric label and
a column, so it never changes; the sentence may be improved.
"""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    # what happened to an alert when it came in
    INCIDENT_OPENED = "incident_opened"
    INCIDENT_JOINED = "incident_joined"
    REPEATED = "repeated"
    STILL_FIRING = "still_firing"
    JUST_CLOSED = "just_closed"
    RESOLVED = "resolved"
    NO_PLAYBOOK = "no_playbook"
    NO_TARGET = "no_target"
    UNKNOWN_TARGET = "unknown_target"
    MALFORMED_ALERT = "malformed_alert"
    IMPLAUSIBLE_TIME = "implausible_time"
    WATCHDOG = "watchdog"
    SUPPRESSED = "suppressed"
    VANISHED = "vanished"
    # why a step is or is not the one to take
    STEP_APPLIES = "step_applies"
    ALREADY_TRIED = "already_tried"
    FACT_FALSE = "fact_false"
    FACT_UNKNOWN = "fact_unknown"
    NO_PREVIOUS_REVISION = "no_previous_revision"
    ALREADY_UNDONE = "already_undone"
    DEPLOYED_SINCE = "deployed_since"
    REPLICAS_AT_BOUND = "replicas_at_bound"
    HPA_OWNS_REPLICAS = "hpa_owns_replicas"
    OWNED_ELSEWHERE = "owned_elsewhere"
    WOULD_INTERRUPT = "would_interrupt"
    NO_ROOM = "no_room"
    STATEFUL_NOT_UNDONE = "stateful_not_undone"
    ON_DELETE = "on_delete"
    PARTITIONED = "partitioned"
    WAITS_FOR_POD = "waits_for_pod"
    VOLUMES_WOULD_GO = "volumes_would_go"
    # what a guardrail says
    PAUSED = "paused"
    PAUSE_UNREADABLE = "pause_unreadable"
    BREAKER_OPEN = "breaker_open"
    NOT_FIRING = "not_firing"
    CONDITION_CLEARED = "condition_cleared"
    NO_DATA = "no_data"
    PROMETHEUS_UNREACHABLE = "prometheus_unreachable"
    BLIND = "blind"
    CLUSTER_UNREACHABLE = "cluster_unreachable"
    UNAUTHENTICATED = "unauthenticated"
    ROLLOUT_IN_PROGRESS = "rollout_in_progress"
    DEPLOYMENT_PAUSED = "deployment_paused"
    SCALED_TO_ZERO = "scaled_to_zero"
    AUTOSCALER_GROWING = "autoscaler_growing"
    ACTION_IN_FLIGHT = "action_in_flight"
    COOLDOWN = "cooldown"
    TARGET_BUDGET = "target_budget"
    TARGET_DAILY_BUDGET = "target_daily_budget"
    OVERALL_BUDGET = "overall_budget"
    TOO_MANY_AT_ONCE = "too_many_at_once"
    STORM = "storm"
    OUTSIDE_CHANGE_WINDOW = "outside_change_window"
    OBSERVE_MODE = "observe_mode"
    AWAITING_APPROVAL = "awaiting_approval"
    # a person's turn
    TARGET_NOT_FOUND = "target_not_found"
    NOT_OPTED_IN = "not_opted_in"
    FORBIDDEN_TARGET = "forbidden_target"
    FORBIDDEN = "forbidden"
    REFUSED_BY_CLUSTER = "refused_by_cluster"
    APPROVAL_REFUSED = "approval_refused"
    NO_STEP_APPLIES = "no_step_applies"
    STEPS_EXHAUSTED = "steps_exhausted"
    WORSE_AFTER_ACTION = "worse_after_action"
    OUTCOME_UNKNOWN = "outcome_unknown"
    POISONED = "poisoned"
    POLICY_CHANGED = "policy_changed"
    # what became of an attempt
    APPLIED = "applied"
    CHANGED_BY_OTHERS = "changed_by_others"
    ROLLED_OUT = "rolled_out"
    ROLLOUT_WAITING = "rollout_waiting"
    ROLLOUT_FAILED = "rollout_failed"
    ROLLOUT_TIMED_OUT = "rollout_timed_out"
    RECOVERED = "recovered"
    NOT_RECOVERED = "not_recovered"
    VERDICT_UNKNOWN = "verdict_unknown"
    VERDICT_PENDING = "verdict_pending"
    ACKNOWLEDGED = "acknowledged"
    # what becomes of a scale-up after the recovery
    RETURN_DUE = "return_due"
    RETURN_WAITING = "return_waiting"
    UNWELL = "unwell"
    OPEN_INCIDENT = "open_incident"
    RETURNED = "returned"
    RETURN_FAILED = "return_failed"
    TAKEN_OVER = "taken_over"

    @property
    def sentence(self) -> str:
        """The reason in words a person reads at 3 a.m."""
        return SENTENCES[self]


SENTENCES: dict[Reason, str] = {
    Reason.INCIDENT_OPENED: "the first firing alert on this target opened an incident",
    Reason.INCIDENT_JOINED: "the target already has an open incident; the alert was added to it",
    Reason.REPEATED: "this alert is already known; Alertmanager sends whole groups again",
    Reason.STILL_FIRING: "the alert is still firing although its last incident was closed",
    Reason.JUST_CLOSED: "the alert's last incident closed moments ago; its windows may still show the past",
    Reason.RESOLVED: "Alertmanager says the alert is resolved, which is not yet proof of recovery",
    Reason.NO_PLAYBOOK: "the policy has no playbook for this alert on this kind of workload",
    Reason.NO_TARGET: "the alert does not name one target: a namespace, and one deployment or statefulset",
    Reason.UNKNOWN_TARGET: "the policy does not list this target",
    Reason.MALFORMED_ALERT: "the alert does not have the shape Alertmanager gives it",
    Reason.IMPLAUSIBLE_TIME: "the alert's start is the zero time or lies in the future",
    Reason.WATCHDOG: "the Watchdog says that alerts reach us; it is no incident",
    Reason.SUPPRESSED: "Alertmanager silences, inhibits or mutes the alert, or cannot say that it does not",
    Reason.VANISHED: "no Alertmanager has the alert any more, and none told us that it was resolved",
    Reason.STEP_APPLIES: "it is the first untried step whose facts all hold",
    Reason.ALREADY_TRIED: "the step was already tried in this incident",
    Reason.FACT_FALSE: "a fact the step asks for does not hold",
    Reason.FACT_UNKNOWN: "a fact the step asks for could not be observed, and unknown never counts as true",
    Reason.NO_PREVIOUS_REVISION: "there is no older revision with a different template to go back to",
    Reason.ALREADY_UNDONE: "the rollout was undone before; an undo is never undone or repeated",
    Reason.DEPLOYED_SINCE: "the alert is older than the present revision: an undo goes back to what was sick",
    Reason.REPLICAS_AT_BOUND: "the replica count asked for is the present one or lies beyond the bounds",
    Reason.HPA_OWNS_REPLICAS: "a HorizontalPodAutoscaler owns the replica count",
    Reason.OWNED_ELSEWHERE: "GitOps or an operator owns the target, or its autoscaler, and would revert it",
    Reason.WOULD_INTERRUPT: "the rollout would take away every pod that serves before its successor does",
    Reason.NO_ROOM: "pods find no room already, and more of them would find none either",
    Reason.STATEFUL_NOT_UNDONE: "a StatefulSet is not undone: its data, and a pod that hangs, would stay",
    Reason.ON_DELETE: "a restart does nothing: the StatefulSet replaces a pod only once somebody deletes it",
    Reason.PARTITIONED: "a restart would miss the pods that the StatefulSet's partition keeps as they are",
    Reason.WAITS_FOR_POD: "the StatefulSet changes nothing while a pod is not ready: it would wait for ever",
    Reason.VOLUMES_WOULD_GO: "the StatefulSet deletes the volumes of pods that are scaled away",
    Reason.PAUSED: "a person paused the remediator here",
    Reason.PAUSE_UNREADABLE: "a pause is written on the target that cannot be read; in doubt it holds",
    Reason.BREAKER_OPEN: "too many actions did not help; the breaker stays open until a person resumes",
    Reason.NOT_FIRING: "the alert is no longer firing, but our own query does not say recovered either",
    Reason.CONDITION_CLEARED: "our own query says the service is well",
    Reason.NO_DATA: "our own query returned no usable data, and no data is not healthy",
    Reason.PROMETHEUS_UNREACHABLE: "Prometheus did not answer",
    Reason.BLIND: "the Watchdog has been silent too long: what we are told may be old or incomplete",
    Reason.CLUSTER_UNREACHABLE: "the Kubernetes API server did not answer",
    Reason.UNAUTHENTICATED: "the Kubernetes API server does not accept our credentials, renewed ones neither",
    Reason.ROLLOUT_IN_PROGRESS: "a rollout that is not ours is in progress",
    Reason.DEPLOYMENT_PAUSED: "the Deployment's rollouts are paused (kubectl rollout resume)",
    Reason.SCALED_TO_ZERO: "somebody scaled the target to 0, and that is theirs to undo",
    Reason.AUTOSCALER_GROWING: "an autoscaler is adding pods, and would count a rollout's pods as load",
    Reason.ACTION_IN_FLIGHT: "another action on this target is still in flight",
    Reason.COOLDOWN: "the last action on this target was too short a time ago",
    Reason.TARGET_BUDGET: "the target's action budget is spent",
    Reason.TARGET_DAILY_BUDGET: "the target's daily action budget is spent",
    Reason.OVERALL_BUDGET: "the overall action budget is spent",
    Reason.TOO_MANY_AT_ONCE: "as many actions as the policy allows are in flight",
    Reason.STORM: "so many targets alert at once that the cause is likely elsewhere; all are one escalation",
    Reason.OUTSIDE_CHANGE_WINDOW: "the policy allows changes only in its change windows",
    Reason.OBSERVE_MODE: "the policy says observe: this is what would have been done",
    Reason.AWAITING_APPROVAL: "the policy says approve: a person has to agree first",
    Reason.TARGET_NOT_FOUND: "the target does not exist",
    Reason.NOT_OPTED_IN: 'the target does not carry the label remediator/enabled: "true"',
    Reason.FORBIDDEN_TARGET: "the target is the remediator itself or a system namespace",
    Reason.FORBIDDEN: "the API server denies us a permission the step needs",
    Reason.REFUSED_BY_CLUSTER: "the API server refused the change",
    Reason.APPROVAL_REFUSED: "a person refused the action",
    Reason.NO_STEP_APPLIES: "no step of the playbook applies to what was observed",
    Reason.STEPS_EXHAUSTED: "every step that applies was tried without recovery",
    Reason.WORSE_AFTER_ACTION: "the service is clearly worse than before the action",
    Reason.OUTCOME_UNKNOWN: "it could not be established whether the change was applied",
    Reason.POISONED: "work on this incident failed again and again",
    Reason.POLICY_CHANGED: "the policy no longer has the playbook or the target of this incident",
    Reason.APPLIED: "the API server accepted the change",
    Reason.CHANGED_BY_OTHERS: "somebody else changed it first; nothing of ours was sent",
    Reason.ROLLED_OUT: "the rollout is complete",
    Reason.ROLLOUT_WAITING: "the rollout is under way",
    Reason.ROLLOUT_FAILED: "the rollout exceeded its progress deadline",
    Reason.ROLLOUT_TIMED_OUT: "the rollout did not finish within the policy's time",
    Reason.RECOVERED: "our own query saw the service recover",
    Reason.NOT_RECOVERED: "our own query did not see the service recover in time",
    Reason.VERDICT_UNKNOWN: "our own query had no usable data up to the deadline: not recovered",
    Reason.VERDICT_PENDING: "not enough good samples yet",
    Reason.ACKNOWLEDGED: "a person acknowledged the escalation, or that the replicas stay",
    Reason.RETURN_DUE: "the service has stayed well for as long as the policy wants before replicas go back",
    Reason.RETURN_WAITING: "our scale-up is given back once the service has stayed well long enough",
    Reason.UNWELL: "our own query does not say that the service is well: no replica is given back now",
    Reason.OPEN_INCIDENT: "the target has an open incident: no replica is given back meanwhile",
    Reason.RETURNED: "the replica count, or minReplicas, is again what it was before our scale-up",
    Reason.RETURN_FAILED: "the service was not well with fewer replicas: a person has to say how many",
    Reason.TAKEN_OVER: "a later scale-up took over what is to be given back",
}
