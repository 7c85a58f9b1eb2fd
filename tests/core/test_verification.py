"""Whether the service recovered."""

import math
from datetime import timedelta

import pytest

from remediator.core.reasons import Reason
from remediator.core.verification import Good, Sample, Verdict, judge
from tests.builders import NOW, a_criterion, a_sample, after

CRITERION = a_criterion()  # 3 samples, every 10 s, after 30 s, within 5 min
DEADLINE = 300


def samples(*values, first=40, every=10):
    return [a_sample(value, after(seconds=first + every * n)) for n, value in enumerate(values)]


CASES = [
    pytest.param([], 10, Verdict.PENDING, "0 of 3", id="nothing yet"),
    pytest.param(samples(96, 97), 50, Verdict.PENDING, "2 of 3", id="not enough yet"),
    pytest.param(samples(96, 97, 98), 60, Verdict.RECOVERED, "the last was 98", id="three good"),
    pytest.param(samples(95, 95, 95), 60, Verdict.RECOVERED, "3 of 3", id="just good"),
    pytest.param(samples(96, 94, 96, 97), 70, Verdict.PENDING, "2 of 3", id="a bad one starts anew"),
    pytest.param(samples(96, None, 96, 97), 70, Verdict.PENDING, "2 of 3", id="a gap starts anew"),
    pytest.param(samples(96, math.nan, 96, 97), 70, Verdict.PENDING, "2 of 3", id="NaN starts anew"),
    pytest.param(samples(80, 96, 97, 98), 70, Verdict.RECOVERED, "3 of 3", id="bad at first"),
    pytest.param(samples(96, 97, 98, 80), 70, Verdict.PENDING, "0 of 3", id="good at first"),
    pytest.param(samples(99, 99, 99, first=0), 30, Verdict.PENDING, "0 of 3", id="before it settled"),
    pytest.param(samples(99, 99, 99, first=29), 60, Verdict.PENDING, "2 of 3", id="one before it settled"),
    pytest.param(
        samples(99, 99, 99, first=30), 60, Verdict.RECOVERED, "3 of 3", id="from the settle point on"
    ),
    pytest.param(
        samples(96, 97, 98, every=9), 60, Verdict.PENDING, "2 of 3", id="not as far apart as asked for"
    ),
    pytest.param(samples(96, 97, 98, every=0), 60, Verdict.PENDING, "1 of 3", id="of one moment"),
    pytest.param(samples(96, 97), DEADLINE - 1, Verdict.PENDING, "2 of 3", id="before the deadline"),
    pytest.param(samples(96, 97), DEADLINE, Verdict.NOT_RECOVERED, "last 97", id="too few at the deadline"),
    pytest.param(samples(80), DEADLINE, Verdict.NOT_RECOVERED, "last 80", id="bad at the deadline"),
    pytest.param(
        samples(96, 97, 98), DEADLINE + 99, Verdict.RECOVERED, "3 of 3", id="good when it is too late"
    ),
    pytest.param(samples(80, None), DEADLINE, Verdict.UNKNOWN, "no series", id="no data at the deadline"),
    pytest.param(samples(80, math.nan), DEADLINE, Verdict.UNKNOWN, "NaN", id="NaN at the deadline"),
    pytest.param([], DEADLINE, Verdict.UNKNOWN, "no sample was taken", id="never asked"),
    pytest.param(
        samples(80, first=0), DEADLINE, Verdict.UNKNOWN, "no sample was taken", id="only early ones"
    ),
]
REASONS = {
    Verdict.RECOVERED: Reason.RECOVERED,
    Verdict.PENDING: Reason.VERDICT_PENDING,
    Verdict.NOT_RECOVERED: Reason.NOT_RECOVERED,
    Verdict.UNKNOWN: Reason.VERDICT_UNKNOWN,
}


@pytest.mark.parametrize(("taken", "seconds", "verdict", "says"), CASES)
def test_a_verdict_is_judged_from_samples(taken, seconds, verdict, says):
    judgement = judge(taken, CRITERION, since=NOW, now=after(seconds=seconds))
    assert judgement.verdict is verdict
    assert judgement.reason is REASONS[verdict]
    assert says in judgement.detail


def test_one_sample_is_enough_when_the_policy_says_so():
    judgement = judge(samples(96), a_criterion(samples=1), since=NOW, now=after(seconds=40))
    assert judgement.verdict is Verdict.RECOVERED


def test_not_a_number_is_no_value():
    sample = Sample(at=NOW, value=math.nan)
    assert sample.value is None
    assert sample.reason is Reason.NO_DATA
    assert "NaN" in sample.detail


def test_infinity_is_a_value_and_a_bad_one():
    assert Sample(at=NOW, value=math.inf).value == math.inf
    assert not Good("<=", 0.5).holds(math.inf)


GOOD = [
    (">=", 95, 95, True),
    (">=", 95, 94.99, False),
    (">", 95, 95, False),
    (">", 95, 95.01, True),
    ("<=", 0.5, 0.5, True),
    ("<=", 0.5, 0.51, False),
    ("<", 0.5, 0.5, False),
    ("<", 0.5, -1, True),
    (">=", 95, math.nan, False),
    ("<=", 95, math.nan, False),
]


@pytest.mark.parametrize(("comparison", "threshold", "value", "holds"), GOOD)
def test_good_compares(comparison, threshold, value, holds):
    assert Good(comparison, threshold).holds(value) is holds


WORSE = [
    pytest.param(Good(">=", 95), 90, 80, True, id="fell by more than a tenth of the threshold"),
    pytest.param(Good(">=", 95), 90, 81, False, id="fell a little"),
    pytest.param(Good(">=", 95), 80, 90, False, id="rose"),
    pytest.param(Good("<=", 0.5), 0.6, 0.7, True, id="latency rose"),
    pytest.param(Good("<=", 0.5), 0.6, 0.65, False, id="latency rose a little"),
    pytest.param(Good("<=", 0.5), 5.0, 5.4, False, id="a tenth of what it was"),
    pytest.param(Good("<=", 0.5), 5.0, 5.6, True, id="more than a tenth of what it was"),
    pytest.param(Good("<", 0.5), 0.6, 0.3, False, id="latency fell"),
    pytest.param(Good(">=", 1), 0, 0, False, id="down and still down"),
    pytest.param(Good("<=", 0.5), 0.6, math.inf, True, id="to infinity"),
    pytest.param(Good("<=", 0.5), math.inf, math.inf, False, id="still infinite"),
]


@pytest.mark.parametrize(("good", "before", "now", "worse"), WORSE)
def test_worse_is_clearly_farther_from_good(good, before, now, worse):
    assert good.worse(before, now) is worse


def test_good_is_written_as_in_the_policy():
    assert str(Good(">=", 95.0)) == ">= 95"
    assert str(Good("<=", 0.05)) == "<= 0.05"


def test_a_sample_of_exactly_the_settle_point_counts():
    quick = a_criterion(samples=1, settle=timedelta())
    assert judge([a_sample(96)], quick, since=NOW, now=NOW).verdict is Verdict.RECOVERED
