from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from requests import PreparedRequest
from requests.adapters import HTTPAdapter

from remediator.adapters.kubernetes import KubernetesCluster
from remediator.core.actions import Target
from remediator.lab.cluster import LabCluster
from tests.components import missing

from .real import Kubectl, Realm, a_deployment, kubectl_for


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[PreparedRequest]:
    """Every request that goes out, where our own code ends."""
    requests: list[PreparedRequest] = []
    send = HTTPAdapter.send

    def recorded(self, request, **settings):
        requests.append(request)
        return send(self, request, **settings)

    monkeypatch.setattr(HTTPAdapter, "send", recorded)
    return requests


@pytest.fixture(scope="session")
def kubectl_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kubectl-home")  # kubectl caches discovery under HOME


@pytest.fixture
def lab() -> Iterator[LabCluster]:
    with LabCluster(speed=10) as cluster:
        yield cluster


@pytest.fixture
def lab_kubectl(lab: LabCluster, tmp_path: Path, kubectl_home: Path) -> Kubectl:
    return kubectl_for(str(lab.kubeconfig(tmp_path / "kubeconfig")), kubectl_home)


@pytest.fixture
def cluster(lab: LabCluster, tmp_path: Path) -> Iterator[KubernetesCluster]:
    cluster = KubernetesCluster.from_environment(str(lab.kubeconfig(tmp_path / "ours")))
    yield cluster
    cluster.close()


@pytest.fixture
def target(lab_kubectl: Kubectl) -> Target:
    """A Deployment in the lab that went through two images."""
    return a_deployment(lab_kubectl, "bizra-testnet")


@pytest.fixture(scope="module")
def realm(tmp_path_factory: pytest.TempPathFactory, kubectl_home: Path) -> Iterator[Realm]:
    kubeconfig = os.environ.get("KUBECONFIG") or missing("KUBECONFIG names no real API server")
    kubectl = kubectl_for(kubeconfig, kubectl_home)
    tail = uuid.uuid4().hex[:8]
    ours = f"deploy-ours-{tail}"
    with ExitStack() as closing:
        closing.callback(kubectl, "delete", "namespace", f"deploy-{tail}", ours, "--wait=false")
        kubectl("create", "namespace", ours)
        target = a_deployment(kubectl, f"deploy-{tail}")
        yield Realm(kubectl, target, ours, tmp_path_factory.mktemp("accounts"), closing)
