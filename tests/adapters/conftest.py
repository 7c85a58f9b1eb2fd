from __future__ import annotations

import pytest
import responses

from remediator.adapters.kubernetes import Connection, KubernetesCluster
from remediator.adapters.kubernetes.credentials import Access

from .kube import SERVER


@pytest.fixture
def api():
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        yield mock


@pytest.fixture
def cluster():
    cluster = KubernetesCluster(Connection(lambda: Access(server=SERVER)))
    yield cluster
    cluster.close()
