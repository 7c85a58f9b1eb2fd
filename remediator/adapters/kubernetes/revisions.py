"""The rollout history of a Deployment, read from its ReplicaSets.

A ReplicaSet that is used again (undo) keeps its age, gets a new revision number and remembers the old
ones in `revision-history`. So the history is laid out by revision number, each number with the
ReplicaSet that held it then; what the history limit evicted is a gap.
Sources: kubectl pkg/polymorphichelpers/rollback.go and pkg/util/deployment/deployment.go; the
controller's pkg/controller/deployment/util/deployment_util.go.
"""

from __future__ import annotations

from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class _Holder:
    """Who held a revision number."""

    rs: Json
    digest: str
    first: bool
    """Whether the ReplicaSet was new then."""


class History:
    """The ReplicaSets that one Deployment controls, beside the Deployment."""

    def __init__(self, deployment: Json, replica_sets: list[Json]) -> None:
        self._deployment = deployment
        self._digest = digest_of(deployment)
        digested = [(rs, digest_of(rs)) for rs in replica_sets]
        self._same = [rs for rs, digest in digested if digest == self._digest]
        numbered = [(number, *both) for both in digested if (number := revision_of(both[0])) is not None]
        self._newest_first = sorted(numbered, key=lambda one: one[0], reverse=True)
        self._held = self._by_number()

    def current(self) -> Json | None:
        """The oldest whose template equals the Deployment's; None until the controller has made it."""
        wanted = digest_of(self._deployment, restarts_count=True)
        equal = [rs for rs in self._same if digest_of(rs, restarts_count=True) == wanted]
        return min(equal, key=lambda rs: text(rs, "metadata", "creationTimestamp"), default=None)

    def previous(self) -> tuple[Revision, ...]:
        """What the Deployment could go back to: the newest of each other template, newest first."""
        found: dict[str, Revision] = {}
        for number, rs, digest in self._newest_first:
            if digest != self._digest and digest not in found:
                found[digest] = Revision(
                    replica_set_uid=uid_of(rs), number=number, digest=digest, images=images_of(rs)
                )
        return tuple(found.values())

    def template_changed(self, now: datetime) -> Between | None:
        """When the present template, restarts aside, became the current one.

        Exact when the ReplicaSet that brought it was made for it. When an old one came back, or the
        history limit evicted the beginning, only bounds are known.
        """
        chain = self._chain()
        if not chain:
            return _between(self._newest_other(below=None), now, now)
        lowest = chain[-1]
        bottom = self._held[lowest]
        birth = created(bottom.rs)
        if bottom.first and birth and (lowest <= 1 or lowest - 1 in self._held):
            return Between(earliest=birth, latest=birth)
        latest = birth if bottom.first else self._came_back_by(chain)
        return _between(self._newest_other(below=lowest), latest or now, now)

    def _by_number(self) -> dict[int, _Holder]:
        held: dict[int, _Holder] = {}
        for number, rs, digest in self._newest_first:
            past = text(mapping(rs, "metadata", "annotations"), REVISION_HISTORY)
            numbers = [number, *(int(part) for part in past.split(",") if part.strip().isdecimal())]
            for one in numbers:
                held.setdefault(one, _Holder(rs, digest, one == min(numbers)))
        return held

    def _chain(self) -> list[int]:
        """The newest revisions, down as far as they are without a gap of the present template."""
        chain: list[int] = []
        number = max(self._held, default=0)
        while number in self._held and self._held[number].digest == self._digest:
            chain.append(number)
            number -= 1
        return chain

    def _came_back_by(self, chain: list[int]) -> datetime | None:
        """The latest moment at which the old ReplicaSet at the end of the chain can have come back."""
        for number in reversed(chain):
            holder = self._held[number]
            if holder.first and (birth := created(holder.rs)):
                return birth
        progress = condition(self._deployment, "Progressing")
        return moment(progress, "lastUpdateTime") if progress.get("reason") == ROLLED_OUT else None

    def _newest_other(self, *, below: int | None) -> datetime | None:
        """When the newest ReplicaSet with another template was made: ours became current after that."""
        births = [
            birth
            for number, holder in self._held.items()
            if holder.first
            and (below is None or number < below)
            and holder.digest != self._digest
            and (birth := created(holder.rs))
        ]
        return max(births, default=created(self._deployment))


def _between(earliest: datetime | None, latest: datetime, now: datetime) -> Between | None:
    if earliest is None:
        return None
    # Times have a resolution of one second, and `now` is another clock's reading of it.
    return Between(earliest=earliest, latest=max(earliest, min(latest, now)))
