"""`python -m remediator.lab cluster`: the simulated cluster as a program of its own."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from remediator.lab.cluster.lab import LabCluster

if TYPE_CHECKING:
    import argparse

DESCRIPTION = "Run a simulated Kubernetes API server on loopback that real kubectl works against."
EXAMPLES = """examples:
  python -m remediator.lab cluster --port 8001 --kubeconfig lab.kubeconfig --speed 10
  KUBECONFIG=lab.kubeconfig kubectl create deployment web --image=app:v1 --replicas=3
  KUBECONFIG=lab.kubeconfig kubectl set image deployment/web app=app:v2-crash

The tag of a pod's first image chooses its fate: ...crash, ...oom, ...imagepull, ...pending,
...slow; anything else gets ready. To make a running pod fail its readiness:
  kubectl annotate pod web-... lab/health=down

faults (latency, hang, reset_before, reset_after, 401 403 409 422 429 500 503):
  curl -d '[{"fault": "reset_after", "method": "PATCH", "path": "/deployments/", "times": 1}]' \\
       http://127.0.0.1:8001/_lab/faults
  curl -X DELETE http://127.0.0.1:8001/_lab/faults
  curl http://127.0.0.1:8001/_lab/requests?mutating=1
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = DESCRIPTION
    parser.epilog = EXAMPLES
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1 (default 0: any free one)")
    parser.add_argument("--kubeconfig", metavar="FILE", help="write a kubeconfig for this cluster here")
    parser.add_argument(
        "--speed",
        type=_positive,
        default=1.0,
        help="divide every duration inside the cluster by this (default 1)",
    )
    parser.add_argument(
        "--ready-seconds", type=float, default=0.2, help="how long a pod takes to get ready (default 0.2)"
    )
    parser.add_argument(
        "--token", default="", help="bearer token that clients must send (default: none needed)"
    )


def run(args: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT."""
    # Blocked before any thread starts and then waited for: a handler that sets an Event can find the
    # main thread inside Event.wait() with the Event's lock in its hands, and both wait for ever.
    stop_signals = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, stop_signals)
    try:
        cluster = LabCluster(
            port=args.port, speed=args.speed, token=args.token, ready_seconds=args.ready_seconds
        )
    except OSError as error:
        print(f"cannot listen on 127.0.0.1:{args.port}: {error.strerror}")
        return 1
    with cluster:
        if args.kubeconfig:
            cluster.kubeconfig(args.kubeconfig)
        print(f"cluster: {cluster.url}", flush=True)
        signal.sigwait(stop_signals)
    return 0


def _positive(text: str) -> float:
    value = float(text)
    if value <= 0:
        raise ValueError(text)
    return value
