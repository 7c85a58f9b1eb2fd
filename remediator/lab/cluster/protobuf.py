"""Reads the protobuf bodies that kubectl's imperative commands send.

`kubectl create namespace`, `create deployment` and `auth can-i` write Kubernetes' protobuf
encoding and know no way back to JSON. This decodes those kinds from the field numbers that
Kubernetes publishes in its generated.proto files. A kind or field that is not here is refused
(415) rather than dropped: what a client wrote is never lost in silence.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from remediator.lab.cluster.errors import unsupported_media_type

if TYPE_CHECKING:
    from collections.abc import Iterator

    from remediator.lab.cluster.resources import Json

CONTENT_TYPE = "application/vnd.kubernetes.protobuf"
MAGIC = b"k8s\x00"
VARINT, BYTES = 0, 2


@dataclass(frozen=True)
class Message:
    """A message's fields: number -> (JSON name, type)."""

    fields: dict[int, tuple[str, Any]]


@dataclass(frozen=True)
class Many:
    of: Any


@dataclass(frozen=True)
class Mapping:
    of: Any = field(default=str)


@dataclass(frozen=True)
class Skipped:
    """Sent by every client, owned by the server."""


QUANTITY = Message({1: ("", str)})  # a message of one string, written as that string in JSON
META = Message(
    {
        1: ("name", str),
        2: ("generateName", str),
        3: ("namespace", str),
        4: ("selfLink", Skipped()),
        5: ("uid", str),
        6: ("resourceVersion", str),
        7: ("generation", Skipped()),
        8: ("creationTimestamp", Skipped()),
        11: ("labels", Mapping()),
        12: ("annotations", Mapping()),
        14: ("finalizers", Many(str)),
    }
)
RESOURCES = Message({1: ("limits", Mapping(QUANTITY)), 2: ("requests", Mapping(QUANTITY))})
PORT = Message(
    {
        1: ("name", str),
        2: ("hostPort", int),
        3: ("containerPort", int),
        4: ("protocol", str),
        5: ("hostIP", str),
    }
)
CONTAINER = Message(
    {
        1: ("name", str),
        2: ("image", str),
        3: ("command", Many(str)),
        4: ("args", Many(str)),
        5: ("workingDir", str),
        6: ("ports", Many(PORT)),
        7: ("env", Many(Message({1: ("name", str), 2: ("value", str)}))),
        8: ("resources", RESOURCES),
        13: ("terminationMessagePath", str),
        14: ("imagePullPolicy", str),
        16: ("stdin", bool),
        17: ("stdinOnce", bool),
        18: ("tty", bool),
        20: ("terminationMessagePolicy", str),
    }
)
POD_SPEC = Message(
    {
        2: ("containers", Many(CONTAINER)),
        3: ("restartPolicy", str),
        6: ("dnsPolicy", str),
        8: ("serviceAccountName", str),
        9: ("serviceAccount", str),
        10: ("nodeName", str),
        11: ("hostNetwork", bool),
        12: ("hostPID", bool),
        13: ("hostIPC", bool),
        16: ("hostname", str),
        17: ("subdomain", str),
        19: ("schedulerName", str),
        24: ("priorityClassName", str),
    }
)
SELECTOR = Message({1: ("matchLabels", Mapping())})
TEMPLATE = Message({1: ("metadata", META), 2: ("spec", POD_SPEC)})
STRATEGY = Message({1: ("type", str)})
DEPLOYMENT_SPEC = Message(
    {
        1: ("replicas", int),
        2: ("selector", SELECTOR),
        3: ("template", TEMPLATE),
        4: ("strategy", STRATEGY),
        5: ("minReadySeconds", int),
        6: ("revisionHistoryLimit", int),
        7: ("paused", bool),
        9: ("progressDeadlineSeconds", int),
    }
)
ASKED = Message(
    {
        1: ("namespace", str),
        2: ("verb", str),
        3: ("group", str),
        4: ("version", str),
        5: ("resource", str),
        6: ("subresource", str),
        7: ("name", str),
    }
)
REVIEW_SPEC = Message(
    {
        1: ("resourceAttributes", ASKED),
        2: ("nonResourceAttributes", Message({1: ("path", str), 2: ("verb", str)})),
    }
)
DELETE_OPTIONS = Message(
    {
        1: ("gracePeriodSeconds", int),
        2: ("preconditions", Message({1: ("uid", str), 2: ("resourceVersion", str)})),
        3: ("orphanDependents", bool),
        4: ("propagationPolicy", str),
        5: ("dryRun", Many(str)),
    }
)


def _kind(spec: Any) -> Message:
    return Message({1: ("metadata", META), 2: ("spec", spec), 3: ("status", Skipped())})


KINDS: dict[str, Message] = {
    "Namespace": _kind(Message({1: ("finalizers", Many(str))})),
    "Deployment": _kind(DEPLOYMENT_SPEC),
    "SelfSubjectAccessReview": _kind(REVIEW_SPEC),
    "Scale": _kind(Message({1: ("replicas", int)})),
    "ConfigMap": Message({1: ("metadata", META), 2: ("data", Mapping())}),
    "DeleteOptions": DELETE_OPTIONS,
}
TYPE_META = Message({1: ("apiVersion", str), 2: ("kind", str)})
ENVELOPE = Message({1: ("type", TYPE_META), 2: ("raw", bytes), 3: ("encoding", str), 4: ("contentType", str)})


def decoded(body: bytes) -> Json:
    """The object in the body, as the JSON the client could have sent instead."""
    try:
        if not body.startswith(MAGIC):
            raise ValueError("not Kubernetes protobuf")  # noqa: TRY301  # one refusal for all that is wrong
        envelope = _message(body[len(MAGIC) :], ENVELOPE)
        kind = envelope["type"]["kind"]
        return {**envelope["type"], **_message(envelope.get("raw", b""), KINDS[kind])}
    except (ValueError, KeyError, IndexError) as error:
        raise unsupported_media_type(("application/json",)) from error


def _message(data: bytes, message: Message) -> Json:
    found: Json = {}
    for number, raw in _fields(data):
        name, kind = message.fields[number]
        if isinstance(kind, Skipped):
            continue
        if isinstance(kind, Many):
            found.setdefault(name, []).append(_value(raw, kind.of))
        elif isinstance(kind, Mapping):
            entry = _message(raw, Message({1: ("key", str), 2: ("value", kind.of)}))
            found.setdefault(name, {})[entry.get("key", "")] = entry.get("value", "")
        else:
            value = _value(raw, kind)
            if (
                value != "" and value is not False
            ):  # Kubernetes writes empty strings out; in JSON it leaves them out
                found[name] = value
    return found


def _value(raw: Any, kind: Any) -> Any:
    if kind is QUANTITY:
        return _message(raw, QUANTITY).get("", "0")
    if isinstance(kind, Message):
        return _message(raw, kind)
    if kind is str:
        return raw.decode()
    if kind is int:
        return raw - (1 << 64) if raw >> 63 else raw
    return kind(raw)


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        wire = tag & 7
        if wire == VARINT:
            value, at = _varint(data, at)
            yield tag >> 3, value
        elif wire == BYTES:
            length, at = _varint(data, at)
            yield tag >> 3, data[at : at + length]
            at += length
        else:
            raise ValueError(f"wire type {wire} is not used by these kinds")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:  # noqa: PLR2004  # the high bit says that more follows
            return value, at
