"""The webhook: for each kind of input the status, the message, and what was recorded."""

from __future__ import annotations

import json
import sqlite3
import time

import pytest

from remediator.adapters.journal import SqlJournal
from remediator.core.incidents import Phase
from tests.builders import APEX, QUERY, a_body, an_alert_body, labels_for
from tests.web.conftest import LIMIT, NOWHERE, TOKEN

HOSTILE = [
    "$(reboot)",
    "`id`",
    'x"} or vector(1) or up{a="',
    "a'; DROP TABLE incidents; --",
    "../../etc",
    "<b>",
]


def with_labels(**changes):
    return an_alert_body(labels={**labels_for(), **changes})


def numbered(index, **changes):
    return an_alert_body(fingerprint=f"{index:016x}", **changes)


# What is stored


def test_a_notification_is_journaled_and_wakes_the_worker(house):
    answer = house.post()

    assert answer.status_code == 202
    assert answer.json["outcomes"] == {"incident_opened": 1}
    assert answer.json["alerts"][0]["incident"] == 1
    assert house.wakes == 1
    assert house.drama.incident.target == APEX
    assert house.metric("notifications_total") == 1
    assert house.metric("alerts_total", reason="incident_opened") == 1
    assert house.metric("http_requests_total", endpoint="webhook", code="202") == 1


def test_the_body_is_kept_as_it_came(house):
    raw = json.dumps(a_body(receiver="übung"), ensure_ascii=False, indent=3).encode()

    number = house.post(raw).json["notification"]

    assert house.drama.journal.notification(number).encode() == raw


def test_a_repeated_notification_changes_nothing(house):
    house.post()
    told = house.drama.told()

    answer = house.post()

    assert answer.status_code == 202
    assert answer.json["outcomes"] == {"repeated": 1}
    assert house.drama.told() == told
    assert house.rows("incidents") == 1
    assert house.metric("alerts_total", reason="repeated") == 1


def test_a_notification_without_alerts_is_stored(house):
    answer = house.post(a_body(alerts=[]))

    assert (answer.status_code, answer.json["outcomes"]) == (202, {})
    assert house.metric("notifications_total") == 1
    assert house.wakes == 0


def test_a_bad_alert_is_quarantined_and_its_neighbours_go_on(house):
    answer = house.post(a_body(numbered(1), an_alert_body(status="on fire"), 17, numbered(2)))

    assert answer.status_code == 202
    assert answer.json["refused"] == 2
    assert answer.json["outcomes"] == {"incident_opened": 1, "incident_joined": 1}
    assert house.rows("refused_alerts") == 2
    assert house.metric("alerts_total", reason="malformed_alert") == 2
    assert house.metric("alerts_total", reason="incident_opened") == 1


def test_ten_thousand_alerts_are_all_journaled_in_seconds(house):
    alerts = [numbered(index, labels=labels_for() | {"deployment": f"web-{index}"}) for index in range(9_999)]
    raw = json.dumps(a_body(*alerts, numbered(9_999))).encode()
    assert len(raw) < LIMIT

    began = time.process_time()  # a busy machine takes longer, but does no more
    answer = house.post(raw)

    assert time.process_time() - began < 15
    assert answer.status_code == 202
    assert answer.json["outcomes"] == {"unknown_target": 9_999, "incident_opened": 1}
    assert len(answer.json["alerts"]) == 100
    assert house.rows("episodes") == 10_000
    assert house.rows("incidents") == 1
    assert house.metric("alerts_total", reason="unknown_target") == 9_999


def test_alerts_that_alertmanager_left_out_are_counted(house):
    assert house.post(a_body(truncatedAlerts=12)).status_code == 202
    assert house.metric("truncated_alerts_total") == 12


