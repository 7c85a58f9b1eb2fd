"""The path of the alerts, as the remediator's dashboard shows it: what came in, and whether anything can."""
# ruff: noqa: E501, INP001 - a description is one piece of prose; scripts beside what they write

from __future__ import annotations

from parts import (
    ALERTMANAGER,
    GREEN,
    ORANGE,
    RED,
    RUNBOOK,
    Json,
    chart,
    grown,
    link,
    query,
    stat,
    table,
    tally,
    texts,
)

HEARD = "max(remediator_watchdog_timestamp_seconds)"
UNKNOWN_RULES = "max(remediator_rules_info unless on (version) remediator_policy_rules_info)"
FAILED_EVALUATIONS = " + ".join(
    f'sum(increase({metric}{{job="prometheus"}}[$__range]))'
    for metric in (
        "prometheus_rule_evaluation_failures_total",
        "prometheus_rule_group_iterations_missed_total",
    )
)


def intake() -> list[Json]:
    return [
        chart(
            "Notifications",
            "Journaled notifications per second from Alertmanager; repeats are the rule while something fires.",
            [query("max(rate(remediator_notifications_total[$__rate_interval]))", "notifications")],
            size=(12, 7),
            unit="reqps",
            min=0,
        ),
        table(
            "Alerts by What Became of Them",
            "Each alert of a notification in the time range, and the reason recorded for it.",
            grown("remediator_alerts_total", "reason"),
            {"reason": "reason", "Value": "alerts"},
            zeros=False,
            size=(12, 7),
            decimals=0,
            empty="No alert came in.",
        ),
        chart(
            "HTTP Answers",
            "Answers of all processes by endpoint and status. 401: somebody has no valid token. 503: the journal is away or "
            "we are shutting down, and Alertmanager will try again.",
            [
                query(
                    "sum by (endpoint, code) (rate(remediator_http_requests_total[$__rate_interval]))",
                    "{{endpoint}} {{code}}",
                )
            ],
            size=(12, 7),
            unit="reqps",
            min=0,
        ),
        chart(
            "Trouble with the API Server",
            "Writes and reads per second whose outcome was unclear and that are looked at again; it should be 0.",
            [
                query(
                    "max by (action) (rate(remediator_unclear_answers_total[$__rate_interval]))", "{{action}}"
                )
            ],
            size=(12, 7),
            unit="ops",
            min=0,
        ),
    ]


def path() -> list[Json]:
    return [*whole_or_not(), *what_fails()]


def whole_or_not() -> list[Json]:
    return [
        stat(
            "Watchdog Heard",
            "How long ago the alert that always fires came in, through Prometheus and Alertmanager. Silence for as long as the "
            "policy's `watchdog` makes us blind.",
            f"time() - ({HEARD} > 0)",
            size=(4, 5),
            unit="s",
            decimals=0,
            min=0,
            steps=((None, GREEN), (180, ORANGE), (600, RED)),
            empty="never heard",
            links=[link("What to do: Watchdog", f"{RUNBOOK}#watchdog")],
        ),
        stat(
            "Sight",
            "BLIND: the Watchdog has been silent too long, so nobody knows what fires, and every action is held.",
            "max(remediator_blind)",
            size=(4, 5),
            mappings=texts({0: ("SEEING", GREEN), 1: ("BLIND", RED)}),
            loud=True,
        ),
        stat(
            "Rules",
            "UNKNOWN: Prometheus evaluates rules of a version that the policy does not list. They are acted on; whether "
            "the playbooks still fit has to be looked at. A policy that lists none knows all.",
            f"({UNKNOWN_RULES} and on () max(remediator_policy_rules_info)) or 0 * max(remediator_rules_info)",
            size=(4, 5),
            mappings=texts({0: ("KNOWN", GREEN), 1: ("UNKNOWN", ORANGE)}),
            loud=True,
            links=[link("What to do: RemediatorRulesUnknown", f"{RUNBOOK}#remediatorrulesunknown")],
        ),
        tally(
            "Alertmanagers",
            "How many Prometheus knows and sends to. Without any nobody is told, and nothing is remediated.",
            'min(prometheus_notifications_alertmanagers_discovered{job="prometheus"})',
            size=(4, 5),
            steps=((None, RED), (1, GREEN)),
            links=[
                link(
                    "What to do: PrometheusNotConnectedToAlertmanager",
                    f"{RUNBOOK}#prometheusnotconnectedtoalertmanager",
                )
            ],
        ),
        tally(
            "Failed Evaluations",
            "Evaluations of rules that failed or were left out in the time range. Each is a moment in which no alert could "
            "begin; HiveDown needs every one of its minute.",
            FAILED_EVALUATIONS,
            size=(4, 5),
            steps=((None, GREEN), (1, RED)),
            links=[link("What to do: PrometheusRuleFailures", f"{RUNBOOK}#prometheusrulefailures")],
        ),
        tally(
            "Unread Configurations",
            "Prometheus and Alertmanagers that refused their configuration at the last reload and go on with the older one.",
            'count(prometheus_config_last_reload_successful{job="prometheus"} == 0 or '
            'alertmanager_config_last_reload_successful{job="alertmanager"} == 0) or '
            '0 * (min(prometheus_config_last_reload_successful{job="prometheus"}) + '
            'min(alertmanager_config_last_reload_successful{job="alertmanager"}))',
            size=(4, 5),
            steps=((None, GREEN), (1, RED)),
            links=[link("What to do: PrometheusReloadFailed", f"{RUNBOOK}#prometheusreloadfailed")],
        ),
    ]


def what_fails() -> list[Json]:
    return [
        chart(
            "Failed Notifications",
            "Per second, by way of telling, as Alertmanager counts them: `webhook` is the remediator and the heartbeat. It "
            "should be 0.",
            [
                query(
                    'sum by (integration) (rate(alertmanager_notifications_failed_total{job="alertmanager"}[$__rate_interval]))',
                    "{{integration}}",
                )
            ],
            size=(12, 7),
            unit="ops",
            min=0,
            links=[
                link(
                    "What to do: AlertmanagerNotificationsFailing",
                    f"{RUNBOOK}#alertmanagernotificationsfailing",
                )
            ],
        ),
        table(
            "All Firing Alerts",
            "Of services and of the path itself, at the end of the time range.",
            'ALERTS{alertstate="firing"}',
            {
                "alertname": "alert",
                "severity": "severity",
                "namespace": "namespace",
                "deployment": "deployment",
                "remediation": "remediation",
            },
            size=(12, 7),
            empty="No alert is firing.",
            links=[link("In Alertmanager", ALERTMANAGER)],
        ),
    ]
