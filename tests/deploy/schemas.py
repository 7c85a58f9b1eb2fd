"""Small structural schemas of the kinds that only newer clusters or operators know.

Only what we use of each kind is known, so a misspelt or misplaced field is a mistake.
"""

from __future__ import annotations

from typing import Any

from jsonschema import Draft202012Validator

from .places import Json

TEXT = {"type": "string", "minLength": 1}
TEXTS = {"type": "array", "items": TEXT, "minItems": 1}
LABELS = {"type": "object", "additionalProperties": {"type": "string"}}
DURATION = {"type": "string", "pattern": "^([0-9]+(ms|s|m|h|d))+$"}


def shape(required: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": list(required),
        "additionalProperties": False,
    }


def several(item: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": item, "minItems": 1}


_SELECTOR = shape({"matchLabels": LABELS})
_CONDITION = shape(
    {"name": {"type": "string", "pattern": "^[A-Za-z0-9][-A-Za-z0-9_.]*$"}, "expression": TEXT}
)
_VARIABLE = shape({"name": {"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]*$"}, "expression": TEXT})
_RELABELING = shape(
    {"action": {"enum": ["replace", "keep", "drop", "labelmap", "labeldrop", "labelkeep", "hashmod"]}},
    {"targetLabel": TEXT, "sourceLabels": TEXTS, "replacement": TEXT, "regex": TEXT},
)
_ENDPOINT = shape(
    {"port": TEXT},
    {
        "path": TEXT,
        "interval": DURATION,
        "scrapeTimeout": DURATION,
        "honorLabels": {"type": "boolean"},
        "relabelings": several(_RELABELING),
    },
)
_RECORDING = shape({"record": TEXT, "expr": TEXT}, {"labels": LABELS})
_ALERT = shape(
    {"alert": TEXT, "expr": TEXT},
    {"for": DURATION, "keep_firing_for": DURATION, "labels": LABELS, "annotations": LABELS},
)
_RULE = {"if": {"required": ["record"]}, "then": _RECORDING, "else": _ALERT}
_GROUP = shape({"name": TEXT, "rules": several(_RULE)}, {"interval": DURATION, "labels": LABELS})
_RESOURCES = shape(
    {
        "apiGroups": TEXTS,
        "apiVersions": TEXTS,
        "operations": several({"enum": ["CREATE", "UPDATE", "DELETE", "CONNECT", "*"]}),
        "resources": TEXTS,
    },
    {"scope": {"enum": ["Cluster", "Namespaced", "*"]}, "resourceNames": TEXTS},
)
_VALIDATION = shape(
    {"expression": TEXT},
    {
        "message": TEXT,
        "messageExpression": TEXT,
        "reason": {"enum": ["Unauthorized", "Forbidden", "Invalid", "RequestEntityTooLarge"]},
    },
)
_TARGET = shape(
    {"type": {"enum": ["Utilization", "AverageValue", "Value"]}},
    {"averageUtilization": {"type": "integer", "minimum": 1}, "averageValue": TEXT, "value": TEXT},
)
_NAMED = shape({"name": TEXT})
_METRIC = {
    "oneOf": [
        shape({"type": {"const": "Resource"}, "resource": shape({"name": TEXT, "target": _TARGET})}),
        shape(
            {"type": {"const": "Pods"}, "pods": shape({"metric": shape({"name": TEXT}), "target": _TARGET})}
        ),
    ]
}
_COUNT = {"type": "integer", "minimum": 1}
_SCALING = shape(
    {
        "stabilizationWindowSeconds": _COUNT,
        "policies": several(
            shape({"type": {"enum": ["Pods", "Percent"]}, "value": _COUNT, "periodSeconds": _COUNT})
        ),
    }
)
_OPERATOR = "monitoring.coreos.com/v1"
_ADMISSION = "admissionregistration.k8s.io/v1"

SPECS: dict[str, tuple[str, dict[str, Any]]] = {
    "HorizontalPodAutoscaler": (
        "autoscaling/v2",
        shape(
            {
                "scaleTargetRef": shape({"apiVersion": TEXT, "kind": TEXT, "name": TEXT}),
                "minReplicas": _COUNT,
                "maxReplicas": _COUNT,
                "metrics": several(_METRIC),
            },
            {"behavior": shape({}, {"scaleDown": _SCALING, "scaleUp": _SCALING})},
        ),
    ),
    "PodDisruptionBudget": ("policy/v1", shape({"selector": _SELECTOR, "maxUnavailable": _COUNT})),
    "ServiceMonitor": (_OPERATOR, shape({"selector": _SELECTOR, "endpoints": several(_ENDPOINT)})),
    "PodMonitor": (_OPERATOR, shape({"selector": _SELECTOR, "podMetricsEndpoints": several(_ENDPOINT)})),
    "PrometheusRule": (_OPERATOR, shape({"groups": several(_GROUP)})),
    "ValidatingAdmissionPolicy": (
        _ADMISSION,
        shape(
            {
                "matchConstraints": shape({"resourceRules": several(_RESOURCES)}),
                "validations": several(_VALIDATION),
            },
            {
                "failurePolicy": {"enum": ["Fail", "Ignore"]},
                "matchConditions": several(_CONDITION),
                "variables": several(_VARIABLE),
            },
        ),
    ),
    "ValidatingAdmissionPolicyBinding": (
        _ADMISSION,
        shape({"policyName": TEXT, "validationActions": several({"enum": ["Deny", "Warn", "Audit"]})}),
    ),
}


def mistakes_in(manifest: Json) -> list[str] | None:
    """What is wrong with a manifest of one of these kinds; None for any other."""
    if manifest["kind"] not in SPECS:
        return None
    version, spec = SPECS[manifest["kind"]]
    metadata = shape({"name": TEXT}, {"namespace": TEXT, "labels": LABELS, "annotations": LABELS})
    whole = shape(
        {
            "apiVersion": {"const": version},
            "kind": {"const": manifest["kind"]},
            "metadata": metadata,
            "spec": spec,
        }
    )
    return [
        f"{error.json_path}: {error.message}" for error in Draft202012Validator(whole).iter_errors(manifest)
    ]