# What is refused as a whole


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "the body is not JSON"),
        (b"alert!", "the body is not JSON"),
        (b'{"version": "4",', "the body is not JSON"),
        (b"\xff\xfe{}", "the body is not JSON (UnicodeDecodeError)"),
        ("\ufeff{}".encode(), "the body is not JSON"),
        (b"[" * 200_000, "the body is not JSON (RecursionError)"),
        (b'{"a":' * 200_000, "the body is not JSON (RecursionError)"),
        (b'{"version": "4", "alerts": [], "truncatedAlerts": ' + b"9" * 5_000 + b"}", "the body is not JSON"),
        (b"[]", "the body is a JSON list, not an object"),
        (b"null", "the body is a JSON null, not an object"),
        (b'"4"', "the body is a JSON text, not an object"),
        (b"{}", '"version" is None, not "4"'),
        (b'{"version": "3", "alerts": []}', '"version" is \'3\', not "4"'),
        (b'{"version": 4, "alerts": []}', '"version" is 4, not "4"'),
        (b'{"version": "4"}', '"alerts" is null, not a list'),
        (b'{"version": "4", "alerts": {}}', '"alerts" is object, not a list'),
        (b'{"version": "4", "alerts": [], "groupKey": 7}', '"groupKey" is number, not a text'),
        (b'{"version": "4", "alerts": [], "receiver": []}', '"receiver" is list, not a text'),
        (b'{"version": "4", "alerts": [], "groupKey": "\\u0000"}', '"groupKey" holds a NUL'),
        (b'{"version": "4", "alerts": [], "groupKey": "\\ud800"}', '"groupKey" holds a NUL or half'),
    ],
)
def test_what_is_no_notification_is_answered_400_and_leaves_no_trace(house, raw, why):
    answer = house.post(raw)

    assert answer.status_code == 400
    assert answer.json["error"].startswith("not an Alertmanager webhook notification of version 4: ")
    assert why in answer.json["error"]
    assert house.untouched
    assert house.metric("http_requests_total", endpoint="webhook", code="400") == 1


def test_the_message_does_not_repeat_a_large_body(house):
    answer = house.post({"version": "x" * 100_000, "alerts": []})

    assert answer.status_code == 400
    assert len(answer.json["error"]) < 300


def test_a_body_of_5_mb_is_too_large(house):
    answer = house.post(b" " * 5 * 1024 * 1024)

    assert answer.status_code == 413
    assert "exceeds" in answer.json["error"]
    assert house.untouched
    assert house.metric("http_requests_total", endpoint="webhook", code="413") == 1


def test_a_body_of_exactly_the_limit_is_taken_and_one_byte_more_is_not(house):
    raw = json.dumps(a_body()).encode()

    assert house.post(raw.ljust(LIMIT + 1)).status_code == 413
    assert house.untouched
    assert house.post(raw.ljust(LIMIT)).status_code == 202


# What is in the alerts


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"labels": ...}, "malformed_alert"),
        ({"labels": None}, "malformed_alert"),
        ({"labels": "all"}, "malformed_alert"),
        ({"labels": {}}, "malformed_alert"),
        ({"labels": {"alertname": 7}}, "malformed_alert"),
        ({"annotations": ["low"]}, "malformed_alert"),
        ({"status": ...}, "malformed_alert"),
        ({"status": True}, "malformed_alert"),
        ({"startsAt": ...}, "malformed_alert"),
        ({"startsAt": 1_772_452_740}, "malformed_alert"),
        ({"startsAt": "yesterday"}, "malformed_alert"),
        ({"startsAt": "2026-03-02T11:59:00"}, "malformed_alert"),
        ({"endsAt": "soon"}, "malformed_alert"),
        ({"fingerprint": ["a"]}, "malformed_alert"),
        ({"fingerprint": "../../x"}, "malformed_alert"),
        ({"startsAt": "0001-01-01T00:00:00+05:00"}, "implausible_time"),
        ({"startsAt": "9999-12-31T23:59:59-05:00"}, "implausible_time"),
    ],
)
def test_an_alert_of_the_wrong_shape_is_kept_apart_and_nothing_is_begun(house, change, reason):
    answer = house.post(a_body(an_alert_body(**change)))

    assert (answer.status_code, answer.json["refused"]) == (202, 1)
    assert house.rows("refused_alerts") == 1
    assert house.rows("incidents") == 0
    assert house.wakes == 0
    assert house.metric("alerts_total", reason=reason) == 1


