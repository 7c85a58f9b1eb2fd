"""The HTTP door: Alertmanager's webhook, health, metrics, and the journal as JSON.

Contract with Alertmanager: 202 stored, 400 not a version 4 notification, 401, 413, 503 try again. Never a
redirect (it would lose the body), never 429 (Alertmanager does not retry it), never 500 for an action.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from flask import Flask, Response, jsonify, request
from gunicorn.http.errors import ParseException
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge, UnsupportedMediaType

from remediator import __version__
from remediator.core.alerts import MalformedNotification, Notification, parse_notification
from remediator.lifecycle import Lifecycle
from remediator.logs import logger
from remediator.metrics import http_requests
from remediator.pages import LARGEST_NUMBER, add_security, pages
from remediator.ports import JournalUnavailable
from remediator.tokens import TokensUnreadable, Unauthorised, authorise
from remediator.troubles import Seen
from remediator.views import explained, listing, received, story_record


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
    trouble: Callable[[], Seen]
    """What does not work right now, by name: shown by /readyz?verbose."""
    token_file: Path | None
    max_body: int
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)


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
    app.register_blueprint(
        pages(
            doors.journal,
            clock=doors.clock,
            policy=doors.lifecycle.world.policy,
            authorise=lambda: _authorise(doors.token_file, browser=True),
        )
    )
    _add_errors(app)
    answered = http_requests(doors.registry)

    @app.after_request
    def count(response: Response) -> Response:
        answered(request.endpoint or "none", response.status_code)
        return add_security(response)

    return app


def _add_webhook(app: Flask, doors: Doors) -> None:
    log = logger("webhook")

    @app.post("/webhook")
    def webhook() -> tuple[Response, int]:
        _authorise(doors.token_file)
        if doors.draining():
            return _error(503, "shutting down; Alertmanager will try again")
        _refuse_encoded()
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
        if receipt.unknown_rules:
            log.warning("alerts of rules that the policy does not know", versions=receipt.unknown_rules)
        return jsonify(answer), 202


def _add_health(app: Flask, doors: Doors) -> None:
    log = logger("web")

    @app.get("/healthz")
    def healthz() -> tuple[Response, int]:
        alive = doors.worker_alive()
        return jsonify(status="ok" if alive else "the worker thread is dead"), 200 if alive else 503

    @app.get("/readyz")
    def readyz() -> tuple[Response, int]:
        verbose = _asked_for("verbose")
        if verbose:
            _authorise(doors.token_file, browser=True)
        if doors.draining():
            return _error(503, "shutting down")
        try:
            doors.journal.ping()
        except JournalUnavailable as error:
            if verbose:
                raise
            log.warning("not ready", error=str(error))
            return _error(503, "the journal cannot be written; ?verbose says why")
        details = doors.trouble()._asdict() if verbose else {"trouble": {}}
        return jsonify(status="ready", version=__version__, **details), 200

    @app.get("/metrics")
    def metrics() -> Response:
        return Response(generate_latest(doors.registry), content_type=CONTENT_TYPE_LATEST)


def _add_api(app: Flask, doors: Doors) -> None:
    @app.get("/openapi.json")
    def description() -> Response:
        from remediator.openapi import openapi  # noqa: PLC0415 - few ask for it

        return jsonify(openapi())

    @app.get("/api/v1/incidents")
    def incidents() -> Response:
        _authorise(doors.token_file)
        journal = doors.journal
        found = journal.incidents(open_only=_asked_for("open"))
        return jsonify(listing(found, journal.pauses(now=doors.clock()), journal.storm()))

    @app.get(f"/api/v1/incidents/<int(max={LARGEST_NUMBER}):number>")
    def incident(number: int) -> tuple[Response, int]:
        _authorise(doors.token_file)
        story = doors.journal.story(number)
        if story is None:
            return _error(404, f"there is no incident {number}")
        return jsonify(story_record(story, doors.lifecycle.world.policy())), 200


def _add_errors(app: Flask) -> None:
    log = logger("web")

    @app.errorhandler(Unauthorised)
    def unauthorised(_: Unauthorised) -> tuple[Response, int]:
        response, code = _error(401, "a valid bearer token is needed: Authorization: Bearer TOKEN")
        browser = request.blueprint or request.endpoint == "readyz"
        asks = 'Basic realm="remediator: a token as password"' if browser else "Bearer"
        response.headers["WWW-Authenticate"] = asks
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


def _authorise(token_file: Path | None, *, browser: bool = False) -> None:
    authorise(token_file, request.headers.get("Authorization", ""), browser=browser)


def _refuse_encoded() -> None:
    """Alertmanager sends plain JSON. What has to be unpacked could unpack to any size."""
    encoding = request.headers.get("Content-Encoding", "identity")
    if encoding.lower() != "identity":
        raise UnsupportedMediaType(f"Content-Encoding {encoding[:40]!r} is not accepted, send plain JSON")


def _read_notification() -> tuple[str, Notification]:
    try:
        raw = request.get_data(cache=False)
    except (ParseException, OSError) as error:  # chunks that are none, or a client that left
        raise MalformedNotification(f"the body cannot be read ({type(error).__name__})") from None
    if request.content_length is None and len(raw) >= (request.max_content_length or 0):
        raise RequestEntityTooLarge  # of a body in chunks no more than this is read
    try:
        text = raw.decode("utf-8")
        decoded = json.loads(text)
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise MalformedNotification(f"the body is not JSON ({type(error).__name__})") from None
    return text, parse_notification(decoded)
