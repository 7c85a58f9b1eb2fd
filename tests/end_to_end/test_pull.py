"""What Alertmanager could not tell us is looked up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests

from tests.end_to_end.clusters import Cluster
from tests.end_to_end.conftest import Stack
from tests.end_to_end.programs import Programs
from tests.end_to_end.serving import TOKEN, WELL, Remediator, SaidMetrics, a_policy, kinds_and_reasons
from tests.end_to_end.test_duplicates import start_alertmanager
from tests.waiting import eventually

APEX, ALERT = "bizra-apex", "HiveDown"


@pytest.fixture
def cluster(simulated_cluster: Cluster) -> Cluster:
    return simulated_cluster


def mute_config() -> Any:
    """The receiver that is us leads nowhere: nothing is ever told."""
    return {
        "route": {"receiver": "remediator", "group_by": ["..."], "group_wait": "100ms"},
        "receivers": [{"name": "remediator"}],
    }


def fire(alertmanager: str, name: str, **labels: str) -> None:
    began = datetime.now(UTC) - timedelta(minutes=2)
    alert = {"labels": {"alertname": name, **labels}, "startsAt": began.isoformat()}
    requests.post(f"http://{alertmanager}/api/v2/alerts", json=[alert], timeout=5).raise_for_status()


@pytest.mark.real
def test_an_alert_that_was_never_told_is_remediated_and_one_that_vanished_is_closed(
    cluster: Cluster, namespace: str, metrics: SaidMetrics, programs: Programs, newest_stack: Stack
) -> None:
    cluster.create(namespace, APEX, "ghcr.io/bizra/node:v1")
    eventually(lambda: cluster.all_ready(namespace, APEX), f"{APEX} is ready")
    remediator = Remediator(
        programs,
        kubeconfig=cluster.kubeconfig,
        prometheus=metrics.url,
        policy=a_policy(namespace, {ALERT: {"restart": {}}}, APEX),
        REMEDIATOR_ALERTMANAGER="http://127.0.0.1:1",
    )
    trouble = eventually(lambda: troubles(remediator).get("alertmanager"), "it is said to be away")
    assert trouble == "http://127.0.0.1:1: ConnectionError"
    assert "never heard" in troubles(remediator)["watchdog"]
    remediator.process.terminate()
    remediator.process.ended(within=20)

    address = start_alertmanager(programs, newest_stack[1], remediator, config=mute_config())
    fire(address, ALERT, namespace=namespace, deployment=APEX)
    fire(address, "Watchdog")
    remediator.start(REMEDIATOR_ALERTMANAGER=f"http://{address}", REMEDIATOR_RECONCILE="1s")
    eventually(lambda: cluster.effects(namespace, APEX), "restarted")
    metrics.value = WELL
    story = remediator.comes_to("closed")
    assert kinds_and_reasons(story)[0] == ("opened", "incident_opened")
    assert not {"alertmanager", "watchdog"} & troubles(remediator).keys()
    assert remediator.counted("remediator_watchdog_timestamp_seconds") > 0

    ended = {"startsAt": (datetime.now(UTC) - timedelta(minutes=2)).isoformat()}
    ended |= {"endsAt": datetime.now(UTC).isoformat()}
    labels = {"alertname": ALERT, "namespace": namespace, "deployment": APEX}
    over = [{"labels": labels, **ended}]
    requests.post(f"http://{address}/api/v2/alerts", json=over, timeout=5).raise_for_status()
    vanished = {"reason": "vanished"}
    eventually(lambda: remediator.counted("remediator_alerts_total", **vanished) == 1, "gone twice")


def troubles(remediator: Remediator) -> dict[str, str]:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    answer = requests.get(f"{remediator.url}/readyz?verbose", headers=headers, timeout=30)
    found: dict[str, str] = answer.json()["trouble"]
    return found
