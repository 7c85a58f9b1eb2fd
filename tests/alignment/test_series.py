"""prometheus-rules/series.yml lists what is really exported."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain

import pytest
import yaml
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from remediator.alignment.series import PROMETHEUS_MAKES, read_series
from remediator.lab.node.pods import metrics_page
from remediator.lab.node.workload import PodState, Workload
from remediator.metrics import TargetCollector
from tests.alignment.conftest import ROOT, SERIES
from tests.web.conftest import House

LISTED = yaml.safe_load((ROOT / SERIES).read_text())["series"]


def test_the_list_can_be_read():
    names, mistakes = read_series(ROOT / SERIES)

    assert mistakes == ()
    assert names == set(chain.from_iterable(LISTED.values()))
    assert not names & PROMETHEUS_MAKES


@pytest.mark.parametrize("job", LISTED)
def test_each_name_is_listed_once_in_order(job):
    assert LISTED[job] == sorted(set(LISTED[job]))


@pytest.fixture
def house(tmp_path):
    running = House(tmp_path)
    yield running
    running.drama.close()


def test_the_remediator_exports_what_is_listed(house):
    house.get("/healthz")  # the first answer is the first that is counted
    policy = replace(house.drama.policy, rules_versions=("1.2.0",))
    registry = CollectorRegistry()
    registry.register(
        TargetCollector(house.drama.journal, clock=lambda: house.drama.now, policy=lambda: policy)
    )
    exported = {name for name, _ in house.series()} | names_in(generate_latest(registry).decode())

    assert set(LISTED["remediator"]) <= exported


def test_a_node_exports_what_is_listed():
    pod = PodState(
        "prod", "api-1", "uid-1", "api:1", ready=True, limits=((0.5, 2.0**30),), containers=("api",)
    )
    workload = Workload("prod", "api")
    workload.see([pod])

    assert set(LISTED["hive"]) <= names_in(metrics_page(workload, pod).decode())


def names_in(page: str) -> set[str]:
    return {sample.name for family in text_string_to_metric_families(page) for sample in family.samples}
