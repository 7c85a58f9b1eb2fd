"""Refusals of the API server, as the v1 Status objects a real one answers.

Every refusal is an ApiError that knows its HTTP code, reason and details, so that a client
maps it exactly as it maps the real thing. Messages are worded as Kubernetes words them,
because kubectl prints them unchanged and its users (and our tests) read them.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from remediator.lab.cluster.resources import Resource


class ApiError(Exception):
    """One refusal; `status()` is the body the client gets."""

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        *,
        details: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details
        self.headers = headers or {}

    def status(self) -> dict[str, Any]:
        body: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
        }
        if self.details is not None:
            body["details"] = self.details
        body["code"] = self.code
        return body


def _about(resource: Resource, name: str, kind: str = "") -> dict[str, Any]:
    group = {"group": resource.group} if resource.group else {}
    return {"name": name, **group, "kind": kind or resource.plural}


def not_found(resource: Resource, name: str) -> ApiError:
    return ApiError(
        404, "NotFound", f'{resource.qualified} "{name}" not found', details=_about(resource, name)
    )


def no_such_path() -> ApiError:
    return ApiError(404, "NotFound", "the server could not find the requested resource", details={})


def already_exists(resource: Resource, name: str) -> ApiError:
    message = f'{resource.qualified} "{name}" already exists'
    return ApiError(409, "AlreadyExists", message, details=_about(resource, name))


def conflict(resource: Resource, name: str, why: str = "", *, subresource: str = "") -> ApiError:
    """409: somebody else wrote in between (or the caller's precondition names another object)."""
    why = why or (
        "the object has been modified; please apply your changes to the latest version and try again"
    )
    plural = f"{resource.plural}/{subresource}" if subresource else resource.plural
    qualified = f"{plural}.{resource.group}" if resource.group else plural
    message = f'Operation cannot be fulfilled on {qualified} "{name}": {why}'
    return ApiError(409, "Conflict", message, details=_about(resource, name, plural))


def uid_conflict(resource: Resource, name: str, wanted: str, found: str, subresource: str = "") -> ApiError:
    why = f"Precondition failed: UID in precondition: {wanted}, UID in object meta: {found}"
    return conflict(resource, name, why, subresource=subresource)


def required(field: str) -> dict[str, str]:
    return {"reason": "FieldValueRequired", "message": "Required value", "field": field}


def wrong(field: str, value: Any, why: str) -> dict[str, str]:
    shown = value if isinstance(value, int | float) else json.dumps(value)
    return {"reason": "FieldValueInvalid", "message": f"Invalid value: {shown}: {why}", "field": field}


def forbidden_field(field: str, why: str) -> dict[str, str]:
    return {"reason": "FieldValueForbidden", "message": f"Forbidden: {why}", "field": field}


def invalid(kind: str, group: str, name: str, causes: Sequence[dict[str, str]]) -> ApiError:
    """422 with every wrong field, not only the first."""
    said = [f"{cause['field']}: {cause['message']}" for cause in causes]
    text = said[0] if len(said) == 1 else f"[{', '.join(said)}]"
    qualified = f"{kind}.{group}" if group else kind
    details = {"name": name, **({"group": group} if group else {}), "kind": kind, "causes": list(causes)}
    return ApiError(422, "Invalid", f'{qualified} "{name}" is invalid: {text}', details=details)


def unprocessable_patch() -> ApiError:
    """A JSON Patch whose `test` fails or whose path is missing: the real server says no more than this."""
    return ApiError(
        422, "Invalid", "the server rejected our request due to an error in our request", details={}
    )


def bad_request(message: str) -> ApiError:
    return ApiError(400, "BadRequest", message)


def unauthorized() -> ApiError:
    return ApiError(401, "Unauthorized", "Unauthorized")


def forbidden(message: str, details: dict[str, Any] | None = None) -> ApiError:
    return ApiError(403, "Forbidden", message, details=details or {})


def method_not_allowed() -> ApiError:
    message = "the server does not allow this method on the requested resource"
    return ApiError(405, "MethodNotAllowed", message, details={})


def unsupported_media_type(accepted: Sequence[str]) -> ApiError:
    said = "the body of the request was in an unknown format - accepted media types include: "
    return ApiError(415, "UnsupportedMediaType", said + ", ".join(accepted), details={})


def too_large(limit: int) -> ApiError:
    return ApiError(413, "RequestEntityTooLarge", f"Request entity too large: limit is {limit}", details={})


def expired() -> ApiError:
    return ApiError(410, "Expired", "The resourceVersion for the provided watch is too old.")
