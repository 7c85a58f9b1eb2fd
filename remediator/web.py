"""The HTTP door: Alertmanager's webhook, health, metrics, and the journal as JSON.

Contract with Alertmanager: 202 stored, 400 not a version 4 notification, 401, 413, 503 try again. Never a
redirect (it would lose the body), never 429 (Alertmanager does not retry it), never 500 for an action.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from flask import Flask, Response, jsonify, request
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from werkzeug.exceptions import HTTPException

from remediator import __version__
from remediator.core.alerts import MalformedNotification, Notification, parse_notification
from remediator.lifecycle import Lifecycle
from remediator.logs import logger
from remediator.metrics import http_requests
from remediator.ports import JournalUnavailable
from remediator.views import explained, incident_record, received, story_record

_LARGEST_NUMBER = 2**63 - 1  # of a row: what is larger makes the database's driver fail


@dataclass(frozen=True, slots=True, kw_only=True)
class Doors:
    """What the web application needs of the process around it."""

    lifecycle: Lifecycle
    journal: Any
    """An SqlJournal: stories and incidents are read through it."""
    clock: Callable[[], datetime]
    wake: Callable[[], None]
    worker_alive: Callable[[], bool]
    draining: Callable[[], bool]
    trouble: Callable[[], dict[str, str]]
    """What does not work right now, by name: shown by /readyz?verbose."""
    token_file: Path | None
    max_body: int
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)


class Unauthorised(Exception):
    """No valid bearer token."""


class TokensUnreadable(Exception):
    """The token file is missing, unreadable or empty: nobody can be let in, and that is our fault."""


def create_app(doors: Doors) -> Flask:
    """Make the Flask application."""
    app = Flask("remediator", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = doors.max_body
    app.url_map.strict_slashes = False  # a redirect would turn Alertmanager's POST into an empty GET
    app.url_map.merge_slashes = False
    app.json.sort_keys = False  # type: ignore[attr-defined]
    _add_webhook(app, doors)
    _add_health(app, doors)
    _add_api(app, doors)
    _add_errors(app)
    answers = http_requests(doors.registry)

    @app.after_request
    def count(response: Response) -> Response:
        answers.labels(request.endpoint or "none", response.status_code).inc()
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Cache-Control"] = "no-store"
        return response

    return app


def _add_webhook(app: Flask, doors: Doors) -> None:
    log = logger("webhook")

    @app.post("/webhook")
    def webhook() -> tuple[Response, int]:
        _authorise(doors.token_file)
        if doors.draining():
            return _error(503, "shutting down; Alertmanager will try again")
        body, notification = _read_notification()
        if _asked_for("explain"):
            foresights = doors.lifecycle.foresee(notification, now=doors.clock())
            return jsonify(explained(notification, foresights)), 200
        receipt = doors.lifecycle.receive(notification, body=body, now=doors.clock())
        if receipt.wakes:
            doors.wake()
        answer = received(receipt)
        log.info(
            "notification received", **{key: answer[key] for key in ("notification", "outcomes", "refused")}
        )
        return jsonify(answer), 202


def _add_health(app: Flask, doors: Doors) -> None:
    @app.get("/healthz")
    def healthz() -> tuple[Response, int]:
        alive = doors.worker_alive()
        return jsonify(status="ok" if alive else "the worker thread is dead"), 200 if alive else 503

    @app.get("/readyz")
    def readyz() -> tuple[Response, int]:
        if doors.draining():
            return _error(503, "shutting down")
        doors.journal.ping()
        details = doors.trouble() if _asked_for("verbose") else {}
        return jsonify(status="ready", version=__version__, trouble=details), 200

    @app.get("/metrics")
    def metrics() -> Response:
        return Response(generate_latest(doors.registry), content_type=CONTENT_TYPE_LATEST)


def _add_api(app: Flask, doors: Doors) -> None:
    @app.get("/api/v1/incidents")
    def incidents() -> Response:
        _authorise(doors.token_file)
        found = doors.journal.incidents(open_only=_asked_for("open"))
        return jsonify(incidents=[incident_record(incident) for incident in found])

    @app.get(f"/api/v1/incidents/<int(max={_LARGEST_NUMBER}):number>")
    def incident(number: int) -> tuple[Response, int]:
        _authorise(doors.token_file)
        story = doors.journal.story(number)
        if story is None:
            return _error(404, f"there is no incident {number}")
        return jsonify(story_record(story)), 200


def _add_errors(app: Flask) -> None:
    log = logger("web")

    @app.errorhandler(Unauthorised)
    def unauthorised(_: Unauthorised) -> tuple[Response, int]:
        response, code = _error(401, "a valid bearer token is needed: Authorization: Bearer TOKEN")
        response.headers["WWW-Authenticate"] = "Bearer"
        return response, code

    @app.errorhandler(MalformedNotification)
    def malformed(error: MalformedNotification) -> tuple[Response, int]:
        log.warning("notification refused", error=str(error))
        return _error(400, f"not an Alertmanager webhook notification of version 4: {error}")

    @app.errorhandler(JournalUnavailable)
    @app.errorhandler(TokensUnreadable)
    def unavailable(error: Exception) -> tuple[Response, int]:
        log.error("cannot serve", error=str(error))
        return _error(503, str(error))

    @app.errorhandler(HTTPException)
    def http_error(error: HTTPException) -> tuple[Response, int]:
        response, code = _error(error.code or 500, error.description or error.name)
        response.headers.extend(
            (name, value) for name, value in error.get_headers() if name.lower() != "content-type"
        )
        return response, code

    @app.errorhandler(Exception)
    def unexpected(error: Exception) -> tuple[Response, int]:
        log.error("unexpected error", exc_info=error)
        return _error(503, "unexpected error; nothing was recorded, try again")


def _asked_for(flag: str) -> bool:
    """Whether the URL has the flag: `?explain`, `?explain=1`, but not `?explain=0`."""
    return request.args.get(flag, "0").lower() not in ("0", "false", "no")


def _error(code: int, message: str) -> tuple[Response, int]:
    return jsonify(error=message), code


def _authorise(token_file: Path | None) -> None:
    """Raise Unauthorised unless the request carries one of the tokens. The file is read each time."""
    if token_file is None:
        return
    try:
        tokens = [line.strip() for line in token_file.read_bytes().splitlines() if line.strip()]
    except OSError as error:
        raise TokensUnreadable(f"the token file cannot be read: {error.strerror}") from None
    if not tokens:
        raise TokensUnreadable("the token file is empty")
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    sent = given.strip().encode("latin-1", "replace")  # the header's own bytes, by PEP 3333
    matches = [hmac.compare_digest(sent, token) for token in tokens]
    if scheme.lower() != "bearer" or not any(matches):
        raise Unauthorised


def _read_notification() -> tuple[str, Notification]:
    raw = request.get_data(cache=False)
    try:
        text = raw.decode("utf-8")
        decoded = json.loads(text)
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise MalformedNotification(f"the body is not JSON ({type(error).__name__})") from None
    return text, parse_notification(decoded)
