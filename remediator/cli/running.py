"""Commands that run something: serve and demo."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from remediator.cli.common import (
    common,
)
from remediator.logs import configure_logs
from remediator.settings import read_settings


@click.command()
@common
@click.option("--listen", metavar="HOST:PORT", help="Where to listen. [env: REMEDIATOR_LISTEN]")
@click.option("--prometheus", metavar="URL", help="[env: REMEDIATOR_PROMETHEUS]")
@click.option("--kubeconfig", type=Path, metavar="FILE", help="[env: REMEDIATOR_KUBECONFIG]")
@click.option("--token-file", type=Path, metavar="FILE", help="Bearer tokens. [env: REMEDIATOR_TOKEN_FILE]")
@click.option("--workers", type=click.IntRange(1), help="Processes. [env: REMEDIATOR_WORKERS]")
@click.option("--insecure", is_flag=True, default=None, help="Serve without a token, on loopback only.")
def serve(**overrides: Any) -> None:
    """Receive Alertmanager's notifications and act on them.

    \b
    Examples:
      remediator serve --token-file token --prometheus http://prometheus:9090
      REMEDIATOR_LISTEN=0.0.0.0:8080 REMEDIATOR_TOKEN_FILE=/run/secrets/token remediator serve
    """
    from remediator.serve import Unservable  # noqa: PLC0415 - gunicorn, only where needed
    from remediator.serve import serve as run  # noqa: PLC0415

    settings = read_settings(**overrides)
    configure_logs(settings.log)
    try:
        run(settings)
    except Unservable as error:
        raise click.ClickException(str(error)) from None


@click.command(
    short_help="Play five incidents on a simulated cluster and tell the story.",
    add_help_option=False,
    context_settings={"ignore_unknown_options": True},
)
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
def demo(args: tuple[str, ...]) -> None:
    """Play five incidents against a simulated cluster and tell the story. No cluster needed.

    Uses prometheus and alertmanager when they are on PATH, else a stand-in that sends the same
    notifications. Exit status 0 only when each incident ended as it should. `demo --help` has options.
    """
    try:
        from remediator.lab.story import run  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise click.ClickException(f"{error}: pip install 'remediator[demo]'") from None
    sys.exit(run(list(args)))
