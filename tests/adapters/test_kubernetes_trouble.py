"""Every trouble of the API server has its decided behaviour: the tables of docs/kubernetes.md."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import requests
import responses

from remediator.adapters.kubernetes.objects import digest_of
from remediator.core.actions import RestartIntent, ScaleIntent, UndoIntent
from remediator.core.facts import Fact, Unseen
from remediator.core.reasons import Reason

from .kube import DEPLOYMENT, NOW, SCALE, TARGET, accept, deployment, serve
from .kube import HISTORY as REVISIONS

PAGE = (Path(__file__).parent.parent.parent / "docs" / "kubernetes.md").read_text(encoding="utf-8")
MOMENTS = ("deciding", "recognising", "dry run", "write", "rollout")


def table(title: str) -> list[list[str]]:
    """The rows of the table whose first column has that title."""
    lines = iter(PAGE.splitlines())
    next(line for line in lines if line.startswith(f"| {title} |"))
    next(lines)
    found = []
    for line in lines:
        if not line.startswith("|"):
            break
        found.append([cell.strip() for cell in line.strip("|").split("|")])
    return found


ROWS = {name: dict(zip(MOMENTS, cells, strict=True)) for name, *cells in table("the answer")}
ANSWERS: dict[str, dict[str, Any]] = {
    "401": {"status": 401},
    "403": {"status": 403},
    "404": {"status": 404},
    "409": {"status": 409},
    "422": {"status": 422},
    "422, and the object moved": {"status": 422},
    "429": {"status": 429},
    "500": {"status": 500},
    "503": {"status": 503},
    "504": {"status": 504},
    "no JSON": {"body": "<html>"},
    "time-out": {"body": requests.ReadTimeout()},
    "reset": {"body": requests.ConnectionError("reset by peer")},
    "no connection": {"body": requests.ConnectTimeout()},
}
MOVED, ANEW = "422, and the object moved", "another uid: deleted and made anew"
SAID = {"message": "the words"}

RESTART = RestartIntent(
    uid="U", generation=7, template_digest=digest_of(deployment()), restarted_at="2026-11-23T11:40:00Z"
)
UNDO = UndoIntent(
    uid="U",
    generation=7,
    template_digest=digest_of(deployment()),
    replica_set_uid="one",
    revision=1,
    target_digest=digest_of(REVISIONS[0]),
)
SCALE_UP = ScaleIntent(uid="U", generation=7, replicas_from=2, replicas_to=3)
INTENTS = [
    pytest.param(RESTART, DEPLOYMENT, id="restart"),
    pytest.param(UNDO, DEPLOYMENT, id="undo"),
    pytest.param(SCALE_UP, SCALE, id="scale"),
]


def test_the_page_and_this_file_have_the_same_troubles():
    assert set(ROWS) == {*ANSWERS, ANEW}


def test_every_word_of_the_table_is_explained():
    words = {cell for row in ROWS.values() for cell in row.values() if cell}
    explained = {word for words, _ in table("word") for word in words.split(", ")}
    assert words == explained


def test_every_fact_is_on_the_page():
    assert [row[0].strip("`") for row in table("fact")] == [fact.value for fact in Fact]


def test_every_reason_on_the_page_is_one():
    named = {
        cell.partition(": `")[2].partition("`")[0]
        for row in table("what was seen")
        for cell in row
        if ": `" in cell
    }
    assert named
    assert named <= {reason.value for reason in Reason}


def trouble(name: str) -> dict[str, Any]:
    answer = ANSWERS[name]
    return answer if "body" in answer else {**answer, "json": SAID}


@pytest.mark.parametrize("name", [name for name in ANSWERS if name != MOVED])
def test_while_looking(api, cluster, name):
    row = ROWS[name]
    serve(api, deployment())
    api.replace(responses.Response("GET", DEPLOYMENT, **trouble(name)))

    seen = cluster.observe(TARGET)
    assert isinstance(seen, Unseen)
    assert f"`{seen.reason}`" == row["deciding"]
    found = cluster.recognise(TARGET, RESTART)
    assert f"`{found.standing}`" == row["recognising"]
    rollout = cluster.rollout(TARGET, RESTART, generation=8, since=NOW)
    assert f"`{rollout.state}`" == row["rollout"]
    assert seen.detail
    assert found.detail
    assert rollout.detail


@pytest.mark.parametrize(("intent", "url"), INTENTS)
@pytest.mark.parametrize("name", list(ANSWERS))
@pytest.mark.parametrize("moment", ["dry run", "write"])
def test_while_sending(api, cluster, *, name, moment, intent, url):
    if name == MOVED and url == SCALE:
        return  # it says 409
    live = deployment()
    serve(api, live)
    api.get(SCALE, json={"metadata": {"uid": "U", "resourceVersion": "99"}, "spec": {"replicas": 2}})
    if name == MOVED:
        api.get(DEPLOYMENT, json=deployment(metadata={"generation": 8}))
    answer = ANSWERS[name]
    outcome = answer.get("body") or (answer["status"], '{"message": "the words"}')
    outcome = (200, outcome) if isinstance(outcome, str) else outcome
    accept(api, url, **{"trial" if moment == "dry run" else "real": outcome})

    sent = cluster.send(TARGET, intent)

    assert f"`{sent.delivery}`" == ROWS[name][moment]
    assert sent.detail.startswith(f"{moment}: ")


@pytest.mark.parametrize(("intent", "url"), INTENTS)
def test_an_object_that_was_deleted_and_made_anew(api, cluster, intent, url):
    anew = deployment(metadata={"uid": "V"})
    serve(api, anew)
    api.get(SCALE, json={"metadata": {"uid": "V", "resourceVersion": "99"}, "spec": {"replicas": 2}})
    accept(api, url)

    assert f"`{cluster.recognise(TARGET, intent).standing}`" == ROWS[ANEW]["recognising"]
    assert f"`{cluster.send(TARGET, intent).delivery}`" == ROWS[ANEW]["write"] == ROWS[ANEW]["dry run"]
    state = cluster.rollout(TARGET, intent, generation=8, since=NOW).state
    assert f"`{state}`" == ROWS[ANEW]["rollout"]
    assert not any(call.request.method == "PATCH" for call in api.calls)
