"""An autoscaler's minReplicas in both API servers: its default, its bounds, the preconditions of a PATCH."""

import json

import pytest

HPA = {
    "apiVersion": "autoscaling/v1",
    "kind": "HorizontalPodAutoscaler",
    "metadata": {"name": "web"},
    "spec": {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "nobody"},
        "maxReplicas": 6,
    },
}


@pytest.fixture
def metadata(kubectl):
    kubectl("apply", "-f", "-", stdin=json.dumps(HPA))
    found = kubectl.get("hpa", "web")["metadata"]
    return {name: found[name] for name in ("uid", "resourceVersion")}


def patch(least, **metadata):
    body = {"metadata": metadata, "spec": {"minReplicas": least}}
    return ("patch", "hpa", "web", "--type=merge", "--patch", json.dumps(body))


def minimum(kubectl):
    return kubectl.get("hpa", "web")["spec"]["minReplicas"]


def test_the_least_is_one_unless_somebody_says_otherwise(kubectl, metadata):
    assert minimum(kubectl) == 1


def test_the_right_uid_and_version_set_it_and_a_dry_run_does_not(kubectl, metadata):
    kubectl(*patch(4, **metadata), "--dry-run=server")
    assert minimum(kubectl) == 1
    kubectl(*patch(4, **metadata))
    assert minimum(kubectl) == 4
    assert kubectl.get("hpa", "web")["spec"]["maxReplicas"] == 6


def test_another_version_or_an_object_of_another_uid_and_version_is_a_conflict(kubectl, metadata):
    kubectl(*patch(2))
    for stale in (metadata, {**metadata, "uid": "00000000-0000-0000-0000-000000000000"}):
        assert "the object has been modified" in kubectl.fails(*patch(4, **stale))
    assert minimum(kubectl) == 2


def test_it_is_never_above_the_maximum_nor_below_one(kubectl, metadata):
    said = kubectl.fails(*patch(7, **metadata))
    assert "spec.maxReplicas: Invalid value: 6: must be greater than or equal to `minReplicas`" in said
    assert "spec.minReplicas: Invalid value: 0: must be greater than or equal to 1" in kubectl.fails(
        *patch(0)
    )
    assert minimum(kubectl) == 1
