"""deploy/ builds, says what the project says, and runs a pod that may do next to nothing on its node."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import socket
import subprocess
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
import yaml

from remediator.core.policy import Mode, Policy
from remediator.policy_file import parse_policy
from remediator.serve import GRACE, check_startable
from remediator.settings import read_settings
from tests.waiting import eventually

from .places import DEPLOY, OVERLAYS, ROOT, Json, build, objects, overlay, pod_spec, the, with_components
from .schemas import mistakes_in
from .standards import violations

DEMO = DEPLOY / "demo-workload"


@pytest.fixture(params=OVERLAYS)
def found(request: pytest.FixtureRequest) -> list[Json]:
    return overlay(request.param)


@pytest.fixture(params=OVERLAYS)
def whole(request: pytest.FixtureRequest, tmp_path: Path) -> list[Json]:
    return with_components(request.param, tmp_path)


def rendered() -> dict[Path, str]:
    spec = importlib.util.spec_from_file_location("render", DEPLOY / "render.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    texts: dict[Path, str] = module.rendered()
    return texts


def environment(found: list[Json]) -> dict[str, str]:
    variables = pod_spec(found)["containers"][0]["env"]
    return {one["name"]: one.get("value", "postgresql://from-the-secret/x") for one in variables}


def test_every_generated_file_is_up_to_date():
    for path, text in rendered().items():
        assert path.read_text() == text, f"{path.relative_to(ROOT)}: run python deploy/render.py"


def test_every_namespaced_object_says_where_it_belongs(whole: list[Json]):
    for one in whole:
        clusterwide = one["kind"] == "Namespace" or one["kind"].startswith("ValidatingAdmission")
        assert ("namespace" in one["metadata"]) is not clusterwide, one["metadata"]


def test_a_drained_node_takes_one_of_several_replicas_at_a_time_and_is_not_kept_by_a_single_one(
    found: list[Json],
):
    budgets = [one["spec"] for one in found if one["kind"] == "PodDisruptionBudget"]
    deployment = the("Deployment", found)

    if deployment["spec"]["replicas"] == 1:
        assert budgets == []
    else:
        assert budgets == [{"maxUnavailable": 1, "selector": deployment["spec"]["selector"]}]


def test_every_kind_that_only_newer_clusters_or_operators_know_has_the_shape_of_its_schema(whole: list[Json]):
    checked = {one["kind"] for one in whole if mistakes_in(one) is not None} - {"PodDisruptionBudget"}

    assert sorted(checked) == [
        "PrometheusRule",
        "ServiceMonitor",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
    ]
    assert [found for one in whole for found in mistakes_in(one) or ()] == []


def test_the_pod_monitor_of_the_demo_has_the_shape_of_its_schema():
    assert mistakes_in(yaml.safe_load((DEMO / "pod-monitor.yaml").read_text())) == []


def test_the_shipped_policy_is_the_one_of_the_project(found: list[Json], request: pytest.FixtureRequest):
    text = the("ConfigMap", found, "remediator-policy")["data"]["policy.yaml"]
    observing = request.node.callspec.params["found"] == "observe"

    shipped = shipped_policy()
    policy = parse_policy(text)

    assert policy.mode is (Mode.OBSERVE if observing else shipped.mode)
    assert policy.targets == shipped.targets
    assert policy.playbooks == shipped.playbooks


def test_the_settings_can_be_read_and_allow_a_start(found: list[Json], tmp_path: Path):
    settings = read_settings(environment(found))
    token = tmp_path / "token"
    token.write_text("secret")

    check_startable(read_settings({**environment(found), "REMEDIATOR_TOKEN_FILE": str(token)}))

    mounts = {mount["mountPath"] for mount in pod_spec(found)["containers"][0]["volumeMounts"]}
    assert str(settings.policy.parent) in mounts
    assert settings.token_file is not None
    assert str(settings.token_file.parent) in mounts
    assert "/tmp" in mounts
    if settings.database.startswith("sqlite"):
        assert str(Path(settings.database.removeprefix("sqlite:///")).parent) in mounts


def test_on_sqlite_there_is_never_a_second_pod():
    for name in ("sqlite", "observe"):
        spec = the("Deployment", overlay(name))["spec"]
        assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
        the("PersistentVolumeClaim", overlay(name), "remediator-journal")


def test_on_postgres_there_are_two_and_the_address_comes_from_a_secret():
    found = overlay("postgres")
    spec = the("Deployment", found)["spec"]
    (database,) = [
        one for one in pod_spec(found)["containers"][0]["env"] if one["name"] == "REMEDIATOR_DATABASE"
    ]

    assert (spec["replicas"], spec["strategy"]["rollingUpdate"]["maxUnavailable"]) == (2, 0)
    assert database["valueFrom"] == {"secretKeyRef": {"name": "remediator-postgres", "key": "url"}}
    assert not [one for one in found if one["kind"] == "PersistentVolumeClaim"]


def test_no_secret_is_shipped(whole: list[Json]):
    assert not [one for one in whole if one["kind"] == "Secret"]


def test_liveness_asks_only_whether_the_worker_lives_and_readiness_only_for_the_journal(found: list[Json]):
    container = pod_spec(found)["containers"][0]

    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert container["startupProbe"]["httpGet"]["path"] == "/healthz"
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"


def test_the_step_in_hand_may_end_before_the_pod_is_killed(found: list[Json]):
    grace = pod_spec(found)["terminationGracePeriodSeconds"]

    assert grace == 30
    assert grace > GRACE.total_seconds()


def test_the_container_has_requests_and_a_memory_limit(found: list[Json]):
    resources = pod_spec(found)["containers"][0]["resources"]

    assert {"cpu", "memory"} <= resources["requests"].keys()
    assert "memory" in resources["limits"]


@pytest.mark.parametrize("name", [*OVERLAYS, "demo"])
def test_the_pod_meets_the_restricted_standard_and_its_root_cannot_be_written(name: str):
    spec = pod_spec(objects(build(str(DEMO))), "bizra-apex") if name == "demo" else pod_spec(overlay(name))

    assert violations(spec) == []
    assert all(one["securityContext"]["readOnlyRootFilesystem"] for one in spec["containers"])


SPOILED: dict[str, Any] = {
    "host namespace": lambda spec: spec.update(hostNetwork=True),
    "host path": lambda spec: spec["volumes"].append({"name": "x", "hostPath": {"path": "/"}}),
    "host port": lambda spec: spec["containers"][0]["ports"][0].update(hostPort=80),
    "privileged": lambda spec: spec["containers"][0]["securityContext"].update(privileged=True),
    "escalation": lambda spec: spec["containers"][0]["securityContext"].pop("allowPrivilegeEscalation"),
    "capabilities kept": lambda spec: spec["containers"][0]["securityContext"].pop("capabilities"),
    "capability added": lambda spec: spec["containers"][0]["securityContext"]["capabilities"].update(
        add=["SYS_ADMIN"]
    ),
    "root allowed": lambda spec: spec["securityContext"].pop("runAsNonRoot"),
    "root": lambda spec: spec["securityContext"].update(runAsUser=0),
    "seccomp": lambda spec: spec["securityContext"].pop("seccompProfile"),
    "sysctl": lambda spec: spec["securityContext"].update(sysctls=[{"name": "kernel.msgmax", "value": "1"}]),
    "proc mount": lambda spec: spec["containers"][0]["securityContext"].update(procMount="Unmasked"),
}


@pytest.mark.parametrize("how", SPOILED)
def test_the_check_of_the_standard_notices(how: str):
    spec = deepcopy(pod_spec(overlay("sqlite")))

    SPOILED[how](spec)

    assert len(violations(spec)) == 1


def test_only_monitoring_comes_in_and_only_what_is_needed_goes_out(found: list[Json]):
    policies = [one["spec"] for one in found if one["kind"] == "NetworkPolicy"]
    (ingress,) = [rule for spec in policies for rule in spec.get("ingress", ())]
    out = {port["port"] for spec in policies for rule in spec["egress"] for port in rule["ports"]}
    database = {5432} if environment(found)["REMEDIATOR_DATABASE"].startswith("postgresql") else set()

    assert ingress["ports"] == [{"port": "http"}]
    assert [one["namespaceSelector"]["matchLabels"] for one in ingress["from"]] == [
        {"kubernetes.io/metadata.name": "monitoring"}
    ]
    assert out == {53, 443, 6443, 9090, 9093} | database


def test_prometheus_and_alertmanager_are_asked_where_the_network_policy_lets_out_to(found: list[Json]):
    settings = read_settings(environment(found))
    allowed = {
        (peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"], port["port"])
        for one in found
        if one["kind"] == "NetworkPolicy"
        for rule in one["spec"]["egress"]
        for peer in rule.get("to", ())
        if "namespaceSelector" in peer
        for port in rule["ports"]
    }
    asked = [urlsplit(url) for url in (settings.prometheus, *settings.alertmanager)]

    assert [url.port for url in asked] == [9090, 9093]
    for url in asked:
        service, namespace, kind = (url.hostname or "").rsplit(".", 2)
        assert (service, kind, (namespace, url.port) in allowed) == (service, "svc", True)


def test_the_service_and_the_monitor_lead_to_the_pods(whole: list[Json]):
    service, pod = the("Service", whole), the("Deployment", whole)["spec"]["template"]
    port = service["spec"]["ports"][0]

    assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    assert port["targetPort"] in {one["name"] for one in pod["spec"]["containers"][0]["ports"]}
    monitor = the("ServiceMonitor", whole)["spec"]
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["endpoints"][0]["port"] == port["name"]


def test_the_rules_are_those_of_the_project(whole: list[Json]):
    files = [yaml.safe_load(path.read_text()) for path in sorted((ROOT / "prometheus-rules").glob("*.yml"))]

    assert the("PrometheusRule", whole)["spec"]["groups"] == [
        group for one in files for group in one.get("groups", ())
    ]


def test_the_demo_workload_is_a_target_of_the_shipped_policy_and_has_opted_in():
    found = the("Deployment", objects(build(str(DEMO))), "bizra-apex")
    (target,) = shipped_policy().targets

    assert (found["metadata"]["namespace"], found["metadata"]["name"]) == (
        target.namespace,
        target.name,
    )
    assert found["metadata"]["labels"]["remediator/enabled"] == "true"


def test_the_example_of_an_installation_of_your_own_builds(tmp_path: Path):
    text = (DEPLOY / "README.md").read_text().partition("```yaml\n")[2].partition("```")[0]
    here = os.path.relpath(DEPLOY, tmp_path)
    (tmp_path / "kustomization.yaml").write_text(text.replace("github.com/bizra/remediator/deploy", here))
    for name in ("policy.yaml", "rbac.yaml"):
        shutil.copy(DEPLOY / "policies" / "auto" / name, tmp_path)

    found = objects(build(str(tmp_path)))

    assert environment(found)["REMEDIATOR_PROMETHEUS"] == "http://prometheus.monitoring.svc:9090"
    assert environment(found)["REMEDIATOR_ALERTMANAGER"] == "http://alertmanager.monitoring.svc:9093"
    assert pod_spec(found)["containers"][0]["image"] == "ghcr.io/bizra/remediator:0.2.0"
    assert the("Role", found)["rules"]
    assert the("ConfigMap", found, "remediator-policy")


def test_the_demo_workload_exports_what_the_policy_asks_about_and_can_be_broken():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = [sys.executable, str(DEMO / "node.py")]
    environ = {"PORT": str(port), "AHSAN_SCORE": "97"}
    with subprocess.Popen(program, env=environ) as node:
        first = eventually(lambda: metrics_of(port))
        subprocess.run([*program, "break", "score=80", "seconds=0.9"], env=environ, check=True, timeout=20)
        second = metrics_of(port)
        node.terminate()
        ended = node.wait(timeout=10)

    assert (first["ahsan_score"], second["ahsan_score"], first["hive_up"], ended) == (97, 80, 1, 0)
    asked = " ".join(one.verify.query for one in shipped_policy().playbooks.values())
    names = set(re.findall(r"\b(?:ahsan|hive)_\w+(?=\{)", asked))
    assert names
    assert names <= {name.partition("{")[0] for name in second}


def metrics_of(port: int) -> dict[str, float]:
    try:
        page = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=2).text
    except requests.ConnectionError:
        return {}
    lines = [line.rpartition(" ") for line in page.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}


def shipped_policy() -> Policy:
    return parse_policy((ROOT / "policy.yaml").read_text())
