"""An API server and a Prometheus that answer at once: canned bytes, one thread for each connection.

`python -m bench.stub` prints its port, then a line for each real PATCH: target and monotonic nanoseconds.
A Deployment of whatever name is well, has two revisions and three pods, and opted in unless its namespace
is `left-alone`; Prometheus says of everything that it is bad. Nothing that is written changes anything.
"""

from __future__ import annotations

import json
import re
import socket
import sys
import threading
import time
from contextlib import suppress
from email.utils import formatdate
from typing import Any
from urllib.parse import unquote

LEFT_ALONE = "left-alone"
_OLD = "2026-01-02T03:04:05Z"
_FIRST, _NAME, _SPACE = "2026-01-01T00:00:00Z", "@NAME@", "@NAMESPACE@"
_TARGET = re.compile(r"/namespaces/([^/?]+)/(?:deployments/([^/?]+))?")
_SELECTED = re.compile(r"labelSelector=app(?:%3D|=)([^&]+)")


def _template(image: str) -> dict[str, Any]:
    container = {
        "name": "main",
        "image": image,
        "ports": [{"containerPort": 8080, "protocol": "TCP"}],
        "resources": {"limits": {"cpu": "500m", "memory": "256Mi"}, "requests": {"cpu": "100m"}},
        "env": [{"name": f"SETTING_{n}", "value": "x" * 20} for n in range(10)],
        "terminationMessagePath": "/dev/termination-log",
        "imagePullPolicy": "IfNotPresent",
    }
    spec = {"containers": [container], "restartPolicy": "Always", "dnsPolicy": "ClusterFirst"}
    return {"metadata": {"labels": {"app": _NAME}, "annotations": {"kept": "x"}}, "spec": spec}


def _meta(kind: str, suffix: str = "", owner: str = "", **more: Any) -> dict[str, Any]:
    name = _NAME + suffix
    meta: dict[str, Any] = {
        "name": name,
        "namespace": _SPACE,
        "uid": f"{kind}-{name}",
        "resourceVersion": "7",
        "creationTimestamp": _FIRST,
        "labels": {"app": _NAME},
        **more,
    }
    if owner:
        kind_of = owner.partition("-")[0]
        meta["ownerReferences"] = [
            {"kind": kind_of, "uid": owner, "name": owner.partition("-")[2], "controller": True}
        ]
    return meta


def _deployment(*, opted_in: bool) -> dict[str, Any]:
    labels = {"app": _NAME} | ({"remediator/enabled": "true"} if opted_in else {})
    done = {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            **_meta("Deployment", generation=2, annotations={"deployment.kubernetes.io/revision": "2"}),
            "labels": labels,
        },
        "spec": {
            "replicas": 3,
            "selector": {"matchLabels": {"app": _NAME}},
            "template": _template("hive:2"),
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 1}},
        },
        "status": {
            "observedGeneration": 2,
            **dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), 3),
            "conditions": [
                {"type": "Available", "status": "True", "lastUpdateTime": _OLD},
                {**done, "lastUpdateTime": _OLD},
            ],
        },
    }


def _replica_set(revision: int) -> dict[str, Any]:
    template = _template(f"hive:{revision}")
    template["metadata"]["labels"] = {"app": _NAME, "pod-template-hash": f"h{revision}"}
    replicas = 3 if revision == 2 else 0  # noqa: PLR2004 - the present one
    return {
        "metadata": _meta(
            "ReplicaSet",
            f"-{revision}",
            f"Deployment-{_NAME}",
            annotations={"deployment.kubernetes.io/revision": str(revision)},
        ),
        "spec": {"replicas": replicas, "template": template},
        "status": {"replicas": replicas, "readyReplicas": replicas},
    }


def _pod(number: int) -> dict[str, Any]:
    running = {"name": "main", "ready": True, "restartCount": 0, "state": {"running": {"startedAt": _OLD}}}
    return {
        "metadata": _meta("Pod", f"-{number}", f"ReplicaSet-{_NAME}-2"),
        "spec": {**_template("hive:2")["spec"], "nodeName": "node"},
        "status": {
            "phase": "Running",
            "startTime": _OLD,
            "conditions": [
                {"type": kind, "status": "True", "lastTransitionTime": _OLD}
                for kind in ("Initialized", "Ready", "ContainersReady", "PodScheduled")
            ],
            "containerStatuses": [running],
        },
    }


def _event(number: int) -> dict[str, Any]:
    return {
        "metadata": {"name": f"e{number}", "namespace": _SPACE, "uid": f"Event-{number}"},
        "involvedObject": {"kind": "Deployment", "name": _NAME, "uid": f"Deployment-{_NAME}"},
        "type": "Normal",
        "reason": "ScalingReplicaSet",
        "message": "Scaled up replica set to 3",
        "lastTimestamp": _OLD,
        "count": 1,
    }


