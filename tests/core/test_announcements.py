"""What is announced, in which words, and under which name."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from remediator.core.announcements import ANNOUNCED, LONGEST_MESSAGE, is_announced
from remediator.core.reasons import Reason
from tests.builders import APEX, NOW, an_announcement

LINE = an_announcement(
    kind="decided",
    reason=Reason.STEP_APPLIES,
    detail="attempt 3: rolling restart",
    digest="0123456789abcdef0123",
)


def test_an_announcement_says_alert_incident_reason_and_detail():
    assert (LINE.type, LINE.event_reason) == ("Normal", "RemediationDecided")
    assert LINE.message == "HiveDown (incident 7): step_applies: attempt 3: rolling restart"
    assert LINE.name == "bizra-apex.0123456789abcdef"


@pytest.mark.parametrize(
    ("reason", "said"),
    [(Reason.RECOVERED, "RemediationRecovered"), (Reason.ACKNOWLEDGED, "RemediationClosed")],
)
def test_a_recovery_is_called_so(reason: Reason, said: str):
    assert replace(LINE, kind="closed", reason=reason).event_reason == said


def test_a_hold_has_one_name_for_each_reason_in_an_incident():
    held = replace(LINE, kind="held", reason=Reason.COOLDOWN)

    assert replace(held, digest="another", detail="again").name == held.name
    others = [
        replace(held, reason=Reason.PAUSED),
        replace(held, incident=8),
        replace(held, opened_at=NOW + timedelta(days=1)),  # incident 7 of another journal
    ]
    assert len({held.name, *(one.name for one in others)}) == 4


def test_a_message_is_one_line_of_bounded_length():
    told = replace(LINE, detail="first\nsecond\x1b[31m" + "x" * 5000).message

    assert "first second [31m" in told
    assert (len(told), told[-1]) == (LONGEST_MESSAGE, "…")


def test_a_name_is_a_name_for_kubernetes_also_beside_a_long_one():
    target = replace(APEX, name="a" * 199 + "-" + "b" * 50)

    assert replace(LINE, target=target).name == "a" * 199 + ".0123456789abcdef"


@pytest.mark.parametrize(
    ("kind", "reason", "announced"),
    [
        *((kind, Reason.COOLDOWN, True) for kind in ANNOUNCED),
        ("judged", Reason.RECOVERED, False),
        ("closed", Reason.RECOVERED, True),
        ("held", Reason.STORM, False),
        ("opened", Reason.INCIDENT_OPENED, False),
        ("rolled_out", Reason.ROLLED_OUT, False),
    ],
)
def test_what_is_announced(kind: str, reason: Reason, announced: bool):
    assert is_announced(kind, reason) is announced
