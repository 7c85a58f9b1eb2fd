"""kubectl, Deployments and service accounts on an API server, simulated or real."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import yaml

from remediator.adapters.kubernetes import KubernetesCluster
from remediator.core.actions import Target
from remediator.core.permissions import Permission
from remediator.core.policy import Policy
from remediator.permissions import manifests, needed
from tests.waiting import eventually

from .places import DEPLOY, Json, kubectl_program, objects

WITHIN = timedelta(seconds=20)

Kubectl = Callable[..., str]

LABELS = {"app.kubernetes.io/name": "bizra-apex"}
ASKS_FOR_USAGE = os.environ.get("KUBE_USAGE_ANNOTATION", "").split()
"""Where pods are only played, the annotation of a pod that says what it uses."""
USAGE = "cpu=500m,memory=256Mi"


def kubectl_for(kubeconfig: str, home: Path) -> Kubectl:
    def run(*args: str, stdin: str | None = None) -> str:
        done = subprocess.run(
            [kubectl_program(), *args],
            env={"KUBECONFIG": kubeconfig, "HOME": str(home), "PATH": os.environ["PATH"]},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"kubectl {' '.join(args)}: {done.stderr}"
        return done.stdout

    return run


def a_deployment(kubectl: Kubectl, namespace: str, name: str = "bizra-apex") -> Target:
    """Two replicas with limits and, where something plays the kubelet, with usage; two revisions."""
    kubectl("create", "namespace", namespace)
    for image in ("hive:1", "hive:2"):
        kubectl("--namespace", namespace, "apply", "-f", "-", stdin=json.dumps(_manifest(name, image)))
        kubectl("--namespace", namespace, "rollout", "status", f"deployment/{name}", "--timeout=40s")
    return Target(namespace, name)


def _manifest(name: str, image: str) -> Json:
    container = {"name": "node", "image": image, "resources": {"limits": {"cpu": "1", "memory": "1Gi"}}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": {"remediator/enabled": "true", **LABELS}},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": LABELS},
            "template": {
                "metadata": {"labels": LABELS, "annotations": dict.fromkeys(ASKS_FOR_USAGE, USAGE)},
                "spec": {"containers": [container]},
            },
        },
    }


def kubeconfig_of(kubectl: Kubectl, namespace: str, account: str, path: Path) -> str:
    """A kubeconfig with nothing but a token of the service account."""
    token = kubectl("--namespace", namespace, "create", "token", account, "--duration=1h").strip()
    config = json.loads(kubectl("config", "view", "--raw", "--minify", "--output=json"))
    cluster = config["clusters"][0]
    path.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "us",
                "clusters": [cluster],
                "users": [{"name": "us", "user": {"token": token}}],
                "contexts": [{"name": "us", "context": {"cluster": cluster["name"], "user": "us"}}],
            }
        )
    )
    return str(path)


@dataclass
class Realm:
    """Two namespaces of our own on the API server: the targets', and the remediator's."""

    kubectl: Kubectl
    target: Target
    ours: str
    folder: Path
    closing: ExitStack

    def on_target(self, verb: str, *more: str) -> str:
        """kubectl VERB KIND TARGET MORE."""
        where = ("--namespace", self.target.namespace)
        return self.kubectl(*where, *verb.split(), self.target.kind.label, self.target.name, *more)

    def shipped(self, name: str) -> list[Json]:
        """The Role and RoleBinding of deploy/policies, moved to these namespaces."""
        return self.moved(objects((DEPLOY / "policies" / name / "rbac.yaml").read_text()))

    def printed(self, policy: Policy) -> list[Json]:
        return self.moved(objects(manifests(policy, namespace="remediator", account="remediator")))

    def moved(self, found: list[Json]) -> list[Json]:
        places = {"bizra-testnet": self.target.namespace, "remediator": self.ours}
        for one in found:
            metadata = one["metadata"]
            if "namespace" in metadata:
                metadata["namespace"] = places[metadata["namespace"]]
            elif one["kind"] == "Namespace":
                metadata["name"] = places[metadata["name"]]
            for subject in one.get("subjects", ()):
                subject["namespace"] = places[subject["namespace"]]
        return found

    def scale(self, replicas: int) -> None:
        """As a person would, by kubectl, until it is so."""
        where = ("--namespace", self.target.namespace)
        deployment = f"deployment/{self.target.name}"
        self.kubectl(*where, "scale", deployment, f"--replicas={replicas}")
        self.kubectl(*where, "rollout", "status", deployment, "--timeout=40s")

    def account(self, name: str, granted: list[Json]) -> KubernetesCluster:
        """A service account with exactly these Roles, and the adapter with nothing but its token."""
        for one in granted:
            one["metadata"]["name"] = name
        for binding in granted[1::2]:
            binding["roleRef"]["name"] = binding["subjects"][0]["name"] = name
        account = {"apiVersion": "v1", "kind": "ServiceAccount"}
        account |= {"metadata": {"name": name, "namespace": self.ours}}  # type: ignore[dict-item]
        self.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all([account, *granted]))
        config = kubeconfig_of(self.kubectl, self.ours, name, self.folder / name)
        cluster = KubernetesCluster.from_environment(config)
        self.closing.callback(cluster.close)
        return cluster


def await_review(
    cluster: KubernetesCluster, realm: Realm, policy: Policy, gap: Permission | None = None
) -> None:
    """Wait until the API server has taken the Roles in, and see that the review says what is missing."""
    wanted = {realm.target: (gap,)} if gap else {}
    eventually(lambda: cluster.review({realm.target: needed(policy)}, within=WITHIN).missing == wanted)
