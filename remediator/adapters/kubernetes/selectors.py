"""A Deployment's selector as the `labelSelector` of a list request (as LabelSelectorAsSelector)."""

from __future__ import annotations

from remediator.adapters.kubernetes.objects import Json, items, mapping, text, value_at

_OPERATORS = {"In": "in", "NotIn": "notin"}


def selector_of(deployment: Json) -> str | None:
    """None when it is empty or not understood: a list without it would be of strangers."""
    selector = mapping(deployment, "spec", "selector")
    terms = [f"{key}={value}" for key, value in mapping(selector, "matchLabels").items()]
    for expression in items(selector, "matchExpressions"):
        term = _term(expression)
        if term is None:
            return None
        terms.append(term)
    return ",".join(terms) or None


def _term(expression: Json) -> str | None:
    key, operator = text(expression, "key"), text(expression, "operator")
    if not key:
        return None
    if operator in _OPERATORS:
        values = value_at(expression, "values")
        return f"{key} {_OPERATORS[operator]} ({','.join(values)})" if isinstance(values, list) else None
    return {"Exists": key, "DoesNotExist": f"!{key}"}.get(operator)
