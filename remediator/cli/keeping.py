"""Commands for the journal itself: backup and prune."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from remediator.cli.common import common, json_option, print_json, wants_json
from remediator.settings import read_settings


@click.command(short_help="Copy the SQLite journal into a file while it is being written.")
@common
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def backup(file: Path, **overrides: Any) -> None:
    """Copy the SQLite journal into FILE while it is being written.

    The copy is the journal as it was at one moment, checked, and readable by you only; FILE must not exist.
    To restore, stop serving and put it in the journal's place, without the files -wal and -shm beside it.
    For PostgreSQL use pg_dump, which also copies at one moment.

    \b
    Examples:
      remediator backup /backup/remediator-$(date +%F).db
      pg_dump --format=custom --file=remediator.dump "$REMEDIATOR_DATABASE"
    """
    from remediator.wiring import back_up  # noqa: PLC0415

    settings = read_settings(**overrides)
    if not settings.database.startswith("sqlite:"):
        raise click.ClickException(f"the journal is PostgreSQL: pg_dump --format=custom --file={file} URL")
    size = back_up(settings, file)
    click.echo(f"{file}: {size:,} bytes, checked")


@click.command(short_help="Delete from the journal what is older than is to be kept.")
@common
@json_option
def prune(as_json: bool, **overrides: Any) -> None:
    """Delete from the journal what is older, or more, than is to be kept. `serve` does so each hour.

    Goes by the settings REMEDIATOR_KEEP_... Open incidents, all that a guardrail may ask for, and the sums
    that metrics show stay. Needs the policy: it says how far the guardrails look back.

    \b
    Example:
      remediator prune
    """
    from remediator.wiring import find_journal, prune_journal, read_policy  # noqa: PLC0415
    from remediator.worker import utc_now  # noqa: PLC0415

    settings = read_settings(**overrides)
    gone = prune_journal(find_journal(settings), settings, read_policy(settings.policy), now=utc_now())
    if wants_json(as_json):
        print_json(gone)
    else:
        click.echo("pruned: " + ", ".join(f"{count} {name}" for name, count in gone.items()))
