"""What a mark on the Deployment says, and what it says when it cannot be read."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from remediator.core.marks import Stop, marks_in, stop_by
from remediator.core.reasons import Reason

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
ONE = datetime(2026, 11, 25, 13, tzinfo=UTC)
UNTIL = "remediator/paused-until"


def said(*, labels=None, **annotations) -> Stop | None:
    marks = {f"remediator/{key.replace('_', '-')}": value for key, value in annotations.items()}
    return stop_by(marks_in(labels=labels or {}, annotations=marks), now=NOON)


@pytest.mark.parametrize(
    ("found", "until"),
    [
        (said(paused="true"), None),
        (said(labels={"remediator/paused": "true"}), None),
        (said(paused_until="2026-11-25T13:00:00Z"), ONE),
        (said(paused_until="2026-11-25T14:00:00+01:00"), ONE),
    ],
    ids=["annotation", "label", "until", "until in another zone"],
)
def test_a_mark_stops_us_until_it_is_over(found, until):
    assert found is not None
    assert (found.reason, found.until) == (Reason.PAUSED, until)


@pytest.mark.parametrize(
    "found",
    [
        said(),
        said(paused="false"),
        said(labels={"remediator/paused": "false"}),
        said(paused_until="2026-11-25T12:00:00Z"),
        said(labels={UNTIL: "2026-11-25T13:00:00Z"}),
    ],
    ids=["none", "false", "label false", "just over", "not read as a label"],
)
def test_without_a_mark_in_force_nothing_stops_us(found):
    assert found is None


@pytest.mark.parametrize("value", ["True", "yes", "", "1", None, "true "])
def test_in_doubt_a_pause_is_one(value):
    found = said(paused=value)

    assert found is not None
    assert (found.reason, found.until) == (Reason.PAUSE_UNREADABLE, None)
    assert found.detail == f'annotation remediator/paused={str(value)!r} is not "true" or "false"'


@pytest.mark.parametrize("value", ["tomorrow", "", "2026-11-25", "2026-11-25T13:00:00", "x" * 9999])
def test_a_time_that_cannot_be_read_or_lacks_its_zone_stops_us(value):
    found = said(paused_until=value)

    assert found is not None
    assert found.reason is Reason.PAUSE_UNREADABLE
    assert "is not a time with its zone, like 2026-11-25T15:00:00Z" in found.detail
    assert len(found.detail) < 200


def the_stop(**marks) -> Stop:
    found = said(**marks)
    assert found is not None
    return found


def test_of_several_marks_the_one_that_lasts_longest_counts():
    later = "2026-11-25T13:00:00Z"

    assert the_stop(paused="true", paused_until=later).until is None
    assert the_stop(paused="false", paused_until=later).until == ONE
    assert the_stop(paused="maybe", paused_until=later).reason is Reason.PAUSE_UNREADABLE
    assert the_stop(paused="maybe", labels={"remediator/paused": "true"}).reason is Reason.PAUSED
