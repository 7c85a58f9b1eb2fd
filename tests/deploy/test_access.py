"""The adapter asks for what is granted and nothing else, and knows what it may not do before it tries."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from requests import PreparedRequest
from structlog.testing import capture_logs

from remediator.adapters.kubernetes import KubernetesCluster
from remediator.core.actions import Target
from remediator.core.announcements import Told
from remediator.core.execution import Delivery
from remediator.core.permissions import READS, WRITE_DEPLOYMENT, WRITE_SCALE, AccessReview
from remediator.core.policy import Mode, Policy
from remediator.lab.cluster import LabCluster
from remediator.permissions import manifests, needed
from remediator.preflight import Preflight
from remediator.serve import Process
from remediator.settings import Settings
from remediator.wiring import build
from tests.builders import SCALE, a_playbook, a_policy
from tests.waiting import eventually

from .acting import an_announcement, carry_out, need_of, restart, scale, seen, undo
from .places import ROOT
from .test_permissions import granted

WITHIN = timedelta(seconds=20)
REVIEWS = "selfsubjectaccessreviews"
NO_WRITES = {"verb": "patch", "resource": "deployments", "subresource": ""}
NO_SCALING = {"verb": "patch", "resource": "deployments", "subresource": "scale"}


def test_what_the_adapter_asks_for_is_what_rbac_grants(
    cluster: KubernetesCluster, target: Target, asked: list[PreparedRequest]
):
    for intent in (restart, scale, undo):
        assert carry_out(cluster, target, intent(seen(cluster, target))).delivery is Delivery.APPLIED
    assert cluster.announce(an_announcement(target)) is Told.WRITTEN
    cluster.ping()
    cluster.review({target: needed(a_policy())}, within=WITHIN)

    needs = {need for request in asked if (need := need_of(request)) is not None}

    assert needs == granted(manifests(a_policy(), namespace="remediator", account="remediator"))


def test_scaling_asks_for_no_more_than_the_scale_tier(
    cluster: KubernetesCluster, target: Target, asked: list[PreparedRequest]
):
    carry_out(cluster, target, scale(seen(cluster, target)))
    cluster.announce(an_announcement(target))

    needs = {need for request in asked if (need := need_of(request)) is not None}

    policy = a_policy(a_playbook(SCALE))
    assert needs == granted(manifests(policy, namespace="remediator", account="remediator"))


def test_an_observation_carries_what_the_review_missed(
    lab: LabCluster, cluster: KubernetesCluster, target: Target
):
    lab.deny(NO_WRITES)

    review = cluster.review({target: needed(a_policy())}, within=WITHIN)

    assert review.missing == {target: (WRITE_DEPLOYMENT,)}
    assert seen(cluster, target).missing_permissions == (WRITE_DEPLOYMENT,)


def test_a_role_that_was_mended_counts_at_the_next_observation(
    lab: LabCluster, cluster: KubernetesCluster, target: Target, asked: list[PreparedRequest]
):
    lab.deny(NO_WRITES, NO_SCALING)
    cluster.review({target: needed(a_policy())}, within=WITHIN)
    lab.deny(NO_SCALING)

    assert seen(cluster, target).missing_permissions == (WRITE_SCALE,)
    lab.deny()
    assert seen(cluster, target).missing_permissions == ()

    asked.clear()
    assert seen(cluster, target).missing_permissions == ()
    assert not [request for request in asked if REVIEWS in str(request.url)]


def test_without_a_review_nothing_is_missing_and_nothing_is_asked(
    lab: LabCluster, cluster: KubernetesCluster, target: Target, asked: list[PreparedRequest]
):
    lab.deny(NO_WRITES)

    assert seen(cluster, target).missing_permissions == ()
    assert not [request for request in asked if REVIEWS in str(request.url)]


def test_targets_of_one_namespace_share_the_questions_about_lists(
    cluster: KubernetesCluster, asked: list[PreparedRequest]
):
    first, second = Target("a", "db"), Target("a", "web")

    review = cluster.review({first: needed(a_policy()), second: needed(a_policy())}, within=WITHIN)

    lists = sum(not one.named for one in needed(a_policy()))
    assert len(asked) == 2 * len(needed(a_policy())) - lists
    assert (review.missing, review.unanswered) == ({}, None)


@pytest.mark.parametrize(("fault", "said"), [("503", "HTTP 503"), ("reset_before", "reset")])
def test_a_question_without_an_answer_is_reported_and_ends_the_questions(
    lab: LabCluster, cluster: KubernetesCluster, asked: list[PreparedRequest], fault: str, said: str
):
    lab.faults({"fault": fault, "path": f"/{REVIEWS}"})

    review = cluster.review({Target("a", "web"): needed(a_policy())}, within=WITHIN)

    assert review.missing == {}
    assert said in str(review.unanswered)
    assert len(asked) == 1


def test_what_was_missing_stays_missing_while_the_api_server_does_not_say(
    lab: LabCluster, cluster: KubernetesCluster, target: Target
):
    lab.deny(NO_WRITES)
    cluster.review({target: needed(a_policy())}, within=WITHIN)
    lab.deny()
    lab.faults({"fault": "503", "path": f"/{REVIEWS}", "times": 99})

    review = cluster.review({target: needed(a_policy())}, within=WITHIN)

    assert review.missing == {target: (WRITE_DEPLOYMENT,)}
    assert seen(cluster, target).missing_permissions == (WRITE_DEPLOYMENT,)


def test_a_review_without_time_asks_nothing(
    cluster: KubernetesCluster, target: Target, asked: list[PreparedRequest]
):
    review = cluster.review({target: needed(a_policy())}, within=timedelta())

    assert review.unanswered == "there was no time to ask for everything"
    assert not asked


class Nobody:
    """A cluster whose review gives these answers one after another, the last one for ever."""

    def __init__(self, *answers: AccessReview | Exception) -> None:
        self._answers = list(answers)
        self.needs: list[object] = []

    def review(self, needs, *, within):
        self.needs.append(needs)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_whatever_goes_wrong_with_the_questions_is_reported_and_they_are_asked_again():
    preflight = Preflight(Nobody(KeyError("x"), AccessReview()), a_policy, every=timedelta(seconds=0.5))

    assert preflight.complaint == "not asked yet"
    preflight.start()
    eventually(lambda: preflight.complaint == "the access review failed: KeyError: 'x'")
    eventually(lambda: preflight.complaint is None)
    preflight.stop()


def test_the_preflight_logs_what_is_missing_once_and_that_it_is_there_then():
    target = next(iter(a_policy().targets))
    lacking = AccessReview(missing={target: (WRITE_SCALE,)})
    complaints = []

    with capture_logs() as said:
        preflight = Preflight(Nobody(lacking, lacking, AccessReview()), a_policy)
        for _ in range(3):
            preflight.look()
            complaints.append(preflight.complaint)

    words = "bizra-testnet/bizra-apex lacks patch deployments/scale (apps)"
    assert complaints == [words, words, None]
    assert [(line["log_level"], line.get("missing")) for line in said] == [("error", words), ("info", None)]


def test_the_preflight_asks_for_what_the_policy_in_force_needs():
    cluster = Nobody(AccessReview())
    policies: list[Policy] = [a_policy(), a_policy(mode=Mode.OBSERVE)]
    preflight = Preflight(cluster, lambda: policies[0])

    preflight.look()
    policies.pop(0)
    preflight.look()

    target = next(iter(a_policy().targets))
    assert cluster.needs == [{target: needed(a_policy())}, {target: READS}]


def test_readyz_verbose_and_the_log_name_what_is_missing(lab: LabCluster, target: Target, tmp_path: Path):
    lab.deny(NO_SCALING)
    settings = Settings(
        policy=ROOT / "policy.yaml",
        database=f"sqlite:///{tmp_path}/journal.db",
        kubeconfig=lab.kubeconfig(tmp_path / "of-the-process"),
        insecure=True,
    )
    with capture_logs() as said:
        process = Process(build(settings))
        process.start()
        lacks = "bizra-testnet/bizra-apex lacks patch deployments/scale (apps)"
        eventually(lambda: process.preflight.complaint == lacks)
        answer = process.app.test_client().get("/readyz?verbose")
        quiet = process.app.test_client().get("/readyz")
        process.stop()

    assert (answer.status_code, answer.get_json()["trouble"]["permissions"]) == (200, lacks)
    assert quiet.get_json()["trouble"] == {}
    assert [line["missing"] for line in said if line.get("part") == "preflight"] == [lacks]
