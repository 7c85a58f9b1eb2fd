"""A scale-up comes back on a real API server, and does not where a person or an HPA changed the count."""

from __future__ import annotations

import json
import os
import time
from http import HTTPStatus
from pathlib import Path

import pytest

from remediator.core.actions import Scale
from remediator.core.incidents import Phase
from remediator.core.policy import Step
from tests.audit import audited
from tests.builders import a_playbook, a_policy
from tests.waiting import eventually

from .acting import seen
from .loop import Loop, over
from .real import Realm, await_review

pytestmark = pytest.mark.real


@pytest.fixture
def began() -> float:
    return time.time()


@pytest.fixture
def scaled(realm: Realm, tmp_path: Path, request: pytest.FixtureRequest) -> Loop:
    """Two replicas became four and that helped; the incident is over, and still to give two back."""
    realm.scale(2)
    step = Step(action=Scale(4))
    name = f"returns-{request.node.name.partition('[')[0][-20:].strip('_').replace('_', '-')}"
    cluster = realm.account(name, realm.printed(a_policy(a_playbook(step))))
    loop = Loop(tmp_path, realm, cluster, step)
    await_review(cluster, realm, loop.policy)
    four: list[object] = []  # what made it sick is over once there were four
    loop.heals_when(lambda _, now: bool(four) or (now.ready == 4 and not four.append(now)))
    story = loop.runs(over)
    assert (story.incident.phase, story.incident.return_to) == (Phase.RETURNING, 2), story.events
    return loop


def counts_set(realm: Realm, account: str, *, since: float) -> list[int]:
    """The replica counts that the account's writes set, dry runs aside, by the API server's own audit log."""
    events = audited(Path(os.environ["KUBE_AUDIT_LOG"]), realm.target.namespace, since=since)
    return [
        event["requestObject"]["spec"]["replicas"]
        for event in events
        if (event["verb"], event["stage"]) == ("patch", "ResponseComplete")
        and "/scale" in event["requestURI"]
        and "dryRun" not in event["requestURI"]
        and account in json.dumps(event["user"])
        and event["responseStatus"]["code"] == HTTPStatus.OK
    ]


def test_the_original_count_comes_back_step_by_step(began: float, scaled: Loop, realm: Realm):
    scaled.resolves()
    story = scaled.works(lambda story: story.incident.phase is Phase.CLOSED)

    assert [attempt.kind for attempt in story.attempts] == ["scale", "return", "return"], story.events
    assert (story.events[-1]["kind"], story.events[-1]["detail"]) == ("returned", "2 replicas")
    assert seen(scaled.cluster, realm.target).replicas == 2
    if os.environ.get("KUBE_AUDIT_LOG"):
        assert counts_set(realm, "returns-es-back-step-by-step", since=began) == [4, 3, 2]


def test_what_a_person_scaled_meanwhile_stays(scaled: Loop, realm: Realm):
    realm.scale(5)
    scaled.resolves()
    story = scaled.works(lambda story: story.incident.phase is Phase.CLOSED)

    assert [attempt.kind for attempt in story.attempts] == ["scale"]
    assert story.events[-1]["reason"] == "changed_by_others"
    assert story.events[-1]["detail"] == "5 replicas are wanted, we left 4"
    assert seen(scaled.cluster, realm.target).replicas == 5


def test_what_an_autoscaler_owns_meanwhile_is_its_own(scaled: Loop, realm: Realm):
    name = realm.target.name
    hpa = {
        "apiVersion": "autoscaling/v1",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": name},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "minReplicas": 2,
            "maxReplicas": 6,
        },
    }
    realm.kubectl("-n", realm.target.namespace, "apply", "-f", "-", stdin=json.dumps(hpa))
    try:
        eventually(lambda: seen(scaled.cluster, realm.target).hpas)
        scaled.resolves()
        story = scaled.works(lambda story: story.incident.phase is Phase.CLOSED)
    finally:
        realm.kubectl("-n", realm.target.namespace, "delete", "hpa", name)

    assert [attempt.kind for attempt in story.attempts] == ["scale"]
    assert story.events[-1]["reason"] == "hpa_owns_replicas"
    assert seen(scaled.cluster, realm.target).replicas == 4
