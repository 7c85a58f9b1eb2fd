"""Spans of time as people write them."""

from datetime import timedelta

import pytest

from remediator.core.durations import format_duration, parse_duration

GOOD = [
    ("500ms", timedelta(milliseconds=500)),
    ("0s", timedelta()),
    ("30s", timedelta(seconds=30)),
    ("5m", timedelta(minutes=5)),
    ("1h30m", timedelta(minutes=90)),
    ("1d", timedelta(days=1)),
    ("366d", timedelta(days=366)),
    ("1m1m", timedelta(minutes=2)),
]


@pytest.mark.parametrize(("text", "span"), GOOD)
def test_a_number_with_its_unit_is_a_duration(text, span):
    assert parse_duration(text) == span


BAD = ["", "30", "s", "1.5h", "-5m", "5 m", "5M", "1w", "1h ", "1h\n", "٣s", "5m30"]


@pytest.mark.parametrize("text", BAD)
def test_anything_else_is_refused_with_the_accepted_form(text):
    with pytest.raises(ValueError, match="write a number with its unit"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["367d", "9999999999999999d", "9" * 400 + "d"])
def test_more_than_a_year_is_refused_and_no_overflow(text):
    with pytest.raises(ValueError, match="longer than 366d"):
        parse_duration(text)


WRITTEN = [
    (timedelta(seconds=90), "90s"),
    (timedelta(minutes=5), "5m"),
    (timedelta(hours=1), "1h"),
    (timedelta(minutes=90), "90m"),
    (timedelta(days=2), "2d"),
    (timedelta(milliseconds=250), "250ms"),
    (timedelta(), "0ms"),
]


@pytest.mark.parametrize(("span", "text"), WRITTEN)
def test_a_span_is_written_in_its_largest_whole_unit(span, text):
    assert format_duration(span) == text
    assert parse_duration(text) == span
