"""The arithmetic of a rollout in the simulated Deployment controller."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remediator.lab.cluster import rollout


def deployment(replicas, surge="25%", unavailable="25%", strategy="RollingUpdate"):
    rolling = {"maxSurge": surge, "maxUnavailable": unavailable}
    return {"spec": {"replicas": replicas, "strategy": {"type": strategy, "rollingUpdate": rolling}}}


def replica_set(name, size, available=None):
    ready = size if available is None else available
    return {"metadata": {"name": name}, "spec": {"replicas": size}, "status": {"availableReplicas": ready}}


@pytest.mark.parametrize(
    ("replicas", "surge", "unavailable", "expected"),
    [
        (1, "25%", "25%", (1, 0)),
        (2, "25%", "25%", (1, 0)),
        (4, "25%", "25%", (1, 1)),
        (10, "25%", "25%", (3, 2)),
        (3, 0, "10%", (0, 1)),
        (3, "100%", 5, (3, 3)),
    ],
)
def test_surge_rounds_up_and_unavailable_down(replicas, surge, unavailable, expected):
    target = deployment(replicas, surge, unavailable)
    assert (rollout.max_surge(target), rollout.max_unavailable(target)) == expected


@given(
    replicas=st.integers(1, 40),
    percent=st.tuples(st.integers(0, 100), st.integers(0, 100)),
    new_fails=st.booleans(),
)
def test_a_rollout_stays_within_its_bounds_and_ends(replicas, percent, new_fails):
    target = deployment(replicas, f"{percent[0]}%", f"{percent[1]}%")
    old, new = replica_set("old", replicas), replica_set("new", 0)
    for _ in range(2 * replicas + 2):
        size = rollout.size_of_new(target, new, [old, new])
        if size != new["spec"]["replicas"]:
            new = replica_set("new", size, 0 if new_fails else size)
        else:
            old = replica_set("old", rollout.sizes_of_old(target, new, [old])["old"])
        everything = [old, new]
        assert rollout.total(everything) <= replicas + rollout.max_surge(target)
        available = rollout.total_counted(everything, "availableReplicas")
        assert available >= replicas - rollout.max_unavailable(target)
    if not new_fails:
        assert (old["spec"]["replicas"], new["spec"]["replicas"]) == (0, replicas)


@given(
    sizes=st.lists(st.integers(1, 20), min_size=2, max_size=4),
    wanted=st.integers(0, 60),
)
def test_a_scale_during_a_rollout_is_shared_out_exactly(sizes, wanted):
    target = deployment(wanted)
    active = [replica_set(str(number), size) for number, size in enumerate(sizes)]
    noted = {found["metadata"]["name"]: sum(sizes) for found in active}
    shared = rollout.proportional_sizes(target, active, noted)
    allowed = wanted + rollout.max_surge(target) if wanted else 0
    assert all(size >= 0 for size in shared.values())
    assert sum(shared.values()) == allowed
