"""The node's HTTP paths, the same on each of its ports.

`/pods/<namespace>/<pod>/metrics` and `/health` per pod; `/metrics` and `/health` for the Deployment that
was named first, as the runbook uses ports 9464 and 8080; `/sd` for Prometheus' http_sd; `/_lab/faults` to
break and mend things. A pod that is not ready answers 503; one whose process is lost closes the connection
without a word.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import parse_qs, urlsplit

from prometheus_client import CONTENT_TYPE_LATEST

from remediator.lab.node.pods import metrics_page

if TYPE_CHECKING:
    from threading import RLock

    from remediator.lab.node.workload import PodState, Workload

_JSON = "application/json"


@dataclass(frozen=True)
class Reply:
    status: int
    body: Any = None
    content_type: str = _JSON


LOST = Reply(0)  # close the connection


class Node(Protocol):
    """What the paths need of the node."""

    workloads: list[Workload]
    lock: RLock

    def advance(self) -> None: ...
    def refresh(self) -> None: ...
    def inject(self, namespace: str, deployment: str, fault: str) -> None: ...
    def clear(
        self, namespace: str | None = None, deployment: str | None = None, fault: str | None = None
    ) -> None: ...
    def faults(self) -> list[dict[str, str]]: ...


def get(node: Node, path: str, host: str) -> Reply:
    parts = path.strip("/").split("/")
    match parts:
        case ["sd"]:
            return Reply(200, discovery(node, host))
        case ["_lab", "faults"]:
            return Reply(200, {"faults": node.faults()})
        case ["metrics" | "health" as page]:
            return _first(node, page)
        case ["pods", namespace, name, "metrics" | "health" as page]:
            return _pod(node, namespace, name, page)
        case _:
            return Reply(404, {"error": "no such path"})


def change(node: Node, method: str, path: str, wanted: dict[str, Any]) -> Reply:
    """POST or DELETE on the faults."""
    if path != "/_lab/faults":
        return Reply(404, {"error": "no such path"})
    try:
        if method == "POST":
            node.inject(wanted["namespace"], wanted["deployment"], wanted["fault"])
        else:
            node.clear(wanted.get("namespace"), wanted.get("deployment"), wanted.get("fault"))
    except KeyError as error:
        return Reply(400, {"error": f"missing or unknown: {error.args[0]}"})
    except ValueError as error:
        return Reply(400, {"error": str(error)})
    return Reply(200, {"faults": node.faults()})


def discovery(node: Node, host: str) -> list[dict[str, Any]]:
    """Targets for http_sd: every existing pod, reached at the address that the asker used."""
    return [
        {
            "targets": [host],
            "labels": {
                "__metrics_path__": f"/pods/{pod.namespace}/{pod.name}/metrics",
                "namespace": pod.namespace,
                "deployment": workload.deployment,
                "pod": pod.name,
            },
        }
        for workload in node.workloads
        for pod in workload.pods.values()
    ]


def _first(node: Node, page: str) -> Reply:
    workload = node.workloads[0]
    pods = workload.taking_traffic()
    if not pods:
        return Reply(503, {"status": "down", "deployment": workload.deployment, "ready_pods": 0})
    return _page(workload, pods[0], page)


def _pod(node: Node, namespace: str, name: str, page: str) -> Reply:
    for workload in node.workloads:
        pod = workload.pod(name)
        if pod is not None and workload.namespace == namespace:
            return _page(workload, pod, page)
    return Reply(404, {"error": f"no pod {namespace}/{name}"})


def _page(workload: Workload, pod: PodState, page: str) -> Reply:
    if workload.lost(pod):
        return LOST
    if not pod.ready:
        return Reply(503, {"status": "down", "pod": pod.name})
    if page == "metrics":
        return Reply(200, metrics_page(workload, pod), CONTENT_TYPE_LATEST)
    score = workload.score(pod)
    return Reply(200, {"status": "ok", "pod": pod.name, "ahsan_score": score, "compliant": score >= 95})  # noqa: PLR2004


def requests_to(node: Node) -> type[BaseHTTPRequestHandler]:
    """Class for the standard library's server that answers for `node`."""

    class Requests(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            host = self.headers.get("Host") or "localhost"
            if urlsplit(self.path).path == "/sd":
                node.refresh()
            with node.lock:
                node.advance()
                reply = get(node, urlsplit(self.path).path, host)
            self._send(reply)

        def do_POST(self) -> None:
            self._change("POST")

        def do_DELETE(self) -> None:
            self._change("DELETE")

        def _change(self, method: str) -> None:
            address = urlsplit(self.path)
            wanted = {name: values[-1] for name, values in parse_qs(address.query).items()}
            try:
                body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
                reply = change(node, method, address.path, {**wanted, **body})
            except (ValueError, TypeError):
                reply = Reply(400, {"error": "the body is not a JSON object"})
            self._send(reply)

        def _send(self, reply: Reply) -> None:
            if reply is LOST:
                self.close_connection = True
                return
            content = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
            self.send_response(reply.status)
            self.send_header("Content-Type", reply.content_type)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Stay quiet: the demo's terminal belongs to the story."""

    return Requests
