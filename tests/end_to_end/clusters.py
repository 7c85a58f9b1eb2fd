"""The API servers under test, simulated and real, and what each of them knows of our writes."""

from __future__ import annotations

import json
import ssl
import threading
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from remediator.adapters.kubernetes.credentials import Access, load_access
from remediator.lab.cluster import LabCluster
from tests.audit import audited

Json = dict[str, Any]
Answer = tuple[int, dict[str, str], bytes]
"""Status, headers, body."""
OURS = "remediator/"
"""How our User-Agent begins."""
_WRITES = ("create", "update", "patch", "delete", "deletecollection")


class Upstream:
    """Raw HTTP to one API server. Nothing of `requests`: its warnings would be errors here."""

    def __init__(self, kubeconfig: Path) -> None:
        self._access = load_access(str(kubeconfig))
        self._tls = _context(self._access)
        self._kept = threading.local()

    def read(self, path: str, headers: dict[str, str]) -> Answer:
        """A GET on a connection that this thread keeps until it calls `hang_up`."""
        with suppress(OSError, HTTPException):
            return self._read_on_kept(path, headers)
        return self.exchange("GET", path, b"", headers)

    def hang_up(self) -> None:
        if kept := getattr(self._kept, "connection", None):
            kept.close()
            self._kept.connection = None

    def exchange(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> Answer:
        """One request on a connection of its own."""
        connection = self._connection()
        try:
            return self._ask(connection, method, path, body, headers)
        finally:
            connection.close()

    def _read_on_kept(self, path: str, headers: dict[str, str]) -> Answer:
        connection = getattr(self._kept, "connection", None) or self._connection()
        self._kept.connection = connection
        try:
            return self._ask(connection, "GET", path, b"", headers)
        except (OSError, HTTPException):
            self.hang_up()
            raise

    def _ask(
        self, connection: HTTPConnection, method: str, path: str, body: bytes, headers: dict[str, str]
    ) -> Answer:
        authorization = self._access.authorization()
        everything = headers | ({"Authorization": authorization} if authorization else {})
        connection.request(method, path, body=body or None, headers=everything)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()

    def _connection(self) -> HTTPConnection:
        server = urlsplit(self._access.server)
        assert server.hostname
        if server.scheme == "http":
            return HTTPConnection(server.hostname, server.port, timeout=30)
        return HTTPSConnection(server.hostname, server.port, timeout=30, context=self._tls)


def _context(access: Access) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=access.verify if isinstance(access.verify, str) else None)
    if access.verify is False:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if access.certificate:
        context.load_cert_chain(*access.certificate)
    return context


