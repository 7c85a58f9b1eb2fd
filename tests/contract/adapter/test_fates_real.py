"""How pods fare, when they were deployed, and whether they are measured: the facts, on a real API server.

The table is the specification. What it does not name as true or unknown is false.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from remediator.core.facts import Fact, FactRules, Observation, facts_from
from remediator.core.policy import Step
from remediator.core.reasons import Reason
from remediator.core.steps import weigh_steps
from tests.builders import RESTART, a_playbook, a_situation, an_incident
from tests.components import missing
from tests.waiting import eventually

pytestmark = pytest.mark.real

Json = dict[str, Any]

TABLE = """
crash     recent metrics  recent_rollout previous_revision rolling crash_looping pressure
crash     recent none     recent_rollout previous_revision rolling crash_looping ?pressure
crash     old    metrics  rolling crash_looping pressure
crash     old    none     rolling crash_looping ?pressure
oom       recent metrics  recent_rollout previous_revision rolling crash_looping oom_killed pressure
oom       recent none     recent_rollout previous_revision rolling crash_looping oom_killed ?pressure
oom       old    metrics  rolling crash_looping oom_killed pressure
oom       old    none     rolling crash_looping oom_killed ?pressure
imagepull recent metrics  recent_rollout previous_revision rolling image_pull_failing ?pressure
imagepull recent none     recent_rollout previous_revision rolling image_pull_failing ?pressure
imagepull old    metrics  rolling image_pull_failing ?pressure
imagepull old    none     rolling image_pull_failing ?pressure
pending   recent metrics  recent_rollout previous_revision rolling unschedulable ?pressure
pending   recent none     recent_rollout previous_revision rolling unschedulable ?pressure
pending   old    metrics  rolling unschedulable ?pressure
pending   old    none     rolling unschedulable ?pressure
slow      recent metrics  recent_rollout previous_revision rolling pressure
slow      recent none     recent_rollout previous_revision rolling ?pressure
slow      old    metrics  rolling pressure
slow      old    none     rolling ?pressure
healthy   recent metrics  recent_rollout previous_revision
healthy   recent none     recent_rollout previous_revision ?pressure
healthy   old    metrics
healthy   old    none     ?pressure
"""
"""Pods that do not run cannot be measured, whatever is measured elsewhere."""

SHORT = {"rolling": "rollout_in_progress", "pressure": "resource_pressure"}
AGO = {"recent": timedelta(minutes=5), "old": timedelta(hours=2)}
"""How long before the alert the template changed; up to an hour is recent."""
RUN = ("crash", "oom", "slow", "healthy")
LIMITS = {"cpu": "1", "memory": "1Gi"}
SHOWS = {
    "crash": Fact.CRASH_LOOPING,
    "oom": Fact.OOM_KILLED,
    "imagepull": Fact.IMAGE_PULL_FAILING,
    "pending": Fact.UNSCHEDULABLE,
}


@dataclass(frozen=True)
class Row:
    fate: str
    age: str
    measured: bool
    expected: dict[Fact, bool | None]

    @property
    def name(self) -> str:
        return f"{self.fate}-{self.age}-{'metrics' if self.measured else 'none'}"


def rows() -> list[Row]:
    found = []
    for line in TABLE.strip().splitlines():
        fate, age, metrics, *named = line.split()
        truths: dict[Fact, bool | None] = dict.fromkeys(Fact, False)
        for word in named:
            fact = SHORT.get(word.lstrip("?"), word.lstrip("?"))
            truths[Fact(fact)] = None if word.startswith("?") else True
        found.append(Row(fate, age, metrics == "metrics", truths))
    return found


ROWS = rows()


@pytest.fixture(scope="module")
def api() -> str:
    """Only the real one."""
    if not os.environ.get("KUBECONFIG"):
        missing("KUBECONFIG names no API server")
    return os.environ["KUBECONFIG"]


def all_of(found: list[Json]) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": found})


def measurement(namespace: str, row: Row, pod: str) -> Json:
    """What metrics-server would say of one pod."""
    usage = {"cpu": "300m" if row.fate == "healthy" else "900m", "memory": "256Mi"}
    return {
        "apiVersion": "metrics.k8s.io/v1beta1",
        "kind": "PodMetrics",
        "metadata": {"name": pod, "namespace": namespace, "labels": {"app": row.name, "team": "ahsan"}},
        "timestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "window": "15s",
        "containers": [{"name": "app", "usage": usage}],
    }


def shows_its_fate(row: Row, seen: Observation) -> bool:
    """Whether the pods of the present template have come to what their image makes of them."""
    if not seen.pods or (row.measured and row.fate in RUN and seen.usage is None):
        return False
    if row.fate == "healthy":
        return seen.rolled_out and seen.ready == seen.replicas
    if row.fate == "slow":
        return not any(pod.ready for pod in seen.pods)
    return judged(row, seen)[SHOWS[row.fate]] is True


def started(row: Row, seen: Observation) -> datetime:
    assert seen.template_changed
    return seen.template_changed.latest + AGO[row.age]


def judged(row: Row, seen: Observation) -> dict[Fact, bool | None]:
    found = facts_from(seen, alert_started_at=started(row, seen), rules=FactRules())
    return {fact: finding.truth for fact, finding in found.items()}


@pytest.fixture(scope="module")
def fates(world, manifest_of) -> dict[str, Observation]:
    """Every row's Deployment, all at once; the first observation in which its pods show their fate."""
    recent = [row for row in ROWS if row.age == "recent"]
    world.kubectl("apply", "-f", "-", stdin=all_of([manifest_of(row.name, "app:1") for row in recent]))
    for row in recent:
        world.settled(row.name)
    manifests = [manifest_of(row.name, f"app:{row.fate}") for row in ROWS]
    world.kubectl("apply", "-f", "-", stdin=all_of(manifests))
    found: dict[str, Observation] = {}
    measured: set[str] = set()

    def look() -> bool:
        fresh = []
        for row in ROWS:
            if row.name in found:
                continue
            seen = world.see(row.name)
            if shows_its_fate(row, seen):
                found[row.name] = seen
            elif row.measured and row.fate in RUN:
                fresh += [(row, pod.name) for pod in seen.pods or () if pod.name not in measured]
        if fresh:
            measurements = [measurement(world.namespace, row, pod) for row, pod in fresh]
            world.kubectl("create", "-f", "-", stdin=all_of(measurements))
            measured.update(pod for _, pod in fresh)
        return len(found) == len(ROWS)

    eventually(look)
    return found


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_the_facts_are_those_of_the_table(fates, row):
    seen = fates[row.name]
    assert judged(row, seen) == row.expected


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_a_fact_that_is_not_true_never_lets_a_step_apply(fates, row):
    seen = fates[row.name]
    steps = [Step(action=RESTART.action, when=(fact,)) for fact, truth in row.expected.items() if not truth]
    incident = an_incident(alert_started_at=started(row, seen))
    verdicts = weigh_steps(a_situation(playbook=a_playbook(*steps), seen=seen, incident=incident))
    assert [verdict.reason for verdict in verdicts] == [
        Reason.FACT_UNKNOWN if row.expected[step.when[0]] is None else Reason.FACT_FALSE for step in steps
    ]


