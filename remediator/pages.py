"""Two pages for people: what is going on, and the story of one incident. They only read.

No script, and a policy that allows none: labels and annotations are other people's text.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

from flask import Blueprint, Response, render_template, request
from werkzeug.exceptions import NotFound

from remediator import __version__
from remediator.core.policy import Policy
from remediator.views import incident_record, listing, story_record

SECURITY = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Sent with every answer, also with JSON and errors."""

MOST_LISTED = 50
LARGEST_NUMBER = 2**63 - 1  # of a row: what is larger makes the database's driver fail


def pages(
    journal: Any,
    *,
    clock: Callable[[], datetime],
    policy: Callable[[], Policy],
    authorise: Callable[[], None],
) -> Blueprint:
    """The pages over a journal (an SqlJournal). `authorise` raises for whoever may not see them."""
    blueprint = Blueprint("pages", __name__, template_folder="templates", static_folder="static")
    blueprint.before_request(lambda: None if request.endpoint == "pages.static" else authorise())
    blueprint.add_app_template_filter(_clock, "clock")
    blueprint.add_app_template_filter(_pretty, "pretty")

    @blueprint.get("/")
    def overview() -> str:
        now = clock()
        still_open = journal.incidents(open_only=True, limit=MOST_LISTED)
        going_on = listing(still_open, journal.pauses(now=now), journal.storm())
        newest = [incident_record(one) for one in journal.incidents(limit=MOST_LISTED)]
        return render_template(
            "overview.html",
            now=now,
            version=__version__,
            holds=going_on["holds"],
            open_incidents=sorted(going_on["incidents"], key=lambda one: one["phase"] != "escalated"),
            closed=[one for one in newest if one["phase"] == "closed"],
            most=MOST_LISTED,
        )

    @blueprint.get(f"/incidents/<int(max={LARGEST_NUMBER}):number>")
    def incident(number: int) -> str:
        story = journal.story(number)
        if story is None:
            raise NotFound(f"there is no incident {number}")
        record = story_record(story, policy())
        return render_template("incident.html", story=record, version=__version__, now=clock())

    return blueprint


def add_security(response: Response) -> Response:
    """The headers of every answer."""
    response.headers.update(SECURITY)
    return response


def _clock(moment: datetime | str | None) -> str:
    if moment is None:
        return ""
    at = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    return f"{at:%Y-%m-%d %H:%M:%S}"


def _pretty(data: Any) -> str:
    return json.dumps(data, indent=2, ensure_ascii=False)
