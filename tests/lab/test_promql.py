"""The evaluator by examples; `test_promql_real.py` holds it against promtool."""

from __future__ import annotations

import math

import pytest

from remediator.lab.prometheus.operators import Element, ExecutionError
from remediator.lab.prometheus.promql import ParseError, UnsupportedError, evaluate
from remediator.lab.prometheus.series import NAME, SeriesStore, labels_of

MINUTE = 60_000
NOW = 10 * MINUTE + 7_000


@pytest.fixture
def store():
    store = SeriesStore()
    for pod, score, errors in (("a", 98.0, 1), ("b", 62.0, 30)):
        for index in range(41):
            at = index * 15_000
            store.append(_labels("ahsan_score", pod=pod), at, score)
            store.append(_labels("hive_errors_total", pod=pod), at, float(errors * index))
            for bound, share in (("0.1", 90), ("0.5", 98), ("1", 100), ("+Inf", 100)):
                store.append(_labels("duration_bucket", pod=pod, le=bound), at, float(share * index))
    store.append(_labels("owner", team="devops"), 10 * MINUTE, 1.0)
    return store


def _labels(name, **labels):
    return labels_of({NAME: name, **labels})


def _vector(store, expr, at=NOW, lookback_ms=None):
    value = evaluate(expr, store, at, lookback_ms=lookback_ms)
    assert isinstance(value, list)
    return [one for one in value if isinstance(one, Element)]


def _values(store, expr, at=NOW):
    value = evaluate(expr, store, at)
    if not isinstance(value, list):
        return value
    vector = _vector(store, expr, at)
    return {",".join(f"{k}={v}" for k, v in one.labels): pytest.approx(one.value) for one in vector}


@pytest.mark.parametrize(
    ("expr", "expected"),
    [
        ("ahsan_score", {"__name__=ahsan_score,pod=a": 98, "__name__=ahsan_score,pod=b": 62}),
        ("ahsan_score < 95", {"__name__=ahsan_score,pod=b": 62}),
        ("95 > ahsan_score", {"__name__=ahsan_score,pod=b": 62}),
        ("ahsan_score < bool 95", {"pod=a": 0, "pod=b": 1}),
        ('ahsan_score{pod=~"a|x"}', {"__name__=ahsan_score,pod=a": 98}),
        ('ahsan_score{pod=~"a.+"}', {}),
        ('ahsan_score{pod!~"a"}', {"__name__=ahsan_score,pod=b": 62}),
        ('ahsan_score{pod!="b",team=""}', {"__name__=ahsan_score,pod=a": 98}),
        ('{__name__=~"ahsan.*",pod="a"}', {"__name__=ahsan_score,pod=a": 98}),
        ("avg(ahsan_score)", {"": 80}),
        ("count without (pod) (ahsan_score)", {"": 2}),
        ("max by (pod) (ahsan_score)", {"pod=a": 98, "pod=b": 62}),
        ("rate(hive_errors_total[5m])", {"pod=a": 1 / 15, "pod=b": 2}),
        ("increase(hive_errors_total[5m])", {"pod=a": 20, "pod=b": 600}),
        ("rate(hive_errors_total[5m]) / rate(hive_errors_total[5m])", {"pod=a": 1, "pod=b": 1}),
        ("histogram_quantile(0.99, sum by (le) (rate(duration_bucket[5m])))", {"": 0.75}),
        ("histogram_quantile(0.9, sum by (le) (rate(duration_bucket[5m])))", {"": 0.1}),
        ("ahsan_score * on () group_left (team) owner", {"pod=a,team=devops": 98, "pod=b,team=devops": 62}),
        ("ahsan_score and on (pod) (hive_errors_total > 1000)", {"__name__=ahsan_score,pod=b": 62}),
        ("ahsan_score unless on (pod) (hive_errors_total > 1000)", {"__name__=ahsan_score,pod=a": 98}),
        ("missing or vector(3)", {"": 3}),
        ('absent(missing{job="hive",pod=~".+"})', {"job=hive": 1}),
        ("absent(ahsan_score)", {}),
        ("changes(ahsan_score[5m])", {"pod=a": 0, "pod=b": 0}),
        ("timestamp(owner)", {"team=devops": 600}),
        ("time()", 607),
        ("2 ^ 3 ^ 2 - -1", 513),
        ("clamp_min(ahsan_score, 70)", {"pod=a": 98, "pod=b": 70}),
        ("ahsan_score offset 1h", {}),
    ],
)
def test_value(store, expr, expected):
    assert _values(store, expr) == expected


def test_a_stale_series_is_gone_at_once(store):
    store.mark_stale([_labels("ahsan_score", pod="b")], 10 * MINUTE + 5_000)
    assert _values(store, "ahsan_score") == {"__name__=ahsan_score,pod=a": 98}
    assert "__name__=ahsan_score,pod=b" in _values(store, "ahsan_score", 10 * MINUTE + 4_000)


def test_a_series_without_marker_stays_for_the_lookback(store):
    last = 10 * MINUTE
    assert len(_vector(store, "ahsan_score", last + 5 * MINUTE - 1)) == 2
    assert evaluate("ahsan_score", store, last + 5 * MINUTE) == []
    assert evaluate("ahsan_score", store, last + 7_000, lookback_ms=5_000) == []


def test_a_range_is_open_at_the_left(store):
    assert evaluate('count_over_time(ahsan_score{pod="a"}[30s])', store, 10 * MINUTE) == [
        Element((("pod", "a"),), 2.0)
    ]


def test_division_by_zero_follows_ieee(store):
    assert [one.value for one in _vector(store, "ahsan_score / 0")] == [math.inf, math.inf]
    assert all(math.isnan(one.value) for one in _vector(store, "ahsan_score * 0 / 0"))


@pytest.mark.parametrize(
    ("expr", "what"),
    [
        ("max_over_time(ahsan_score[5m:1m])", "max_over_time() over anything but a range selector"),
        ("ahsan_score[5m:1m]", "SubqueryExpr"),
        ("topk(1, ahsan_score)", "topk"),
        ("ahsan_score @ 10", "@ modifier"),
        ("predict_linear(ahsan_score[5m], 60)", "predict_linear"),
        ('ahsan_score{pod="a" or pod="b"}', "or"),
        ('"text"', "StringLiteral"),
    ],
)
def test_what_is_not_supported_is_named(store, expr, what):
    with pytest.raises(UnsupportedError, match="not supported here") as raised:
        evaluate(expr, store, NOW)
    assert what in str(raised.value)


@pytest.mark.parametrize("expr", ["ahsan_score <", "rate(ahsan_score)", "1 > 2", ""])
def test_what_is_no_promql_is_a_parse_error(store, expr):
    with pytest.raises(ParseError):
        evaluate(expr, store, NOW)


@pytest.mark.parametrize(
    "expr",
    [
        "owner * on () ahsan_score",
        "ahsan_score * on () owner",
        'rate({__name__=~"ahsan_score|hive_errors_total"}[5m])',
        "ahsan_score * on () group_left () hive_errors_total",
    ],
)
def test_an_ambiguous_match_is_an_error_and_no_choice(store, expr):
    with pytest.raises(ExecutionError):
        evaluate(expr, store, NOW)


def test_old_samples_are_forgotten(store):
    store.forget_old(NOW + store.retention_ms - 10 * MINUTE)
    assert len(_vector(store, "ahsan_score")) == 2
    store.forget_old(NOW + store.retention_ms)
    assert evaluate('{__name__=~".+"}', store, NOW) == []
