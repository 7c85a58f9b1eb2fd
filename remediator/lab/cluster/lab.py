"""LabCluster: a simulated Kubernetes cluster inside this process, that real kubectl works against.

with LabCluster(speed=20) as cluster:
    cluster.kubeconfig(path)
    cluster.faults({"fault": "reset_after", "method": "PATCH", "times": 1})
"""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from remediator.lab.cluster.pace import Pace
from remediator.lab.cluster.plane import ControlPlane
from remediator.lab.cluster.server import ApiServer
from remediator.lab.cluster.store import Store

if TYPE_CHECKING:
    from collections.abc import Mapping
    from os import PathLike


class LabCluster:
    def __init__(
        self, *, port: int = 0, speed: float = 1.0, token: str = "", ready_seconds: float = 0.2
    ) -> None:
        self.store = Store()
        self.token = token
        self._plane = ControlPlane(self.store, Pace(speed=speed, ready_seconds=ready_seconds))
        self._server = ApiServer(self.store, port, token)
        serve = self._server.serve_forever
        self._thread = threading.Thread(target=serve, args=(0.05,), name="lab-api-server", daemon=True)

    def start(self) -> Self:
        self._plane.start()
        self._thread.start()
        return self

    def stop(self) -> None:
        self._server.close()
        self._thread.join()
        self._plane.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def kubeconfig(self, path: str | PathLike[str], namespace: str = "default") -> Path:
        """Write a kubeconfig for this cluster (JSON, which is YAML); returns its path."""
        user = {"token": self.token} if self.token else {}
        written = Path(path)
        written.touch(mode=0o600)
        config: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "lab",
            "clusters": [{"name": "lab", "cluster": {"server": self.url}}],
            "users": [{"name": "lab", "user": user}],
            "contexts": [
                {"name": "lab", "context": {"cluster": "lab", "user": "lab", "namespace": namespace}}
            ],
        }
        written.write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
        return written

    # ------------------------------------------------------------ the lab's door, without HTTP

    def faults(self, *wanted: Mapping[str, Any]) -> None:
        """Have these faults from now on and no others; none at all when called without any."""
        self._server.faults.replace(wanted)

    def deny(self, *denied: Mapping[str, Any]) -> None:
        """Refuse these permissions from now on and no others."""
        self._server.access.replace(denied)

    def requests(self, *, mutating: bool = False) -> list[dict[str, Any]]:
        return self._server.log.mutating() if mutating else self._server.log.all()

    def forget_requests(self) -> None:
        self._server.log.clear()
