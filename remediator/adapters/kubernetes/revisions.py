"""The rollout history of a Deployment, read from its ReplicaSets.

A ReplicaSet that is used again (undo) keeps its age, gets a new revision number and remembers the old
ones in `revision-history`. So the history is laid out by revision number, each number with the
ReplicaSet that held it then; what the history limit evicted is a gap.
Sources: kubectl pkg/polymorphichelpers/rollback.go and pkg/util/deployment/deployment.go; the
controller's pkg/controller/deployment/util/deployment_util.go.
"""

from __future__ import annotations

from datetime import datetime

from remediator.adapters.kubernetes.objects import (
    Json,
    condition,
    digest_of,
    images_of,
    mapping,
    moment,
    text,
    uid_of,
    value_at,
)
from remediator.core.facts import Between, Revision

REVISION = "deployment.kubernetes.io/revision"
REVISION_HISTORY = "deployment.kubernetes.io/revision-history"
ROLLED_OUT = "NewReplicaSetAvailable"


def revision_of(thing: Json) -> int | None:
    """As kubectl reads it: 0 when missing, None (to be skipped) when it is no number."""
    written = value_at(mapping(thing, "metadata", "annotations"), REVISION)
    if written is None:
        return 0
    try:
        return int(written)
    except (TypeError, ValueError):
        return None


def created(thing: Json) -> datetime | None:
    return moment(thing, "metadata", "creationTimestamp")


def current_replica_set(deployment: Json, replica_sets: list[Json]) -> Json | None:
    """The oldest whose template equals the Deployment's; None until the controller has made it."""
    wanted = digest_of(deployment, restarts_count=True)
    same = [rs for rs in replica_sets if digest_of(rs, restarts_count=True) == wanted]
    return min(same, key=lambda rs: text(rs, "metadata", "creationTimestamp"), default=None)


def previous_revisions(deployment: Json, replica_sets: list[Json]) -> tuple[Revision, ...]:
    """What the Deployment could go back to: the newest of each other template, newest first."""
    seen = {digest_of(deployment)}
    found: list[Revision] = []
    for number, rs in _by_revision(replica_sets):
        digest = digest_of(rs)
        if digest not in seen:
            seen.add(digest)
            found.append(
                Revision(replica_set_uid=uid_of(rs), number=number, digest=digest, images=images_of(rs))
            )
    return tuple(found)


def template_changed(deployment: Json, replica_sets: list[Json], now: datetime) -> Between | None:
    """When the present template, restarts aside, became the current one.

    Exact when the ReplicaSet that brought it was made for it. When an old one came back, or the
    history limit evicted the beginning, only bounds are known.
    """
    digest = digest_of(deployment)
    held = _held(replica_sets)
    chain = _chain(held, digest)
    if not chain:
        return _between(_newest_other(deployment, held, digest, below=None), now, now)
    lowest = chain[-1]
    rs, first = held[lowest]
    birth = created(rs)
    if first and birth and (lowest <= 1 or lowest - 1 in held):
        return Between(earliest=birth, latest=birth)
    latest = birth if first else _came_back_by(deployment, held, chain)
    return _between(_newest_other(deployment, held, digest, below=lowest), latest or now, now)


def _by_revision(replica_sets: list[Json]) -> list[tuple[int, Json]]:
    numbered = [(number, rs) for rs in replica_sets if (number := revision_of(rs)) is not None]
    return sorted(numbered, key=lambda pair: pair[0], reverse=True)


def _held(replica_sets: list[Json]) -> dict[int, tuple[Json, bool]]:
    """Which ReplicaSet held each revision, and whether it was new then."""
    held: dict[int, tuple[Json, bool]] = {}
    for number, rs in _by_revision(replica_sets):
        past = text(mapping(rs, "metadata", "annotations"), REVISION_HISTORY)
        numbers = [number, *(int(part) for part in past.split(",") if part.strip().isdigit())]
        for one in numbers:
            held.setdefault(one, (rs, one == min(numbers)))
    return held


def _chain(held: dict[int, tuple[Json, bool]], digest: str) -> list[int]:
    """The newest revisions, down as far as they are without a gap of the present template."""
    chain: list[int] = []
    top = max(held, default=0)
    while top in held and digest_of(held[top][0]) == digest:
        chain.append(top)
        top -= 1
    return chain


def _came_back_by(deployment: Json, held: dict[int, tuple[Json, bool]], chain: list[int]) -> datetime | None:
    """The latest moment at which the old ReplicaSet at the end of the chain can have come back."""
    for number in reversed(chain):
        rs, first = held[number]
        if first and (birth := created(rs)):
            return birth
    progress = condition(deployment, "Progressing")
    return moment(progress, "lastUpdateTime") if progress.get("reason") == ROLLED_OUT else None


def _newest_other(
    deployment: Json, held: dict[int, tuple[Json, bool]], digest: str, *, below: int | None
) -> datetime | None:
    """When the newest ReplicaSet with a different template was made: ours became current after that."""
    births = [
        birth
        for number, (rs, first) in held.items()
        if first and (below is None or number < below) and digest_of(rs) != digest and (birth := created(rs))
    ]
    return max(births, default=created(deployment))


def _between(earliest: datetime | None, latest: datetime, now: datetime) -> Between | None:
    if earliest is None:
        return None
    # Times have a resolution of one second, and `now` is another clock's reading of it.
    return Between(earliest=earliest, latest=max(earliest, min(latest, now)))
