"""The journal as JSON."""

from __future__ import annotations

import json
import sqlite3
from datetime import datetime

import pytest

from remediator.core.actions import Target
from tests.builders import a_playbook, a_policy, an_alert, an_observation

OTHER = Target("bizra-testnet", "bizra-beta")


def strictly(answer):
    """The JSON of an answer, as clients read it that know no NaN and no Infinity."""

    def refuse(word):
        raise AssertionError(f"{word} is not JSON")

    return json.loads(answer.data, parse_constant=refuse)


@pytest.fixture
def two(house):
    """One incident that recovered, and an open one."""
    drama = house.drama
    drama.policy = a_policy(targets=(Target("bizra-testnet", "bizra-apex"), OTHER))
    drama.cluster.live[OTHER] = an_observation(uid="uid-2")
    drama.heal_on(object)
    drama.receive(an_alert())
    drama.run(hours=1)
    drama.receive(an_alert(target=OTHER, starts_at=drama.now))
    return house


def test_no_incidents_are_an_empty_list(house):
    assert strictly(house.get("/api/v1/incidents")) == {"holds": [], "incidents": []}


def test_incidents_are_listed_newest_first_with_their_reasons(two):
    found = strictly(two.get("/api/v1/incidents"))["incidents"]

    assert [(one["id"], one["target"], one["phase"], one["reason"]) for one in found] == [
        (2, "bizra-testnet/bizra-beta", "deciding", None),
        (1, "bizra-testnet/bizra-apex", "closed", "recovered"),
    ]
    assert found[1]["sentence"] == "our own query saw the service recover"
    assert datetime.fromisoformat(found[1]["closed_at"]) > datetime.fromisoformat(found[1]["opened_at"])


@pytest.mark.parametrize("query", ["?open", "?open=1"])
def test_only_open_incidents_are_listed_when_asked(two, query):
    assert [one["id"] for one in two.get(f"/api/v1/incidents{query}").json["incidents"]] == [2]


def test_a_story_has_alerts_attempts_and_events_with_times_and_reasons(two):
    story = strictly(two.get("/api/v1/incidents/1"))

    assert story["timeline_intact"] is True
    assert [event["kind"] for event in story["events"]][:2] == ["opened", "decided"]
    assert story["events"][-1]["kind"] == "closed"
    assert all(event["reason"] and datetime.fromisoformat(event["at"]).tzinfo for event in story["events"])
    assert [event["seq"] for event in story["events"]] == list(range(1, len(story["events"]) + 1))
    assert [alert["alert"] for alert in story["alerts"]] == ["AhsanScoreLow"]
    (attempt,) = story["attempts"]
    assert (attempt["state"], attempt["verdict"], attempt["target"]) == (
        "judged",
        "recovered",
        "bizra-testnet/bizra-apex",
    )
    assert datetime.fromisoformat(attempt["intended_at"]).tzinfo


def test_infinity_in_a_story_is_still_json(house):
    house.drama.metrics.values[Target("bizra-testnet", "bizra-apex")] = float("-inf")
    house.drama.receive(an_alert())
    house.drama.run(hours=1)

    story = strictly(house.get("/api/v1/incidents/1"))

    assert story["attempts"][0]["value_before"] == "-inf"
    assert story["attempts"][0]["samples"][0]["value"] == "-inf"


def test_infinity_in_an_explanation_is_still_json(house):
    house.drama.metrics.values[Target("bizra-testnet", "bizra-apex")] = float("-inf")

    assert strictly(house.post(path="/webhook?explain=1"))["alerts"][0]["condition"]["value"] == "-inf"


def test_a_changed_timeline_is_said(two):
    def say(detail):
        with sqlite3.connect(two.folder / "journal.db") as other:
            other.execute("UPDATE events SET detail = ? WHERE incident_id = 1 AND seq = 2", (detail,))
        other.close()

    said = two.get("/api/v1/incidents/1").json["events"][1]["detail"]
    say("nothing happened")
    assert two.get("/api/v1/incidents/1").json["timeline_intact"] is False
    say(said)
    assert two.get("/api/v1/incidents/1").json["timeline_intact"] is True


@pytest.mark.parametrize("number", ["3", "0", "9223372036854775807"])
def test_an_incident_that_does_not_exist_is_404(two, number):
    answer = two.get(f"/api/v1/incidents/{number}")

    assert (answer.status_code, answer.json) == (404, {"error": f"there is no incident {number}"})


@pytest.mark.parametrize("number", ["9223372036854775808", "9" * 400, "-1", "one", "1;DROP", "1.0"])
def test_what_cannot_be_a_number_of_an_incident_is_404(two, number):
    answer = two.get(f"/api/v1/incidents/{number}")

    assert answer.status_code == 404
    assert answer.json["error"]


@pytest.mark.parametrize("path", ["/api/v1/incidents", "/api/v1/incidents/1", "/api/v1/incidents/99"])
def test_the_api_needs_the_token(two, path):
    answer = two.get(path, Authorization="Bearer wrong")

    assert answer.status_code == 401
    assert "incident" not in answer.text


def test_the_api_only_reads(two):
    before = two.rows("events")

    for method in ("POST", "PUT", "DELETE", "PATCH"):
        for path in ("/api/v1/incidents", "/api/v1/incidents/1"):
            assert two.client.open(path, method=method).status_code == 405
    assert two.rows("events") == before


def test_an_alert_of_another_playbook_that_joined_is_in_the_story(house):
    drama = house.drama
    drama.policy = a_policy(a_playbook(), a_playbook(alert="HiveDown"))
    drama.receive(an_alert(), an_alert("HiveDown"))

    story = house.get("/api/v1/incidents/1").json

    assert {alert["alert"] for alert in story["alerts"]} == {"AhsanScoreLow", "HiveDown"}
    assert [event["reason"] for event in story["events"]] == ["incident_opened", "incident_joined"]
