"""What the commands share: where things are, what is printed, how expected errors are shown."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click

from remediator.core.alerts import MalformedNotification
from remediator.core.durations import parse_duration
from remediator.ports import JournalUnavailable
from remediator.settings import SettingMistake

Command = TypeVar("Command", bound=Callable[..., Any])

NUMBER = click.IntRange(1, 2**63 - 1)  # of a row: what is larger makes the database's driver fail
EXPECTED = (JournalUnavailable, SettingMistake, MalformedNotification)


class DurationType(click.ParamType[timedelta]):
    name = "duration"

    def convert(self, value: Any, param: Any, ctx: Any) -> timedelta:
        try:
            return value if isinstance(value, timedelta) else parse_duration(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


@contextmanager
def explained_errors() -> Iterator[None]:
    """Show what is expected to go wrong as one message, without a traceback."""
    from remediator.policy_file import PolicyMistakes  # noqa: PLC0415 - pydantic, only where needed

    try:
        yield
    except PolicyMistakes as error:
        raise click.ClickException(f"the policy has mistakes:\n{error}") from None
    except OSError as error:
        named = error.strerror and error.filename  # else it has words of its own
        raise click.ClickException(f"{error.filename}: {error.strerror}" if named else str(error)) from None
    except EXPECTED as error:
        raise click.ClickException(str(error)) from None


def common(command: Command) -> Command:
    """Add the options that say where things are."""

    @wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        with explained_errors():
            return command(*args, **kwargs)

    for option in (
        click.option("--database", metavar="URL", help="Journal. [env: REMEDIATOR_DATABASE]"),
        click.option("--policy", metavar="FILE", type=Path, help="Policy file. [env: REMEDIATOR_POLICY]"),
    ):
        wrapped = option(wrapped)
    return wrapped  # type: ignore[return-value]


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON (the default in a pipe).")


def wants_json(as_json: bool) -> bool:
    return as_json or not sys.stdout.isatty()


def print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))
