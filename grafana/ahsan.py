"""bizra-ahsan-dashboard: the service. What is red here is what the rules in prometheus-rules/ fire on."""
# ruff: noqa: E501, INP001 - a description is one piece of prose; scripts beside what they write

from __future__ import annotations

from frame import annotation, automatic_actions, dashboard, last_actions, to_dashboard, to_page, variable
from parts import (
    ALERTMANAGER,
    BLUE,
    CLEAR,
    GREEN,
    GREY,
    OPERATIONAL,
    ORANGE,
    PHASE,
    RED,
    RUNBOOK,
    VIOLET,
    Json,
    Steps,
    chart,
    colour_of,
    link,
    phase_of,
    query,
    stat,
    table,
    tally,
    timeline,
    unit_of,
)
from sla import ERRORS, OF_TARGET, OPERATIONS, service_level

ALERTMANAGER_OF_TARGET = (
    ALERTMANAGER + "/#/alerts?filter=%7Bnamespace%3D%22${namespace}%22%2Cdeployment%3D%22${deployment}%22%7D"
)

OF_PODS = '{job="hive",namespace="$namespace",deployment="$deployment"}'
TARGET = 'target="$namespace/$deployment"'

SCORE = f"namespace_deployment:ahsan_score:avg{OF_TARGET}"
UP = f"namespace_deployment:hive_up:min{OF_TARGET}"
ERROR_RATIO = f"namespace_deployment:hive_errors_per_operations:ratio_rate5m{OF_TARGET}"
P99 = f"namespace_deployment:hive_operation_duration_seconds:p99_rate5m{OF_TARGET}"

SCORE_STEPS: Steps = ((None, RED), (90, ORANGE), (95, GREEN))
ERROR_STEPS: Steps = ((None, GREEN), (0.01, ORANGE), (0.05, RED))
LATENCY_STEPS: Steps = ((None, GREEN), (0.05, ORANGE), (0.5, RED))


def quantile(q: float) -> str:
    buckets = f"hive_operation_duration_seconds_bucket{OF_PODS}[$__rate_interval]"
    return f"histogram_quantile({q}, sum by (le) (rate({buckets})))"


def at_a_glance() -> list[Json]:
    return [
        stat(
            "Ahsan Compliance Score",
            "Average over the pods that answer; 95 is the minimum and compliant. Below 95 for 5 minutes AhsanScoreLow fires, "
            "below 90 for 10 minutes the compliance officer is told. A dead pod drops out of the average: look at System Health too.",
            SCORE,
            size=(5, 5),
            unit="percent",
            min=0,
            max=100,
            decimals=2,
            steps=SCORE_STEPS,
            loud=True,
            links=[link("What to do: AhsanScoreLow", f"{RUNBOOK}#ahsanscorelow")],
        ),
        stat(
            "System Health",
            "OPERATIONAL: every pod was scraped and says it is up. DOWN: at least one was not, or says it is not. "
            "NO DATA: Prometheus knows no pod of this Deployment, or does not evaluate its rules; that is not health.",
            f"min({UP})",
            size=(4, 5),
            steps=((None, GREY),),
            mappings=OPERATIONAL,
            loud=True,
            links=[link("What to do: HiveDown", f"{RUNBOOK}#hivedown")],
        ),
        tally(
            "Active Swarms",
            "Swarms at work, summed over the pods, and their trend. The number is the last one known in the time range.",
            f"sum(hive_active_swarms{OF_PODS})",
            trend=True,
            size=(3, 5),
            steps=((None, BLUE),),
        ),
        tally(
            "Ahsan Violations",
            "How often the score was found below 95 within the time range shown. It should be 0.",
            f"sum(increase(ahsan_violations_total{OF_PODS}[$__range]))",
            size=(3, 5),
            steps=((None, GREEN), (1, RED)),
            links=[link("What to do: AhsanScoreLow", f"{RUNBOOK}#ahsanscorelow")],
        ),
        stat(
            "Pods with a Score",
            "Share of the pods that can be scraped and report a score; the score says nothing about the others. Below 100 % "
            "for 5 minutes AhsanCoveragePartial fires.",
            f"namespace_deployment:ahsan_score_pods:ratio{OF_TARGET}",
            size=(3, 5),
            unit="percentunit",
            decimals=0,
            min=0,
            max=1,
            steps=((None, ORANGE), (1, GREEN)),
            links=[link("What to do: AhsanCoveragePartial", f"{RUNBOOK}#ahsancoveragepartial")],
        ),
        stat(
            "Remediator",
            "The phase of this Deployment's open incident. `escalated` waits for a person: `remediator incidents`.",
            phase_of(TARGET),
            size=(3, 5),
            mappings=PHASE,
        ),
        tally(
            "Actions Left",
            "Automatic actions that this Deployment may still get in the policy's window. At 0 the remediator holds, and "
            "then hands over to a person.",
            f'min(remediator_budget_left{{{TARGET},budget="target_budget"}})',
            size=(3, 5),
            steps=((None, RED), (1, ORANGE), (2, GREEN)),
        ),
    ]


