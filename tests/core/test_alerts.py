"""Reading what Alertmanager posts."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from remediator.core.alerts import (
    AlertStatus,
    MalformedNotification,
    parse_notification,
    plausible,
)
from remediator.core.reasons import Reason
from tests.builders import NOW, a_body, after, ago, an_alert, an_alert_body

PAYLOADS = Path(__file__).parent.parent / "payloads"

NOT_V4 = [
    pytest.param([], "not an object", id="a list"),
    pytest.param(None, "JSON null, not an object", id="null"),
    pytest.param("4", "JSON text, not an object", id="a text"),
    pytest.param({}, '"version" is None', id="empty"),
    pytest.param(a_body(version="3"), "\"version\" is '3'", id="version 3"),
    pytest.param(a_body(version=4), '"version" is 4', id="version as a number"),
    pytest.param(a_body(alerts=...), '"alerts" is null, not a list', id="no alerts"),
    pytest.param(a_body(alerts={}), '"alerts" is object, not a list', id="alerts as an object"),
    pytest.param(a_body(groupKey=7), '"groupKey" is number, not a text', id="group key as a number"),
    pytest.param(a_body(receiver=[]), '"receiver" is list, not a text', id="receiver as a list"),
    pytest.param(a_body(groupKey="\x00"), '"groupKey" holds a NUL', id="NUL in the group key"),
    pytest.param(a_body(receiver="\ud800"), '"receiver" holds', id="half a surrogate pair"),
]


@pytest.mark.parametrize(("body", "says"), NOT_V4)
def test_what_is_not_a_version_4_notification_is_refused_with_what_is_wrong(body, says):
    with pytest.raises(MalformedNotification) as refusal:
        parse_notification(body)
    assert says in str(refusal.value)


def test_a_firing_alert_is_read_whole():
    read = parse_notification(a_body())
    assert (read.group_key, read.receiver) == ('{}:{alertname="AhsanScoreLow"}', "remediator")
    (alert,) = read.alerts
    assert alert.name == "AhsanScoreLow"
    assert alert.firing
    assert alert.fingerprint == "c0ffee0123456789"
    assert alert.starts_at == datetime(2026, 3, 2, 11, 59, tzinfo=UTC)
    assert alert.ends_at is None
    assert alert.annotations == {"summary": "low"}
    assert alert.generator_url == "http://prometheus:9090/graph"
    assert read.refused == ()


def test_each_alert_counts_by_its_own_status_and_not_by_the_groups():
    resolved = an_alert_body("HiveDown", status="resolved", endsAt="2026-03-02T12:00:00Z")
    read = parse_notification(a_body(an_alert_body(), resolved, status="firing"))
    assert [alert.status for alert in read.alerts] == [AlertStatus.FIRING, AlertStatus.RESOLVED]
    assert read.alerts[1].ends_at == NOW
    assert not read.alerts[1].firing


GOOD = [
    pytest.param({"endsAt": ...}, id="no endsAt"),
    pytest.param({"annotations": ...}, id="no annotations"),
    pytest.param({"annotations": None}, id="null annotations"),
    pytest.param({"generatorURL": ...}, id="no generator"),
    pytest.param({"routeLabels": {"a": "b"}, "new": [1]}, id="unknown keys"),
]


@pytest.mark.parametrize("overrides", GOOD)
def test_an_alert_may_lack_what_we_do_not_need_and_have_what_we_do_not_know(overrides):
    read = parse_notification(a_body(an_alert_body(**overrides), notification_reason="x"))
    assert len(read.alerts) == 1
    assert read.refused == ()


BAD = [
    pytest.param("text", "an alert is text, not an object", id="a text"),
    pytest.param(an_alert_body(status="pending"), "\"status\" is 'pending'", id="unknown status"),
    pytest.param(an_alert_body(status=...), '"status" is None', id="no status"),
    pytest.param(an_alert_body(status=["firing"]), '"status" is [', id="status as a list"),
    pytest.param(an_alert_body(labels=...), '"labels" is null, not an object', id="no labels"),
    pytest.param(an_alert_body(labels=[]), '"labels" is list, not an object', id="labels as a list"),
    pytest.param(an_alert_body(labels={"alertname": ""}), '"alertname" is missing or empty', id="no name"),
    pytest.param(
        an_alert_body(labels={"alertname": "A", "pod": 3}), '"labels.pod" is number', id="label as a number"
    ),
    pytest.param(
        an_alert_body(labels={"alertname": "A", "on": True}),
        '"labels.on" is boolean',
        id="label as a boolean",
    ),
    pytest.param(an_alert_body(annotations="x"), '"annotations" is text', id="annotations as a text"),
    pytest.param(
        an_alert_body(annotations={"a": "b" * 5000}), "longer than 4096 characters", id="a huge annotation"
    ),
    pytest.param(an_alert_body(labels={"alertname": "A", "b" * 5000: ""}), "longer than", id="a huge name"),
    pytest.param(an_alert_body(labels={"alertname": "A\x00"}), "holds a NUL", id="NUL"),
    pytest.param(
        an_alert_body(labels={"alertname": "A", "\udc00": ""}), "holds a NUL or half", id="surrogate"
    ),
    pytest.param(
        an_alert_body(labels={"alertname": "A", "\udc00": 1}), "holds a NUL or half", id="both wrong"
    ),
    pytest.param(an_alert_body(startsAt=...), '"startsAt" is null', id="no start"),
    pytest.param(an_alert_body(startsAt=1772452740), '"startsAt" is number', id="start as a number"),
    pytest.param(an_alert_body(startsAt="yesterday"), "not an RFC 3339 time", id="start in words"),
    pytest.param(an_alert_body(startsAt="2026-03-02T11:59:00"), "has no time zone", id="start without zone"),
    pytest.param(an_alert_body(startsAt="2026-03-02"), "has no time zone", id="a date"),
    pytest.param(an_alert_body(startsAt="0000-01-01T00:00:00Z"), "not an RFC 3339 time", id="year 0"),
    pytest.param(an_alert_body(endsAt=5), '"endsAt" is number', id="end as a number"),
    pytest.param(an_alert_body(fingerprint=7), '"fingerprint" is not', id="fingerprint as a number"),
    pytest.param(an_alert_body(fingerprint="a/../b"), '"fingerprint" is not', id="fingerprint as a path"),
    pytest.param(an_alert_body(fingerprint="a" * 65), '"fingerprint" is not', id="a long fingerprint"),
]


@pytest.mark.parametrize(("item", "says"), BAD)
def test_an_alert_that_cannot_be_read_is_set_aside_and_its_neighbour_is_kept(item, says):
    read = parse_notification(a_body(item, an_alert_body()))
    (refused,) = read.refused
    assert (refused.index, refused.reason) == (0, Reason.MALFORMED_ALERT)
    assert says in refused.detail
    assert [alert.name for alert in read.alerts] == ["AhsanScoreLow"]


@pytest.mark.parametrize("item", [case.values[0] for case in BAD])
def test_why_an_alert_was_set_aside_can_be_stored_anywhere(item):
    (refused,) = parse_notification(a_body(item)).refused
    refused.detail.encode()
    assert "\x00" not in refused.detail
    assert len(refused.detail) < 1000


def test_a_status_of_a_megabyte_is_not_repeated_whole():
    (refused,) = parse_notification(a_body(an_alert_body(status="x" * 1_000_000))).refused
    assert len(refused.detail) < 1000


def test_a_version_of_a_megabyte_is_not_repeated_whole():
    with pytest.raises(MalformedNotification) as refusal:
        parse_notification(a_body(version="x" * 1_000_000))
    assert len(str(refusal.value)) < 1000


OUT_OF_RANGE = ["0001-01-01T00:00:00+05:00", "9999-12-31T23:59:59-05:00"]


@pytest.mark.parametrize("written", OUT_OF_RANGE)
def test_a_time_outside_the_calendar_is_implausible_and_not_a_crash(written):
    (refused,) = parse_notification(a_body(an_alert_body(startsAt=written))).refused
    assert refused.reason is Reason.IMPLAUSIBLE_TIME


TIMES = [
    pytest.param(
        "2026-03-02T11:59:00.123456789Z", datetime(2026, 3, 2, 11, 59, 0, 123456, UTC), id="nanoseconds"
    ),
    pytest.param("2026-03-02T13:59:00+02:00", datetime(2026, 3, 2, 11, 59, tzinfo=UTC), id="offset"),
    pytest.param("2026-03-02T06:29:00.5-05:30", datetime(2026, 3, 2, 11, 59, 0, 500000, UTC), id="half hour"),
]


@pytest.mark.parametrize(("written", "meant"), TIMES)
def test_times_are_read_as_utc(written, meant):
    (alert,) = parse_notification(a_body(an_alert_body(startsAt=written))).alerts
    assert alert.starts_at == meant
    assert alert.starts_at.tzinfo is UTC


def test_without_a_fingerprint_the_labels_give_one_whatever_their_order():
    there = {"alertname": "A", "x": "1"}
    back = {"x": "1", "alertname": "A"}
    read = parse_notification(
        a_body(
            an_alert_body(labels=there, fingerprint=...),
            an_alert_body(labels=back, fingerprint=""),
            an_alert_body(labels={"alertname": "A", "x": "2"}, fingerprint=...),
        )
    )
    first, second, third = (alert.fingerprint for alert in read.alerts)
    assert first == second != third
    assert len(first) == 16


TRUNCATED = [(3, 3), (0, 0), (-1, 0), ("3", 0), (None, 0), (10**20, 2**31 - 1)]


@pytest.mark.parametrize(("given", "meant"), TRUNCATED)
def test_truncated_alerts_are_counted_when_they_can_be(given, meant):
    assert parse_notification(a_body(truncatedAlerts=given)).truncated_alerts == meant


PLAUSIBLE = [
    pytest.param(datetime(1, 1, 1, tzinfo=UTC), False, id="zero time"),
    pytest.param(ago(days=400), True, id="long ago"),
    pytest.param(NOW, True, id="now"),
    pytest.param(after(hours=1), True, id="within the clocks' skew"),
    pytest.param(after(hours=1, seconds=1), False, id="in the future"),
]


@pytest.mark.parametrize(("starts_at", "believed"), PLAUSIBLE)
def test_a_start_is_believed_within_reason(starts_at, believed):
    assert plausible(an_alert(starts_at=starts_at), NOW) is believed


def read(name):
    return parse_notification(json.loads((PAYLOADS / f"{name}.json").read_text()))


ALL = sorted(path.stem for path in PAYLOADS.glob("*.json"))
ODD = {"not-v4", "one-bad-among-good"}


@pytest.mark.parametrize("name", [name for name in ALL if name not in ODD])
def test_every_recorded_body_is_read_whole(name):
    notification = read(name)
    assert notification.alerts
    assert notification.refused == ()


def test_a_recorded_body_of_another_version_is_refused():
    with pytest.raises(MalformedNotification):
        read("not-v4")


def test_a_recorded_bad_alert_does_not_block_its_neighbours():
    notification = read("one-bad-among-good")
    assert len(notification.alerts) == 2
    assert [refused.index for refused in notification.refused] == [1]


def test_labels_that_look_like_code_are_only_text():
    (alert,) = read("label-with-code").alerts
    assert alert.labels["pod"] == "$(reboot)`id`'; DROP TABLE incidents; --\n{{ $labels }}"
    assert alert.labels["version"] == 'x"} or vector(1) or up{a="'
