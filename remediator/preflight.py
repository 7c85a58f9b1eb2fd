"""Ask the API server what we may do before it matters: at the start, and again every minute.

Runs in a thread of its own. Nothing waits for it, and nothing stops because of it: what is missing is
logged, shown by /readyz?verbose and part of each observation, where a step that needs it is refused.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Protocol

from remediator.core.actions import Target
from remediator.core.permissions import AccessReview, Permission
from remediator.core.policy import Policy
from remediator.logs import logger
from remediator.permissions import needed_on_each, tier_of

WITHIN = timedelta(seconds=20)
EVERY = timedelta(minutes=1)


class Reviewer(Protocol):
    """The part of the Kubernetes adapter that knows what we may do."""

    def review(self, needs: Mapping[Target, Sequence[Permission]], *, within: timedelta) -> AccessReview:
        """Which of these permissions we lack."""
        ...


class Preflight:
    """The last access review of a process."""

    def __init__(self, cluster: Reviewer, policy: Callable[[], Policy], *, every: timedelta = EVERY) -> None:
        self._cluster = cluster
        self._policy = policy
        self._every = every
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="preflight", daemon=True)
        self._log = logger("preflight")
        self._said: str | None = None
        self.complaint: str | None = "not asked yet"
        """What is missing, in words; None when nothing is."""

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ask nothing more. A question under way is not waited for."""
        self._stopping.set()

    def look(self) -> None:
        """Ask now, and log it when the answer is another than before."""
        policy = self._policy()
        needs = needed_on_each(policy)
        review = self._cluster.review(needs, within=WITHIN)
        self.complaint = review.complaint
        most = max(map(len, needs.values()), default=0)
        said = self.complaint or f"{most} permissions on each of {len(policy.targets)} targets"
        if said == self._said:
            return
        self._said = said
        tier = tier_of(one for permissions in needs.values() for one in permissions).value
        if self.complaint is None:
            self._log.info("every permission that the policy needs is there", tier=tier, granted=said)
        else:
            self._log.error("permissions are missing", tier=tier, missing=said, fix="remediator rbac")

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self.look()
            except Exception as error:  # noqa: BLE001 - whatever happens here must not end the process
                self.complaint = f"the access review failed: {type(error).__name__}: {error}"
            self._stopping.wait(self._every.total_seconds())
