"""Each guarantee broken on purpose, and the tests that have to notice.

A mutation is one small change to the package: `old`, which occurs exactly once in the file, becomes `new`.
`python -m tests.proofs.mutants` applies each to a copy and runs its tests.
"""

from __future__ import annotations

from dataclasses import dataclass

LIFECYCLE = "remediator/lifecycle"
JOURNAL = "remediator/adapters/journal"
KUBERNETES = "remediator/adapters/kubernetes"
SENDING = "tests/flow/test_sending.py"
HOLDS = "tests/flow/test_holds.py"
RECOVERY = "tests/flow/test_recovery.py"
RECONCILE = "tests/flow/test_reconcile.py"
RETURNS = "tests/flow/test_returns.py"
PERSON = "tests/flow/test_person.py"
LAST_LOOK = "tests/flow/test_last_look.py"
PRUNING = "tests/journal/test_pruning.py"


@dataclass(frozen=True, slots=True)
class Mutation:
    name: str
    promise: str
    path: str
    old: str
    new: str
    caught_by: tuple[str, ...]
    """Tests that are quick; the first that fails ends it."""
    needs: str = ""
    """An environment variable without which it cannot be tried."""


MUTATIONS = (
    # ------------------------------------------------------------------ nothing lost
    Mutation(
        "answer 202 although the commit failed",
        "nothing lost",
        f"{JOURNAL}/connection.py",
        'raise JournalUnavailable(f"{type(cause).__name__}: {str(cause)[:256]}") from error',
        "del cause",
        ("tests/web/test_webhook.py::test_a_locked_journal_is_503_and_the_retry_succeeds",),
    ),
    Mutation(
        "lose a signal that comes while a worker is busy",
        "nothing lost",
        f"{JOURNAL}/statements.py",
        '(incidents.c.signals != bindparam("at_signals"), _instant("at_now")),',
        '(incidents.c.signals < bindparam("at_signals"), _instant("at_now")),',
        ("tests/journal/test_leases.py::test_a_signal_that_comes_while_someone_works_is_not_lost",),
    ),
    Mutation(
        "keep the lease when a phase is saved",
        "nothing lost",
        f"{JOURNAL}/transaction.py",
        'changes |= {"lease_owner": None, "lease_until": 0}',
        "pass",
        ("tests/journal/test_leases.py::test_saving_releases_the_lease_and_forgets_the_claims",),
    ),
    Mutation(
        "let a poisoned incident kill workers for ever",
        "nothing lost",
        f"{LIFECYCLE}/__init__.py",
        "if claim.claims > MOST_CLAIMS:",
        "if claim.claims > 10**9:",
        (f"{SENDING}::test_claims_without_any_progress_poison_an_incident",),
    ),
    Mutation(
        "do not pick up what was missed",
        "nothing lost",
        "remediator/core/reconcile.py",
        "                missed.append(alert)\n",
        "                pass\n",
        (f"{RECONCILE}::test_what_was_missed_while_we_were_down_is_remediated",),
    ),
    Mutation(
        "let an alert join an incident that is just being closed",
        "nothing lost",
        f"{JOURNAL}/statements.py",
        "return in_order(open_incidents(dialect))",
        "return open_incidents(dialect)",
        (
            "tests/journal/test_at_once.py::test_an_alert_that_comes_while_its_incident_is_being_closed_begins_the_next_one",
        ),
        needs="TEST_POSTGRES_URL",  # SQLite has one writer anyway
    ),
    Mutation(
        "prune open incidents",
        "nothing lost",
        f"{JOURNAL}/pruning.py",
        ".where(incidents.c.phase == Phase.CLOSED.value, incidents.c.closed_at < old, not_(still.exists()))",
        ".where(incidents.c.opened_at < old, not_(still.exists()))",
        (f"{PRUNING}::test_open_incidents_stay_however_old",),
    ),
    # ------------------------------------------------------------------ never twice
    Mutation(
        "send before the intent is durable",
        "never twice",
        f"{LIFECYCLE}/decide.py",
        '    detail = f"attempt {attempt.id}: {describe(decision.intent)}, because {decision.detail}"\n',
        "    world.cluster.send(claim.incident.target, decision.intent)\n"
        '    detail = f"attempt {attempt.id}: {describe(decision.intent)}, because {decision.detail}"\n',
        (f"{SENDING}::test_a_crash_around_any_transaction_loses_and_repeats_nothing",),
    ),
    Mutation(
        "do not note before a sending that it may have been sent",
        "never twice",
        f"{LIFECYCLE}/act.py",
        "tries=attempt.tries + 1, maybe_sent=True)\n            tx.update_attempt(attempt)",
        "tries=attempt.tries + 1, maybe_sent=True)",
        (f"{SENDING}::test_what_somebody_changed_after_a_crash_goes_to_a_person",),
    ),
    Mutation(
        "send without asking the journal once more",
        "never twice",
        f"{LIFECYCLE}/act.py",
        "    with world.journal.transaction() as tx:\n"
        "        incident, policy = tx.refresh(claim), world.policy()\n"
        "        stop = stop_before(attempt.intent, attempt.step, "
        "incident, policy, tx.pauses(), now=now) or mark\n"
        "        if stop is None:\n"
        "            attempt = replace(attempt, tries=attempt.tries + 1, maybe_sent=True)\n"
        "            tx.update_attempt(attempt)\n",
        "    stop, incident = mark, claim.incident\n",
        (
            "tests/end_to_end/test_cut_off.py::test_cut_off_once_the_intent_is_durable_it_sends_nothing_and_the_other_does",
        ),
        needs="TEST_POSTGRES_URL",
    ),
    Mutation(
        "take an unclear answer for a certain no",
        "never twice",
        f"{LIFECYCLE}/act.py",
        "case Delivery.UNCLEAR:\n            return _ask_again(world, claim, attempt, sent.detail, after=",
        "case Delivery.UNCLEAR:\n            return _ask_again(world, claim, certain, sent.detail, after=",
        (f"{SENDING}::test_what_somebody_changed_after_an_unclear_answer_goes_to_a_person",),
    ),
    Mutation(
        "let a later no rule out an earlier sending",
        "never twice",
        f"{LIFECYCLE}/act.py",
        "certain = replace(attempt, maybe_sent=doubted)",
        "certain = replace(attempt, maybe_sent=False)",
        (f"{SENDING}::test_a_later_no_does_not_rule_out_an_earlier_sending",),
    ),
    Mutation(
        "do not ask the object after a crash whether it happened",
        "never twice",
        f"{LIFECYCLE}/act.py",
        "found = world.cluster.recognise(claim.incident.target, attempt.intent)",
        'found = Recognition(standing=Standing.SENDABLE, detail="surely")',
        (f"{SENDING}::test_an_answer_that_got_lost_is_recognised_and_not_sent_again",),
    ),
    Mutation(
        "withdraw under a pause what may have been sent",
        "never twice",
        f"{LIFECYCLE}/act.py",
        "        if doubted:\n",
        "        if False:\n",
        (f"{HOLDS}::test_a_pause_never_withdraws_what_may_have_been_sent",),
    ),
    Mutation(
        "send a PATCH again when there was no answer",
        "never twice",
        f"{KUBERNETES}/connection.py",
        'return self._authorized("PATCH", path, query, deadline, data=data, content_type=content_type)',
        "written = {'data': data, 'content_type': content_type}\n"
        "        try:\n"
        '            return self._authorized("PATCH", path, query, deadline, **written)\n'
        "        except NoAnswer:\n"
        '            return self._authorized("PATCH", path, query, deadline, **written)',
        ("tests/adapters/test_kubernetes_connection.py::test_a_write_goes_out_once_and_may_have_arrived",),
    ),
    Mutation(
        "take silence after a write for nothing sent",
        "never twice",
        f"{KUBERNETES}/delivery.py",
        "certain = dry_run or not silence.sent",
        "certain = True",
        ("tests/adapters/test_kubernetes_cluster.py::test_what_becomes_of_a_sending",),
    ),
    Mutation(
        "drop the precondition on the uid",
        "never twice",
        f"{KUBERNETES}/patches.py",
        '        {"op": "test", "path": "/metadata/uid", "value": intent.uid},\n',
        "",
        (
            "tests/adapters/test_kubernetes_patches.py::test_a_change_of_the_template_is_for_one_state_of_one_object",
        ),
    ),
    Mutation(
        "drop the precondition on the generation",
        "never twice",
        f"{KUBERNETES}/patches.py",
        '        {"op": "test", "path": "/metadata/generation", "value": intent.generation},\n',
        "",
        (
            "tests/adapters/test_kubernetes_patches.py::test_a_change_of_the_template_is_for_one_state_of_one_object",
        ),
    ),
    Mutation(
        "drop the precondition on the labels",
        "stoppable",
        f"{KUBERNETES}/patches.py",
        'return ["labels", *further]',
        "return further",
        (
            "tests/adapters/test_kubernetes_patches.py::test_a_change_of_the_template_is_for_one_state_of_one_object",
        ),
    ),
    Mutation(
        "scale whatever version of the object is there",
        "never twice",
        f"{KUBERNETES}/patches.py",
        '"metadata": {"uid": intent.uid, "resourceVersion": text(scale, "metadata", "resourceVersion")},',
        '"metadata": {"uid": intent.uid},',
        ("tests/adapters/test_kubernetes_patches.py::test_scaling_is_for_the_version_that_was_looked_at",),
    ),
    Mutation(
        "scale by the count alone",
        "never twice",
        f"{KUBERNETES}/standing.py",
        "    if generation_of(live) != intent.generation:\n"
        "        return moved(live, intent)\n"
        "    if found := autoscalers().found:",
        "    if found := autoscalers().found:",
        (
            "tests/adapters/test_kubernetes_cluster.py::test_a_scale_is_not_sent_when_anything_changed_though_the_count_did_not",
        ),
    ),
    Mutation(
        "hand out what another worker holds",
        "never twice",
        f"{JOURNAL}/statements.py",
        "            incidents.c.lease_until <= clock,\n",
        "",
        ("tests/journal/test_leases.py::test_what_is_due_is_claimed_by_one_owner",),
    ),
    Mutation(
        "let a worker write that has lost its lease",
        "never twice",
        f"{JOURNAL}/statements.py",
        '    incidents.c.fence == bindparam("at_fence"),\n',
        "",
        (
            "tests/journal/test_leases.py::test_the_same_owner_that_claims_again_leaves_its_former_self_behind",
        ),
    ),
    Mutation(
        "take a repeated alert for news",
        "never twice",
        "remediator/core/intake.py",
        "return Reason.REPEATED if same else Reason.INCIDENT_JOINED",
        "return Reason.INCIDENT_JOINED",
        ("tests/flow/test_receive.py::test_a_repeat_changes_nothing",),
    ),
    Mutation(
        "give replicas back again after a return that was not borne",
        "never twice",
        f"{LIFECYCLE}/returning.py",
        "        if is_way_up(attempt):\n"
        "            escalate(tx, claim, Escalate(reason=Reason.RETURN_FAILED, detail=detail), now=now)\n"
        "            return None\n",
        "",
        (f"{RETURNS}::test_a_service_that_stays_bad_after_going_back_up_is_a_persons_too",),
    ),
    Mutation(
        "set whatever version of the autoscaler is there",
        "never twice",
        f"{KUBERNETES}/autoscalers.py",
        '"metadata": {"uid": intent.autoscaler_uid, "resourceVersion": version},',
        '"metadata": {"uid": intent.autoscaler_uid},',
        (
            "tests/adapters/test_kubernetes_minimum.py::test_what_is_written_names_the_version_that_was_looked_at",
        ),
    ),
    # ------------------------------------------------------------------ bounded
    Mutation(
        "drop the index of one open incident per target",
        "bounded",
        f"{JOURNAL}/migrations/versions/0005_target_kind.py",
        "unique=True,",
        'unique=name != "one_open_incident_per_target",',
        (
            "tests/journal/test_intake.py::test_a_second_open_incident_on_a_target_is_refused_and_nothing_of_it_stays",
        ),
    ),
    Mutation(
        "drop the index of one attempt in flight per target",
        "bounded",
        f"{JOURNAL}/migrations/versions/0005_target_kind.py",
        "unique=True,",
        'unique=name != "one_attempt_in_flight_per_target",',
        ("tests/journal/test_timeline.py::test_two_attempts_in_flight_on_a_target_are_refused",),
    ),
    Mutation(
        "decide without the lock",
        "bounded",
        f"{JOURNAL}/transaction.py",
        "            self._db.execute(select(gate.c.id).with_for_update()).all()\n",
        "            pass\n",
        ("tests/journal/test_leases.py::test_decisions_are_made_one_after_the_other",),
        needs="TEST_POSTGRES_URL",  # SQLite has one writer anyway
    ),
    Mutation(
        "let only what helped spend budget",
        "bounded",
        "remediator/core/guardrails/past.py",
        "return [a for a in attempts if a.state is not AttemptState.WITHDRAWN and not a.returning]",
        "return [a for a in attempts if a.verdict is Verdict.RECOVERED]",
        ("tests/core/test_guardrails.py::test_a_target_has_a_budget_per_window_and_per_day",),
    ),
    Mutation(
        "scale a StatefulSet down although its volumes would go",
        "bounded",
        "remediator/core/order.py",
        "if action.down and (dropped := volumes_refusal(seen)):",
        "if (dropped := None):",
        ("tests/core/test_order.py::test_a_step_on_a_stateful_set",),
    ),
    Mutation(
        "restart a StatefulSet that waits for a pod",
        "bounded",
        "remediator/core/order.py",
        "    if not order.one_by_one:\n",
        "    if order.one_by_one:\n",
        ("tests/core/test_order.py::test_a_step_on_a_stateful_set",),
    ),
    Mutation(
        "undo a StatefulSet like a Deployment",
        "bounded",
        "remediator/core/steps.py",
        "case RolloutUndo() if situation.incident.target.kind is Workload.STATEFUL_SET:",
        "case RolloutUndo() if False:",
        ("tests/core/test_order.py::test_a_step_on_a_stateful_set",),
    ),
    Mutation(
        "take a StatefulSet for the Deployment of its name",
        "never twice",
        "remediator/core/intake.py",
        'return Target(alert.labels.get("namespace", ""), name, kind)',
        'return Target(alert.labels.get("namespace", ""), name)',
        ("tests/core/test_intake.py::test_the_label_says_which_kind_of_workload_it_is",),
    ),
    Mutation(
        "ignore the cooldown",
        "bounded",
        "remediator/core/guardrails/past.py",
        "if latest is None or p.now >= latest + p.limits.cooldown:",
        "if latest is None or p.now >= latest:",
        (f"{HOLDS}::test_the_cooldown_is_kept_between_incidents",),
    ),
    Mutation(
        "ignore how many are in flight",
        "bounded",
        "remediator/core/guardrails/past.py",
        "if in_flight < p.limits.at_once:",
        "if True:",
        (f"{HOLDS}::test_at_most_so_many_actions_are_in_flight_at_once",),
    ),
    Mutation(
        "ignore the overall budget",
        "bounded",
        "remediator/core/guardrails/past.py",
        "return _over(times, p.limits.overall_actions,",
        "return _over(times, 10**9,",
        (f"{HOLDS}::test_the_overall_budget_holds_for_all_targets_together",),
    ),
    Mutation(
        "scale beyond the target's bounds",
        "bounded",
        "remediator/core/steps.py",
        "    if bounds.min_replicas <= action.to <= bounds.max_replicas:",
        "    if True:",
        ("tests/core/test_steps.py::test_a_step_says_why_it_is_or_is_not_the_one",),
    ),
    Mutation(
        "allow 0 replicas",
        "bounded",
        "remediator/core/actions.py",
        '        if self.to < 1:\n            raise ValueError("a workload',
        '        if self.to < 0:\n            raise ValueError("a workload',
        ("tests/core/test_actions.py::test_nothing_is_ever_scaled_below_one",),
    ),
    Mutation(
        "undo twice in one incident",
        "bounded",
        "remediator/core/steps.py",
        "if any(isinstance(attempt.intent, UndoIntent) and _counts(attempt) for attempt in situation.tried):",
        "if False:",
        ("tests/core/test_steps.py::test_an_undo_is_never_undone_or_repeated",),
    ),
    Mutation(
        "act on a target that waits for a person",
        "bounded",
        f"{LIFECYCLE}/close.py",
        "tx.save(claim, phase=Phase.ESCALATED, next_at=now, now=now, **ended)",
        "tx.save(claim, phase=Phase.DECIDING, next_at=now, now=now)",
        (f"{RECOVERY}::test_an_escalated_incident_keeps_automation_off_the_target",),
    ),
    Mutation(
        "let only proven failures open the breaker",
        "bounded",
        "remediator/core/guardrails/past.py",
        "and attempt.verdict is not Verdict.RECOVERED",
        "and attempt.verdict is Verdict.NOT_RECOVERED",
        ("tests/core/test_guardrails.py::test_the_breaker_trips_on_failures_since_its_reset",),
    ),
    Mutation(
        "let the past go that the guardrails look back to",
        "bounded",
        f"{JOURNAL}/pruning.py",
        "        old = min(old, needed)\n",
        "",
        (f"{PRUNING}::test_what_guardrails_look_back_to_stays_however_small_the_numbers",),
    ),
    Mutation(
        "go on while the breaker is open",
        "bounded",
        "remediator/core/guardrails/people.py",
        "        if pause.by == BREAKER:\n",
        "        if False:\n",
        ("tests/core/test_guardrails.py::test_each_holds_with_its_reason",),
    ),
    Mutation(
        "act in a storm",
        "bounded",
        "remediator/core/guardrails/past.py",
        "    if len(alerting) < limits.storm_targets:\n",
        "    if True:\n",
        ("tests/flow/test_storm.py::test_a_storm_is_one_escalation_however_long_it_lasts",),
    ),
    Mutation(
        "hand over each incident of a storm",
        "bounded",
        "remediator/core/decide.py",
        "frozenset({Reason.PAUSED, Reason.OBSERVE_MODE, Reason.STORM})",
        "frozenset({Reason.PAUSED, Reason.OBSERVE_MODE})",
        ("tests/flow/test_storm.py::test_a_storm_is_one_escalation_however_long_it_lasts",),
    ),
    Mutation(
        "give back more than was added",
        "bounded",
        "remediator/core/returns.py",
        "        return max(self.home, least, self.present - by)",
        "        return max(least, self.present - by)",
        (f"{RETURNS}::test_how_much_comes_back_how_fast_is_the_policys",),
    ),
    Mutation(
        "give back what somebody changed meanwhile",
        "bounded",
        "remediator/core/returns.py",
        "    if seen.replicas != raised.present:",
        "    if False:",
        (f"{RETURNS}::test_what_somebody_touched_meanwhile_is_theirs",),
    ),
    Mutation(
        "give back while something is in flight",
        "bounded",
        "remediator/core/returns.py",
        "    if in_flight:",
        "    if False:",
        (f"{RETURNS}::test_nothing_is_given_back_while_anything_is_in_flight_anywhere",),
    ),
    Mutation(
        "raise an autoscaler's least without being asked to",
        "bounded",
        "remediator/core/steps.py",
        "if not isinstance(action, Scale) or not action.raises_minimum:",
        "if not isinstance(action, Scale):",
        ("tests/core/test_raise_minimum.py::test_without_the_opt_in_an_autoscaler_refuses_it",),
    ),
    # ------------------------------------------------------------------ doubt stops the machine
    Mutation(
        "act without data",
        "doubt stops",
        "remediator/core/guardrails/present.py",
        "return Hold(reason=sample.reason or Reason.NO_DATA, detail=sample.detail)",
        "return None",
        (f"{HOLDS}::test_without_data_nothing_is_done_and_a_person_is_called",),
    ),
    Mutation(
        "guess a namespace",
        "doubt stops",
        "remediator/core/intake.py",
        'alert.labels.get("namespace", "")',
        'alert.labels.get("namespace", "default")',
        ("tests/web/test_webhook.py::test_there_is_no_default_target",),
    ),
    Mutation(
        "act on what did not opt in",
        "doubt stops",
        "remediator/core/guardrails/present.py",
        "if not seen.opted_in:",
        "if False:",
        (f"{HOLDS}::test_a_target_that_must_not_be_touched_goes_to_a_person_at_once",),
    ),
    Mutation(
        "act although the Watchdog is silent",
        "doubt stops",
        "remediator/core/guardrails/past.py",
        "    if heard is None or p.now < heard + patience:",
        "    if True:",
        ("tests/flow/test_watchdog.py::test_once_it_has_been_silent_too_long_nothing_is_done",),
    ),
    Mutation(
        "take a resolved Watchdog for a sign of life",
        "doubt stops",
        f"{LIFECYCLE}/receive.py",
        "said.reason is Reason.WATCHDOG and said.alert.firing",
        "said.reason is Reason.WATCHDOG",
        ("tests/flow/test_watchdog.py::test_a_resolved_watchdog_is_no_sign_of_life",),
    ),
    Mutation(
        "close what an Alertmanager does not list that does not know",
        "doubt stops",
        "remediator/core/reconcile.py",
        "sound = bool(looks) and all(look.sound(now, every=every) for look in looks)",
        "sound = True",
        ("tests/core/test_reconcile.py::test_what_is_missing_twice_has_vanished_unless_there_is_doubt",),
    ),
    Mutation(
        "close what was missing once",
        "doubt stops",
        "remediator/core/reconcile.py",
        "[one for one in missing if one.missing_since and now - one.missing_since >= twice]",
        "missing",
        ("tests/core/test_reconcile.py::test_what_is_missing_twice_has_vanished_unless_there_is_doubt",),
    ),
    Mutation(
        "act on what is silenced",
        "doubt stops",
        "remediator/core/reconcile.py",
        "        if not one.active:\n",
        "        if False:\n",
        (f"{RECONCILE}::test_a_silence_stops_what_is_about_to_be_done",),
    ),
    Mutation(
        "give back while the service is not known to be well",
        "doubt stops",
        "remediator/core/returns.py",
        "    if hold := _not_well(situation) or _not_yet(",
        "    if hold := _not_yet(",
        (f"{RETURNS}::test_a_return_waits_with_its_reason_and_goes_on",),
    ),
    # ------------------------------------------------------------------ verified
    Mutation(
        "take no data for good",
        "verified",
        "remediator/core/verification.py",
        "return sample.value is not None and good.holds(sample.value)",
        "return sample.value is None or good.holds(sample.value)",
        ("tests/core/test_verification.py::test_a_verdict_is_judged_from_samples",),
    ),
    Mutation(
        "accept data from before the settle point",
        "verified",
        f"{LIFECYCLE}/verify.py",
        "now=now, lookback=now - settled)",
        "now=now, lookback=None)",
        (f"{RECOVERY}::test_data_from_before_the_settle_point_is_never_asked_for",),
    ),
    Mutation(
        "be content with one good sample",
        "verified",
        "remediator/core/verification.py",
        "if streak >= criterion.samples:",
        "if streak >= 1:",
        ("tests/core/test_verification.py::test_a_verdict_is_judged_from_samples",),
    ),
    Mutation(
        "take a finished rollout for recovery",
        "verified",
        f"{LIFECYCLE}/verify.py",
        "case Verdict.NOT_RECOVERED | Verdict.UNKNOWN:",
        "case Verdict.NOT_RECOVERED | Verdict.UNKNOWN if sample.value is None:\n"
        "            return _recovered(world, claim, attempt, judgement, now=now)\n"
        "        case Verdict.NOT_RECOVERED | Verdict.UNKNOWN:",
        (f"{RECOVERY}::test_no_data_up_to_the_deadline_is_no_recovery",),
    ),
    # ------------------------------------------------------------------ explained, stoppable
    Mutation(
        "hash an event without its predecessor",
        "explained",
        f"{JOURNAL}/timeline.py",
        'hashlib.sha256(f"{previous}\\n{text}".encode())',
        "hashlib.sha256(text.encode())",
        (
            "tests/journal/test_timeline.py::test_an_event_rewritten_with_a_fitting_hash_breaks_the_one_after_it",
        ),
    ),
    Mutation(
        "do not ask for a pause before the write",
        "stoppable",
        f"{LIFECYCLE}/act.py",
        "incident, policy, tx.pauses(), now=now) or mark",
        "incident, policy, (), now=now) or mark",
        (f"{HOLDS}::test_a_pause_between_deciding_and_acting_withdraws_the_attempt",),
    ),
    Mutation(
        "send what a policy decided that is in force no longer",
        "stoppable",
        "remediator/core/last_look.py",
        "    if playbook is None or bounds is None:\n",
        "    if playbook is None or bounds is None or policy:\n        return None\n    if bounds is None:\n",
        (f"{LAST_LOOK}::test_a_policy_that_changed_after_the_decision_stops_what_was_not_sent_yet",),
    ),
    Mutation(
        "take what was approved for whatever has that number now",
        "stoppable",
        "remediator/core/guardrails/people.py",
        "asked == p.step.asks_for",
        "asked[0] == p.step.asks_for[0]",
        (
            f"{HOLDS}::test_what_was_approved_is_not_another_step_of_the_same_number_in_a_policy_reloaded_meanwhile",
        ),
    ),
    Mutation(
        "take an approval of an undo for one to any revision",
        "stoppable",
        "remediator/core/decisions.py",
        'f"{self.action}{self.to}"',
        "str(self.action)",
        (f"{PERSON}::test_an_undo_is_approved_with_its_revision_and_asked_for_anew_when_that_is_another",),
    ),
    Mutation(
        "take what somebody else did for ours",
        "bounded",
        f"{LIFECYCLE}/act.py",
        "    return isinstance(attempt.intent, CountIntent) and not attempt.maybe_sent and",
        "    return isinstance(attempt.intent, CountIntent) and attempt is None and",
        (f"{SENDING}::test_what_somebody_else_did_is_not_taken_for_ours",),
    ),
    Mutation(
        "undo to what was sick before",
        "bounded",
        "remediator/core/steps.py",
        "seen.template_changed and seen.template_changed.latest > situation.incident.alert_started_at",
        "seen is None",
        ("tests/core/test_steps.py::test_a_step_says_why_it_is_or_is_not_the_one",),
    ),
    Mutation(
        "take as many samples at one moment as there are alerts",
        "verified",
        f"{LIFECYCLE}/verify.py",
        "    if last is None or not last <= now < min(last + criterion.every, since + criterion.within):\n",
        "    if True:\n",
        (f"{RECOVERY}::test_alerts_that_resolve_at_the_same_moment_do_not_make_samples_of_it",),
    ),
    Mutation(
        "forget a cooldown after a day",
        "bounded",
        "remediator/core/policy.py",
        "        cooling = self.day + self.cooldown\n",
        "        cooling = self.day\n",
        (f"{HOLDS}::test_a_cooldown_may_last_for_days",),
    ),
    Mutation(
        "decide by our clock alone what is written until when",
        "stoppable",
        "remediator/core/guardrails/people.py",
        "now=min(p.now, seen.at)",
        "now=p.now",
        (f"{HOLDS}::test_a_mark_holds_until_its_end_by_the_api_servers_clock_too",),
    ),
    Mutation(
        "send to what has been opted out since the decision",
        "stoppable",
        f"{KUBERNETES}/objects.py",
        "    if opted_in(workload):\n        return None",
        "    if opted_in(workload) or now:\n        return None",
        ("tests/adapters/test_kubernetes_cluster.py::test_nothing_is_sent_to_what_is_not_opted_in_any_more",),
    ),
    Mutation(
        "leave alone what joined a return that was withdrawn",
        "nothing lost",
        f"{LIFECYCLE}/act.py",
        "            begin_waiting(tx, claim.incident, world.policy(), now=now)\n",
        "",
        (f"{RETURNS}::test_an_alert_that_joined_a_return_that_was_withdrawn_does_not_wait_for_it",),
    ),
    Mutation(
        "ignore a pause when deciding",
        "stoppable",
        "remediator/core/guardrails/people.py",
        "        if pause.by != BREAKER:\n",
        "        if False:\n",
        (f"{HOLDS}::test_a_pause_holds_for_as_long_as_it_lasts_and_calls_nobody",),
    ),
    Mutation(
        "forget what is to be announced",
        "explained",
        f"{JOURNAL}/timeline.py",
        "if is_announced(",
        "if not is_announced(",
        ("tests/flow/test_announce.py::test_a_recovery_is_told_step_by_step",),
    ),
    Mutation(
        "be done with an announcement before it is told",
        "explained",
        f"{LIFECYCLE}/announce.py",
        "        told = _tell(world, one, now=now) if wanted else Told.OBSERVING\n",
        "        with world.journal.transaction() as tx:\n"
        "            tx.announced(one.number)\n"
        "        told = _tell(world, one, now=now) if wanted else Told.OBSERVING\n",
        (
            "tests/flow/test_announce.py::test_a_process_that_dies_after_telling_tells_again_and_nothing_is_lost",
        ),
    ),
    Mutation(
        "let a target whose Events are not taken keep the others waiting",
        "explained",
        f"{LIFECYCLE}/announce.py",
        "other_than=(*in_vain, *refused)",
        "other_than=tuple(refused)",
        ("tests/flow/test_announce.py::test_a_namespace_that_takes_no_events_keeps_no_other_waiting",),
    ),
    # ------------------------------------------------------------------ least privilege
    Mutation(
        "try what is not permitted",
        "least privilege",
        "remediator/core/steps.py",
        "    if not missing:\n        return None\n    return Reason.FORBIDDEN",
        "    if True:\n        return None\n    return Reason.FORBIDDEN",
        (
            "tests/core/test_permissions.py::test_a_step_we_may_not_take_is_passed_over_and_says_what_is_missing",
        ),
    ),
    Mutation(
        "let everybody in who sends a header",
        "least privilege",
        "remediator/tokens.py",
        "    if not allowed or not any(matches):",
        "    if not allowed:",
        (
            "tests/web/test_webhook.py::test_without_a_valid_token_nothing_is_done_and_the_answer_is_always_the_same",
        ),
    ),
)
