"""Both API servers, simulated and real, as the Kubernetes adapter and kubectl see them."""

from __future__ import annotations

import json
import os
import subprocess
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from requests import PreparedRequest
from requests.adapters import HTTPAdapter

from remediator.adapters.kubernetes import KubernetesCluster
from remediator.core.actions import Target
from remediator.core.facts import Observation
from tests.waiting import eventually

Json = dict[str, Any]


@dataclass
class World:
    """One API server and a namespace of our own in it."""

    namespace: str
    cluster: KubernetesCluster
    program: str
    kubeconfig: str
    home: str
    made: int = field(default=0)

    @staticmethod
    def manifest(name: str, image: str, **options: Any) -> Json:
        return manifest(name, image, **options)

    def kubectl(self, *args: str, stdin: str | None = None) -> str:
        done = subprocess.run(
            [self.program, "--namespace", self.namespace, *args],
            env={"KUBECONFIG": self.kubeconfig, "HOME": self.home, "PATH": os.environ["PATH"]},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"kubectl {' '.join(args)}: {done.stderr}"
        return done.stdout

    def get(self, name: str, kind: str = "deployment") -> Json:
        found: Json = json.loads(self.kubectl("get", kind, name, "-o", "json"))
        return found

    def target(self, name: str) -> Target:
        return Target(self.namespace, name)

    def name(self, stem: str) -> str:
        self.made += 1
        return f"{stem}-{self.made}"

    def apply(self, manifest: Json) -> None:
        self.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))

    def see(self, name: str) -> Observation:
        seen = self.cluster.observe(self.target(name))
        assert isinstance(seen, Observation), seen
        return seen

    def settled(self, name: str) -> Observation:
        """Wait for the rollout; healthy Deployments only."""

        def look() -> Observation | None:
            seen = self.see(name)
            return seen if seen.rolled_out and seen.ready == seen.replicas else None

        found: Observation = eventually(look)
        return found

    def deployed(self, name: str, *images: str, **options: Any) -> Observation:
        """A Deployment that went through these images, one rollout each."""
        self.apply(manifest(name, images[0], **options))
        seen = self.settled(name)
        for image in images[1:]:
            self.kubectl("set", "image", f"deployment/{name}", f"app={image}")
            seen = self.settled(name)
        return seen


def manifest(name: str, image: str = "app:1", *, replicas: int = 2, limits: Json | None = None) -> Json:
    """With what a round trip through a typed client might lose."""
    labels = {"app": name, "team": "ahsan"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": name,
            "labels": {"remediator/enabled": "true", **labels},
            "annotations": {"example.com/owner": "team-ahsan", "kubernetes.io/change-cause": "first"},
        },
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels, "annotations": {"example.com/template": "yes"}},
                "spec": {
                    "containers": [
                        {
                            "name": "app",
                            "image": image,
                            "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "$(A)"}],
                            "ports": [{"name": "http", "containerPort": 8080}],
                            "volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}],
                            "resources": {"limits": limits} if limits else {},
                            "readinessProbe": {"httpGet": {"path": "/readyz", "port": "http"}},
                        },
                        {"name": "sidecar", "image": "proxy:1", "args": ["--quiet"]},
                    ],
                    "initContainers": [{"name": "prepare", "image": "prepare:1"}],
                    "volumes": [{"name": "scratch", "emptyDir": {}}],
                },
            },
        },
    }


@pytest.fixture(scope="module")
def world(api: str, kubectl_program: str, kubectl_home: Path) -> Iterator[World]:
    """`api` is a simulated API server or a real one; see the conftest above."""
    cluster = KubernetesCluster.from_environment(api)
    world = World(f"adapter-{uuid.uuid4().hex[:8]}", cluster, kubectl_program, api, str(kubectl_home))
    try:
        world.kubectl("create", "namespace", world.namespace)
        yield world
        world.kubectl("delete", "namespace", world.namespace, "--wait=false")
    finally:
        cluster.close()


@dataclass
class Wire:
    """Every request that goes out, and a way to break one."""

    requests: list[PreparedRequest] = field(default_factory=list)
    outdated: list[PreparedRequest] = field(default_factory=list)
    before: Callable[[PreparedRequest], None] = lambda request: None
    after: Callable[[PreparedRequest], None] = lambda request: None

    @property
    def writes(self) -> list[PreparedRequest]:
        """Without those of a version that a status had just made an old one, if another one followed: a count
        is written by version, and who writes so looks again."""
        writes = [r for r in self.requests if is_write(r)]
        return [
            r
            for place, r in enumerate(writes, 1)
            if r not in self.outdated or r.url not in [later.url for later in writes[place:]]
        ]


def is_dry(request: PreparedRequest) -> bool:
    return "dryRun" in parse_qs(urlsplit(request.url or "").query)


def is_write(request: PreparedRequest) -> bool:
    return request.method != "GET" and not is_dry(request)


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Wire:
    """Stands where the adapter's own code ends, so that it counts what really goes out."""
    wire, send = Wire(), HTTPAdapter.send

    def recorded(self, request, **settings):
        wire.requests.append(request)
        wire.before(request)
        response = send(self, request, **settings)
        if response.status_code == HTTPStatus.CONFLICT:
            wire.outdated.append(request)
        wire.after(request)
        return response

    monkeypatch.setattr(HTTPAdapter, "send", recorded)
    return wire


@pytest.fixture(name="is_write")
def _is_write() -> Callable[[PreparedRequest], bool]:
    return is_write


@pytest.fixture(name="manifest")
def _manifest() -> Callable[..., Json]:
    return manifest
