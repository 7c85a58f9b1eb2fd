"""Thousands of alerts within seconds: all are kept, almost nothing done, one person called, and then calm."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

import pytest
import requests

from tests.end_to_end.clusters import Cluster
from tests.end_to_end.kept import Kept
from tests.end_to_end.programs import Programs
from tests.end_to_end.serving import TOKEN, Remediator, SaidMetrics, a_policy
from tests.waiting import eventually

ALERT = "HiveDown"
PER_NOTIFICATION = 10
PER_TARGET = 20
SENDERS = 8
THERE = 20
"""Deployments that exist: the simulated API server shares this machine and is not what is looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    targets: int
    patience: float
    """Seconds each of the things that follow may take."""
    recheck: float
    """Seconds. In a storm a worker looks four times as rarely."""
    window: int
    """Seconds in which targets have to begin to alert to be a storm."""

    @property
    def alerts(self) -> int:
        return self.targets * PER_TARGET

    @property
    def notifications(self) -> int:
        return self.alerts // PER_NOTIFICATION


SMALL = Size(targets=40, patience=40, recheck=0.5, window=5)
WHOLE = Size(targets=500, patience=400, recheck=15, window=60)
SIZES = [SMALL, WHOLE] if os.environ.get("SOAK") else [SMALL]
"""`make soak` has the time for the whole one."""
HELD_FOR = 2
"""Seconds the policy is patient with a hold, but not with one that a storm is the reason of."""


@pytest.fixture
def cluster(simulated_cluster: Cluster) -> Cluster:
    return simulated_cluster


class Values(SaidMetrics):
    """Sick, but for the targets that are well."""

    def __init__(self) -> None:
        self.well: set[str] = set()
        super().__init__()

    def value_for(self, query: str) -> float:
        return float(any(f'deployment="{name}"' in query for name in self.well))


@pytest.fixture
def metrics() -> Iterator[Values]:
    with Values() as said:
        yield said


@dataclass
class Sent:
    """What the sending of a storm showed."""

    took: float = 0.0
    seconds: list[float] = field(default_factory=list)
    answers: Counter[int] = field(default_factory=Counter)


@dataclass
class Watch:
    """The largest resident memory and thread count of the serving process, looked at all the time."""

    process: int
    megabytes: float = 0.0
    threads: int = 0
    _over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(0.1):
            status = dict(
                line.split(":", 1) for line in Path(f"/proc/{self.process}/status").read_text().splitlines()
            )
            self.megabytes = max(self.megabytes, int(status["VmRSS"].split()[0]) / 1024)
            self.threads = max(self.threads, int(status["Threads"]))


