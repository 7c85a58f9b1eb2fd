"""What is left of the SLA's budgets of 30 days, and how fast it is spent: a row of the Ahsan dashboard."""
# ruff: noqa: E501, INP001 - a description is one piece of prose; scripts beside what they write

from __future__ import annotations

from typing import Any

from parts import (
    BLUE,
    CLEAR,
    GREEN,
    ORANGE,
    RED,
    RUNBOOK,
    VIOLET,
    Json,
    Steps,
    chart,
    colour_of,
    link,
    query,
    stat,
)

OF_TARGET = '{namespace="$namespace",deployment="$deployment"}'
ERRORS = f"namespace_deployment:hive_errors:rate5m{OF_TARGET}"
OPERATIONS = f"namespace_deployment:hive_operation_duration_seconds_count:rate5m{OF_TARGET}"
# Of sums, so that a busy hour weighs more than an idle one.
ERROR_RATIO_30D = f"sum_over_time({ERRORS}[30d]) / (sum_over_time({OPERATIONS}[30d]) > 0)"
AVAILABILITY_30D = f"avg_over_time(namespace_deployment:hive_available:max_max20s{OF_TARGET}[30d])"

# What the SLA leaves, and at how many times that speed the burn alerts of prometheus-rules/sla.yml fire, by window.
UNAVAILABLE_BUDGET, ERROR_BUDGET = 0.0001, 0.01
BURN_RATES = {"1h": 14.4, "6h": 6, "1d": 3, "3d": 1}

BURN_STEPS: Steps = ((None, CLEAR), (1, ORANGE), (3, ORANGE), (6, RED), (14.4, RED))
BUDGET_STEPS: Steps = ((None, RED), (0, ORANGE), (0.25, GREEN))


def service_level() -> list[Json]:
    return [*budgets_left(), *how_fast_they_are_spent()]


def budgets_left() -> list[Json]:
    kept = "As far back as Prometheus remembers, if that is less than 30 days."
    return [
        share(
            "Availability, 30 days",
            "Share of the time in which at least one pod was up, as the SLA's alerts count it: a single missed look is no "
            f"outage, and without any pod the Deployment is down. Target 99.99 %. {kept}",
            AVAILABILITY_30D,
            decimals=3,
            max=1,
            steps=((None, RED), (0.9999, GREEN)),
        ),
        share(
            "Availability Budget Left",
            "Of the 4 minutes 19 seconds that 99.99 % leaves in 30 days. Negative is overspent: one incident of 5 "
            f"minutes does that. {kept}",
            f"1 - (1 - {AVAILABILITY_30D}) / {UNAVAILABLE_BUDGET:f}",
            decimals=0,
            max=1,
            steps=BUDGET_STEPS,
        ),
        share(
            "Error Ratio, 30 days",
            f"Failed operations per operation, all traffic weighed alike. The SLA is less than 1 %. {kept}",
            ERROR_RATIO_30D,
            decimals=3,
            min=0,
            steps=((None, GREEN), (0.01, RED)),
            empty="no traffic",
        ),
        share(
            "Error Budget Left",
            f"Of the errors that 1 % leaves for the traffic of 30 days. Negative is overspent. {kept}",
            f"1 - ({ERROR_RATIO_30D}) / {ERROR_BUDGET}",
            decimals=0,
            max=1,
            steps=BUDGET_STEPS,
            empty="no traffic",
        ),
    ]


def share(title: str, description: str, expr: str, **more: Any) -> Json:
    return stat(title, description, expr, size=(6, 5), unit="percentunit", **more)


def how_fast_they_are_spent() -> list[Json]:
    meaning = (
        "1 spends exactly what 30 days allow. A burn alert fires above the line of its window, if a shorter window agrees: "
        "14.4 over an hour, 6 over six hours, 3 over a day, 1 over three days."
    )
    return [
        burn(
            "Availability Burn Rate",
            f"How many times faster than allowed the availability budget is spent. {meaning}",
            "namespace_deployment:hive_unavailable:ratio",
            UNAVAILABLE_BUDGET,
            empty="No availability: Prometheus knows no pod of this Deployment, or does not record it.",
            links=[link("What to do: HiveAvailabilityBurnFast", f"{RUNBOOK}#hiveavailabilityburnfast")],
        ),
        burn(
            "Error Burn Rate",
            f"How many times faster than allowed the error budget is spent. {meaning}",
            "namespace_deployment:hive_errors_per_operations:ratio_rate",
            ERROR_BUDGET,
            empty="No traffic, so no ratio.",
            links=[link("What to do: HiveErrorBudgetBurnFast", f"{RUNBOOK}#hiveerrorbudgetburnfast")],
        ),
    ]


def burn(title: str, description: str, record: str, budget: float, **more: Any) -> Json:
    """`record` without the window that its name ends with."""
    colours = dict(zip(BURN_RATES, (RED, ORANGE, VIOLET, BLUE), strict=True))
    return chart(
        title,
        description,
        [query(f"{record}{window}{OF_TARGET} / {budget:f}", f"over {window}") for window in BURN_RATES],
        size=(12, 8),
        decimals=1,
        min=0,
        lines=True,
        linear_to=1,
        steps=BURN_STEPS,
        overrides=[colour_of(f"over {window}", colour) for window, colour in colours.items()],
        **more,
    )
