"""What the simulated node asks of a Kubernetes API server: pods, Deployments, and PodMetrics to be written.

Reads a kubeconfig (JSON or YAML) and speaks raw JSON; the server may be simulated or real. Writing usage or
an annotation is best effort: a server without the metrics API, or one that forbids it, does not stop the
node.
"""

from __future__ import annotations

import base64
import tempfile
import time
from pathlib import Path
from typing import Any, Self

import requests
import yaml

_TIMEOUT = 5.0
_MERGE_PATCH = {"Content-Type": "application/merge-patch+json"}
_METRICS = "/apis/metrics.k8s.io/v1beta1"
_UNAVAILABLE = (403, 404, 405)
_ASK_AGAIN_AFTER = 30.0

Object = dict[str, Any]


class KubeApi:
    """One connection to one cluster."""

    def __init__(self, kubeconfig: Path) -> None:
        self._files = tempfile.TemporaryDirectory(prefix="lab-node-")
        self._session = requests.Session()
        self._session.trust_env = False
        self._no_metrics_until = 0.0
        cluster, user = _current(yaml.safe_load(kubeconfig.read_text(encoding="utf-8")))
        self.server = str(cluster["server"]).rstrip("/")
        self._session.verify = self._verification(cluster)
        self._identify(user)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()
        self._files.cleanup()

    def _verification(self, cluster: Object) -> bool | str:
        if cluster.get("insecure-skip-tls-verify"):
            requests.packages.urllib3.disable_warnings()  # type: ignore[attr-defined]  # said once, in the kubeconfig
            return False
        return self._file(cluster, "certificate-authority") or True

    def _identify(self, user: Object) -> None:
        token = user.get("token")
        if not token and user.get("tokenFile"):
            token = Path(user["tokenFile"]).read_text(encoding="utf-8").strip()
        if token:
            self._session.headers["Authorization"] = f"Bearer {token}"
        certificate, key = self._file(user, "client-certificate"), self._file(user, "client-key")
        if certificate and key:
            self._session.cert = (certificate, key)

    def _file(self, source: Object, name: str) -> str | None:
        """Path of what the kubeconfig names by path or carries as base64 data."""
        if f"{name}-data" in source:
            path = Path(self._files.name) / name
            path.write_bytes(base64.b64decode(source[f"{name}-data"]))
            return str(path)
        return source.get(name)

    def _call(self, method: str, path: str, **options: Any) -> requests.Response:
        return self._session.request(method, f"{self.server}{path}", timeout=_TIMEOUT, **options)

    def _get(self, path: str) -> Object:
        answer = self._call("GET", path)
        answer.raise_for_status()
        found: Object = answer.json()
        return found

    def deployment(self, namespace: str, name: str) -> Object:
        return self._get(f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}")

    def pods(self, namespace: str) -> list[Object]:
        """All pods of the namespace, in every state."""
        found: list[Object] = self._get(f"/api/v1/namespaces/{namespace}/pods")["items"]
        return found

    def annotate(self, namespace: str, pod: str, annotations: dict[str, str | None]) -> bool:
        """Merge annotations into a pod; None removes one. False where the server refuses."""
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}"
        try:
            return self._call(
                "PATCH", path, json={"metadata": {"annotations": annotations}}, headers=_MERGE_PATCH
            ).ok
        except requests.RequestException:
            return False

    def write_usage(self, metrics: Object) -> None:
        """Create or replace one PodMetrics object."""
        if time.monotonic() < self._no_metrics_until:
            return
        namespace, name = metrics["metadata"]["namespace"], metrics["metadata"]["name"]
        collection = f"{_METRICS}/namespaces/{namespace}/pods"
        try:
            answer = self._call("PATCH", f"{collection}/{name}", json=metrics, headers=_MERGE_PATCH)
            if answer.status_code in (404, 405):
                answer = self._call("POST", collection, json=metrics)
            if answer.status_code in _UNAVAILABLE:
                self._no_metrics_until = time.monotonic() + _ASK_AGAIN_AFTER
        except requests.RequestException:
            self._no_metrics_until = time.monotonic() + _ASK_AGAIN_AFTER

    def delete_usage(self, namespace: str, pod: str) -> None:
        if time.monotonic() < self._no_metrics_until:
            return
        try:
            self._call("DELETE", f"{_METRICS}/namespaces/{namespace}/pods/{pod}")
        except requests.RequestException:
            self._no_metrics_until = time.monotonic() + _ASK_AGAIN_AFTER


def _current(config: Object) -> tuple[Object, Object]:
    """Cluster and user of the current context, else the first of each."""
    contexts = {one["name"]: one["context"] for one in config.get("contexts") or []}
    context = contexts.get(config.get("current-context", ""), {})
    clusters = {one["name"]: one["cluster"] for one in config["clusters"]}
    users = {one["name"]: one["user"] for one in config.get("users") or []}
    cluster = clusters.get(context.get("cluster")) or next(iter(clusters.values()))
    return cluster, users.get(context.get("user")) or next(iter(users.values()), {}) or {}
