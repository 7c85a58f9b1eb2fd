"""The pages: what a person sees, who may see it, and that nobody else's text becomes markup."""

from __future__ import annotations

import base64
import re
from dataclasses import replace

import pytest

from remediator.core.incidents import BREAKER
from tests.builders import RESTART, a_body, a_playbook, a_policy, an_alert, an_alert_body, labels_for
from tests.web.conftest import TOKEN

NASTY = '<script>alert(1)</script>"><img src=x onerror=alert(1)>'


def password(secret):
    return {"Authorization": "Basic " + base64.b64encode(f"anybody:{secret}".encode()).decode()}


def words(answer):
    """The page without its markup."""
    return " ".join(re.sub(r"<[^>]+>", " ", answer.text).split())


def test_the_overview_says_that_there_is_nothing(house):
    answer = house.get("/")

    assert answer.status_code == 200
    assert "None. Nothing is being remediated." in answer.text
    assert "None yet." in answer.text
    assert '<a href="/readyz?verbose">' in answer.text


def test_the_overview_lists_open_and_closed_incidents_and_pauses(house):
    house.drama.heal_on(object)
    house.drama.receive(an_alert())
    house.drama.run(hours=1)
    with house.drama.journal.transaction() as tx:
        for scope in ("all", "namespace:bizra-testnet"):
            tx.engage_pause(scope=scope, by="anna", why="moving house", until=None, now=house.drama.now)
    house.drama.receive(an_alert(starts_at=house.drama.now))

    seen = words(house.get("/"))

    assert "Paused: all by anna since" in seen
    assert "moving house. Act again: remediator resume Paused:" in seen
    assert "Act again: remediator resume --namespace bizra-testnet" in seen
    assert re.search(r"2 \S+ \S+ bizra-testnet/bizra-apex AhsanScoreLow deciding", seen)
    assert re.search(r"1 \S+ \S+ bizra-testnet/bizra-apex AhsanScoreLow closed our own query saw", seen)


def test_the_overview_says_that_the_breaker_is_open_and_that_there_is_a_storm(house):
    now = house.drama.now
    with house.drama.journal.transaction() as tx:
        tx.engage_pause(scope="all", by=BREAKER, why="3 actions did not help", until=None, now=now)
        tx.begin_storm("3 targets alert", now=now)

    seen = words(house.get("/"))

    assert "The breaker is open since" in seen
    assert (
        "3 actions did not help. Act again: remediator resume --breaker Storm: every incident is held since"
        in seen
    )
    assert "3 targets alert. Close it: remediator acknowledge --storm" in seen
    assert [one["hold"] for one in house.get("/api/v1/incidents").json["holds"]] == ["breaker", "storm"]


def test_an_incident_is_told_with_reasons_and_evidence(house):
    house.drama.heal_on(object)
    house.drama.receive(an_alert())
    house.drama.run(hours=1)

    answer = house.get("/incidents/1")
    seen = words(answer)

    assert "Incident 1: AhsanScoreLow on bizra-testnet/bizra-apex" in seen
    kinds = re.findall(r'class="phase \w+">(\w+)</span>', answer.text)
    assert kinds == ["closed", "opened", "decided", "applied", "rolled_out", "judged", "closed"]
    assert "the API server accepted the change" in seen
    assert "guardrails" in answer.text


@pytest.mark.parametrize(
    ("runbook", "shown"),
    [
        ("docs/runbook.md#ahsanscorelow", "<code>docs/runbook.md#ahsanscorelow</code>"),
        ("https://docs/r?a=1&b=2#c", '<a href="https://docs/r?a=1&amp;b=2#c">'),
        (None, None),
    ],
)
def test_an_escalated_incident_says_what_a_person_does(house, runbook, shown):
    house.drama.policy = a_policy(replace(a_playbook(RESTART), runbook=runbook))
    house.drama.receive(an_alert())
    house.drama.run(hours=6)

    page = house.get("/incidents/1")
    assert '<span class="phase judged failed">judged</span>' in page.text, "what did not help is not green"
    assert "The target is left alone until a person says: remediator acknowledge 1" in words(page)
    assert f"What is left for a person: {shown}" in page.text if runbook else "is left for" not in page.text


def test_labels_of_others_never_become_markup(house):
    labels = {**labels_for(), "alertname": NASTY}
    house.post(a_body(an_alert_body(labels={**labels_for(), "team": NASTY}, annotations={"summary": NASTY})))
    house.post(a_body(an_alert_body(labels=labels)))

    for page in ("/", "/incidents/1"):
        text = house.get(page).text
        assert "<script" not in text
        assert "<img" not in text
    assert "&lt;script&gt;" in house.get("/incidents/1").text


@pytest.mark.parametrize(
    "page", ["/", "/incidents/1", "/api/v1/incidents", "/healthz", "/nowhere", "/webhook"]
)
def test_every_answer_has_the_security_headers(house, page):
    headers = house.client.get(page).headers

    assert headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'self'")
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert "script-src" not in headers["Content-Security-Policy"]
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("page", ["/", "/incidents/1"])
def test_pages_are_for_whoever_has_a_token(house, page):
    denied = house.client.get(page)

    assert denied.status_code == 401
    assert denied.headers["WWW-Authenticate"].startswith("Basic")
    assert house.client.get(page, headers=password("wrong")).status_code == 401
    assert house.client.get(page, headers={"Authorization": "Basic %%%"}).status_code == 401
    assert house.client.get(page, headers=password(TOKEN)).status_code != 401
    assert house.client.get(page, headers={"Authorization": f"Bearer {TOKEN}"}).status_code != 401


def test_a_password_is_for_pages_only(house):
    assert house.client.get("/api/v1/incidents", headers=password(TOKEN)).status_code == 401
    assert house.client.post("/webhook", headers=password(TOKEN), json=a_body()).status_code == 401
    assert house.untouched


def test_the_style_sheet_is_for_everybody(house):
    with house.client.get("/static/style.css") as answer:
        assert (answer.status_code, answer.mimetype) == (200, "text/css")
    assert house.client.get("/static/../web.py").status_code == 404


@pytest.mark.parametrize("number", ["99", "999999999999999999999", "x"])
def test_an_incident_that_is_none_is_not_found(house, number):
    assert house.get(f"/incidents/{number}").status_code == 404