@pytest.mark.parametrize(
    "when", ["0001-01-01T00:00:00Z", "2262-04-11T23:47:16.854775807Z", "9999-12-31T23:59:59Z"]
)
def test_an_unbelievable_start_is_recorded_and_not_acted_on(house, when):
    answer = house.post(a_body(an_alert_body(startsAt=when)))

    assert (answer.status_code, answer.json["outcomes"]) == (202, {"implausible_time": 1})
    assert house.rows("episodes") == 1
    assert house.rows("incidents") == 0
    assert house.metric("alerts_total", reason="implausible_time") == 1


@pytest.mark.parametrize("label", ["namespace", "deployment"])
@pytest.mark.parametrize(
    "text",
    [*HOSTILE, "", " ", "Bizra", "bizra testnet", "bizra\n", "\r\n", "-a", "a-", "*", ".*", "a" * 254, "ä"],
)
def test_a_target_that_is_no_kubernetes_name_is_no_target(house, label, text):
    answer = house.post(a_body(with_labels(**{label: text})))

    assert (answer.status_code, answer.json["outcomes"]) == (202, {"no_target": 1})
    assert answer.json["alerts"][0]["target"] is None
    assert house.rows("episodes") == 1
    assert house.rows("incidents") == 0
    assert house.wakes == 0
    assert not house.drama.metrics.asked
    assert house.metric("alerts_total", reason="no_target") == 1


@pytest.mark.parametrize("label", ["namespace", "deployment"])
def test_there_is_no_default_target(house, label):
    labels = {name: text for name, text in labels_for().items() if name != label}

    assert house.post(a_body(an_alert_body(labels=labels))).json["outcomes"] == {"no_target": 1}
    assert house.rows("incidents") == 0


@pytest.mark.parametrize("text", ["a\x00b", "\ud800"])
@pytest.mark.parametrize("label", ["namespace", "pod"])
def test_text_that_no_database_keeps_is_quarantined(house, label, text):
    answer = house.post(a_body(with_labels(**{label: text}), numbered(2)))

    assert (answer.status_code, answer.json["refused"]) == (202, 1)
    assert answer.json["outcomes"] == {"incident_opened": 1}
    assert house.metric("alerts_total", reason="malformed_alert") == 1


@pytest.mark.parametrize("text", [*HOSTILE, 'quote " and \\ and \n newline', "{{ .Values }}", "%s %n"])
def test_code_in_other_labels_is_data_and_reaches_no_query(house, text):
    body = an_alert_body(labels={**labels_for(), "pod": text}, annotations={"summary": text})

    assert house.post(a_body(body)).json["outcomes"] == {"incident_opened": 1}

    opened = house.get("/api/v1/incidents/1").json["events"][0]
    assert opened["data"]["labels"]["pod"] == text
    assert house.drama.step()
    query = QUERY.replace("$namespace", APEX.namespace).replace("$deployment", APEX.name)
    assert {asked for asked, _ in house.drama.metrics.asked} == {query}


def test_an_alert_without_playbook_or_with_an_unknown_target_is_recorded_with_that_reason(house):
    answer = house.post(a_body(an_alert_body("DiskFull"), with_labels(deployment="other")))

    assert answer.status_code == 202
    assert answer.json["outcomes"] == {"no_playbook": 1, "unknown_target": 1}
    assert house.rows("incidents") == 0
    assert house.metric("alerts_total", reason="no_playbook") == 1
    assert house.metric("alerts_total", reason="unknown_target") == 1


# How it is asked


@pytest.mark.parametrize("path", ["/webhook/", "//webhook", "/webhook//", "/./webhook"])
def test_no_path_is_ever_answered_by_a_redirect(house, path):
    assert house.post(path=path).status_code in (202, 404)


