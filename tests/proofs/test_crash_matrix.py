"""kill -9 at every point, three actions, two databases, one real API server: once, and to the end.

In CI around every PATCH, and of the rest some for each action, others for each; with `SOAK=1` every point.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.components import missing
from tests.end_to_end.clusters import RealCluster
from tests.end_to_end.serving import SaidMetrics
from tests.proofs.matrix import STEPS, Case, Databases, Matrix, Nursery, table

SOAK = os.environ.get("SOAK") == "1"
EACH_COMMIT = {"sqlite": 3, "postgresql": 6}
"""In CI, of the commits every n-th, beginning with another one for each action: the flow is the same."""
EACH_READ = 15
"""In CI, of the points that write nothing, every n-th."""
DATABASES = ("sqlite", "postgresql")

pytestmark = [pytest.mark.real, pytest.mark.timeout(3600 if SOAK else 600)]


def needed(name: str) -> str:
    value = os.environ.get(name, "")
    if not value:
        missing(f"{name} is not set")
    return value


class SickUntilVerified(SaidMetrics):
    """Sick when asked before a change, well when asked to verify one: only then a lookback is given."""

    def value_for(self, query: str) -> float:
        return 1 if "lookback_delta=" in query else 0


@pytest.fixture(scope="module")
def prometheus() -> Iterator[str]:
    with SickUntilVerified() as metrics:
        yield metrics.url


@pytest.fixture(scope="module")
def matrix(prometheus: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Matrix]:
    cluster = RealCluster(Path(needed("KUBECONFIG")), Path(needed("KUBE_AUDIT_LOG")))
    postgres, name = needed("TEST_POSTGRES_URL"), f"crash-{uuid.uuid4().hex[:8]}"
    directory = tmp_path_factory.mktemp("crashes")
    cluster.create_namespace(name)
    databases = Databases(directory, postgres, "test_" + name.replace("-", "_"))
    nursery = Nursery()
    yield Matrix(cluster, name, prometheus, directory, databases, nursery)
    nursery.close()
    databases.drop()
    cluster.delete_namespace(name)


def chosen(points: list[str], action: str, database: str) -> list[int]:
    """Which points to die at, counted from 1."""
    numbers = range(1, len(points) + 1)
    if SOAK:
        return list(numbers)
    commits = [n for n in numbers if points[n - 1].endswith("commit")]
    writes = [n for n in numbers if "PATCH" in points[n - 1]]
    others = sorted(set(numbers) - {*commits, *writes})
    each = EACH_COMMIT[database]
    first = list(STEPS).index(action) * each // len(STEPS)
    return sorted({*writes, *commits[first::each], *others[::EACH_READ]})


def test_killed_anywhere_nothing_is_lost_and_nothing_happens_twice(
    matrix: Matrix, record_property: Callable[[str, object], None]
) -> None:
    batches = []
    for (action, database), points in matrix.points(DATABASES).items():
        assert sum("PATCH" in name for name in points) >= 4  # before and after, dry run and write
        batches.append([Case(action, database, number) for number in chosen(points, action, database)])
    outcomes = []
    for batch in batches if SOAK else [[case for cases in batches for case in cases]]:
        outcomes += matrix.play(batch)
        if SOAK:
            print(table(outcomes), flush=True)  # noqa: T201 - it takes long
    record_property("proof", "crash matrix, kill -9 at each of these points:\n" + table(outcomes))
    for outcome in outcomes:
        log = (matrix.directory / outcome.case.name / "log").read_text()[-3000:]
        assert not outcome.double, f"{outcome}\n{log}"
        assert not outcome.lost, f"{outcome}\n{log}"
        assert outcome.ended, f"{outcome}\n{log}"
    # On a busy machine the life that shows the points looks more often; others end before its last ones.
    assert sum(outcome.died_at is not None for outcome in outcomes) > 0.7 * len(outcomes)
