"""What an expression reads, and which labels its result can have."""

from __future__ import annotations

import pytest

from remediator.alignment.expressions import LabelSet, labels_of, parse, series_read

TARGET = frozenset({"namespace", "deployment"})
RECORDED = {"of:target": LabelSet(TARGET)}


@pytest.mark.parametrize(
    ("expr", "names"),
    [
        ("up", ["up"]),
        ('{__name__="up"}', ["up"]),
        ('{job="hive"}', [""]),
        ('{__name__=~"up|down"}', [""]),
        ("sum(rate(a_total[5m])) / (b > 0)", ["a_total", "b"]),
        ("-max_over_time(a[1h:1m])", ["a"]),
        ("topk(scalar(k), a)", ["a", "k"]),
        ('label_replace(a, "x", "$1", "y", "(.*)")', ["a"]),
        ("vector(1) + 2", []),
    ],
)
def test_the_series_an_expression_reads(expr, names):
    assert list(series_read(parse(expr))) == names


@pytest.mark.parametrize(
    ("expr", "given", "lacking"),
    [
        ("raw", "namespace pod", ""),
        ("of:target < 95", "namespace deployment", "pod"),
        ("sum(of:target)", "", "namespace deployment"),
        ("sum by (namespace) (raw)", "namespace", "deployment"),
        ("sum by (pod) (of:target)", "", "pod namespace"),
        ("sum without (pod) (raw)", "namespace", "pod"),
        ("topk(1, of:target)", "namespace", "pod"),
        ('count_values("v", of:target)', "v", "namespace"),
        ("raw and of:target", "pod", ""),
        ("of:target or raw", "namespace", "pod"),
        ("raw or of:target", "namespace", "pod"),
        ("raw / of:target", "pod", ""),
        ("of:target / raw", "namespace", "pod"),
        ("raw / on (namespace) raw", "namespace", "pod"),
        ("raw / ignoring (pod) raw", "namespace", "pod"),
        ("raw * on (namespace) group_left (deployment) of:target", "pod deployment", ""),
        ("of:target * on (namespace) group_right raw", "pod", ""),
        ("2 * of:target", "namespace", "pod"),
        ("(of:target > bool 1) * time()", "namespace", "pod"),
        ("vector(1)", "", "namespace"),
        ('absent(raw{namespace="a", pod=~"b"})', "namespace", "pod"),
        ('absent_over_time((raw{namespace="a"}[5m]))', "namespace", "pod"),
        ("absent(sum(raw))", "", "namespace"),
        ("(-(1 + 1)) * of:target", "namespace", "pod"),
        ("histogram_quantile(0.9, sum by (le, namespace) (rate(raw[5m])))", "namespace", "le deployment"),
        ('label_replace(of:target, "pod", "$1", "namespace", "(.*)")', "pod namespace", "le"),
        ("-max_over_time(of:target[1h:1m])", "namespace", "pod"),
    ],
)
def test_the_labels_a_result_can_have(expr, given, lacking):
    labels = labels_of(parse(expr), RECORDED.get)

    assert [name for name in given.split() if name not in labels] == []
    assert [name for name in lacking.split() if name in labels] == []