def test_a_trailing_slash_is_as_good(house):
    assert house.post(path="/webhook/").status_code == 202
    assert house.rows("incidents") == 1


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_other_methods_are_not_allowed(house, method):
    answer = house.client.open("/webhook", method=method, headers={"Authorization": f"Bearer {TOKEN}"})

    assert answer.status_code == 405
    assert "not allowed" in answer.json["error"]
    assert set(answer.headers["Allow"].split(", ")) == {"OPTIONS", "POST"}
    assert house.untouched


def test_an_unknown_path_is_a_404_in_json(house):
    answer = house.get("/wp-login.php")

    assert answer.status_code == 404
    assert "not found" in answer.json["error"]
    assert house.metric("http_requests_total", endpoint="none", code="404") == 1


def test_the_content_type_does_not_matter(house):
    assert house.post(**{"Content-Type": "application/x-www-form-urlencoded"}).status_code == 202


def test_huge_headers_are_no_trouble(house):
    assert house.post(**{"X-Filler": "x" * 500_000}).status_code == 202
    assert house.post(Authorization=f"Bearer {'x' * 500_000}").status_code == 401


@pytest.mark.parametrize(
    "ask",
    [
        lambda house: house.post(),
        lambda house: house.post(b"!"),
        lambda house: house.post(Authorization="no"),
        lambda house: house.post(b" " * (LIMIT + 1)),
        lambda house: house.client.put("/webhook"),
        lambda house: house.get("/nowhere"),
        lambda house: house.get("/healthz"),
        lambda house: house.get("/metrics"),
        lambda house: house.get("/api/v1/incidents"),
    ],
)
def test_every_answer_forbids_caching_and_guessing_its_type(house, ask):
    answer = ask(house)

    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "no-store"


# Who asks


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        f"Basic {TOKEN}",
        TOKEN,
        f"Bearer {TOKEN} {TOKEN}",
        f"Bearer {TOKEN.upper()}",
        "Bearer \xff\xfe",
        "Bearer €".encode().decode("latin-1"),
    ],
)
def test_without_a_valid_token_nothing_is_done_and_the_answer_is_always_the_same(house, header):
    answer = house.post(Authorization=header)

    assert answer.status_code == 401
    assert answer.json == {"error": "a valid bearer token is needed: Authorization: Bearer TOKEN"}
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert house.untouched
    assert house.metric("http_requests_total", endpoint="webhook", code="401") == 1


def test_no_header_at_all_is_answered_the_same(house):
    answer = house.client.post("/webhook", data=b"{}")

    assert answer.status_code == 401
    assert answer.json == {"error": "a valid bearer token is needed: Authorization: Bearer TOKEN"}


def test_the_scheme_is_read_without_regard_to_case(house):
    assert house.post(Authorization=f"bearer {TOKEN}").status_code == 202


def test_a_token_is_compared_by_its_bytes(house):
    house.token_file.write_text("schlüssel-€\n", encoding="utf-8")

    assert house.post(Authorization="Bearer " + "schlüssel-€".encode().decode("latin-1")).status_code == 202


def test_two_tokens_are_valid_while_one_is_rotated_without_a_restart(house):
    def codes():
        return [house.post(Authorization=f"Bearer {token}").status_code for token in (TOKEN, "n3w")]

    assert codes() == [202, 401]
    house.token_file.write_text(f"{TOKEN}\r\n\n  n3w  \n")
    assert codes() == [202, 202]
    house.token_file.write_text("n3w")
    assert codes() == [401, 202]


def test_a_missing_token_file_lets_nobody_in_and_is_our_fault(house):
    house.token_file.unlink()

    answer = house.post()

    assert answer.status_code == 503
    assert answer.json["error"] == "the token file cannot be read: No such file or directory"
    assert house.untouched


@pytest.mark.parametrize("text", ["", "\n", "  \n\t\n"])
@pytest.mark.parametrize("header", ["", "Bearer ", f"Bearer {TOKEN}"])
def test_an_empty_token_file_lets_nobody_in(house, text, header):
    house.token_file.write_text(text)

    answer = house.post(Authorization=header)

    assert answer.status_code == 503
    assert answer.json["error"] == "the token file is empty"
    assert house.untouched


