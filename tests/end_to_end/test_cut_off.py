"""A replica whose line to the database is cut: nothing, or once; and another one goes on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import make_url

from tests.end_to_end.clusters import Cluster
from tests.end_to_end.proxy import Moment, Proxy
from tests.end_to_end.replicas import ALERT, APEX, Start, deploy, holder
from tests.end_to_end.serving import WELL, Json, Remediator, SaidMetrics, a_notification
from tests.end_to_end.tcp import Relay
from tests.waiting import eventually

pytestmark = pytest.mark.real

REFUSED = 422
"""By a JSON Patch whose test did not hold."""


@pytest.fixture
def cluster(simulated_cluster: Cluster) -> Cluster:
    return simulated_cluster


@pytest.fixture
def lines(database: str) -> Iterator[list[Relay]]:
    """One for each of two replicas."""
    url = make_url(database)
    place = url.host or "127.0.0.1", url.port or 5432
    with Relay(*place) as one, Relay(*place) as two:
        yield [one, two]


def through(line: Relay, database: str) -> str:
    url = make_url(database).set(host="127.0.0.1", port=line.port)
    return url.render_as_string(hide_password=False)


@pytest.fixture
def replicas(
    cluster: Cluster, namespace: str, start: Start, database: str, lines: list[Relay]
) -> list[Remediator]:
    deploy(cluster, namespace, [APEX])
    return [start(f"replica-{n}", through(line, database), [APEX]) for n, line in enumerate(lines)]


def test_a_replica_that_is_cut_off_from_the_journal_does_nothing(  # noqa: PLR0917 - fixtures
    cluster: Cluster, namespace: str, start: Start, database: str, lines: list[Relay], metrics: SaidMetrics
) -> None:
    """The line is cut while it looks at the world, just before it would decide."""
    deploy(cluster, namespace, [APEX])
    line, _ = lines
    remediator = start("one", through(line, database), [APEX])
    metrics.on_ask = line.cut
    remediator.accepts(a_notification(namespace, APEX, ALERT))
    eventually(lambda: "worker cannot work" in remediator.process.said, "it noticed")
    assert remediator.post(a_notification(namespace, APEX, ALERT)).status_code == 503
    assert cluster.writes(namespace) == []
    metrics.on_ask = None
    line.mend()
    eventually(lambda: cluster.effects(namespace, APEX), "gone on")
    metrics.value = WELL
    remediator.comes_to("closed")
    assert len(cluster.effects(namespace, APEX)) == 1


def test_cut_off_once_the_intent_is_durable_it_sends_nothing_and_the_other_does(
    cluster: Cluster, namespace: str, replicas: list[Remediator], lines: list[Relay], metrics: SaidMetrics
) -> None:
    for line in lines:
        line.cut_once_committed(b"INSERT INTO attempts")
    replicas[0].accepts(a_notification(namespace, APEX, ALERT))

    eventually(lambda: cluster.effects(namespace, APEX), "the other has sent it")
    metrics.value = WELL
    (cut,) = [number for number, line in enumerate(lines) if line.is_cut]
    story = replicas[1 - cut].comes_to("closed")

    assert replicas[cut].post(a_notification(namespace, APEX, ALERT)).status_code == 503
    assert [write["code"] for write in cluster.writes(namespace)] == [200]
    assert recognised(story) is False
    assert [event["kind"] for event in story["events"]].count("decided") == 1


@pytest.mark.parametrize("arrives", ["at once", "too late", "never"])
def test_cut_off_while_it_sends_there_is_one_effect(  # noqa: PLR0917 - fixtures
    cluster: Cluster,
    namespace: str,
    replicas: list[Remediator],
    lines: list[Relay],
    metrics: SaidMetrics,
    proxy: Proxy,
    database: str,
    arrives: str,
) -> None:
    """The journal knows that it may have been sent; what became of it, nobody could write down."""
    caught = proxy.catch(Moment.BEFORE)
    replicas[0].accepts(a_notification(namespace, APEX, ALERT))
    caught.wait()
    cut = replicas.index(holder(database, replicas))
    lines[cut].cut()

    if arrives == "at once":
        caught.pass_on()
    elif arrives == "never":
        caught.drop()
    eventually(lambda: cluster.effects(namespace, APEX), "it has happened")
    if arrives == "too late":
        caught.pass_on()
    metrics.value = WELL
    story = replicas[1 - cut].comes_to("closed")
    lines[cut].mend()
    replicas[cut].comes_to("closed")

    late = [REFUSED] if arrives == "too late" else []
    assert [write["code"] for write in cluster.writes(namespace)] == [200, *late]
    assert recognised(story) is (arrives == "at once")


def recognised(story: Json) -> bool:
    """Whether whoever went on found it done."""
    (applied,) = [event for event in story["events"] if event["kind"] == "applied"]
    return bool(applied["data"]["recognised"])
