"""The cluster and the node as one service that other containers reach.

The simulated API server listens on loopback only, so connections from outside are passed on to it. The
node's Deployments are created at the start.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import requests

from remediator.lab.cluster import LabCluster
from remediator.lab.node import LabNode
from remediator.lab.stage import deployment_manifest, eventually

_CHUNK = 65536
_READY_SECONDS = 20.0
_REPLICAS = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = __doc__
    parser.add_argument(
        "--deployment",
        type=_deployment,
        action="append",
        required=True,
        metavar="NAMESPACE/NAME",
        help="create and follow this Deployment; may be repeated",
    )
    parser.add_argument("--data", type=Path, default=Path(), metavar="DIR", help="for .hive-mind/hive.db")
    parser.add_argument(
        "--speed", type=float, default=1.0, help="divides every duration; 60 makes a minute a second"
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--cluster-port", type=int, default=8001, help="the Kubernetes API")
    parser.add_argument(
        "--metrics-port", type=int, default=9464, help="metrics, health, discovery and faults"
    )
    parser.add_argument("--http-port", type=int, default=8080, help="the runbook's /health")


def _deployment(text: str) -> tuple[str, str]:
    namespace, separator, name = text.partition("/")
    if not separator:
        raise argparse.ArgumentTypeError("NAMESPACE/NAME")
    return namespace, name


def run(args: argparse.Namespace) -> int:
    """Run until SIGINT or SIGTERM."""
    cluster = LabCluster(speed=args.speed, ready_seconds=_READY_SECONDS)
    with cluster, tempfile.TemporaryDirectory(prefix="lab-world-") as temporary:
        for namespace, name in args.deployment:
            deploy(cluster, namespace, name)
        node = LabNode(
            kubeconfig=cluster.kubeconfig(Path(temporary) / "kubeconfig"),
            deployments=args.deployment,
            speed=args.speed,
            data=args.data,
            host=args.host,
            metrics_port=args.metrics_port,
            http_port=args.http_port,
        )
        with node:
            asyncio.run(_pass_on(args.host, args.cluster_port, cluster.url))
    return 0


# ------------------------------------------------------------ the Deployment


def deploy(cluster: LabCluster, namespace: str, name: str) -> None:
    """Create the node's Deployment, opted in, and wait until it is ready."""
    session = requests.Session()
    session.trust_env = False
    collection = f"{cluster.url}/apis/apps/v1/namespaces/{namespace}/deployments"
    with session:
        taken = session.post(
            f"{cluster.url}/api/v1/namespaces", json={"metadata": {"name": namespace}}, timeout=10
        )
        if taken.status_code != requests.codes.conflict:  # another Deployment's namespace
            taken.raise_for_status()
        session.post(collection, json=deployment_manifest(name), timeout=10).raise_for_status()

        def ready() -> bool:
            found: dict[str, Any] = session.get(f"{collection}/{name}", timeout=10).json()
            return bool(found.get("status", {}).get("readyReplicas") == _REPLICAS)

        eventually(ready, f"{namespace}/{name} was not ready", within=4 * _READY_SECONDS)


# ------------------------------------------------------------ the way in


async def _pass_on(host: str, port: int, url: str) -> None:
    """Pass connections on to the API server until told to stop."""
    inner = int(url.rpartition(":")[2])
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            onward_reader, onward_writer = await asyncio.open_connection("127.0.0.1", inner)
        except OSError:
            writer.close()
            return
        await asyncio.gather(_copy(reader, onward_writer), _copy(onward_reader, writer))

    door = await asyncio.start_server(connected, host, port)
    print(f"lab: cluster on {host}:{port}, node beside it", flush=True)
    await stopped.wait()
    door.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
    writer.close()
