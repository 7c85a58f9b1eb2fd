"""The usage query is held to the series there are, as every query; the examples in the policy are right."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from remediator.core.actions import Scale
from remediator.core.policy import for_target
from remediator.policy_file import parse_policy, read_policy
from tests.alignment.conftest import POLICY, SERIES
from tests.builders import APEX
from tests.components import missing

WANTED = "resource_pressure: 0.8"


def with_usage_query(shipped, query: str) -> None:
    shipped.edit(POLICY, WANTED, f"{WANTED}\n  usage_query: >-\n    avg(\n    {query})\n  # ")


def test_a_usage_query_that_names_an_unknown_series_is_named_at_its_line(shipped):
    with_usage_query(shipped, 'kube_pod_owners{namespace="$namespace",deployment="$deployment"}')

    message = (
        "the usage query reads kube_pod_owners, which no rule records and no job exports: did you mean "
        f"kube_pod_owner? If not, record it, or list it in {SERIES}"
    )
    assert shipped.mistakes() == [(POLICY, shipped.line(POLICY, "kube_pod_owners"), message)]


def test_a_usage_query_that_is_no_promql_is_named(shipped):
    with_usage_query(shipped, '((kube_pod_owner{namespace="$namespace",deployment="$deployment"}')

    ((file, line, message),) = shipped.mistakes()
    assert (file, line) == (POLICY, shipped.line(POLICY, "usage_query: >-\n    avg"))
    assert message.startswith("the usage query is no PromQL (")


def test_one_that_reads_what_is_there_is_no_mistake(shipped):
    with_usage_query(shipped, 'kube_pod_owner{namespace="$namespace",deployment="$deployment"}')

    assert shipped.mistakes() == []


def uncommented(text: str) -> str:
    """The policy with its examples in force: what looks like a key, and the lines of its block."""
    keys = r"accept_outage|usage_query|evidence"
    text = re.sub(rf"^( *)# ({keys}): ", r"\1\2: ", text, flags=re.MULTILINE)
    text = re.sub(r"^  #   (?=\S)", "    ", text, flags=re.MULTILINE)
    (better,) = re.findall(r"# where an autoscaler owns the count: (\{.*?\})", text)
    return text.replace("scale: {to: 5}   #", f"scale: {better}   #")


def test_the_examples_in_the_policy_are_right(shipped):
    Path(POLICY).write_text(uncommented(Path(POLICY).read_text()))

    policy = read_policy(Path(POLICY))
    assert shipped.mistakes() == []
    assert policy.targets[APEX].accept_outage
    assert policy.logs
    assert policy.playbooks["AhsanScoreLow"].steps[1].action == Scale(5, raises_minimum=True)
    assert policy.facts.usage_query is not None


@pytest.mark.real
def test_the_usage_query_of_the_example_is_the_share_of_the_limits_in_use(shipped, tmp_path):
    """By promtool: of two pods, one of another Deployment in the namespace."""
    promtool = shutil.which("promtool") or missing("no promtool on PATH")
    query = parse_policy(uncommented(Path(POLICY).read_text())).facts.usage_query
    where = f'namespace="{APEX.namespace}"'
    series = {
        f'container_memory_working_set_bytes{{{where},pod="a",container="node"}}': "900",
        f'container_memory_working_set_bytes{{{where},pod="a",container=""}}': "950",
        f'container_memory_working_set_bytes{{{where},pod="b",container="node"}}': "500",
        f'container_memory_working_set_bytes{{{where},pod="x",container="node"}}': "10",
        f'kube_pod_container_resource_limits{{{where},pod="a",container="node",resource="memory"}}': "1000",
        f'kube_pod_container_resource_limits{{{where},pod="b",container="node",resource="memory"}}': "1000",
        f'kube_pod_container_resource_limits{{{where},pod="x",container="node",resource="memory"}}': "1000",
        f'kube_pod_container_resource_limits{{{where},pod="a",container="node",resource="cpu"}}': "2",
        f'kube_pod_owner{{{where},pod="a",owner_kind="ReplicaSet",owner_name="apex-1"}}': "1",
        f'kube_pod_owner{{{where},pod="b",owner_kind="ReplicaSet",owner_name="apex-1"}}': "1",
        f'kube_pod_owner{{{where},pod="x",owner_kind="ReplicaSet",owner_name="other-1"}}': "1",
        f'kube_replicaset_owner{{{where},replicaset="apex-1",owner_name="{APEX.name}"}}': "1",
        f'kube_replicaset_owner{{{where},replicaset="other-1",owner_name="other"}}': "1",
    }
    expected = {"expr": for_target(query or "", APEX), "eval_time": "0s", "exp_samples": [{"value": 0.7}]}
    test = {
        "input_series": [{"series": name, "values": value} for name, value in series.items()],
        "promql_expr_test": [expected],
    }
    (tmp_path / "test.yml").write_text(yaml.safe_dump({"tests": [test]}, width=4096))
    done = subprocess.run(
        [promtool, "test", "rules", str(tmp_path / "test.yml")],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
