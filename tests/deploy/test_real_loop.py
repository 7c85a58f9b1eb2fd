"""The flow from an alert to the end of its incident, with a token of the service account and nothing else.

The API server and its controllers are real, and so is the journal; what Prometheus says is scripted.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from remediator.adapters.journal.journal import Story
from remediator.core.actions import Scale, describe
from remediator.core.incidents import Phase
from remediator.core.policy import Mode, Step
from remediator.core.reasons import Reason
from tests.builders import RESTART, a_playbook, a_policy
from tests.waiting import eventually
from tests.worlds import SICK

from .acting import seen
from .loop import BACK, Loop, kinds, over
from .real import Realm, await_review

pytestmark = pytest.mark.real


def test_observing_tells_what_it_would_do_and_leaves_everything_as_it_is(realm: Realm, tmp_path: Path):
    cluster = realm.account("loop-observing", realm.shipped("observe"))
    loop = Loop(tmp_path, realm, cluster, RESTART, mode=Mode.OBSERVE)
    await_review(cluster, realm, loop.policy)
    eventually(lambda: seen(cluster, realm.target).rolled_out)
    before = seen(cluster, realm.target).generation
    loop.metrics.on_ask = lambda _: SICK

    story = loop.runs(lambda story: story.incident.hold_reason is Reason.OBSERVE_MODE)

    assert "rolling restart" in str(story.events[-1])
    assert seen(cluster, realm.target).generation == before


def test_scaling_recovers_with_the_permissions_for_scaling(realm: Realm, tmp_path: Path):
    now = seen(realm.account("loop-looking", realm.shipped("observe")), realm.target)
    wanted = Scale(now.replicas + 1)
    policy = a_policy(a_playbook(Step(action=wanted)))
    cluster = realm.account("loop-scaling", realm.printed(policy))
    loop = Loop(tmp_path, realm, cluster, Step(action=wanted))
    await_review(cluster, realm, loop.policy)
    loop.heals_when(lambda then, now: now.ready > then.ready)

    story = loop.runs(over)

    assert (story.incident.phase, kinds(story)) == (Phase.RETURNING, ["scale"]), story.events
    assert seen(cluster, realm.target).replicas == wanted.to


def test_a_restart_without_the_permission_goes_to_a_person_before_it_is_tried(realm: Realm, tmp_path: Path):
    policy = a_policy(a_playbook(Step(action=Scale(5))))
    cluster = realm.account("loop-short", realm.printed(policy))
    await_review(cluster, realm, policy)
    loop = Loop(tmp_path, realm, cluster, RESTART, BACK)
    loop.metrics.on_ask = lambda _: SICK

    story = loop.runs(over)

    assert (story.incident.phase, kinds(story)) == (Phase.ESCALATED, []), story.events
    assert f"we lack patch deployments (apps) on {realm.target}" in str(story.events[-1])


def test_a_restart_that_does_not_help_and_the_undo_that_does(realm: Realm, tmp_path: Path):
    cluster = realm.account("loop-changing", realm.shipped("auto"))
    loop = Loop(tmp_path, realm, cluster, RESTART, BACK)
    loop.policy = replace(loop.policy, limits=replace(loop.policy.limits, cooldown=timedelta()))
    await_review(cluster, realm, loop.policy)
    loop.heals_when(lambda then, now: now.template_digest != then.template_digest)

    story = loop.runs(over)

    assert (story.incident.phase, kinds(story)) == (Phase.CLOSED, ["restart", "undo"]), story.events
    assert history(realm)[-2:] == [
        f"remediator: rolling restart for AhsanScoreLow (incident 1, {when(story, 0)})",
        f"remediator: {describe(story.attempts[1].intent)} for AhsanScoreLow (incident 1, {when(story, 1)})",
    ]
    said = described(realm)
    quoted = [
        ("RemediationDecided", "attempt 1: rolling restart, because no earlier step applies"),
        ("RemediationStarted", "AhsanScoreLow (incident 1): applied: attempt 1: rolling restart; HTTP 200"),
        ("RemediationDidNotHelp", "AhsanScoreLow (incident 1): not_recovered: attempt 1: "),
        ("RemediationDecided", "attempt 2: rollout undo to revision"),
        ("RemediationStarted", "attempt 2: rollout undo to revision"),
        ("RemediationRecovered", "AhsanScoreLow (incident 1): recovered: rollout undo to revision"),
    ]
    for reason, words in quoted:
        assert [message for told, message in said if told == reason and words in message], (reason, said)


def test_a_refusal_and_a_pause_are_told_where_kubectl_describe_looks(realm: Realm, tmp_path: Path):
    cluster = realm.account("loop-paused", realm.shipped("auto"))
    loop = Loop(tmp_path, realm, cluster, RESTART)
    await_review(cluster, realm, loop.policy)
    loop.metrics.on_ask = lambda _: SICK
    realm.on_target("annotate", "remediator/paused-until=2999-01-01T00:00:00Z", "--overwrite")

    story = loop.runs(lambda story: story.incident.hold_reason is Reason.PAUSED)

    assert story.attempts == ()
    words = "AhsanScoreLow (incident 1): paused: annotation remediator/paused-until='2999-01-01T00:00:00Z'"
    assert ("RemediationHeld", words) in described(realm)
    assert "remediator/paused-until: 2999-01-01T00:00:00Z" in realm.on_target("describe")
    realm.on_target("annotate", "remediator/paused-until-")


def when(story: Story, number: int) -> str:
    return f"{story.attempts[number].intended_at:%Y-%m-%dT%H:%M:%SZ}"


def history(realm: Realm) -> list[str]:
    """The causes of the revisions, oldest first, as kubectl prints them."""
    printed = realm.on_target("rollout history").strip().splitlines()[2:]
    return [line.split(maxsplit=1)[1] for line in printed]


def described(realm: Realm) -> list[tuple[str, str]]:
    """Reason and message of our Events in `kubectl describe deployment`, oldest first."""
    lines = [line.split(maxsplit=4) for line in realm.on_target("describe").splitlines()]
    ours = [line for line in lines if len(line) == 5 and line[3] == "remediator"]
    return [(line[1], line[4]) for line in ours]
