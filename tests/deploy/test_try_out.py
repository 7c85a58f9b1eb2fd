"""The three commands of deploy/README.md: what they say is there, and what they do on a real API server.

No image is built here, and nothing runs in the pods: the remediator runs beside them with the environment,
policy, token and permissions that the commands gave it, and what Prometheus says is scripted.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from remediator.lab.stage import free_port
from tests.components import missing
from tests.end_to_end.programs import Programs
from tests.end_to_end.serving import SaidMetrics

from .places import DEPLOY, ROOT, Json, build, kubectl_program, objects, pod_spec, the
from .real import Kubectl, kubeconfig_of, kubectl_for
from .standards import violations
from .test_manifests import environment

OURS, TARGETS, MONITORING = "remediator", "bizra-testnet", "monitoring"


def commands() -> list[str]:
    block = (DEPLOY / "README.md").read_text().partition("```bash\n")[2].partition("```")[0]
    return block.strip().split("\n\n")


def shipped() -> list[Json]:
    return objects(build(str(DEPLOY / "try")))


def test_there_are_three_and_they_name_what_is_there():
    image, apply, curl = commands()
    built = re.findall(r"remediator:\w+", image)
    assert built == [pod_spec(shipped())["containers"][0]["image"]] * 2
    assert "kubectl apply -k deploy/try " in apply
    named = re.findall(r"-n (\S+) rollout status deployment/(\S+)", apply)
    there = {
        (one["metadata"]["namespace"], one["metadata"]["name"])
        for one in shipped()
        if one["kind"] == "Deployment"
    }
    assert set(named) == there
    ports = the("Service", shipped())["spec"]["ports"]
    assert f"service/remediator {ports[0]['port']}:{ports[0]['port']}" in curl
    (payload,) = re.findall(r"@(\S+)", curl)
    alert = json.loads((ROOT / payload).read_text())["alerts"][0]["labels"]
    workload = the("Deployment", shipped(), "bizra-apex")["metadata"]
    assert (alert["namespace"], alert["deployment"]) == (workload["namespace"], workload["name"])


def test_its_pods_meet_the_restricted_standard():
    for one in ("remediator", "bizra-apex", "prometheus"):
        assert violations(pod_spec(shipped(), one)) == []


def test_the_remediator_asks_the_prometheus_that_is_there_and_no_alertmanager():
    found = environment(shipped())
    service = the("Service", shipped(), "prometheus")
    port = service["spec"]["ports"][0]["port"]
    assert (
        found["REMEDIATOR_PROMETHEUS"] == f"http://prometheus.{service['metadata']['namespace']}.svc:{port}"
    )
    assert "REMEDIATOR_ALERTMANAGER" not in found


def test_what_is_scraped_gets_the_labels_that_the_queries_ask_for():
    config = yaml.safe_load(the("ConfigMap", shipped(), config_name())["data"]["prometheus.yml"])
    (job,) = config["scrape_configs"]
    monitor = yaml.safe_load((DEPLOY / "demo-workload/pod-monitor.yaml").read_text())
    (by_label,) = [
        one for one in monitor["spec"]["podMetricsEndpoints"][0]["relabelings"] if "sourceLabels" in one
    ]
    made = {
        one["target_label"]: one["source_labels"] for one in job["relabel_configs"] if "target_label" in one
    }
    assert job["job_name"] == "hive"
    assert made == {
        "namespace": ["__meta_kubernetes_namespace"],
        "deployment": by_label["sourceLabels"],
        "pod": ["__meta_kubernetes_pod_name"],
    }
    assert job["kubernetes_sd_configs"][0]["namespaces"]["names"] == [TARGETS]
    role = the("Role", shipped(), "prometheus")
    assert (role["metadata"]["namespace"], role["rules"][0]["verbs"]) == (TARGETS, ["get", "list", "watch"])


def config_name() -> str:
    (volume,) = [one for one in pod_spec(shipped(), "prometheus")["volumes"] if one["name"] == "config"]
    name: str = volume["configMap"]["name"]
    return name


class TryOut:
    """The commands, in namespaces of our own."""

    def __init__(self, kubeconfig: str, home: Path) -> None:
        tail = uuid.uuid4().hex[:8]
        self.places = {name: f"try-{name}-{tail}" for name in (OURS, TARGETS, MONITORING)}
        self.kubectl: Kubectl = kubectl_for(kubeconfig, home)
        self.folder = home
        (home / "kubectl").symlink_to(kubectl_program())
        self._environ = {"KUBECONFIG": kubeconfig, "HOME": str(home), "PATH": f"{home}:{os.environ['PATH']}"}

    def moved(self, text: str) -> str:
        for name, place in self.places.items():
            text = re.sub(rf'(-n |namespace: |"namespace": "|namespace=\\?"){name}\b', rf"\g<1>{place}", text)
        return text

    def manifests(self) -> Path:
        """What `kubectl apply -k` applies; namespaces are names too, and are named by subjects."""
        found = objects(self.moved(build(str(DEPLOY / "try"))))
        for one in found:
            if one["kind"] == "Namespace":
                one["metadata"]["name"] = self.places[one["metadata"]["name"]]
        path = self.folder / "try.yaml"
        path.write_text(yaml.safe_dump_all(found))
        return path

    def shell(self, command: str) -> str:
        done = subprocess.run(
            ["bash", "-c", command],
            env=self._environ,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout


@pytest.fixture
def try_out(tmp_path: Path) -> Iterator[TryOut]:
    found = TryOut(os.environ.get("KUBECONFIG") or missing("KUBECONFIG names no real API server"), tmp_path)
    yield found
    # Where no controller protects volumes, nobody takes the mark off either, and the namespace would stay.
    unmarked = ("--type=merge", "--patch", '{"metadata": {"finalizers": null}}')
    ours = ("-n", found.places[OURS])
    for volume in found.kubectl(*ours, "get", "pvc", "--output=name").split():
        found.kubectl(*ours, "patch", volume, *unmarked)
    found.kubectl("delete", "namespace", *found.places.values(), "--wait=false", "--ignore-not-found")


@pytest.mark.real
def test_what_they_say_can_be_seen(try_out: TryOut, tmp_path: Path):
    _, apply, curl = map(try_out.moved, commands())

    try_out.shell(apply.replace("-k deploy/try", f"-f {try_out.manifests()}"))

    ours = try_out.places[OURS]
    policy = json.loads(try_out.kubectl("-n", ours, "get", "configmap", "remediator-policy", "-o", "json"))
    (tmp_path / "policy.yaml").write_text(
        try_out.moved(policy["data"]["policy.yaml"]).replace("settle: 30s", "settle: 1s")
    )
    (tmp_path / "firing.json").write_text(try_out.moved((ROOT / "tests/payloads/firing.json").read_text()))
    token = try_out.shell(
        f"kubectl -n {ours} get secret remediator-token -o jsonpath='{{.data.token}}' | base64 -d"
    )
    (tmp_path / "token").write_text(token)
    port = free_port()
    said = run(try_out, ours, port, curl)

    (alert,) = json.loads(said)["alerts"]
    assert alert["decision_reason"] == "observe_mode", alert
    assert alert["decision_detail"] == "would have been: rolling restart"
    assert [step["reason"] for step in alert["steps"]] == ["fact_false", "fact_unknown", "step_applies"]


def run(try_out: TryOut, ours: str, port: int, curl: str) -> str:
    """The third command, with the remediator beside the cluster in place of the port that is forwarded."""
    folder = try_out.folder
    with SaidMetrics() as metrics:
        programs = Programs(folder)
        try:
            environ = environment(shipped()) | {
                "REMEDIATOR_POLICY": str(folder / "policy.yaml"),
                "REMEDIATOR_TOKEN_FILE": str(folder / "token"),
                "REMEDIATOR_DATABASE": f"sqlite:///{folder}/journal.db",
                "REMEDIATOR_LISTEN": f"127.0.0.1:{port}",
                "REMEDIATOR_PROMETHEUS": metrics.url,
                "REMEDIATOR_KUBECONFIG": kubeconfig_of(
                    try_out.kubectl, ours, "remediator", folder / "account"
                ),
            }
            serve = (sys.executable, "-m", "remediator", "serve")
            programs.answers(
                programs.start("remediator", *serve, environ=environ), f"http://127.0.0.1:{port}/readyz"
            )
            forwarded = curl.partition("&& curl")
            return try_out.shell(
                f"curl{forwarded[2]}".replace(":8080/", f":{port}/").replace("@tests/payloads/", "@")
            )
        finally:
            programs.end()
