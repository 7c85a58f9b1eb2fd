"""Evidence no decision rests on: Events and logs, bounded, never waited for, said when they are missing."""

from __future__ import annotations

import threading
import time
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from remediator.adapters.kubernetes import evidence
from remediator.core.facts import Observation
from remediator.core.seen import EventSeen, LogSeen

from .kube import DEPLOYMENT, EVENTS, PODS, TARGET, at, deployment, observed, pod, serve, then


def event(name: str, uid: str, minute: int = 10, **more):
    kind = {"U": "Deployment", "one": "ReplicaSet", "two": "ReplicaSet"}.get(uid, "Pod")
    return {
        "metadata": {"uid": name},
        "involvedObject": {"kind": kind, "name": f"apex-{uid}", "uid": uid},
        "type": "Warning",
        "reason": name,
        "message": "it says so",
        "lastTimestamp": at(minute),
        **more,
    }


def test_events_of_the_deployment_its_replica_sets_and_pods_the_latest_first(api, cluster):
    events = [
        event("Scaled", "U", 11, type="Normal"),
        event("Created", "one", 12),
        event("BackOff", "p", 14, count=5),
        event("Elsewhere", "stranger", 15),
        event("Unplaced", "gone", 16),
    ]
    serve(api, deployment(), pods=[pod("p")], events=events)
    seen = observed(cluster)
    assert [(one.about, one.kind, one.reason, one.count) for one in seen.events or ()] == [
        ("Pod/apex-p", "Warning", "BackOff", 5),
        ("ReplicaSet/apex-one", "Warning", "Created", 1),
        ("Deployment/apex-U", "Normal", "Scaled", 1),
    ]
    asked = [
        parse_qs(urlsplit(call.request.url).query)
        for call in api.calls
        if call.request.url.startswith(EVENTS)
    ]
    assert sorted(one["fieldSelector"] for one in asked) == [["involvedObject.uid=U"], ["type=Warning"]]
    assert {one["limit"][0] for one in asked} == {str(evidence.MOST_READ)}


@pytest.mark.parametrize(
    ("more", "when", "count"),
    [
        ({"series": {"lastObservedTime": at(20), "count": 7}, "count": 1}, then(20), 7),
        ({"lastTimestamp": None, "eventTime": "2026-11-23T11:21:00.123456Z"}, then(21), 1),
        ({"lastTimestamp": None, "metadata": {"uid": "e", "creationTimestamp": at(22)}}, then(22), 1),
        ({"lastTimestamp": None}, None, 1),
    ],
    ids=["series", "event time", "creation", "never"],
)
def test_when_an_event_last_happened(api, cluster, more, when, count):
    serve(api, deployment(), events=[event("E", "U", **more)])
    (one,) = observed(cluster).events or ()
    assert (one.at and one.at.replace(microsecond=0), one.count) == (when, count)


def test_the_message_of_an_event_is_one_short_line(api, cluster):
    serve(api, deployment(), events=[event("E", "U", message="a\x1b[31m\n" + "b" * 999)])
    (one,) = observed(cluster).events or ()
    assert isinstance(one, EventSeen)
    assert one.message.startswith("a [31m b")
    assert len(one.message) == 256


# ------------------------------------------------------------ never waited for

LOG = f"{PODS}/p/log"


def crashing(name: str = "p", *, state: str = "lastState", restarts: int = 3, **more):
    ended = {"terminated": {"exitCode": 1, "reason": "Error", "finishedAt": at(58)}}
    waiting = {} if state == "state" else {"state": {"waiting": {"reason": "CrashLoopBackOff"}}}
    container = {"name": "app", "restartCount": restarts, **waiting, state: ended, **more}
    return pod(name, containerStatuses=[container])


def with_logs(cluster) -> Observation:
    seen = cluster.observe(TARGET, logs=True)
    assert isinstance(seen, Observation), seen
    return seen