class Cluster(ABC):
    """One API server as an operator sees it."""

    def __init__(self, kubeconfig: Path) -> None:
        self.kubeconfig = kubeconfig
        self.upstream = Upstream(kubeconfig)

    @abstractmethod
    def _arrived(self, namespace: str) -> list[Json]:
        """Every write of ours that was no dry run and reached the API server, in order: `path` and `code`.

        Without the Events, which change nothing.
        """

    def writes(self, namespace: str) -> list[Json]:
        """Without those of a version that a status had just made an old one, if one to the same object was
        taken later: a count is written by version, and who writes so looks again."""
        arrived = self._arrived(namespace)
        return [
            write
            for place, write in enumerate(arrived, 1)
            if write["code"] != HTTPStatus.CONFLICT
            or {"path": write["path"], "code": HTTPStatus.OK} not in arrived[place:]
        ]

    def effects(self, namespace: str, deployment: str) -> list[Json]:
        """Those of the writes to one Deployment, or to the autoscaler of its name, that were taken."""
        end = (f"/deployments/{deployment}", f"/horizontalpodautoscalers/{deployment}")
        return [
            write
            for write in self.writes(namespace)
            if write["path"].removesuffix("/scale").endswith(end) and 200 <= write["code"] < 300
        ]

    def call(self, method: str, path: str, body: Any = None, kind: str = "application/json") -> Json:
        data = b"" if body is None else json.dumps(body).encode()
        headers = {"Content-Type": kind, "Accept": "application/json", "User-Agent": "lab-test"}
        status, _, content = self.upstream.exchange(method, path, data, headers)
        assert 200 <= status < 300, f"{method} {path}: {status} {content!r}"
        found: Json = json.loads(content)
        return found

    def create_autoscaler(self, namespace: str, name: str, least: int, most: int) -> None:
        """Of the Deployment of that name."""
        reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}
        spec = {"scaleTargetRef": reference, "minReplicas": least, "maxReplicas": most}
        path = f"/apis/autoscaling/v1/namespaces/{namespace}/horizontalpodautoscalers"
        self.call("POST", path, {"metadata": {"name": name}, "spec": spec})

    # ------------------------------------------------------------ Deployments

    def create_namespace(self, name: str) -> None:
        self.call("POST", "/api/v1/namespaces", {"metadata": {"name": name}})

    def delete_namespace(self, name: str) -> None:
        self.call("DELETE", f"/api/v1/namespaces/{name}")

    def create(self, namespace: str, name: str, image: str, *, replicas: int = 2) -> None:
        path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
        self.call("POST", path, _deployment(name, image, replicas))

    def deployment(self, namespace: str, name: str) -> Json:
        return self.call("GET", f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}")

    def set_image(self, namespace: str, name: str, image: str) -> None:
        """Deploy another image, as `kubectl set image` would."""
        template = {"spec": {"containers": [{"name": "bizra-node", "image": image}]}}
        self._change(namespace, name, {"template": template})

    def set_replicas(self, namespace: str, name: str, replicas: int) -> None:
        self._change(namespace, name, {"replicas": replicas})

    def _change(self, namespace: str, name: str, spec: Json) -> None:
        path = f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}"
        self.call("PATCH", path, {"spec": spec}, "application/strategic-merge-patch+json")

    def all_ready(self, namespace: str, name: str) -> bool:
        """Rolled out, every pod ready and none too many."""
        found = self.deployment(namespace, name)
        wanted, status = found["spec"]["replicas"], found.get("status") or {}
        counts = [status.get(key) for key in ("replicas", "updatedReplicas", "readyReplicas")]
        return status.get("observedGeneration") == found["metadata"]["generation"] and counts == [wanted] * 3

    def images(self, namespace: str, name: str) -> list[str]:
        """Of the pods that are not leaving."""
        pods = self.call("GET", f"/api/v1/namespaces/{namespace}/pods?labelSelector=app%3D{name}")["items"]
        staying = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
        return [pod["spec"]["containers"][0]["image"] for pod in staying]


class SimulatedCluster(Cluster):
    def __init__(self, lab: LabCluster, kubeconfig: Path) -> None:
        super().__init__(lab.kubeconfig(kubeconfig))
        self._lab = lab

    def _arrived(self, namespace: str) -> list[Json]:
        return [
            {"path": entry["path"].partition("?")[0], "code": entry["code"]}
            for entry in self._lab.requests(mutating=True)
            if entry["user_agent"].startswith(OURS)
            and f"/namespaces/{namespace}/" in entry["path"]
            and not entry["path"].partition("?")[0].endswith("/events")
        ]


class RealCluster(Cluster):
    def __init__(self, kubeconfig: Path, audit_log: Path) -> None:
        super().__init__(kubeconfig)
        self._audit_log = audit_log
        self._since = time.time()

    def _arrived(self, namespace: str) -> list[Json]:
        return [
            {"path": event["requestURI"].partition("?")[0], "code": event["responseStatus"]["code"]}
            for event in audited(self._audit_log, namespace, since=self._since)
            if event["stage"] == "ResponseComplete"
            and event["verb"] in _WRITES
            and event["userAgent"].startswith(OURS)
            and event["objectRef"].get("namespace") == namespace
            and event["objectRef"]["resource"] != "events"
            and "dryRun" not in event["requestURI"]
        ]


def _deployment(name: str, image: str, replicas: int) -> Json:
    container = {
        "name": "bizra-node",
        "image": image,
        "resources": {"limits": {"cpu": "1", "memory": "1Gi"}},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": {"app": name, "remediator/enabled": "true"}},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}},
        },
    }
