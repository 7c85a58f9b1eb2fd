"""`python -m remediator.lab`: the parts of the simulated world, each as a program of its own.

Each subcommand is a module with `add_arguments(parser)` and `run(args) -> int`, imported only
when it is asked for: the cluster needs no PromQL parser, and the node no JSON Patch.
"""

from __future__ import annotations

import argparse
import importlib
import sys

PARTS = {
    "cluster": ("remediator.lab.cluster", "a simulated Kubernetes API server that kubectl works against"),
    "node": ("remediator.lab.node", "a simulated BIZRA node that exports metrics"),
    "prometheus": ("remediator.lab.prometheus", "a small stand-in for Prometheus"),
    "world": ("remediator.lab.world", "cluster and node in one, for other containers to reach"),
    "prepare": ("remediator.lab.prepared", "write the shipped configuration at a speed, and make secrets"),
    "break": ("remediator.lab.breaking", "break the simulated node, or mend it"),
}
PROGRAM = "python -m remediator.lab"


def main(argv: list[str] | None = None) -> int:
    arguments = sys.argv[1:] if argv is None else argv
    if not arguments or arguments[0] not in PARTS:
        return _overview(arguments)
    name, *rest = arguments
    module = importlib.import_module(PARTS[name][0])
    parser = argparse.ArgumentParser(
        prog=f"{PROGRAM} {name}", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    module.add_arguments(parser)
    return int(module.run(parser.parse_args(rest)))


def _overview(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Parts of a simulated world for trying out the remediator.",
        epilog="\n".join(
            ["each part has its own --help, for example:", *(f"  {PROGRAM} {name} --help" for name in PARTS)]
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parts = parser.add_subparsers(title="parts", metavar="PART", required=True)
    for name, (_module, said) in PARTS.items():
        parts.add_parser(name, help=said)
    parser.parse_args(arguments)
    return 0  # not reached: argparse leaves with a message


if __name__ == "__main__":
    sys.exit(main())
