"""The shipped autoscaler adds pods when there is much to do; the runbook's takes them away when it hurts."""

from __future__ import annotations

import math
import os
import subprocess

import pytest
import yaml

from tests.components import missing

from .places import DEPLOY, ROOT, build, kubectl_program, objects
from .schemas import mistakes_in

(HPA,) = objects(build(str(DEPLOY / "autoscaler")))
PAGE = (ROOT / "docs" / "kubernetes.md").read_text()


def wanted(value: float, *, target: float, pods: int, least: int = 1, most: int = 10) -> int:
    """How many pods for an average value. Source: `replica_calculator.go`, calcPlainMetricReplicas."""
    ratio = value / target
    count = pods if abs(1 - ratio) <= 0.1 else math.ceil(ratio * pods)
    return min(max(count, least), most)


def test_it_is_a_well_formed_autoscaler_of_the_shipped_target():
    policy = yaml.safe_load((ROOT / "policy.yaml").read_text())
    (target,) = policy["targets"]

    assert mistakes_in(HPA) == []
    assert HPA["metadata"]["namespace"] == target["namespace"]
    assert HPA["spec"]["scaleTargetRef"]["name"] == target["deployment"]
    assert HPA["spec"]["maxReplicas"] <= target["replicas"]["max"]


@pytest.mark.real
def test_an_api_server_accepts_it():
    """In the version before: an older server knows the same fields under v2beta2."""
    kubeconfig = os.environ.get("KUBECONFIG") or missing("KUBECONFIG names no real API server")
    command = [kubectl_program(), "apply", "--dry-run=server", "--validate=true", "--filename=-"]
    for version in ("autoscaling/v2", "autoscaling/v2beta2"):
        manifest = yaml.safe_dump({**HPA, "apiVersion": version, "metadata": {"name": "bizra-apex"}})
        environ = {**os.environ, "KUBECONFIG": kubeconfig}
        done = subprocess.run(
            command, input=manifest, env=environ, capture_output=True, text=True, timeout=60, check=False
        )
        if done.returncode == 0:
            return
    pytest.fail(done.stderr)


def test_no_metric_of_it_is_one_that_should_be_high():
    named = str(HPA["spec"]["metrics"])
    assert "ahsan" not in named
    assert [one["type"] for one in HPA["spec"]["metrics"]] == ["Resource", "Resource", "Pods"]


def test_more_work_brings_more_pods_and_they_end_it():
    (metric,) = [one["pods"] for one in HPA["spec"]["metrics"] if one["type"] == "Pods"]
    target = float(metric["target"]["averageValue"])
    work, pods = 3200.0, 3
    seen = [pods]
    while (more := wanted(work / pods, target=target, pods=pods)) != pods:
        pods = more
        seen.append(pods)
    assert seen == [3, 8]  # and there it stays: 400 for each


def test_the_page_has_the_arithmetic_of_the_runbooks_autoscaler():
    rows = {score: wanted(score, target=95, pods=4) for score in (100, 86, 80, 70, 50, 20)}
    assert rows == {100: 4, 86: 4, 80: 4, 70: 3, 50: 3, 20: 1}
    for score, pods in rows.items():
        assert f"| {score} | {pods} |" in PAGE
