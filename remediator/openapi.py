"""What the HTTP door takes and answers, as OpenAPI 3.1: tests hold it to the routes and to the answers."""

from __future__ import annotations

from typing import Any

from remediator import __version__
from remediator.core.incidents import Phase

Json = dict[str, Any]


def _object(properties: Json, *, required: bool = True, more: bool = True) -> Json:
    names = {"required": list(properties)} if required else {}
    return {"type": "object", "properties": properties, "additionalProperties": more, **names}


def _list(items: Json) -> Json:
    return {"type": "array", "items": items}


def _or_null(kind: str) -> Json:
    return {"type": [kind, "null"]}


TEXT: Json = {"type": "string"}
NUMBER: Json = {"type": "integer"}
TIME: Json = {"type": "string", "format": "date-time"}
STRINGS: Json = {"type": "object", "additionalProperties": TEXT}

ALERT = _object(
    {
        "status": {"enum": ["firing", "resolved"]},
        "labels": {**STRINGS, "required": ["alertname"]},
        "annotations": STRINGS,
        "startsAt": TIME,
        "endsAt": TIME,
        "generatorURL": TEXT,
        "fingerprint": TEXT,
    },
    required=False,
) | {"required": ["status", "labels", "startsAt"]}

NOTIFICATION = _object(
    {
        "version": {"const": "4"},
        "groupKey": TEXT,
        "receiver": TEXT,
        "truncatedAlerts": {"type": "integer", "minimum": 0},
        "alerts": _list({"$ref": "#/components/schemas/Alert"}),
    },
    required=False,
) | {"required": ["version", "alerts"]}

ADMISSION: Json = {
    "alert": TEXT,
    "fingerprint": TEXT,
    "status": {"enum": ["firing", "resolved"]},
    "target": _or_null("string"),
    "reason": TEXT,
    "sentence": TEXT,
    "incident": _or_null("integer"),
}

INCIDENT: Json = {
    "id": NUMBER,
    "target": TEXT,
    "alert": TEXT,
    "phase": {"enum": [phase.value for phase in Phase]},
    "reason": _or_null("string"),
    "sentence": _or_null("string"),
    "opened_at": TIME,
    "alert_started_at": TIME,
    "closed_at": {"type": ["string", "null"], "format": "date-time"},
}

SCHEMAS: Json = {
    "Error": _object({"error": TEXT}),
    "Alert": ALERT,
    "Notification": NOTIFICATION,
    "Received": _object(
        {
            "notification": NUMBER,
            "outcomes": {"type": "object", "additionalProperties": NUMBER},
            "refused": NUMBER,
            "alerts": _list(_object(ADMISSION)),
        }
    ),
    "Explained": _object(
        {
            "alerts": _list(_object({**ADMISSION, "decision": TEXT, "guardrails": _list(_object({}))})),
            "refused": _list(_object({"index": NUMBER, "reason": TEXT, "detail": TEXT})),
        }
    ),
    "Held": _object(
        {
            "hold": {"enum": ["pause", "breaker", "storm"]},
            "scope": TEXT,
            "by": _or_null("string"),
            "why": TEXT,
            "since": TIME,
            "until": {"type": ["string", "null"], "format": "date-time"},
            "ended_by": TEXT,
        }
    ),
    "Incident": _object(INCIDENT),
    "Story": _object(
        {
            **INCIDENT,
            "runbook": _or_null("string"),
            "next": _list(_object({"so": TEXT, "command": TEXT})),
            "timeline_intact": {"type": "boolean"},
            "alerts": _list(_object({"alert": TEXT, "fingerprint": TEXT, "starts_at": TIME})),
            "attempts": _list(_object({"id": NUMBER, "state": TEXT, "intent": _object({"kind": TEXT})})),
            "events": _list(
                _object({"seq": NUMBER, "at": TIME, "kind": TEXT, "reason": TEXT, "detail": TEXT})
            ),
        }
    ),
    "Health": _object({"status": TEXT}),
    "Readiness": _object({"status": TEXT, "version": TEXT, "trouble": STRINGS})
    | {"description": "with `verbose` also `seconds_old`: how long ago the trouble was looked for"},
}