@pytest.mark.parametrize("url", [EVENTS, LOG], ids=["events", "log"])
def test_evidence_that_takes_too_long_is_given_up(api, cluster, monkeypatch, url):
    monkeypatch.setattr(evidence, "WITHIN", 0.1)
    serve(api, deployment(), pods=[crashing()])
    api.get(LOG, body="fine")
    api.remove("GET", url)
    given_up = threading.Event()

    def slowly(_request):
        given_up.wait(10)
        return 200, {}, "{}"

    api.add_callback("GET", url, slowly)
    began = time.monotonic()
    seen = with_logs(cluster)
    given_up.set()
    assert time.monotonic() - began < 5
    assert seen.unreadable["events" if url == EVENTS else "logs"] == "there was no time to read it"
    assert [one.name for one in seen.pods or ()] == ["p"]


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ({"status": 403, "json": {"message": "no"}}, "HTTP 403: no"),
        ({"status": 500}, "HTTP 500"),
        ({"body": requests.ReadTimeout()}, "no answer within the time-out"),
    ],
    ids=["forbidden", "failed", "silent"],
)
def test_what_is_missing_of_the_evidence_is_said_and_the_facts_are_whole(api, cluster, answer, why):
    serve(api, deployment(), pods=[crashing()])
    api.remove("GET", EVENTS)
    api.get(EVENTS, **answer)
    api.get(LOG, **answer)
    seen = with_logs(cluster)
    assert (seen.events, seen.logs) == (None, None)
    assert {name: seen.unreadable[name] for name in ("events", "logs")} == {"events": why, "logs": why}
    assert seen.pods
    assert len([call for call in api.calls if call.request.url.startswith(LOG)]) == 1, "asked once"


# ------------------------------------------------------------ logs


def test_the_last_lines_of_the_run_that_crashed(api, cluster):
    serve(api, deployment(), pods=[crashing()])
    api.get(LOG, body="\n".join([*(f"line {n}" for n in range(30)), "\x1b[31mboom\x00", "x" * 999]))
    (log,) = with_logs(cluster).logs or ()
    assert isinstance(log, LogSeen)
    assert (log.pod, log.container, len(log.lines)) == ("p", "app", evidence.LINES)
    assert log.lines[-2:] == (" [31mboom ", "x" * 199 + "…")
    (asked,) = [call.request.url for call in api.calls if call.request.url.startswith(LOG)]
    assert parse_qs(urlsplit(asked).query) == {
        "container": ["app"],
        "tailLines": ["20"],
        "limitBytes": ["16384"],
        "previous": ["true"],
    }


def test_a_container_that_was_not_started_again_has_only_one_run(api, cluster):
    serve(api, deployment(), pods=[crashing(state="state")])
    api.get(LOG, body="boom")
    assert with_logs(cluster).logs == (LogSeen(pod="p", container="app", lines=("boom",)),)
    (asked,) = [call.request.url for call in api.calls if call.request.url.startswith(LOG)]
    assert "previous" not in asked


def test_two_logs_are_enough_those_of_the_most_restarted(api, cluster):
    serve(
        api,
        deployment(),
        pods=[crashing("a", restarts=1), crashing("b", restarts=9), crashing("c", restarts=5)],
    )
    for name in "abc":
        api.get(f"{PODS}/{name}/log", body=name)
    assert [log.pod for log in with_logs(cluster).logs or ()] == ["b", "c"]


@pytest.mark.parametrize("wanted", [True, False])
def test_no_log_is_read_unless_it_is_wanted_and_something_crashed(api, cluster, wanted):
    done = {"name": "app", "lastState": {"terminated": {"exitCode": 0}}}
    pods = [pod("p", containerStatuses=[done])] if wanted else [crashing()]
    serve(api, deployment(), pods=pods)
    seen = cluster.observe(TARGET, logs=wanted)
    assert isinstance(seen, Observation)
    assert seen.logs == ()
    assert "logs" not in seen.unreadable
    assert not any("/log" in call.request.url for call in api.calls)


def test_nothing_is_read_of_a_deployment_that_is_not_there(api, cluster):
    serve(api, deployment())
    api.remove("GET", DEPLOYMENT)
    api.get(DEPLOYMENT, status=404)
    assert not isinstance(cluster.observe(TARGET, logs=True), Observation)
    assert not any(call.request.url.startswith(EVENTS) for call in api.calls)
