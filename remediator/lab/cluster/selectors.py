"""Label and field selectors, in the forms the API server takes them in a query."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from remediator.lab.cluster.errors import bad_request
from remediator.lab.cluster.objects import labels_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from remediator.lab.cluster.resources import Json, Resource

_NAME = r"[A-Za-z0-9][A-Za-z0-9._/-]*"
_SET = re.compile(rf"^({_NAME})\s+(in|notin)\s+\(([^()]*)\)$")
_EQUAL = re.compile(rf"^({_NAME})\s*(==|=|!=)\s*([A-Za-z0-9._-]*)$")
_EXISTS = re.compile(rf"^(!?)\s*({_NAME})$")
_COMMA = re.compile(r",(?![^(]*\))")  # a comma outside parentheses

FIELDS: dict[str, tuple[str, ...]] = {
    "pods": ("spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "status.phase", "status.podIP"),
    "events": (
        "involvedObject.kind",
        "involvedObject.namespace",
        "involvedObject.name",
        "involvedObject.uid",
        "involvedObject.apiVersion",
        "involvedObject.resourceVersion",
        "involvedObject.fieldPath",
        "reason",
        "reportingComponent",
        "source",
        "type",
    ),
    "namespaces": ("status.phase",),
    "replicasets": ("status.replicas",),
}


def by_labels(selector: str) -> Callable[[Json], bool]:
    tests = [_label_test(part.strip()) for part in _COMMA.split(selector) if part.strip()]
    return lambda obj: all(test(labels_of(obj)) for test in tests)


def _label_test(requirement: str) -> Callable[[dict[str, str]], bool]:
    if found := _SET.match(requirement):
        key, operator, listed = found.groups()
        values = {value.strip() for value in listed.split(",")}
        if operator == "in":
            return lambda have: have.get(key) in values
        return lambda have: have.get(key) not in values
    if found := _EQUAL.match(requirement):
        key, operator, value = found.groups()
        if operator == "!=":
            return lambda have: have.get(key) != value
        return lambda have: have.get(key) == value
    if found := _EXISTS.match(requirement):
        negated, key = found.groups()
        return lambda have: (key in have) != bool(negated)
    raise bad_request(f"unable to parse requirement: {requirement!r}")


def by_fields(resource: Resource, selector: str) -> Callable[[Json], bool]:
    known = ("metadata.name", "metadata.namespace", *FIELDS.get(resource.plural, ()))
    tests: list[tuple[str, str, bool]] = []
    for part in filter(None, (part.strip() for part in selector.split(","))):
        found = re.match(r"^([^=!]+)(==|=|!=)(.*)$", part)
        if not found:
            raise bad_request(f"invalid field selector: {part!r}")
        field, operator, value = found.groups()
        if field not in known:
            listed = ", ".join(f'"{name}"' for name in known)
            raise bad_request(f'"{field}" is not a known field selector: only {listed}')
        tests.append((field, value, operator != "!="))
    return lambda obj: all((field_of(obj, field) == value) is wanted for field, value, wanted in tests)


def field_of(obj: Json, path: str) -> str:
    value: Any = obj
    for step in path.split("."):
        value = value.get(step) if isinstance(value, dict) else None
    if path == "source":
        value = (obj.get("source") or {}).get("component")
    return "" if value is None else str(value)


def by_selector(selector: Json | None) -> Callable[[Json], bool]:
    """A LabelSelector object (`spec.selector`); an empty one selects nothing here, on purpose."""
    equal = (selector or {}).get("matchLabels") or {}
    expressions = (selector or {}).get("matchExpressions") or []
    if not equal and not expressions:
        return lambda _obj: False
    return lambda obj: (
        all(labels_of(obj).get(key) == value for key, value in equal.items())
        and all(_expression(expression, labels_of(obj)) for expression in expressions)
    )


def _expression(expression: Json, have: dict[str, str]) -> bool:
    key, values = expression["key"], expression.get("values") or []
    match expression["operator"]:
        case "In":
            return have.get(key) in values
        case "NotIn":
            return have.get(key) not in values
        case "Exists":
            return key in have
        case _:
            return key not in have


def as_query(selector: Json | None) -> str:
    """The query form of a LabelSelector, as `status.selector` of a Scale carries it."""
    parts = [f"{key}={value}" for key, value in sorted(((selector or {}).get("matchLabels") or {}).items())]
    for expression in (selector or {}).get("matchExpressions") or []:
        key, values = expression["key"], ",".join(sorted(expression.get("values") or []))
        form = {"In": f"{key} in ({values})", "NotIn": f"{key} notin ({values})", "Exists": key}
        parts.append(form.get(expression["operator"], f"!{key}"))
    return ",".join(parts)
