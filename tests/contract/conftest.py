"""One contract, two API servers: the simulated cluster and the real one that KUBECONFIG names.

Every test gets its own namespace and drives unmodified kubectl (the one KUBECTL names, the one next to
this Python, or the one on PATH).
"""

import json
import os
import shutil
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from remediator.lab.cluster import LabCluster
from tests.components import missing

LAB_SPEED = 4


@pytest.fixture(scope="session")
def kubectl_program():
    beside = shutil.which("kubectl", path=str(Path(sys.executable).parent))
    found = os.environ.get("KUBECTL") or beside or shutil.which("kubectl")
    return found or missing("kubectl is not installed")


@pytest.fixture(scope="session")
def kubectl_home(tmp_path_factory):
    return tmp_path_factory.mktemp("kubectl-home")  # kubectl caches discovery under HOME


@pytest.fixture(scope="session")
def lab_cluster():
    with LabCluster(speed=LAB_SPEED) as cluster:
        yield cluster


@pytest.fixture(scope="session", params=["lab", pytest.param("real", marks=pytest.mark.real)])
def api(request, tmp_path_factory):
    """The kubeconfig of the API server under test."""
    if request.param == "lab":
        cluster = request.getfixturevalue("lab_cluster")
        return str(cluster.kubeconfig(tmp_path_factory.mktemp("lab") / "kubeconfig"))
    return os.environ.get("KUBECONFIG") or missing("KUBECONFIG names no real API server")


class Kubectl:
    """kubectl in one namespace of one API server."""

    def __init__(self, program, kubeconfig, home, namespace):
        self.program, self.namespace = program, namespace
        self.environment = {
            "KUBECONFIG": kubeconfig,
            "HOME": str(home),
            "PATH": os.environ["PATH"],
            "TZ": "UTC",
        }

    def run(self, *args, stdin=None):
        command = [self.program, "--namespace", self.namespace, *args]
        return subprocess.run(
            command,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            input=stdin,
        )

    def __call__(self, *args, stdin=None):
        """What it prints, when it succeeds."""
        done = self.run(*args, stdin=stdin)
        assert done.returncode == 0, f"kubectl {' '.join(args)}: {done.stderr}"
        return done.stdout

    def fails(self, *args):
        """What it complains about, when it fails."""
        done = self.run(*args)
        assert done.returncode != 0, f"kubectl {' '.join(args)} should have failed: {done.stdout}"
        return done.stderr

    def get(self, *args):
        return json.loads(self("get", *args, "--output=json"))

    def items(self, kind, *args):
        return self.get(kind, *args)["items"]

    def deployment(self, name="web"):
        return self.get("deployment", name)

    def image(self, name="web"):
        return self.deployment(name)["spec"]["template"]["spec"]["containers"][0]["image"]

    def create(self, image="app:v1", replicas=1, name="web"):
        self("create", "deployment", name, f"--image={image}", f"--replicas={replicas}")
        self.wait(name)

    def set_image(self, image, name="web"):
        self("set", "image", f"deployment/{name}", f"app={image}")

    def wait(self, name="web"):
        return self("rollout", "status", f"deployment/{name}", "--timeout=30s")

    def revisions(self):
        annotation = "deployment.kubernetes.io/revision"
        return {int(rs["metadata"]["annotations"][annotation]): rs for rs in self.items("replicasets")}


@pytest.fixture
def kubectl(api, kubectl_program, kubectl_home):
    namespace = f"contract-{uuid.uuid4().hex[:10]}"
    command = Kubectl(kubectl_program, api, kubectl_home, namespace)
    command("create", "namespace", namespace)
    yield command
    command("delete", "namespace", namespace, "--wait=false")
