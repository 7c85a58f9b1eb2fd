"""Several processes on one journal: what they act on, and which of them has an incident in hand."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import create_engine, make_url, text

from tests.end_to_end.clusters import Cluster
from tests.end_to_end.serving import Remediator
from tests.end_to_end.test_storm import worker_of
from tests.waiting import eventually

APEX, ALERT = "bizra-apex", "HiveDown"
Start = Callable[..., Remediator]
"""The fixture `start`: a replica by its name, database, targets and limits."""


def deploy(cluster: Cluster, namespace: str, names: list[str]) -> None:
    for name in names:
        cluster.create(namespace, name, "ghcr.io/bizra/node:v1")
    for name in names:
        eventually(lambda name=name: cluster.all_ready(namespace, name), f"{name} is ready")  # type: ignore[misc]


def holder(database: str, replicas: list[Remediator]) -> Remediator:
    """The replica that has the incident in hand: its owner's name begins with its process."""
    engine = create_engine(make_url(database).set(drivername="postgresql+psycopg"))
    with engine.connect() as connection:
        owner = connection.execute(text("SELECT lease_owner FROM incidents")).scalar_one()
    engine.dispose()
    assert owner, "nobody has it in hand"
    by_worker = {worker_of(one.process.pid): one for one in replicas}
    return by_worker[int(owner.partition("-")[0])]
