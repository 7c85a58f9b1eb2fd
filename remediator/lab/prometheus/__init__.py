"""A stand-in for Prometheus and Alertmanager, for machines that have neither.

Scrapes the simulated node, evaluates the project's own rule files, answers queries in Prometheus' JSON and
posts Alertmanager's webhook notifications. A real Prometheus is preferred wherever there is one; `compress`
and `compress_alertmanager` give it the same rules and routes at the lab's speed.
"""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from remediator.lab.prometheus.compress import compress, compress_alertmanager, compress_prometheus
from remediator.lab.prometheus.durations import parse_ms
from remediator.lab.prometheus.routing import read_routing
from remediator.lab.prometheus.scrape import Target
from remediator.lab.prometheus.series import labels_of
from remediator.lab.prometheus.server import LabPrometheus

if TYPE_CHECKING:
    import argparse

__all__ = [
    "LabPrometheus",
    "add_arguments",
    "compress",
    "compress_alertmanager",
    "compress_prometheus",
    "run",
]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--rules", type=Path, nargs="+", required=True, metavar="PATH", help="rule files or directories"
    )
    parser.add_argument("--sd-url", help="http_sd address of the targets, for example the lab node's /sd")
    parser.add_argument(
        "--target",
        type=_target,
        action="append",
        default=[],
        metavar="JOB=URL",
        help="also scrape this address under that job; may be repeated",
    )
    parser.add_argument(
        "--scrape-interval", type=_seconds, default=15.0, metavar="DURATION", help="default 15s"
    )
    parser.add_argument(
        "--speed", type=float, default=1.0, help="divides every duration; 60 makes a minute a second"
    )
    parser.add_argument("--webhook", metavar="URL", help="where notifications are posted")
    parser.add_argument(
        "--token-file", type=Path, metavar="FILE", help="bearer token, read for every notification"
    )
    parser.add_argument(
        "--alertmanager-config", type=Path, metavar="FILE", help="take route and inhibitions from it"
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9090, help="0 is a free one")


def _target(text: str) -> Target:
    job, separator, url = text.partition("=")
    if not separator:
        raise ValueError("JOB=URL")
    return Target(url, labels_of({"job": job, "instance": url.split("//", 1)[-1].split("/", 1)[0]}))


def _seconds(text: str) -> float:
    return parse_ms(text) / 1000


def run(args: argparse.Namespace) -> int:
    """Run until SIGINT or SIGTERM."""
    routing = None
    if args.alertmanager_config is not None:
        routing = read_routing(args.alertmanager_config.read_text(encoding="utf-8"), args.speed)
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    prometheus = LabPrometheus(
        rules=args.rules,
        sd_url=args.sd_url,
        targets=args.target,
        scrape_interval=args.scrape_interval,
        speed=args.speed,
        webhook=args.webhook,
        token_file=args.token_file,
        routing=routing,
        host=args.host,
        port=args.port,
    )
    with prometheus:
        print(f"lab prometheus: {prometheus.url}", flush=True)
        stopped.wait()
    return 0
