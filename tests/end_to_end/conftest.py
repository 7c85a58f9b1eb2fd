"""What the end-to-end tests stand on: API servers, programs, a namespace of one's own."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, make_url, text

from remediator.lab.cluster import LabCluster
from tests.components import missing
from tests.end_to_end.clusters import Cluster, RealCluster, SimulatedCluster
from tests.end_to_end.programs import Programs
from tests.end_to_end.proxy import Proxy
from tests.end_to_end.replicas import ALERT, Start
from tests.end_to_end.serving import Remediator, SaidMetrics, a_policy

LAB_SPEED = 4

Stack = tuple[str, str]
"""A Prometheus and an Alertmanager of about the same age."""


def stacks() -> dict[str, Stack]:
    """Those on PATH (the distribution's), and those in the directories of REMEDIATOR_PROM_PATHS."""
    found: dict[str, Stack] = {}
    for place in (None, *filter(None, os.environ.get("REMEDIATOR_PROM_PATHS", "").split(os.pathsep))):
        prometheus = shutil.which("prometheus", path=place)
        alertmanager = shutil.which("alertmanager", path=place) or shutil.which(
            "prometheus-alertmanager", path=place
        )
        if prometheus and alertmanager and (prometheus, alertmanager) not in found.values():
            found[place or "PATH"] = prometheus, alertmanager
    return found


STACKS = stacks()


@pytest.fixture(params=STACKS or ["none"])
def stack(request: pytest.FixtureRequest) -> Stack:
    """Each Prometheus and Alertmanager there is."""
    return STACKS.get(request.param) or missing("no prometheus and alertmanager on PATH")


@pytest.fixture
def newest_stack() -> Stack:
    """One of them, for what does not depend on their age."""
    return [*STACKS.values()][-1] if STACKS else missing("no prometheus and alertmanager on PATH")


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[Programs]:
    running = Programs(tmp_path)
    yield running
    running.end()


@pytest.fixture
def metrics() -> Iterator[SaidMetrics]:
    with SaidMetrics() as said:
        yield said


@pytest.fixture(scope="session")
def simulated_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with LabCluster(speed=LAB_SPEED) as lab:
        yield SimulatedCluster(lab, tmp_path_factory.mktemp("lab") / "kubeconfig")


@pytest.fixture(scope="session")
def real_cluster() -> Cluster:
    """The API server that KUBECONFIG names, with its audit log at KUBE_AUDIT_LOG."""
    if not os.environ.get("KUBECONFIG"):
        missing("KUBECONFIG names no real API server")
    if not os.environ.get("KUBE_AUDIT_LOG"):
        missing("KUBE_AUDIT_LOG names no audit log of the API server")
    return RealCluster(Path(os.environ["KUBECONFIG"]), Path(os.environ["KUBE_AUDIT_LOG"]))


@pytest.fixture(params=["lab", pytest.param("real", marks=pytest.mark.real)])
def cluster(request: pytest.FixtureRequest) -> Cluster:
    """Both API servers, one after the other."""
    name = "simulated_cluster" if request.param == "lab" else "real_cluster"
    found: Cluster = request.getfixturevalue(name)
    return found


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    name = f"e2e-{uuid.uuid4().hex[:10]}"
    cluster.create_namespace(name)
    yield name
    cluster.delete_namespace(name)


@pytest.fixture
def proxy(cluster: Cluster) -> Iterator[Proxy]:
    with Proxy(cluster.upstream) as between:
        yield between


@pytest.fixture
def database() -> Iterator[str]:
    """A PostgreSQL database of one's own."""
    server = os.environ.get("TEST_POSTGRES_URL") or missing("TEST_POSTGRES_URL is not set")
    url, name = make_url(server), f"test_e2e_{os.getpid()}"
    maker = create_engine(url.set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT")
    with maker.connect() as connection:
        connection.execute(text(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
        connection.execute(text(f"CREATE DATABASE {name}"))
    yield url.set(database=name).render_as_string(hide_password=False)
    with maker.connect() as connection:
        connection.execute(text(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
    maker.dispose()


@pytest.fixture
def start(proxy: Proxy, metrics: SaidMetrics, programs: Programs, namespace: str) -> Start:
    """Start a replica behind the proxy."""
    kubeconfig = proxy.kubeconfig(programs.directory / "kubeconfig")

    def started(
        name: str, database: str, targets: list[str], limits: Any = None, verify: Any = None, **environ: str
    ) -> Remediator:
        policy = a_policy(namespace, {ALERT: {"restart": {}}}, *targets, **(limits or {}))
        policy["playbooks"][0]["verify"] |= verify or {}
        return Remediator(
            programs,
            name=name,
            kubeconfig=kubeconfig,
            prometheus=metrics.url,
            policy=policy,
            **{"REMEDIATOR_DATABASE": database, **environ},
        )

    return started
