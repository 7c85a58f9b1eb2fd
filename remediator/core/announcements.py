"""What of a timeline is announced as an Event on the target, where `kubectl describe` shows it.

The journal is the truth and these are copies for whoever does not know us. They are kept by Kubernetes for
an hour or so, may come late, and are dropped rather than waited for.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from remediator.core.actions import Target
from remediator.core.reasons import Reason

LONGEST_MESSAGE = 1000
"""What the newer Events API takes at most is 1024."""

NORMAL, WARNING = "Normal", "Warning"

ANNOUNCED: dict[str, tuple[str, str, str]] = {
    "decided": (NORMAL, "RemediationDecided", "what will be done, and why"),
    "applied": (NORMAL, "RemediationStarted", "the API server accepted the change"),
    "held": (NORMAL, "RemediationHeld", "why nothing is done now; once for each reason in an incident"),
    "withdrawn": (NORMAL, "RemediationWithdrawn", "what was decided was not sent, for certain"),
    "judged": (WARNING, "RemediationDidNotHelp", "the service did not recover by it; the next step follows"),
    "abandoned": (WARNING, "RemediationUnclear", "what was sent may or may not have happened"),
    "escalated": (WARNING, "RemediationEscalated", "a person's turn, and what each step said"),
    "breaker": (WARNING, "RemediationBreakerOpen", "nothing more is done anywhere until a person resumes"),
    "closed": (NORMAL, "RemediationClosed", "the incident is over without a recovery of ours"),
    "returned": (NORMAL, "RemediationReturned", "the replica count is what it was before a scale-up"),
    "kept": (NORMAL, "RemediationKept", "a scale-up is not given back, and why"),
}
"""Kind in the timeline -> type and reason of the Event, and what it means."""
RECOVERED = (NORMAL, "RemediationRecovered", "our own query saw the service recover")

_UNSAID = frozenset({("judged", Reason.RECOVERED)})  # the `closed` that follows says so


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """One line of a timeline, to be told on its target."""

    number: int
    """In the journal's list of what is to be announced."""
    target: Target
    incident: int
    opened_at: datetime
    alert: str
    at: datetime
    kind: str
    reason: Reason
    detail: str
    digest: str
    """Of the line, over all that came before it."""

    @property
    def type(self) -> str:
        return self._event[0]

    @property
    def event_reason(self) -> str:
        return self._event[1]

    @property
    def message(self) -> str:
        """On one line; whatever strangers put into it."""
        said = f"{self.alert} (incident {self.incident}): {self.reason.value}: {self.detail}"
        shown = "".join(char if char.isprintable() else " " for char in said)
        return shown if len(shown) <= LONGEST_MESSAGE else f"{shown[: LONGEST_MESSAGE - 1]}…"

    @property
    def name(self) -> str:
        """The same for the same line, so that Kubernetes itself refuses a second one."""
        key = self.digest
        if self.kind == "held":  # reasons may take turns every few seconds
            key = hashlib.sha256(f"{self.incident} {self.opened_at} {self.reason}".encode()).hexdigest()
        return f"{self.target.name[:200].rstrip('-.')}.{key[:16]}"

    @property
    def _event(self) -> tuple[str, str, str]:
        recovered = self.kind == "closed" and self.reason is Reason.RECOVERED
        return RECOVERED if recovered else ANNOUNCED[self.kind]


class Told(StrEnum):
    """What became of an announcement."""

    WRITTEN = "written"
    """It is there, by us or by a process before us."""
    OBSERVING = "observing"
    """A policy that only observes writes nothing at all."""
    FORBIDDEN = "forbidden"
    GONE = "gone"
    """The target does not exist."""
    REFUSED = "refused"
    LATE = "late"
    """The API server did not take it for so long that it would be no news."""
    AGAIN = "again"
    """It could not be told now."""


def is_announced(kind: str, reason: Reason) -> bool:
    """Whether a line of a timeline is announced. In a storm the API server has enough to do."""
    return kind in ANNOUNCED and reason is not Reason.STORM and (kind, reason) not in _UNSAID