def test_the_table_has_every_combination():
    assert len({row.name for row in ROWS}) == len(ROWS) == 6 * 2 * 2


def test_a_quota_that_refuses_pods_is_no_room_and_a_rollout_that_is_stuck(world, manifest_of):
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}}
    world.apply({**quota, "spec": {"hard": {"pods": "0"}}})
    # No controller counts quotas there, so that is said by hand.
    counted = json.dumps({"status": {"hard": {"pods": "0"}, "used": {"pods": "0"}}})
    world.kubectl(
        "patch", "resourcequota", "none", "--subresource=status", "--type=merge", f"--patch={counted}"
    )
    try:
        world.apply(manifest_of("refused", "app:1"))
        seen = eventually(lambda: (one := world.see("refused")).replica_failure and one)
    finally:
        world.kubectl("delete", "resourcequota", "none")

    found = facts_from(seen, alert_started_at=seen.at, rules=FactRules())
    assert "exceeded quota: none" in found[Fact.UNSCHEDULABLE].because
    assert (found[Fact.UNSCHEDULABLE].truth, found[Fact.ROLLOUT_STUCK].truth) == (True, True)
    assert found[Fact.CRASH_LOOPING].truth is False


@pytest.fixture(scope="module")
def manifest_of(world) -> Any:
    def made(name: str, image: str) -> Json:
        return world.manifest(name, image, limits=LIMITS)  # type: ignore[no-any-return]

    return made
