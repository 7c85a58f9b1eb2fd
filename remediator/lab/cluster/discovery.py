"""What a client asks before it asks for anything: which groups, kinds and parameters there are.

The OpenAPI v3 documents hold only what kubectl looks for: that writes take `dryRun` and
`fieldValidation`. Their schemas are empty, so `kubectl explain` has nothing to say.
"""

from __future__ import annotations

from typing import Any

from remediator.lab.cluster.resources import (
    ACCESS_REVIEWS,
    RESOURCES,
    SCALABLE,
    Json,
    Resource,
    groups,
)

VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
VERSION = {
    "major": "1",
    "minor": "37",
    "gitVersion": "v1.37.0-lab",
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "",
    "compiler": "",
    "platform": "linux/amd64",
}


def api_versions() -> Json:
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}


def group(name: str, versions: list[str]) -> Json:
    served = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": served, "preferredVersion": served[0]}


def group_list() -> Json:
    found = [group(name, versions) for name, versions in groups().items()]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": found}


def resource_list(group_name: str, version: str) -> Json | None:
    """The kinds of one API version; None when it is not served."""
    kinds = [
        resource
        for resource in (*RESOURCES, ACCESS_REVIEWS)
        if resource.group == group_name and version in resource.versions
    ]
    if not kinds:
        return None
    listed = [entry for resource in kinds for entry in _entries(resource)]
    group_version = kinds[0].at(version)
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": listed}


def _entries(resource: Resource) -> list[Json]:
    main: Json = {
        "name": resource.plural,
        "singularName": resource.kind.lower(),
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": ["create"] if resource is ACCESS_REVIEWS else VERBS,
    }
    if resource.short:
        main["shortNames"] = list(resource.short)
    if resource.in_all:
        main["categories"] = ["all"]
    return [main, *(_subresource(resource, name) for name in resource.subresources)]


def _subresource(resource: Resource, name: str) -> Json:
    entry: Json = {
        "name": f"{resource.plural}/{name}",
        "singularName": "",
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": ["get"] if name == "log" else ["get", "patch", "update"],
    }
    if name == "scale" and resource in SCALABLE:
        entry.update(group="autoscaling", version="v1", kind="Scale")
    return entry


def openapi_index() -> Json:
    paths = ["api/v1", *(f"apis/{name}/{version}" for name, vs in groups().items() for version in vs)]
    return {"paths": {path: {"serverRelativeURL": f"/openapi/v3/{path}"} for path in paths}}


def openapi_document(group_name: str, version: str) -> Json | None:
    if resource_list(group_name, version) is None:
        return None
    root = f"/apis/{group_name}/{version}" if group_name else f"/api/{version}"
    paths: Json = {}
    for resource in RESOURCES:
        if resource.group == group_name and version in resource.versions:
            scope = "/namespaces/{namespace}" if resource.namespaced else ""
            kind = {"group": resource.group, "version": version, "kind": resource.kind}
            collection = f"{root}{scope}/{resource.plural}"
            paths[collection] = {"post": _write("post", kind)}
            paths[f"{collection}/{{name}}"] = {
                verb: _write(verb, kind) for verb in ("put", "patch", "delete")
            }
    info = {"title": "remediator lab", "version": VERSION["gitVersion"]}
    return {"openapi": "3.0.0", "info": info, "paths": paths, "components": {"schemas": {}}}


def _write(action: str, kind: dict[str, str]) -> dict[str, Any]:
    named = ("dryRun", "fieldManager", "fieldValidation")
    parameters = [{"name": name, "in": "query", "schema": {"type": "string"}} for name in named]
    return {
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": kind,
        "parameters": parameters,
        "responses": {"200": {"description": "OK"}},
    }


def document(path: str) -> Json | None:
    """What a GET of a path that names no object answers; None when there is nothing."""
    match path.strip("/").split("/"):
        case ["version"]:
            return VERSION
        case ["api"]:
            return api_versions()
        case ["apis"]:
            return group_list()
        case ["api", version]:
            return resource_list("", version)
        case ["apis", name]:
            versions = groups().get(name)
            return {"kind": "APIGroup", "apiVersion": "v1", **group(name, versions)} if versions else None
        case ["apis", name, version]:
            return resource_list(name, version)
        case ["openapi", "v3"]:
            return openapi_index()
        case ["openapi", "v3", "api", version]:
            return openapi_document("", version)
        case ["openapi", "v3", "apis", name, version]:
            return openapi_document(name, version)
    return None