def worker_of(parent: int) -> int:
    """The one process that gunicorn forked."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        fields = stat.read_text().rpartition(")")[2].split()
        if int(fields[1]) == parent:
            return int(stat.parent.name)
    raise AssertionError("no worker process")


STARTED = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()


def notification(namespace: str, target: str, pods: range, *, status: str = "firing") -> Any:
    alerts = []
    for pod in pods:
        labels = {
            "alertname": ALERT,
            "namespace": namespace,
            "deployment": target,
            "pod": f"{target}-{pod}",
            "severity": "critical",
            "remediation": "auto",
            "service": "bizra-node-0",
        }
        alerts.append(
            {
                "status": status,
                "labels": labels,
                "annotations": {"summary": f"{target} is down", "description": "x" * 300},
                "startsAt": STARTED,
                "endsAt": "0001-01-01T00:00:00Z",
                "generatorURL": "http://prometheus:9090/graph?g0.expr=" + "hive_up%20" * 10,
                "fingerprint": sha256(f"{target}/{pod}".encode()).hexdigest()[:16],
            }
        )
    key = f'{{}}:{{alertname="{ALERT}", deployment="{target}", part="{pods.start}"}}'
    return {"version": "4", "groupKey": key, "receiver": "remediator", "status": status, "alerts": alerts}


def send(remediator: Remediator, namespace: str, size: Size) -> Sent:
    """As fast as it is taken, and as Alertmanager sends: what is not answered with 2xx is sent again."""
    parts = [
        (f"hive-{number}", range(start, start + PER_NOTIFICATION))
        for start in range(0, PER_TARGET, PER_NOTIFICATION)
        for number in range(size.targets)
    ]
    sent, began = Sent(), time.monotonic()
    sessions = threading.local()

    def post(part: tuple[str, range]) -> None:
        target, pods = part
        sessions.own = session = getattr(sessions, "own", None) or requests.Session()
        body = notification(namespace, target, pods)
        while True:
            asked = time.monotonic()
            headers = {"Authorization": f"Bearer {TOKEN}"}
            answer = session.post(f"{remediator.url}/webhook", json=body, headers=headers, timeout=30)
            sent.seconds.append(time.monotonic() - asked)
            sent.answers[answer.status_code] += 1
            if answer.status_code == 202:
                return

    with ThreadPoolExecutor(SENDERS) as crowd:
        list(crowd.map(post, parts))
    sent.took = time.monotonic() - began
    return sent


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.real)])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Its URL."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/journal.db"
    found: str = request.getfixturevalue("database")
    return found


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size.alerts} alerts")
def test_a_storm_is_journaled_held_and_handed_over_once(  # noqa: PLR0917 - one story; fixtures are passed by name
    cluster: Cluster,
    namespace: str,
    metrics: Values,
    programs: Programs,
    journal: str,
    size: Size,
    record_property: Callable[[str, object], None],
) -> None:
    targets = [f"hive-{number}" for number in range(size.targets)]
    with ThreadPoolExecutor(SENDERS) as crowd:
        there = targets[:THERE]
        list(crowd.map(lambda name: cluster.create(namespace, name, "node:v1", replicas=1), there))
    storm = {"targets": 5, "within": f"{size.window}s"}
    policy = a_policy(namespace, {ALERT: {"restart": {}}}, *targets, storm=storm, patience=f"{HELD_FOR}s")
    remediator = Remediator(
        programs,
        kubeconfig=cluster.kubeconfig,
        prometheus=metrics.url,
        policy=policy,
        REMEDIATOR_DATABASE=journal,
        REMEDIATOR_RECHECK=f"{size.recheck * 1000:.0f}ms",
    )
    with Watch(worker_of(remediator.process.pid)) as watch, Kept(journal) as kept:
        sent = send(remediator, namespace, size)
        eventually(lambda: kept.number(HELD) >= size.targets - 10, "held", within=size.patience)

        # One of them recovers in the middle of it.
        metrics.well.add("hive-7")
        for start in range(0, PER_TARGET, PER_NOTIFICATION):
            pods = range(start, start + PER_NOTIFICATION)
            remediator.accepts(notification(namespace, "hive-7", pods, status="resolved"))
        resolved = took(lambda: kept.number(CLOSED_HIVE_7) == 1, "the one that resolved is closed", size)

        eventually(
            lambda: kept.every_hold_has_outlasted(HELD_FOR, looked_every=4 * size.recheck),
            "looked at when the policy's patience was over",
            within=size.patience,
        )
        said = kept.escalations()
        metrics.well.update(targets)
        calm = took(lambda: kept.number(OPEN) == 0, "all closed", size)
        writes = len(cluster.writes(namespace))
        seconds = sorted(sent.seconds)
        figures = {
            "journal": journal.partition(":")[0],
            "alerts": size.alerts,
            "notifications": size.notifications,
            "accepted within": f"{sent.took:.1f} s",
            "answers": dict(sent.answers),
            "p50": f"{seconds[len(seconds) // 2] * 1000:.0f} ms",
            "p99": f"{seconds[len(seconds) * 99 // 100] * 1000:.0f} ms",
            "writes to the API server": writes,
            "escalations": said,
            "resolved to closed": f"{resolved:.1f} s",
            "all well to all closed": f"{calm:.1f} s",
            "largest RSS": f"{watch.megabytes:.0f} MiB",
            "most threads": watch.threads,
        }
        record_property("proof", "storm: " + ", ".join(f"{name} {value}" for name, value in figures.items()))

        assert kept.number("SELECT count(*) FROM episodes") == size.alerts
        assert kept.number("SELECT count(*) FROM notifications") == size.notifications + 2
        assert kept.number("SELECT count(*) FROM incidents") == size.targets
    assert set(sent.answers) <= {202, 503}
    assert sent.answers[202] == size.notifications
    assert writes <= 4, "what began before it was a storm"
    assert said == {"storm": 1}
    assert remediator.counted("remediator_escalations_total") == 1
    assert watch.megabytes < 250
    assert watch.threads < 25
    eventually(lambda: remediator.counted("remediator_storm_open") == 0, "over", within=size.window + 30)


HELD = "SELECT count(*) FROM incidents WHERE hold_reason = 'storm'"
CLOSED_HIVE_7 = "SELECT count(*) FROM incidents WHERE deployment = 'hive-7' AND phase = 'closed'"
OPEN = "SELECT count(*) FROM incidents WHERE phase <> 'closed'"


def took(look: Callable[[], bool], what: str, size: Size) -> float:
    """Seconds until it was so."""
    began = time.monotonic()
    eventually(look, what, within=size.patience)
    return time.monotonic() - began