def compliance() -> list[Json]:
    return [
        chart(
            "Ahsan Score",
            "The recorded average, which is what AhsanScoreLow reads, and the worst pod. Lines: 95 is compliant, below "
            "90 for 10 minutes the compliance officer is told.",
            [query(SCORE, "average"), query(f"min(ahsan_score{OF_PODS})", "worst pod")],
            size=(16, 9),
            unit="percent",
            min=0,
            max=100,
            decimals=2,
            lines=True,
            # The lines are not the area's colours: red where it becomes red, green where it becomes green.
            steps=((None, CLEAR), (90, RED), (95, GREEN)),
            overrides=[colour_of("average", BLUE), colour_of("worst pod", VIOLET)],
            empty="No score: no pod of this Deployment answers, or Prometheus does not record it.",
        ),
        timeline(
            "Health over Time",
            "The Deployment and each of its pods. A gap is no data, not health.",
            [
                query(f"min({UP})", "Deployment"),
                query(f"namespace_deployment_pod:hive_up:min{OF_TARGET}", "{{pod}}"),
            ],
            size=(8, 9),
            mappings=OPERATIONAL,
            empty="No health: Prometheus knows no pod of this Deployment.",
        ),
    ]


def performance() -> list[Json]:
    return [
        chart(
            "Throughput",
            "Operations and errors per second, over all pods. Line: the verified baseline of 1,500 operations per second.",
            [query(OPERATIONS, "operations"), query(ERRORS, "errors")],
            size=(8, 9),
            unit="ops",
            min=0,
            lines=True,
            steps=((None, CLEAR), (1500, BLUE)),
            overrides=[colour_of("operations", GREEN), colour_of("errors", RED)],
            empty="No operations were counted.",
        ),
        chart(
            "Error Ratio",
            "Failed operations per operation over 5 minutes: a share, not errors per second. Lines: 1 % is the SLA, above 5 % "
            "for 5 minutes HiveErrorRateHigh fires. Without traffic there is no ratio.",
            [query(ERROR_RATIO, "errors per operation")],
            size=(8, 9),
            unit="percentunit",
            min=0,
            decimals=2,
            lines=True,
            steps=ERROR_STEPS,
            overrides=[colour_of("errors per operation", BLUE)],
            empty="No traffic, so no ratio.",
            links=[link("What to do: HiveErrorRateHigh", f"{RUNBOOK}#hiveerrorratehigh")],
        ),
        chart(
            "Latency",
            "Quantiles over all pods' operations; P99 is the recorded series that HiveLatencyP99High reads. Lines: the "
            "verified P99 baseline of 50 ms, and 500 ms, above which the alert fires after 10 minutes.",
            [query(P99, "P99"), query(quantile(0.95), "P95"), query(quantile(0.5), "P50")],
            size=(8, 9),
            unit="s",
            min=0,
            lines=True,
            steps=LATENCY_STEPS,
            overrides=[colour_of("P99", RED), colour_of("P95", ORANGE), colour_of("P50", BLUE)],
            empty="No traffic, so no quantile.",
            links=[link("What to do: HiveLatencyP99High", f"{RUNBOOK}#hivelatencyp99high")],
        ),
    ]


def response() -> list[Json]:
    return [
        table(
            "Firing Alerts",
            "What Prometheus says about this Deployment at the end of the time range, whether or not Alertmanager told anybody.",
            'ALERTS{alertstate="firing",namespace="$namespace",deployment="$deployment"}',
            {"alertname": "alert", "severity": "severity", "remediation": "remediation"},
            size=(12, 7),
            empty="No alert is firing.",
            links=[link("In Alertmanager", ALERTMANAGER_OF_TARGET)],
        ),
        table(
            "Last Automatic Actions",
            "When the remediator last changed this Deployment, by kind of action. The violet marks on the charts are the same moments.",
            last_actions(TARGET),
            {"action": "action", "Value": "when"},
            size=(12, 7),
            empty="The remediator has not changed this Deployment.",
            overrides=[unit_of("when", "dateTimeAsIso")],
            links=[link("What the remediator does", f"{RUNBOOK}#first-for-every-alert")],
        ),
    ]


def ahsan() -> Json:
    return dashboard(
        "bizra-ahsan-dashboard",
        "BIZRA Ahsan",
        "Is the service excellent, compliant and up, and what has been done about it when it was not?",
        tags=["bizra", "ahsan"],
        since="now-3h",
        variables=[
            variable(
                "namespace",
                "Namespace",
                'label_values(up{job="hive"}, namespace)',
                "Where the Deployment is.",
            ),
            variable(
                "deployment",
                "Deployment",
                'label_values(up{job="hive",namespace="$namespace"}, deployment)',
                "The service: one target of the remediator.",
            ),
        ],
        annotations=[
            annotation(
                "Firing alerts",
                RED,
                'ALERTS{alertstate="firing",namespace="$namespace",deployment="$deployment"}',
                title="{{alertname}}",
                text="fires",
                tags="severity,remediation",
                dated=False,
            ),
            automatic_actions(TARGET, title="Remediator: {{action}}"),
        ],
        links=[
            to_page("Runbook", RUNBOOK, "One section per alert"),
            to_page("Alertmanager", ALERTMANAGER_OF_TARGET, "This Deployment's alerts and silences"),
            to_dashboard("Remediator", "remediator"),
        ],
        rows=[
            ("At a glance", at_a_glance()),
            ("Compliance", compliance()),
            ("Performance against the baselines", performance()),
            ("Service level", service_level()),
            ("Alerts and response", response()),
        ],
    )
