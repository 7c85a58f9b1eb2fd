"""The command line. Coloured on a terminal, JSON in a pipe or with --json."""

from __future__ import annotations

import click

from remediator import __version__
from remediator.cli import checking, keeping, operating, running


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__)
def main() -> None:
    """Turn Prometheus alerts into bounded, verified, exactly-once actions on Kubernetes Deployments.

    Settings come from the environment (REMEDIATOR_...) or from options; what may be done is in the policy
    file.

    \b
    Examples:
      remediator demo                               see five incidents, no cluster needed
      remediator check                              is the policy sound?
      remediator serve                              receive alerts
      remediator explain notification.json          what would happen to this now, and why
      remediator incidents                          what happened
      remediator pause --why "database migration"   stop it
    """


for _command in (
    running.demo,
    running.serve,
    checking.check,
    checking.explain,
    checking.rbac,
    checking.replay,
    keeping.backup,
    keeping.prune,
    operating.acknowledge,
    operating.approve,
    operating.incidents,
    operating.pause,
    operating.reject,
    operating.resume,
):
    main.add_command(_command)
