"""The evidence: what is kept of an observation, so that its size is bounded whatever the Deployment's is."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

from remediator.core.facts import Observation, Unseen
from remediator.core.seen import PodSeen

MOST_PODS = 10
MOST_REVISIONS = 5
MOST_EVENTS = 15
LONGEST_WORDS = 256


def snapshot(seen: Observation | Unseen) -> dict[str, Any]:
    """What was seen, as values for the timeline. What was left out is counted, the worst pods come first."""
    if isinstance(seen, Unseen):
        return asdict(seen)
    pods, revisions = seen.pods or (), seen.previous or ()
    kept = replace(
        seen,
        pods=None if seen.pods is None else tuple(map(_short, sorted(pods, key=_badness)[:MOST_PODS])),
        previous=None if seen.previous is None else revisions[:MOST_REVISIONS],
        events=None if seen.events is None else seen.events[:MOST_EVENTS],
        unreadable={name: why[:LONGEST_WORDS] for name, why in seen.unreadable.items()},
    )
    left_out = {
        "pods": max(0, len(pods) - MOST_PODS),
        "previous": max(0, len(revisions) - MOST_REVISIONS),
        "events": max(0, len(seen.events or ()) - MOST_EVENTS),
    }
    ordered = {"order"} if seen.order is None else set()
    values = {name: value for name, value in asdict(kept).items() if name not in ordered}
    return {**values, "left_out": {name: count for name, count in left_out.items() if count}}


def _badness(pod: PodSeen) -> tuple[bool, bool, int]:
    return pod.ready, not pod.endings, -pod.restarts


def _short(pod: PodSeen) -> PodSeen:
    return replace(pod, unschedulable=pod.unschedulable and pod.unschedulable[:LONGEST_WORDS])
