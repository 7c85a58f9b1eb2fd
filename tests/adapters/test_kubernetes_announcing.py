"""An Event is written once, under its own name; whatever is answered, it is said in one word."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
import requests

from remediator.core.announcements import Told
from remediator.core.permissions import CREATE_EVENTS
from tests.builders import an_announcement

from .kube import DEPLOYMENT, EVENTS, NOW, TARGET, deployment, serve

LINE = an_announcement(target=TARGET, opened_at=NOW, at=NOW)


@pytest.fixture
def live(api):
    about = {"apiVersion": "apps/v1", "kind": "Deployment", **deployment()}
    serve(api, about)
    return api


def test_an_event_is_about_the_deployment_that_is_there_now(live, cluster):
    live.post(EVENTS, json={}, status=201)

    assert cluster.announce(LINE) is Told.WRITTEN

    event = json.loads(live.calls[-1].request.body)
    assert event["involvedObject"] == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "namespace": TARGET.namespace,
        "name": "apex",
        "uid": "U",
    }
    assert (event["type"], event["reason"]) == ("Normal", "RemediationStarted")
    assert event["source"] == {"component": "remediator"}
    assert "fieldManager=remediator" in live.calls[-1].request.url


ANSWERS = [
    (409, Told.WRITTEN),
    (403, Told.FORBIDDEN),
    (404, Told.GONE),
    (422, Told.REFUSED),
    (401, Told.AGAIN),
    (429, Told.AGAIN),
    (503, Told.AGAIN),
]


@pytest.mark.parametrize(("status", "told"), ANSWERS)
def test_what_the_api_server_answers_to_an_event(live, cluster, status, told):
    live.post(EVENTS, json={}, status=status)

    assert cluster.announce(LINE) is told


@pytest.mark.parametrize(("status", "told"), [one for one in ANSWERS if one[0] not in {409, 422}])
def test_an_event_needs_its_object(api, cluster, status, told):
    api.get(DEPLOYMENT, json={}, status=status)

    assert cluster.announce(LINE) is told


def test_silence_is_asked_again_and_an_event_is_never_repeated_blindly(live, cluster):
    live.post(EVENTS, body=requests.ReadTimeout())

    assert cluster.announce(LINE) is Told.AGAIN
    assert [call.request.method for call in live.calls].count("POST") == 1


def test_without_the_permission_it_is_not_even_tried(live, cluster):
    review = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    live.post(DEPLOYMENT.split("/apis/")[0] + review, json={"status": {"allowed": False}}, status=201)
    cluster.review({TARGET: (CREATE_EVENTS,)}, within=timedelta(seconds=5))

    assert cluster.announce(LINE) is Told.FORBIDDEN
    assert not [call for call in live.calls if call.request.url.startswith(EVENTS)]
