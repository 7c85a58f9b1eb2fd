"""Break the simulated node, or mend it: what a bad day does, by one command.

Each of these raises an alert after some minutes (seconds, at a higher speed), and each is cured by another
action.
"""

from __future__ import annotations

import argparse

import requests

from remediator.lab.node import FAULTS
from remediator.lab.stage import IMAGE

BAD_DEPLOY = "bad_deploy"
BREAKAGES = {
    BAD_DEPLOY: "somebody deploys v2.2.0-bad: a poor score, cured by an undo",
    "leak": "one operation in eight fails, cured by a restart",
    "overload": "more work than three pods can do: slow, cured by more replicas",
    "lost_process": "the process in every pod dies and the containers stay, cured by a restart",
    "incurable": "nothing done here helps: the remediator hands over to a person",
}
assert set(FAULTS) < set(BREAKAGES)
_MERGE = "application/strategic-merge-patch+json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = __doc__
    parser.epilog = "\n".join(
        ["what can break:", *(f"  {name:<13} {said}" for name, said in BREAKAGES.items())]
    )
    parser.add_argument("what", nargs="?", choices=BREAKAGES, metavar="WHAT", help="one of those below")
    parser.add_argument("--mend", action="store_true", help="take all faults back, deploy the good image")
    parser.add_argument("--deployment", default="bizra-testnet/bizra-apex", metavar="NAMESPACE/NAME")
    parser.add_argument("--node", default="http://127.0.0.1:9464", metavar="URL", help="a port of the node")
    parser.add_argument(
        "--cluster", default="http://127.0.0.1:8001", metavar="URL", help="the simulated Kubernetes API"
    )


def run(args: argparse.Namespace) -> int:
    """Do it; exit status 1 when the world did not take it."""
    if bool(args.what) == args.mend:
        print("say what to break, or --mend")
        return 2
    try:
        for answer in _ask(args):
            answer.raise_for_status()
    except requests.RequestException as error:
        print(f"not done: {error}")
        return 1
    print(f"{args.deployment}: {'mended' if args.mend else BREAKAGES[args.what]}")
    return 0


def _ask(args: argparse.Namespace) -> list[requests.Response]:
    namespace, _, name = args.deployment.partition("/")
    wanted = {"namespace": namespace, "deployment": name}
    door = f"{args.node}/_lab/faults"
    if args.mend:
        return [requests.delete(door, json=wanted, timeout=10), _set_image(args, namespace, name, IMAGE)]
    if args.what == BAD_DEPLOY:
        return [_set_image(args, namespace, name, IMAGE.replace("v2.1.0", "v2.2.0-bad"))]
    return [requests.post(door, json={**wanted, "fault": args.what}, timeout=10)]


def _set_image(args: argparse.Namespace, namespace: str, name: str, image: str) -> requests.Response:
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "bizra-node", "image": image}]}}}}
    return requests.patch(
        f"{args.cluster}/apis/apps/v1/namespaces/{namespace}/deployments/{name}",
        json=patch,
        headers={"Content-Type": _MERGE},
        timeout=10,
    )
