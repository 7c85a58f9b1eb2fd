"""A simulated BIZRA node whose health follows the pods of its Deployments in a Kubernetes API.

Every pod has its metrics and health page; faults can be injected that a restart, an undo or more replicas
cure, or that nothing cures. The remediator sees of it what it would see of the real one: Prometheus
metrics, PodMetrics, pods.
"""

from __future__ import annotations

import argparse
import signal
import threading
from pathlib import Path

from remediator.lab.node.server import LabNode
from remediator.lab.node.workload import FAULTS, Traffic

__all__ = ["FAULTS", "LabNode", "Traffic", "add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    default = Traffic()
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument(
        "--deployment",
        type=_deployment,
        action="append",
        required=True,
        metavar="NAMESPACE/NAME",
        help="follow this Deployment; may be repeated; the first one answers /health and /metrics",
    )
    parser.add_argument(
        "--data", type=Path, default=Path(), metavar="DIR", help="where .hive-mind/hive.db is kept"
    )
    parser.add_argument(
        "--speed", type=float, default=1.0, help="divides every duration; 60 makes a minute a second"
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9480, help="discovery, pods and faults; 0 is a free one")
    parser.add_argument("--http-port", type=int, default=8080, help="the runbook's /health; 0 is a free one")
    parser.add_argument(
        "--metrics-port", type=int, default=9464, help="the runbook's /metrics; 0 is a free one"
    )
    parser.add_argument(
        "--traffic", type=float, default=default.offered, metavar="OPS", help="operations per second"
    )
    parser.add_argument(
        "--overload", type=float, default=default.overload, metavar="OPS", help="the same under overload"
    )
    parser.add_argument(
        "--capacity", type=float, default=default.capacity_per_pod, metavar="OPS", help="of one pod"
    )


def _deployment(text: str) -> tuple[str, str]:
    namespace, separator, name = text.partition("/")
    if not separator:
        raise argparse.ArgumentTypeError("NAMESPACE/NAME")
    return namespace, name


def run(args: argparse.Namespace) -> int:
    """Run until SIGINT or SIGTERM."""
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    node = LabNode(
        kubeconfig=args.kubeconfig,
        deployments=args.deployment,
        speed=args.speed,
        data=args.data,
        traffic=Traffic(args.traffic, args.overload, args.capacity),
        host=args.host,
        port=args.port,
        http_port=args.http_port,
        metrics_port=args.metrics_port,
    )
    with node:
        print(
            f"lab node: {node.url}  health: {node.http_url}/health  metrics: {node.metrics_url}/metrics",
            flush=True,
        )
        stopped.wait()
    return 0
