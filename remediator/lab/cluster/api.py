"""The Kubernetes API over the store: from a parsed request to an object or a refusal.

Knows paths, verbs, subresources, selectors and paging; knows nothing of sockets.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from remediator.lab.cluster import errors, selectors
from remediator.lab.cluster.collector import orphan_dependents
from remediator.lab.cluster.objects import clone, name_of, namespace_of, uid_of
from remediator.lab.cluster.patches import apply_patch
from remediator.lab.cluster.resources import (
    ACCESS_REVIEWS,
    AUTOSCALERS,
    PODS,
    SCALABLE,
    Json,
    Resource,
    find,
)
from remediator.lab.cluster.validation import replicas_cause

if TYPE_CHECKING:
    from collections.abc import Callable

    from remediator.lab.cluster.store import Store

NAMESPACED_PATH = 3  # namespaces/<name>/<plural>


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    query: dict[str, str] = field(default_factory=dict)
    content_type: str = ""
    body: Any = None

    @property
    def dry_run(self) -> bool:
        options = self.body if isinstance(self.body, dict) else {}
        asked_in_body = self.method == "DELETE" and options.get("dryRun") == ["All"]
        return self.query.get("dryRun") == "All" or asked_in_body


@dataclass(frozen=True)
class Place:
    """What a path names: a kind at a version, and perhaps a namespace, a name, a subresource."""

    resource: Resource
    version: str
    namespace: str = ""
    name: str = ""
    subresource: str = ""


def place_of(path: str) -> Place | None:
    match path.strip("/").split("/"):
        case ["api", version, *rest]:
            group = ""
        case ["apis", group, version, *rest]:
            pass
        case _:
            return None
    namespace = ""
    if len(rest) >= NAMESPACED_PATH and rest[0] == "namespaces" and rest[2] not in {"status", "finalize"}:
        namespace, rest = rest[1], rest[2:]
    if not rest or len(rest) > NAMESPACED_PATH:
        return None
    resource = find(group, version, rest[0])
    if resource is None or bool(namespace and not resource.namespaced):
        return None
    name, subresource = [*rest[1:], "", ""][:2]
    if subresource and subresource not in resource.subresources:
        return None
    return Place(resource, version, namespace, name, subresource)


class Api:
    def __init__(self, store: Store, allowed: Callable[[Json], bool]) -> None:
        self._store = store
        self._allowed = allowed

    def answer(self, place: Place, request: Request) -> tuple[int, Json | str]:
        """HTTP code and body of any request but a watch."""
        if place.resource is ACCESS_REVIEWS:
            return self._review(request)
        if not place.name:
            return self._answer_collection(place, request)
        match request.method, place.subresource:
            case "GET", "log":
                return 200, self._log(place)
            case (("GET" | "PUT" | "PATCH"), "scale"):
                return 200, self._scale(place, request)
            case "GET", _:
                return 200, shown(place, self._store.get(place.resource, place.namespace, place.name))
            case "PUT", ("" | "status"):
                return 200, shown(place, self._put(place, request))
            case "PATCH", ("" | "status"):
                return 200, shown(place, self._patch(place, request))
            case "DELETE", "":
                return 200, self._delete(place, request)
        raise errors.method_not_allowed()

    def _answer_collection(self, place: Place, request: Request) -> tuple[int, Json]:
        match request.method:
            case "GET":
                return 200, self._list(place, request)
            case "POST":
                return self._create(place, request)
            case "DELETE":
                return self._delete_all(place, request)
        raise errors.method_not_allowed()

    # ------------------------------------------------------------ reading

    def matcher(self, place: Place, query: dict[str, str]) -> Callable[[Json], bool]:
        """The filter that a list or watch asks for: place, labels and fields."""
        by_labels = selectors.by_labels(query.get("labelSelector", ""))
        by_fields = selectors.by_fields(place.resource, query.get("fieldSelector", ""))
        return lambda obj: (
            (not place.namespace or namespace_of(obj) == place.namespace)
            and (not place.name or name_of(obj) == place.name)
            and by_labels(obj)
            and by_fields(obj)
        )

    def _list(self, place: Place, request: Request) -> Json:
        matches = self.matcher(place, request.query)
        with self._store.lock:
            found = [obj for obj in self._store.list(place.resource, place.namespace) if matches(obj)]
            version = self._store.version
        meta: Json = {"resourceVersion": str(version)}
        limit = int(request.query.get("limit") or 0)
        if limit:
            found = _after(found, request.query.get("continue", ""))
            if len(found) > limit:
                last = found[limit - 1]
                meta["continue"] = _token(last)
                meta["remainingItemCount"] = len(found) - limit
                found = found[:limit]
        items = [shown(place, obj) for obj in found]
        kind = f"{place.resource.kind}List"
        return {
            "kind": kind,
            "apiVersion": place.resource.at(place.version),
            "metadata": meta,
            "items": items,
        }

    def _log(self, place: Place) -> str:
        pod = self._store.get(PODS, place.namespace, place.name)
        image = pod["spec"]["containers"][0]["image"]
        created = pod["metadata"]["creationTimestamp"]
        return f"{created} lab: {name_of(pod)} stands for {image}; nothing is really running\n"

    # ------------------------------------------------------------ writing

    def _create(self, place: Place, request: Request) -> tuple[int, Json]:
        body = _object(request)
        obj = self._store.create(place.resource, place.namespace, body, dry_run=request.dry_run)
        return 201, shown(place, obj)

    def _put(self, place: Place, request: Request) -> Json:
        body = _object(request)
        return self._store.update(
            place.resource,
            place.namespace,
            place.name,
            lambda _current: clone(body),
            status=place.subresource == "status",
            dry_run=request.dry_run,
            uid_is_precondition=True,
        )

    def _patch(self, place: Place, request: Request) -> Json:
        return self._store.update(
            place.resource,
            place.namespace,
            place.name,
            lambda current: apply_patch(place.resource, request.content_type, current, request.body),
            status=place.subresource == "status",
            dry_run=request.dry_run,
        )

    def _delete(self, place: Place, request: Request) -> Json:
        options = request.body if isinstance(request.body, dict) else {}
        with self._store.lock:
            current = self._store.get(place.resource, place.namespace, place.name)
            _check_delete_preconditions(place, current, options.get("preconditions") or {})
            policy = options.get("propagationPolicy") or request.query.get("propagationPolicy")
            if (policy == "Orphan" or options.get("orphanDependents")) and not request.dry_run:
                orphan_dependents(self._store, current)
            grace = options.get("gracePeriodSeconds", request.query.get("gracePeriodSeconds"))
            deleted, gone = self._store.delete(
                place.resource,
                place.namespace,
                place.name,
                grace=None if grace is None else int(grace),
                dry_run=request.dry_run,
            )
        if not gone or place.resource is PODS:
            return shown(place, deleted)
        group = {"group": place.resource.group} if place.resource.group else {}
        details = {"name": place.name, **group, "kind": place.resource.plural, "uid": uid_of(deleted)}
        return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}

    def _delete_all(self, place: Place, request: Request) -> tuple[int, Json]:
        listed = self._list(place, request)
        for obj in listed["items"]:
            self._store.delete(place.resource, namespace_of(obj), name_of(obj), dry_run=request.dry_run)
        return 200, listed

    # ------------------------------------------------------------ scale

    def _scale(self, place: Place, request: Request) -> Json:
        if place.resource not in SCALABLE:
            raise errors.no_such_path()
        with self._store.lock:
            owner = self._store.get(place.resource, place.namespace, place.name)
            current = scale_of(owner)
            if request.method == "GET":
                return current
            wanted = (
                apply_patch(place.resource, request.content_type, clone(current), request.body)
                if request.method == "PATCH"
                else _object(request)
            )
            _check_scale(place, owner, wanted)

            def resized(obj: Json) -> Json:
                obj["metadata"]["resourceVersion"] = (wanted.get("metadata") or {}).get("resourceVersion", "")
                obj["spec"]["replicas"] = (wanted.get("spec") or {}).get("replicas", 0)
                return obj

            where = place.resource, place.namespace, place.name
            return scale_of(self._store.update(*where, resized, dry_run=request.dry_run))

    # ------------------------------------------------------------ access

    def _review(self, request: Request) -> tuple[int, Json]:
        if request.method != "POST":
            raise errors.method_not_allowed()
        body = _object(request)
        asked = (body.get("spec") or {}).get("resourceAttributes") or {}
        review = {"apiVersion": ACCESS_REVIEWS.api_version, "kind": ACCESS_REVIEWS.kind, "metadata": {}}
        return 201, {**review, "spec": body.get("spec") or {}, "status": {"allowed": self._allowed(asked)}}


def shown(place: Place, obj: Json) -> Json:
    """The object in the version it was asked in; only autoscalers have two that differ."""
    if place.resource is not AUTOSCALERS or place.version != "v1":
        return obj
    spec = {
        key: value for key, value in (obj.get("spec") or {}).items() if key not in {"metrics", "behavior"}
    }
    status = {k: v for k, v in (obj.get("status") or {}).items() if k not in {"conditions", "currentMetrics"}}
    return {**obj, "apiVersion": "autoscaling/v1", "spec": spec, "status": status}


def scale_of(owner: Json) -> Json:
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    status: Json = {"replicas": int((owner.get("status") or {}).get("replicas") or 0)}
    if query := selectors.as_query(owner["spec"].get("selector")):
        status["selector"] = query
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {key: owner["metadata"][key] for key in kept},
        "spec": {"replicas": owner["spec"]["replicas"]},
        "status": status,
    }


def _check_scale(place: Place, owner: Json, wanted: Json) -> None:
    meta = wanted.get("metadata") or {}
    if meta.get("uid", uid_of(owner)) != uid_of(owner):
        raise errors.uid_conflict(place.resource, place.name, meta["uid"], uid_of(owner), "scale")
    if causes := replicas_cause((wanted.get("spec") or {}).get("replicas", 0)):
        raise errors.invalid("Scale", "autoscaling", place.name, causes)


def _check_delete_preconditions(place: Place, current: Json, wanted: Json) -> None:
    uid, version = wanted.get("uid"), wanted.get("resourceVersion")
    if uid and uid != uid_of(current):
        raise errors.uid_conflict(place.resource, place.name, uid, uid_of(current))
    if version and version != current["metadata"]["resourceVersion"]:
        raise errors.conflict(place.resource, place.name)


def _object(request: Request) -> Json:
    if not isinstance(request.body, dict):
        raise errors.bad_request("the body of the request must be a JSON object")
    return request.body


def _token(last: Json) -> str:
    return base64.urlsafe_b64encode(json.dumps([namespace_of(last), name_of(last)]).encode()).decode()


def _after(found: list[Json], token: str) -> list[Json]:
    if not token:
        return found
    try:
        last = tuple(json.loads(base64.urlsafe_b64decode(token)))
    except ValueError as error:
        raise errors.bad_request("continue key is not valid") from error
    return [obj for obj in found if (namespace_of(obj), name_of(obj)) > last]
