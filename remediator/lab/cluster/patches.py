"""The three patch types of Kubernetes, over plain JSON.

Strategic merge follows the merge keys Kubernetes declares on its own types (a list of
containers merges by name, env by name, ports by containerPort, ...) and the directives that
kubectl sends: $patch, $retainKeys, $setElementOrder/... and $deleteFromPrimitiveList/...
JSON Patch is RFC 6902 with its failures mapped as the API server maps them: 422 when a `test`
fails or a path is missing, 400 when the patch itself is malformed.
"""

from __future__ import annotations

from typing import Any

import jsonpatch

from remediator.lab.cluster.errors import bad_request, unprocessable_patch, unsupported_media_type
from remediator.lab.cluster.resources import Json, Resource

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_MERGE_PATCH = "application/strategic-merge-patch+json"

# Lists that are merged element by element, and the field that identifies an element.
# Any list not named here is replaced as a whole (args, command, tolerations, envFrom, ...).
MERGE_KEYS = {
    "containers": "name",
    "initContainers": "name",
    "ephemeralContainers": "name",
    "env": "name",
    "volumes": "name",
    "volumeMounts": "mountPath",
    "volumeDevices": "devicePath",
    "imagePullSecrets": "name",
    "hostAliases": "ip",
    "topologySpreadConstraints": "topologyKey",
    "conditions": "type",
    "ownerReferences": "uid",
    "addresses": "type",
    "podIPs": "ip",
}
MERGED_PRIMITIVES = {"finalizers"}
ORDER = "$setElementOrder/"
REMOVE = "$deleteFromPrimitiveList/"


def apply_patch(resource: Resource, content_type: str, current: Json, patch: Any) -> Json:
    """`current` with the patch applied; neither argument is changed."""
    if content_type == JSON_PATCH:
        return json_patch(current, patch)
    if content_type not in {MERGE_PATCH, STRATEGIC_MERGE_PATCH} or (
        content_type == STRATEGIC_MERGE_PATCH and not resource.typed
    ):
        accepted = [JSON_PATCH, MERGE_PATCH, *([STRATEGIC_MERGE_PATCH] if resource.typed else [])]
        raise unsupported_media_type(accepted)
    if not isinstance(patch, dict):
        raise bad_request("the patch must be a JSON object")
    return merge_patch(current, patch) if content_type == MERGE_PATCH else strategic_merge(current, patch)


def json_patch(current: Json, patch: Any) -> Json:
    if not isinstance(patch, list):
        raise bad_request("json: cannot unmarshal object into Go value of type jsonpatch.Patch")
    try:
        patched = jsonpatch.apply_patch(current, patch)
    except jsonpatch.InvalidJsonPatch as error:
        raise bad_request(str(error)) from error
    except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException) as error:
        raise unprocessable_patch() from error
    if not isinstance(patched, dict):
        raise unprocessable_patch()
    return patched


def merge_patch(current: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(current) if isinstance(current, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged


def strategic_merge(current: Json, patch: Json) -> Json:
    match patch.get("$patch"):
        case "replace":
            return {key: value for key, value in patch.items() if key != "$patch"}
        case "delete":
            return {}
    merged = dict(current)
    if "$retainKeys" in patch:
        merged = {key: value for key, value in merged.items() if key in patch["$retainKeys"]}
    for key, value in patch.items():
        if key.startswith(REMOVE):
            field = key.removeprefix(REMOVE)
            merged[field] = [item for item in merged.get(field) or [] if item not in value]
        elif not key.startswith("$"):
            _merge_field(merged, key, value)
    for key, order in patch.items():
        if key.startswith(ORDER):
            _reorder(merged, key.removeprefix(ORDER), order)
    return merged


def _merge_field(merged: Json, key: str, value: Any) -> None:
    if value is None:
        merged.pop(key, None)
    elif isinstance(value, dict):
        before = merged.get(key)
        merged[key] = strategic_merge(before if isinstance(before, dict) else {}, value)
    elif isinstance(value, list):
        merged[key] = _merge_list(key, merged.get(key) or [], value)
    else:
        merged[key] = value


def _merge_key(field: str, elements: list[Any]) -> str | None:
    if field == "ports":  # a container's ports and a Service's ports have different keys
        in_service = any("port" in item for item in elements if isinstance(item, dict))
        return "port" if in_service else "containerPort"
    return MERGE_KEYS.get(field)


def _merge_list(field: str, current: list[Any], patch: list[Any]) -> list[Any]:
    if field in MERGED_PRIMITIVES:
        return [*current, *(item for item in patch if item not in current)]
    key = _merge_key(field, [*current, *patch])
    if key is None:
        return patch
    if any(item.get("$patch") == "replace" for item in patch):
        return [item for item in patch if "$patch" not in item]
    merged = list(current)
    for item in patch:
        at = next((i for i, found in enumerate(merged) if found.get(key) == item.get(key)), None)
        if item.get("$patch") == "delete":
            if at is not None:
                del merged[at]
        elif at is None:
            merged.append(strategic_merge({}, item))
        else:
            merged[at] = strategic_merge(merged[at], item)
    return merged


def _reorder(merged: Json, field: str, order: list[Any]) -> None:
    """Put the elements that the client named in the client's order; the server's own keep their places."""
    elements = merged.get(field)
    if not elements:
        return
    key = _merge_key(field, elements)

    def identity(item: Any) -> Any:
        return item.get(key) if isinstance(item, dict) else item

    wanted = [identity(item) for item in order]
    named = sorted((e for e in elements if identity(e) in wanted), key=lambda e: wanted.index(identity(e)))
    merged[field] = [named.pop(0) if identity(e) in wanted else e for e in elements]