def _list(items: list[Any]) -> dict[str, Any]:
    return {"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": "7"}, "items": items}


def _bytes(value: Any) -> bytes:
    return json.dumps(value).encode()


_OPTED_IN, _OPTED_OUT = _bytes(_deployment(opted_in=True)), _bytes(_deployment(opted_in=False))
_USAGE = {
    "containers": [{"name": "main", "usage": {"cpu": "90m", "memory": "64Mi"}}],
    "timestamp": "@NOW@",
    "window": "15s",
}
_LISTS = {
    "/replicasets": _bytes(_list([_replica_set(1), _replica_set(2)])),
    "metrics.k8s.io/v1beta1": _bytes(
        _list([{"metadata": {"name": f"{_NAME}-{n}", "namespace": _SPACE}, **_USAGE} for n in range(3)])
    ),
    "/api/v1/namespaces/@/pods": _bytes(_list([_pod(n) for n in range(3)])),
    "/events": _bytes(_list([_event(n) for n in range(5)])),
    "/horizontalpodautoscalers": _bytes(_list([])),
    "/poddisruptionbudgets": _bytes(_list([])),
}
_VECTOR = {"resultType": "vector", "result": [{"metric": {}, "value": [0, "50"]}]}
_SAYS = _bytes({"status": "success", "data": _VECTOR})
_ALLOWED = _bytes({"kind": "SelfSubjectAccessReview", "status": {"allowed": True}})
_APPS = {"name": "apps", "versions": [{"groupVersion": "apps/v1", "version": "v1"}]}
_DISCOVERY = {
    "/api": _bytes({"kind": "APIVersions", "versions": ["v1"]}),
    "/apis": _bytes({"kind": "APIGroupList", "apiVersion": "v1", "groups": [_APPS]}),
    "/api/v1": _bytes({"kind": "APIResourceList", "groupVersion": "v1", "resources": []}),
    "/version": _bytes({"major": "1", "minor": "33"}),
    "/apis/apps/v1": _bytes(
        {
            "kind": "APIResourceList",
            "groupVersion": "apps/v1",
            "resources": [
                {
                    "name": "deployments",
                    "singularName": "deployment",
                    "namespaced": True,
                    "kind": "Deployment",
                    "verbs": ["get", "list", "patch"],
                }
            ],
        }
    ),
}


def answer(method: str, path: str) -> tuple[int, bytes]:
    """Status and body."""
    if path == "/api/v1/query":
        return 200, _SAYS
    if path.endswith("/selfsubjectaccessreviews"):
        return 201, _ALLOWED
    bare = path.partition("?")[0]
    if method == "GET" and bare in _DISCOVERY:
        return 200, _DISCOVERY[bare]
    found = _TARGET.search(path)
    if found is None:
        return (200, b"{}") if bare in {"/-/ready", "/webhook"} else (404, b'{"kind":"Status","code":404}')
    namespace, name = found.groups()
    if name:
        body = _OPTED_OUT if namespace == LEFT_ALONE else _OPTED_IN
        return 200, _filled(body, namespace, name)
    selected = _SELECTED.search(path)
    for part, listed in _LISTS.items():
        if part in bare.replace(f"/{namespace}/", "/@/"):
            return 200, _filled(listed, namespace, unquote(selected[1]) if selected else "x")
    return 404, b'{"kind":"Status","code":404}'


def _filled(body: bytes, namespace: str, name: str) -> bytes:
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()).encode()
    filled = body.replace(_NAME.encode(), name.encode()).replace(_SPACE.encode(), namespace.encode())
    return filled.replace(b"@NOW@", now)


class Stub:
    """Listens on a port of its own choice."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port: int = self._socket.getsockname()[1]

    def serve(self) -> None:
        while True:
            connection, _ = self._socket.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=_converse, args=(connection,), daemon=True).start()


def _converse(connection: socket.socket) -> None:
    with connection, connection.makefile("rb") as stream, suppress(OSError):
        while line := stream.readline():
            length = 0
            while (header := stream.readline()) not in {b"\r\n", b""}:
                if header[:15].lower() == b"content-length:":
                    length = int(header[15:])
            stream.read(length)
            method, path, _ = line.decode().split(" ", 2)
            if method == "PATCH" and "dryRun" not in path and (found := _TARGET.search(path)):
                sys.stdout.write(f"{found[1]}/{found[2]} {time.monotonic_ns()}\n")
                sys.stdout.flush()
            connection.sendall(_response(*answer(method, path)))


def _response(status: int, body: bytes) -> bytes:
    head = (
        f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n"
        f"Date: {formatdate(usegmt=True)}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def main() -> None:
    stub = Stub()
    sys.stdout.write(f"{stub.port}\n")
    sys.stdout.flush()
    stub.serve()


if __name__ == "__main__":
    main()
