"""remediator: the machine. Every replica shows the same journal, so replicas are never added up."""
# ruff: noqa: E501, INP001 - a description is one piece of prose; scripts beside what they write

from __future__ import annotations

from frame import annotation, automatic_actions, dashboard, to_dashboard, to_page, variable
from parts import (
    ALERTMANAGER,
    BLUE,
    CLEAR,
    GREEN,
    OPERATIONAL,
    ORANGE,
    PHASE,
    PHASES,
    RED,
    RUNBOOK,
    Json,
    chart,
    colour_of,
    grown,
    link,
    phase_of,
    query,
    stat,
    table,
    tally,
    texts,
    timeline,
)
from path import intake, path

ACTIONS = f"sum({grown('remediator_actions_total', 'action')})"
SCRAPED = 'min(up{job="remediator"})'
RECOVERED = '{reason="recovered"}'


def condition() -> list[Json]:
    return [
        stat(
            "Remediator",
            "OPERATIONAL: every replica was scraped, its worker runs and it reads its journal. DOWN: automation is off or "
            "impaired; alerts still reach people.",
            f"{SCRAPED} * min(remediator_worker_alive) * min(remediator_journal_available) or {SCRAPED}",
            size=(4, 5),
            mappings=OPERATIONAL,
            loud=True,
        ),
        stat(
            "Breaker",
            "OPEN: too many actions did not help, and nothing is done until a person says `remediator resume --breaker`.",
            "max(remediator_breaker_open)",
            size=(4, 5),
            mappings=texts({0: ("CLOSED", GREEN), 1: ("OPEN", RED)}),
            loud=True,
            links=[link("How to stop and resume", f"{RUNBOOK}#stop-the-machine")],
        ),
        stat(
            "Storm",
            "STORM: so many targets have incidents that the cause is likely elsewhere. All are held, and one escalation tells "
            "a person; it is over by itself, or by `remediator acknowledge --storm`.",
            "max(remediator_storm_open)",
            size=(3, 5),
            mappings=texts({0: ("NONE", GREEN), 1: ("STORM", RED)}),
            loud=True,
        ),
        tally(
            "Pauses",
            "Pauses that people set and that are in force; `remediator incidents` says what ends each. While one covers a target, its "
            "incidents are held.",
            "max(remediator_pauses)",
            size=(3, 5),
            steps=((None, GREEN), (1, ORANGE)),
            links=[link("How to stop and resume", f"{RUNBOOK}#stop-the-machine")],
        ),
        tally(
            "Waiting for a Person",
            "Escalated incidents. The machine leaves their targets alone until `remediator acknowledge`.",
            'max(remediator_open_incidents{phase="escalated"})',
            size=(3, 5),
            steps=((None, GREEN), (1, RED)),
        ),
        stat(
            "Policy File",
            "MISTAKES: the file was changed into something that cannot be used, and the older policy stays in force; "
            "`remediator check` says what is wrong.",
            "max(remediator_policy_rejected)",
            size=(4, 5),
            mappings=texts({0: ("IN FORCE", GREEN), 1: ("MISTAKES", RED)}),
            loud=True,
        ),
        tally(
            "Actions Left in All",
            "What all targets together may still get in the policy's window. At 0 everything is held.",
            "min(remediator_overall_budget_left)",
            size=(3, 5),
            steps=((None, RED), (1, ORANGE), (3, GREEN)),
        ),
    ]


def incidents() -> list[Json]:
    return [
        stat(
            "Time to Act",
            "From opening an incident to a change that the API server accepted; average over the actions in the time range. "
            "Waiting for a cooldown or an approval is included.",
            f"{grown('remediator_act_seconds_total')} / ({ACTIONS} > 0)",
            size=(4, 4),
            unit="s",
            decimals=0,
            min=0,
            steps=((None, GREEN), (60, ORANGE), (300, RED)),
            empty="no actions",
        ),
        stat(
            "Time to Recover",
            "From opening an incident to recovery seen by our own query; average over the incidents that recovered in the "
            "time range. The objective is 5 minutes.",
            f"{grown(f'remediator_closed_seconds_total{RECOVERED}')} / ({grown(f'remediator_closed_total{RECOVERED}')} > 0)",
            size=(4, 4),
            unit="s",
            decimals=0,
            min=0,
            steps=((None, GREEN), (240, ORANGE), (300, RED)),
            empty="none recovered",
        ),
        tally(
            "Recovered",
            "Incidents that the machine ended in the time range with recovery proven by our own query.",
            grown(f"remediator_closed_total{RECOVERED}"),
            size=(4, 4),
            steps=((None, GREEN),),
        ),
        tally(
            "Incidents",
            "Incidents opened in the time range.",
            f"sum({grown('remediator_incidents_total', 'reason')})",
            size=(3, 4),
            steps=((None, BLUE),),
        ),
        tally(
            "Actions",
            "Changes in the time range that the API server accepted.",
            ACTIONS,
            size=(3, 4),
            steps=((None, BLUE),),
        ),
        tally(
            "Escalations",
            "Incidents in the time range that were handed to a person.",
            f"sum({grown('remediator_escalations_total', 'reason')})",
            size=(3, 4),
            steps=((None, GREEN), (1, ORANGE)),
        ),
        tally(
            "To Give Back",
            "Scale-ups after which the service recovered and has more replicas than before. They go back step by step once the service has stayed "
            "well; `remediator acknowledge` lets them stay.",
            "max(remediator_returns_pending)",
            size=(3, 4),
            steps=((None, BLUE),),
        ),
    ]


