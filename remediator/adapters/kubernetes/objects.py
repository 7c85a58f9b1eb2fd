"""Looking into raw Kubernetes JSON without falling over it.

Objects stay raw dicts from end to end: the typed models of the client library drop fields they do not
know and refuse objects with null fields, and an undo through them would delete configuration. A field
that is missing, null or of another type reads as empty here.
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

from remediator.core.actions import Workload
from remediator.core.marks import Mark, Stop, marks_in, stop_by
from remediator.core.reasons import Reason

Json = dict[str, Any]

RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"
HASH_LABEL = "pod-template-hash"
OPT_IN_LABEL = "remediator/enabled"


def value_at(thing: Any, *path: str) -> Any:
    for key in path:
        if not isinstance(thing, dict):
            return None
        thing = thing.get(key)
    return thing


def mapping(thing: Any, *path: str) -> Json:
    found = value_at(thing, *path)
    return found if isinstance(found, dict) else {}


def items(thing: Any, *path: str) -> list[Json]:
    """The objects of a list; whatever else stands in it is left out."""
    found = value_at(thing, *path)
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def text(thing: Any, *path: str) -> str:
    found = value_at(thing, *path)
    return found if isinstance(found, str) else ""


def number(thing: Any, *path: str) -> int:
    found = value_at(thing, *path)
    return found if isinstance(found, int) and not isinstance(found, bool) else 0


def moment(thing: Any, *path: str) -> datetime | None:
    return parse_time(text(thing, *path))


def parse_time(written: str) -> datetime | None:
    """An RFC 3339 time in UTC. kubectl writes the zone of whoever typed; without a zone it says nothing."""
    try:
        parsed = datetime.fromisoformat(written)
    except ValueError:
        return None
    return parsed.astimezone(UTC) if parsed.tzinfo else None


def name_of(thing: Json) -> str:
    return text(thing, "metadata", "name")


def uid_of(thing: Json) -> str:
    return text(thing, "metadata", "uid")


def generation_of(thing: Json) -> int:
    return number(thing, "metadata", "generation")


def kind_of(workload: Json) -> str:
    """`Deployment` or `StatefulSet`, as the API server says."""
    return text(workload, "kind") or Workload.DEPLOYMENT.value


def is_stateful(workload: Json) -> bool:
    return kind_of(workload) == Workload.STATEFUL_SET


def template_of(thing: Json) -> Json:
    return mapping(thing, "spec", "template")


def wanted_replicas(workload: Json) -> int:
    """`spec.replicas`, which defaults to 1."""
    return 1 if value_at(workload, "spec", "replicas") is None else number(workload, "spec", "replicas")


def marks_of(thing: Json) -> tuple[Mark, ...]:
    labels, annotations = mapping(thing, "metadata", "labels"), mapping(thing, "metadata", "annotations")
    return marks_in(labels=labels, annotations=annotations)


def opted_in(workload: Json) -> bool:
    return mapping(workload, "metadata", "labels").get(OPT_IN_LABEL) == "true"


def stop_on(workload: Json, *, now: datetime) -> Stop | None:
    """Why the object itself says that nothing may be changed here now."""
    if stop := stop_by(marks_of(workload), now=now):
        return stop
    if opted_in(workload):
        return None
    return Stop(reason=Reason.NOT_OPTED_IN, detail=f'the label {OPT_IN_LABEL}="true" is gone')


def restarted_at(deployment: Json) -> datetime | None:
    return moment(template_of(deployment), "metadata", "annotations", RESTARTED_AT)


def controller_of(thing: Json) -> Json:
    """The ownerReference that controls the object, or an empty one."""
    owners = items(thing, "metadata", "ownerReferences")
    return next((owner for owner in owners if owner.get("controller") is True), {})


def controlled_by(things: list[Json], uid: str) -> list[Json]:
    """A matching label is no ownership: another Deployment may have the same selector."""
    return [thing for thing in things if text(controller_of(thing), "uid") == uid]


def condition(thing: Json, wanted: str) -> Json:
    return next((c for c in items(thing, "status", "conditions") if c.get("type") == wanted), {})


def images_of(thing: Json) -> tuple[str, ...]:
    return tuple(text(container, "image") for container in items(template_of(thing), "spec", "containers"))


def digest_of(thing: Json, *, restarts_count: bool = False) -> str:
    """Tells pod templates apart as the Deployment controller does: the hash label is its own, null is empty.

    A restart changes only `restartedAt`; unless restarts count, that makes no different template.
    """
    template = template_of(thing)
    metadata = dict(mapping(template, "metadata"))
    metadata["labels"] = _without(mapping(metadata, "labels"), HASH_LABEL)
    if not restarts_count:
        metadata["annotations"] = _without(mapping(metadata, "annotations"), RESTARTED_AT)
    pruned = _pruned({**template, "metadata": metadata})
    written = json.dumps(pruned, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(written.encode()).hexdigest()


def _without(fields: Json, key: str) -> Json:
    return {name: value for name, value in fields.items() if name != key}


def _pruned(thing: Any) -> Any:
    if isinstance(thing, dict):
        kept = {key: _pruned(value) for key, value in thing.items()}
        return {key: value for key, value in kept.items() if value not in (None, {}, [])}
    if isinstance(thing, list):
        return [_pruned(element) for element in thing]
    return thing
