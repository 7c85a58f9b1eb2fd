"""Reading raw JSON: quantities, times, template digests, selectors, usage."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from remediator.adapters.kubernetes.objects import digest_of, parse_time, wanted_replicas
from remediator.adapters.kubernetes.quantities import parse_quantity, usage_of
from remediator.adapters.kubernetes.selectors import selector_of, selects
from remediator.adapters.kubernetes.strategy import strategy_of


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("0", "0"),
        ("2", "2"),
        (2, "2"),
        (0.5, "0.5"),
        ("250m", "0.25"),
        ("1500u", "0.0015"),
        ("12345678n", "0.012345678"),
        ("1k", "1000"),
        ("1.5M", "1500000"),
        ("1Ki", "1024"),
        ("1.5Gi", "1610612736"),
        ("64Mi", "67108864"),
        ("2Ti", "2199023255552"),
        ("1Pi", "1125899906842624"),
        ("1Ei", "1152921504606846976"),
        ("3E", "3000000000000000000"),
        ("3e2", "300"),
        ("3E2", "300"),
        ("1e-3", "0.001"),
        ("1.", "1"),
        (".5", "0.5"),
        ("-1", "-1"),
        ("+1", "1"),
    ],
)
def test_a_quantity(written, value):
    assert parse_quantity(written) == Decimal(value)


@pytest.mark.parametrize(
    "written", ["", "m", "1 Gi", "1ki", "1K", "one", "1e", "0x10", "NaN", "1e9999", None, True, [], {}]
)
def test_no_quantity(written):
    assert parse_quantity(written) is None


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("2026-11-23T07:25:39Z", datetime(2026, 11, 23, 7, 25, 39, tzinfo=UTC)),
        ("2026-11-23T09:25:39+02:00", datetime(2026, 11, 23, 7, 25, 39, tzinfo=UTC)),
        ("2026-11-23T07:25:39.123456Z", datetime(2026, 11, 23, 7, 25, 39, 123456, tzinfo=UTC)),
        ("2026-11-23T07:25:39", None),
        ("yesterday", None),
        ("", None),
    ],
)
def test_a_time(written, expected):
    assert parse_time(written) == expected


def template(metadata: object = None, **spec: object) -> dict[str, object]:
    return {"spec": {"template": {"metadata": metadata, "spec": spec}}}


SAME = [
    pytest.param({"labels": {"pod-template-hash": "abc"}}, id="the hash label"),
    pytest.param(
        {"annotations": {"kubectl.kubernetes.io/restartedAt": "2026-01-01T00:00:00Z"}}, id="a restart"
    ),
    pytest.param({"creationTimestamp": None, "labels": {}, "annotations": None}, id="null and empty"),
    pytest.param({}, id="no metadata"),
]


@pytest.mark.parametrize("metadata", SAME)
def test_templates_that_are_the_same(metadata):
    assert digest_of(template(metadata, image="a", volumes=[])) == digest_of(template(image="a"))


def test_templates_that_differ():
    digests = {
        digest_of(template(image="a")),
        digest_of(template(image="b")),
        digest_of(template({"annotations": {"example.com/x": "1"}}, image="a")),
        digest_of(template({"annotations": {"example.com/x": ""}}, image="a")),
        digest_of(template(image="a", unknownField=False)),
    }
    assert len(digests) == 5


def test_a_restart_differs_where_restarts_count():
    restarted = template({"annotations": {"kubectl.kubernetes.io/restartedAt": "2026-01-01T00:00:00Z"}})
    assert digest_of(restarted, restarts_count=True) != digest_of(template(), restarts_count=True)


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ({"matchLabels": {"app": "a", "tier": "b"}}, "app=a,tier=b"),
        (
            {
                "matchExpressions": [
                    {"key": "a", "operator": "In", "values": ["x", "y"]},
                    {"key": "b", "operator": "NotIn", "values": ["z"]},
                    {"key": "c", "operator": "Exists"},
                    {"key": "d", "operator": "DoesNotExist"},
                ]
            },
            "a in (x,y),b notin (z),c,!d",
        ),
        ({"matchLabels": {"app": "a"}, "matchExpressions": [{"key": "b", "operator": "Gt"}]}, None),
        ({"matchExpressions": [{"operator": "Exists"}]}, None),
        ({"matchExpressions": [{"key": "b", "operator": "In", "values": None}]}, None),
        ({}, None),
        (None, None),
    ],
)
def test_a_selector(selector, expected):
    assert selector_of({"spec": {"selector": selector}}) == expected


@pytest.mark.parametrize(("spec", "replicas"), [({}, 1), ({"replicas": None}, 1), ({"replicas": 0}, 0)])
def test_wanted_replicas_default_to_one(spec, replicas):
    assert wanted_replicas({"spec": spec}) == replicas


def pod(name: str, **limits: str) -> dict[str, object]:
    containers = [{"name": "app", "resources": {"limits": limits}}, {"name": "free", "resources": {}}]
    return {"metadata": {"name": name}, "spec": {"containers": containers}}


def measured(name: str, cpu: object, memory: object) -> dict[str, object]:
    usage = {"cpu": cpu, "memory": memory}
    return {
        "metadata": {"name": name},
        "timestamp": "2026-11-23T11:59:45Z",
        "containers": [{"name": n, "usage": usage} for n in ("app", "free")],
    }


@pytest.mark.parametrize(
    ("pods", "metrics", "expected"),
    [
        pytest.param(
            [pod("a", cpu="1", memory="1Gi"), pod("b", cpu="1", memory="1Gi")],
            [measured("a", "900m", "512Mi"), measured("b", "100m", "512Mi")],
            (0.7, ""),
            id="the mean over the pods of the scarcer resource",
        ),
        pytest.param(
            [pod("a", memory="1Gi"), pod("b", memory="1Gi")],
            [measured("a", "8", "512Mi")],
            (0.5, ""),
            id="a pod without metrics does not count, nor does a resource without limit",
        ),
        pytest.param(
            [pod("a")],
            [measured("a", "1", "1Gi")],
            (None, "no container has a cpu or memory limit"),
            id="no limit",
        ),
        pytest.param(
            [pod("a", cpu="0")],
            [measured("a", "1", "1")],
            (None, "no container has a cpu or memory limit"),
            id="0",
        ),
        pytest.param(
            [pod("a", cpu="1")],
            [measured("b", "1", "1")],
            (None, "there are no metrics of the current pods"),
            id="other pod",
        ),
        pytest.param([], [], (None, "there are no metrics of the current pods"), id="nothing"),
        pytest.param(
            [pod("a", cpu="1")],
            [{**measured("a", "1", "1"), "timestamp": "2026-11-23T11:54:59Z"}],
            (None, "the metrics of the current pods are older than 5 min"),
            id="stale",
        ),
        pytest.param(
            [pod("a", cpu="1")],
            [{**measured("a", "1", "1"), "timestamp": None}],
            (None, "the metrics of the current pods are older than 5 min"),
            id="of no known time",
        ),
        pytest.param(
            [pod("a", cpu="1")],
            [measured("a", None, "x")],
            (None, "no container has a cpu or memory limit"),
            id="odd",
        ),
    ],
)
def test_usage(pods, metrics, expected):
    value, why = usage_of(pods, metrics, datetime(2026, 11, 23, 12, tzinfo=UTC))
    assert (value if value is None else round(value, 6), why) == expected


LABELS = {"app": "apex", "tier": "edge"}


@pytest.mark.parametrize(
    ("selector", "picked"),
    [
        ({"matchLabels": {"app": "apex"}}, True),
        ({"matchLabels": {"app": "apex", "tier": "core"}}, False),
        ({"matchExpressions": [{"key": "tier", "operator": "In", "values": ["edge", "core"]}]}, True),
        ({"matchExpressions": [{"key": "tier", "operator": "In", "values": None}]}, False),
        ({"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["edge"]}]}, False),
        ({"matchExpressions": [{"key": "zone", "operator": "NotIn", "values": ["edge"]}]}, True),
        ({"matchExpressions": [{"key": "tier", "operator": "Exists"}]}, True),
        ({"matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]}, False),
        ({"matchExpressions": [{"key": "tier", "operator": "Sometimes"}]}, False),
        ({}, False),
    ],
)
def test_what_a_selector_picks(selector, picked):
    assert selects(selector, LABELS) is picked


@pytest.mark.parametrize(
    ("strategy", "replicas", "missing"),
    [
        pytest.param(None, 1, 0, id="by default one more comes first"),
        pytest.param(None, 4, 1, id="a quarter may be missing"),
        pytest.param(None, 7, 1, id="rounded down"),
        pytest.param({"type": "Recreate"}, 3, 3, id="Recreate takes all"),
        pytest.param({"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}, 3, 1, id="never nothing"),
        pytest.param({"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "25%"}}, 1, 1, id="no surge"),
        pytest.param({"rollingUpdate": {"maxSurge": "1%", "maxUnavailable": 0}}, 1, 0, id="surge rounds up"),
        pytest.param({"rollingUpdate": {"maxUnavailable": "100%"}}, 3, 3, id="all at once"),
        pytest.param({"rollingUpdate": {"maxUnavailable": 9}}, 3, 3, id="not more than there are"),
        pytest.param({"rollingUpdate": {"maxUnavailable": "x", "maxSurge": True}}, 4, 1, id="odd"),
    ],
)
def test_how_many_pods_a_rollout_may_take_away(strategy, replicas, missing):
    found = strategy_of({"spec": {"replicas": replicas, "strategy": strategy}})
    assert found.missing == missing
    assert found.words