def test_without_a_token_file_everybody_is_let_in(house):
    house.open(token=False)

    assert house.post(Authorization="").status_code == 202


# What is around it


def test_a_locked_journal_is_503_and_the_retry_succeeds(house):
    with sqlite3.connect(house.folder / "journal.db", isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        answer = house.post()
        assert answer.status_code == 503
        assert "locked" in answer.json["error"]
        other.execute("ROLLBACK")
    other.close()
    assert house.untouched

    assert house.post().status_code == 202
    assert house.rows("incidents") == 1


@pytest.mark.parametrize(
    ("broken", "whole", "why"),
    [
        ("PRAGMA max_page_count = 1", "PRAGMA max_page_count = 1000000", "disk is full"),
        ("PRAGMA query_only = ON", "PRAGMA query_only = OFF", "readonly"),
    ],
)
def test_a_journal_that_cannot_be_written_is_503_and_the_retry_succeeds(house, broken, whole, why):
    body = a_body(*(numbered(index, annotations={"summary": "x" * 4000}) for index in range(50)))
    house.pragma(broken)

    answer = house.post(body)

    assert answer.status_code == 503
    assert why in answer.json["error"]
    assert house.untouched
    house.pragma(whole)
    assert house.post(body).status_code == 202


def test_a_journal_that_is_away_is_503(house):
    away = SqlJournal(NOWHERE)
    house.open(away)

    answer = house.post()

    assert answer.status_code == 503
    assert "refused" in answer.json["error"]
    away.close()


def test_while_draining_nothing_is_taken(house):
    house.draining = True

    answer = house.post()

    assert (answer.status_code, answer.json["error"]) == (503, "shutting down; Alertmanager will try again")
    assert house.untouched
    assert house.post(Authorization="").status_code == 401


def test_an_unexpected_error_is_503_without_its_details(house, monkeypatch):
    def fail(*_, **__):
        raise KeyError("password")

    monkeypatch.setattr(house.drama.lifecycle, "receive", fail)
    answer = house.post()

    assert answer.status_code == 503
    assert answer.json["error"] == "unexpected error; nothing was recorded, try again"
    assert house.post().status_code == 503


# What would happen


@pytest.mark.parametrize(
    "query", ["?explain=1", "?explain=true", "?explain", "?explain=", "?a=b&explain=yes"]
)
def test_explain_says_what_would_happen_and_does_nothing(house, query):
    answer = house.post(path=f"/webhook{query}")

    assert answer.status_code == 200
    alert = answer.json["alerts"][0]
    assert (alert["decision"], alert["decision_reason"]) == ("act", "step_applies")
    assert {verdict["guardrail"] for verdict in alert["guardrails"]} >= {"paused", "target", "storm", "mode"}
    assert alert["condition"]["at"] == "2026-03-02T12:00:00+00:00"
    assert house.untouched
    assert house.drama.cluster.asked == []


def test_explain_0_is_no_explanation(house):
    assert house.post(path="/webhook?explain=0").status_code == 202
    assert house.rows("incidents") == 1


def test_explain_needs_the_token_and_a_notification(house):
    assert house.post(path="/webhook?explain=1", Authorization="").status_code == 401
    assert house.post(b"?", path="/webhook?explain=1").status_code == 400


def test_explain_with_the_world_away_is_a_hold_with_its_reason(house):
    house.drama.metrics.away = house.drama.cluster.away = True

    alert = house.post(path="/webhook?explain=1").json["alerts"][0]

    assert (alert["decision"], alert["decision_reason"]) == ("hold", "cluster_unreachable")
    assert alert["condition"]["reason"] == "prometheus_unreachable"
    assert house.untouched


def test_what_was_received_is_acted_on_by_the_worker_and_not_in_the_request(house):
    house.post()

    assert house.drama.cluster.asked == []
    assert house.drama.incident.phase is Phase.DECIDING
    house.drama.step()
    assert house.drama.done == ["restart"]