def effects() -> list[Json]:
    return [
        chart(
            "Open Incidents by Phase",
            "Every open incident is in one phase. `escalated` waits for a person.",
            [query("max by (phase) (remediator_open_incidents)", "{{phase}}")],
            size=(12, 8),
            decimals=0,
            min=0,
            stacked=True,
            overrides=[colour_of(phase, colour) for phase, colour in PHASES.items()],
        ),
        table(
            "Attempts by Action and Outcome",
            "Those that ended in the time range. `recovered`: our own query saw it. `withdrawn`: certainly nothing was sent. "
            "`abandoned`: given up, what happened is unknown. All but the withdrawn spend budget.",
            grown("remediator_attempts_total", "action, outcome"),
            {"action": "action", "outcome": "outcome", "Value": "times"},
            zeros=False,
            size=(12, 8),
            decimals=0,
            empty="No attempt ended.",
        ),
        table(
            "Decisions by Reason",
            "What was decided in the time range, and why: above all the reasons for holding. A hold counts once for each "
            "change of reason.",
            grown("remediator_decisions_total", "decision, reason"),
            {"decision": "decision", "reason": "reason", "Value": "times"},
            zeros=False,
            size=(12, 8),
            decimals=0,
            empty="Nothing was decided.",
        ),
        table(
            "Escalations by Reason",
            "Why incidents in the time range were handed to a person.",
            grown("remediator_escalations_total", "reason"),
            {"reason": "reason", "Value": "times"},
            zeros=False,
            size=(12, 8),
            decimals=0,
            empty="Nothing was handed to a person.",
        ),
    ]


def targets() -> list[Json]:
    of = '{target=~"$target"}'
    return [
        chart(
            "Budgets Left",
            "Actions that each target may still get, in the policy's window and for the day. At 0 the machine holds.",
            [query(f"min by (target, budget) (remediator_budget_left{of})", "{{target}}: {{budget}}")],
            size=(12, 8),
            decimals=0,
            min=0,
            lines=True,
            steps=((None, RED), (1, CLEAR)),
        ),
        timeline(
            "Targets with an Open Incident",
            "The phase of each target's open incident. A gap is no data.",
            [query(phase_of('target=~"$target"', "target"), "{{target}}")],
            size=(12, 8),
            mappings=PHASE,
        ),
    ]


def remediator() -> Json:
    return dashboard(
        "remediator",
        "Remediator",
        "What the machine is doing, what came of it, and what it may still do.",
        tags=["bizra", "remediator"],
        since="now-6h",
        variables=[
            variable(
                "target",
                "Target",
                "label_values(remediator_target_phase, target)",
                "Targets of the policy, for the panels that show them one by one.",
                includeAll=True,
                multi=True,
                allValue=".*",
                current={"text": ["All"], "value": ["$__all"]},
            )
        ],
        annotations=[
            automatic_actions('target=~"$target"', title="{{action}}"),
            annotation(
                "Waiting for a person",
                RED,
                'max by (target) (remediator_target_phase{target=~"$target",phase="escalated"}) > 0',
                title="escalated",
                text="{{target}}",
                tags="target",
                dated=False,
            ),
        ],
        links=[
            to_page("Runbook", RUNBOOK, "One section per alert"),
            to_page("Stop the machine", f"{RUNBOOK}#stop-the-machine", "How to pause and resume"),
            to_page("Alertmanager", ALERTMANAGER, "Alerts and silences"),
            to_dashboard("Ahsan", "ahsan"),
        ],
        rows=[
            ("Now", condition()),
            ("Incidents", incidents()),
            ("What was done, and why", effects()),
            ("Targets", targets()),
            ("What came in", intake()),
            ("The path of the alerts", path()),
        ],
    )
