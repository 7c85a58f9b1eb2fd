"""kubectl, Deployments and service accounts on an API server, simulated or real."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

from remediator.core.actions import Target

from .places import Json, kubectl_program

Kubectl = Callable[..., str]

LABELS = {"app.kubernetes.io/name": "bizra-apex"}


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
    """Two replicas with limits and, where kubelab plays the kubelet, with usage; two revisions."""
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
                "metadata": {"labels": LABELS, "annotations": {"kubelab/usage": "cpu=500m,memory=256Mi"}},
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
