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


def selects(selector: Json, labels: Json) -> bool:
    """Whether a selector picks something with these labels. An empty one is left to pick nothing."""
    wanted, expressions = mapping(selector, "matchLabels"), items(selector, "matchExpressions")
    if not wanted and not expressions:
        return False
    return all(labels.get(key) == value for key, value in wanted.items()) and all(
        _holds(expression, labels) for expression in expressions
    )


def _holds(expression: Json, labels: Json) -> bool:
    key, values = text(expression, "key"), value_at(expression, "values")
    listed = key in labels and isinstance(values, list) and labels[key] in values
    return {
        "In": listed,
        "NotIn": not listed,
        "Exists": key in labels,
        "DoesNotExist": key not in labels,
    }.get(text(expression, "operator"), False)