def _answer(words: str, schema: str | Json, media: str = "application/json") -> Json:
    shape = {"$ref": f"#/components/schemas/{schema}"} if isinstance(schema, str) else schema
    return {"description": words, "content": {media: {"schema": shape}}}


def _flag(name: str, words: str) -> Json:
    return {
        "name": name,
        "in": "query",
        "description": words,
        "schema": {"enum": ["0", "1", "", "false", "true", "no", "yes"]},
    }


NUMBERED: Json = {
    "name": "number",
    "in": "path",
    "required": True,
    "schema": {"type": "integer", "minimum": 0, "maximum": 2**63 - 1},
}
_HTML = "text/html; charset=utf-8"
_DENIED = {
    "401": _answer("no valid token", "Error"),
    "503": _answer("journal or tokens unavailable", "Error"),
}
_TOKEN: list[Json] = [{"bearer": []}]
_BROWSER: list[Json] = [{"bearer": []}, {"password": []}]

_WEBHOOK: Json = {
    "summary": "What Alertmanager posts",
    "security": _TOKEN,
    "parameters": [_flag("explain", "say what would happen; nothing is written or done")],
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Notification"}}},
    },
    "responses": {
        "200": _answer("what would happen", "Explained"),
        "202": _answer("stored durably", "Received"),
        "400": _answer("not a version 4 notification", "Error"),
        "413": _answer("too large", "Error"),
        "415": _answer("packed", "Error"),
        **_DENIED,
    },
}

PATHS: Json = {
    "/webhook": {"post": _WEBHOOK},
    "/api/v1/incidents": {
        "get": {
            "summary": "The newest incidents",
            "security": _TOKEN,
            "parameters": [_flag("open", "only those that are not closed")],
            "responses": {
                "200": _answer(
                    "newest first, and what holds the machine",
                    _object(
                        {
                            "holds": _list({"$ref": "#/components/schemas/Held"}),
                            "incidents": _list({"$ref": "#/components/schemas/Incident"}),
                        }
                    ),
                ),
                **_DENIED,
            },
        }
    },
    "/api/v1/incidents/{number}": {
        "get": {
            "summary": "One incident with its whole story",
            "security": _TOKEN,
            "parameters": [NUMBERED],
            "responses": {
                "200": _answer("the story", "Story"),
                "404": _answer("there is none", "Error"),
                **_DENIED,
            },
        }
    },
    "/": {
        "get": {
            "summary": "What is going on, for people",
            "security": _BROWSER,
            "responses": {"200": _answer("a page", TEXT, _HTML), **_DENIED},
        }
    },
    "/incidents/{number}": {
        "get": {
            "summary": "One incident with its whole story, for people",
            "security": _BROWSER,
            "parameters": [NUMBERED],
            "responses": {
                "200": _answer("a page", TEXT, _HTML),
                "404": _answer("there is none", "Error"),
                **_DENIED,
            },
        }
    },
    "/healthz": {
        "get": {
            "summary": "Whether the process works",
            "responses": {"200": _answer("it does", "Health"), "503": _answer("it does not", "Health")},
        }
    },
    "/readyz": {
        "get": {
            "summary": "Whether notifications can be stored",
            "parameters": [_flag("verbose", "also say what does not work; this needs a token")],
            "responses": {
                "200": _answer("they can", "Readiness"),
                "401": _answer("no valid token, and `verbose`", "Error"),
                "503": _answer("they cannot", "Error"),
            },
        }
    },
    "/metrics": {
        "get": {
            "summary": "Metrics for Prometheus",
            "responses": {"200": _answer("in its text format", TEXT, "text/plain; version=1.0.0")},
        }
    },
    "/openapi.json": {
        "get": {"summary": "This", "responses": {"200": _answer("OpenAPI", {"type": "object"})}},
    },
}


def openapi() -> Json:
    """The description as JSON values."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "remediator", "version": __version__, "license": {"name": "Apache-2.0"}},
        "paths": PATHS,
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "password": {"type": "http", "scheme": "basic"},
            },
        },
    }
