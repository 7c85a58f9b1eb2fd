"""What is kept of an observation: everything that tells, and never more than so much."""

from __future__ import annotations

import json

from remediator.core.evidence import LONGEST_WORDS, MOST_EVENTS, MOST_PODS, MOST_REVISIONS, snapshot
from remediator.core.facts import PodSeen, Unseen
from remediator.core.reasons import Reason
from remediator.core.seen import Ending, EventSeen, LogSeen
from tests.builders import NOW, a_revision, an_observation

ENDED = Ending(container="app", reason="Error", exit_code=1, at=NOW, restarts=4)
EVENT = EventSeen(at=NOW, about="Pod/a", kind="Warning", reason="BackOff", message="it says so")
LOG = LogSeen(pod="a", container="app", lines=("boom",))


def test_a_small_observation_is_kept_whole():
    kept = snapshot(an_observation(events=(EVENT,), logs=(LOG,), budgets=("web allows 0 evictions now",)))
    assert len(kept["pods"]) == 3
    assert (kept["replicas"], kept["images"], kept["template_digest"]) == (3, ("hive:7",), "new")
    assert kept["events"][0]["reason"] == "BackOff"
    assert kept["logs"][0]["lines"] == ("boom",)
    assert kept["left_out"] == {}


def test_the_worst_pods_are_kept_and_the_others_counted():
    well = [PodSeen(name=f"well-{n}", ready=True) for n in range(500)]
    pods = (
        *well,
        PodSeen(name="waiting", ready=False),
        PodSeen(name="crashed", ready=False, endings=(ENDED,), restarts=4),
        PodSeen(name="crashed more", ready=False, endings=(ENDED,), restarts=9),
    )
    kept = snapshot(an_observation(pods=pods))
    assert [pod["name"] for pod in kept["pods"]][:4] == ["crashed more", "crashed", "waiting", "well-0"]
    assert len(kept["pods"]) == MOST_PODS
    assert kept["left_out"] == {"pods": 503 - MOST_PODS}


def test_its_size_is_bounded():
    words = "x" * 10_000
    pod = PodSeen(name="a", ready=False, unschedulable=words)
    seen = an_observation(
        pods=(pod,) * 500,
        previous=tuple(a_revision(n, str(n)) for n in range(100)),
        events=(EVENT,) * 400,
        unreadable={"usage": words},
    )
    kept = snapshot(seen)
    assert kept["left_out"] == {
        "pods": 500 - MOST_PODS,
        "previous": 100 - MOST_REVISIONS,
        "events": 400 - MOST_EVENTS,
    }
    assert kept["unreadable"] == {"usage": "x" * LONGEST_WORDS}
    assert len(json.dumps(kept, default=str)) < 12_000


def test_what_is_unknown_stays_unknown():
    kept = snapshot(an_observation(pods=None, previous=None, events=None))
    assert (kept["pods"], kept["previous"], kept["events"], kept["logs"]) == (None, None, None, None)


def test_of_a_deployment_that_could_not_be_seen_the_reason_is_kept():
    kept = snapshot(Unseen(reason=Reason.CLUSTER_UNREACHABLE, detail="timed out"))
    assert kept == {"reason": Reason.CLUSTER_UNREACHABLE, "detail": "timed out"}
