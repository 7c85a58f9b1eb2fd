"""Announce: tell on the target, as Kubernetes Events, what the timeline says.

Runs beside the flow and after it: a line is announced once it is committed, at least once, under a name that
makes a second time harmless. What cannot be told in time is dropped and counted; nothing waits for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from remediator.core.actions import Target
from remediator.core.announcements import Announcement, Told
from remediator.lifecycle.world import World

AT_ONCE = 20
"""Lines told in one round."""
MOST_IN_VAIN = 3
"""Targets found so in one round, besides one that was before: each may take the whole time-out."""
NEWS = timedelta(minutes=10)
"""What is older is no news: it is dropped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Announced:
    """What became of a round."""

    told: list[Told]
    in_vain: tuple[Target, ...]
    """Whose Events are not taken now: the one that was not asked for the longest time first."""


def announce(world: World, *, wanted: bool, now: datetime, in_vain: Sequence[Target] = ()) -> Announced:
    """Tell what waits to be told. Raises JournalUnavailable.

    Without `wanted` nothing is told, and what waits is done with. Targets that the last round found `in_vain`
    come after all others, so that a namespace whose Events are not taken keeps nobody waiting. The lines of
    one target keep their order.
    """
    told: list[Told] = []
    refused: list[Target] = []
    while len(told) < AT_ONCE and len(refused) < MOST_IN_VAIN:
        with world.journal.reading() as tx:
            others = tx.announcements(most=AT_ONCE - len(told), other_than=(*in_vain, *refused))
        if not others:
            break
        more, again = _tell_all(world, others, wanted, most_in_vain=MOST_IN_VAIN - len(refused), now=now)
        told, refused = told + more, refused + again
    still = list(in_vain)
    while still and len(told) < AT_ONCE:
        with world.journal.reading() as tx:
            its = tx.announcements(most=AT_ONCE - len(told), about=still[0])
        more, again = _tell_all(world, its, wanted, most_in_vain=1, now=now)
        told, refused = told + more, refused + again
        del still[0]
        if again:
            break
    return Announced(told=told, in_vain=(*still, *refused))


def _tell_all(
    world: World, waiting: Iterable[Announcement], wanted: bool, *, most_in_vain: int, now: datetime
) -> tuple[list[Told], list[Target]]:
    """What became of each, and the targets that were asked in vain: nothing more is told about these."""
    outcomes: list[Told] = []
    in_vain: list[Target] = []
    for one in waiting:
        if one.target in in_vain:
            continue
        told = _tell(world, one, now=now) if wanted else Told.OBSERVING
        outcomes.append(told)
        if told is Told.AGAIN:
            in_vain.append(one.target)
            if len(in_vain) == most_in_vain:
                break
            continue
        with world.journal.transaction() as tx:
            if tx.announced(one.number):
                tx.count("announcements", {"outcome": told.value})
    return outcomes, in_vain


def _tell(world: World, one: Announcement, *, now: datetime) -> Told:
    if now - one.at > NEWS:
        return Told.LATE
    return world.cluster.announce(one)
