"""Commands for whoever is on call: incidents, pause, resume, approve, reject, acknowledge."""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import click

from remediator.cli.common import (
    NUMBER,
    Command,
    DurationType,
    common,
    json_option,
    print_json,
    wants_json,
)
from remediator.core.actions import Target
from remediator.core.incidents import BREAKER
from remediator.settings import read_settings


@click.command()
@common
@click.argument("number", type=NUMBER, required=False)
@click.option("--open", "open_only", is_flag=True, help="Only incidents that are not closed.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 1000))
@json_option
def incidents(number: int | None, open_only: bool, limit: int, as_json: bool, **overrides: Any) -> None:
    """List the incidents, or tell the whole story of one.

    \b
    Examples:
      remediator incidents --open
      remediator incidents 7
    """
    from remediator.render import show_incidents, show_story  # noqa: PLC0415
    from remediator.views import incident_record, story_record  # noqa: PLC0415
    from remediator.wiring import open_journal  # noqa: PLC0415

    journal = open_journal(read_settings(**overrides))
    if number is None:
        records = [incident_record(found) for found in journal.incidents(open_only=open_only, limit=limit)]
        print_json(records) if wants_json(as_json) else show_incidents(records)
        return
    story = journal.story(number)
    if story is None:
        raise click.ClickException(f"there is no incident {number}")
    record = story_record(story)
    print_json(record) if wants_json(as_json) else show_story(record)


def _scope(target: str | None, namespace: str | None, playbook: str | None) -> str | None:
    given = [name for name in (target, namespace, playbook) if name is not None]
    if "" in given:  # an empty shell variable must not mean everything
        raise click.UsageError("--target, --namespace and --playbook take a name")
    if len(given) > 1:
        raise click.UsageError("give one of --target, --namespace, --playbook, or none for everything")
    if target:
        try:
            return f"target:{Target(*target.split('/'))}"
        except (TypeError, ValueError):
            raise click.UsageError(f"--target takes NAMESPACE/DEPLOYMENT, not {target!r}") from None
    if namespace:
        return f"namespace:{namespace}"
    return f"playbook:{playbook}" if playbook else None


def _scope_options(command: Command) -> Command:
    for option in (
        click.option("--playbook", metavar="ALERT", help="Only this alert's playbook."),
        click.option("--namespace", help="Only this namespace."),
        click.option("--target", metavar="NAMESPACE/DEPLOYMENT", help="Only this Deployment."),
    ):
        command = option(command)
    return command


def _me() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def _person(_ctx: click.Context, _param: click.Parameter, value: str) -> str:
    if value == BREAKER:
        raise click.BadParameter(f"{BREAKER!r} is the breaker itself; give a person's name")
    return value


_by_option = click.option(
    "--by", default=_me, callback=_person, show_default="the user", help="Who does this."
)


@click.command()
@common
@_scope_options
@click.option("--why", required=True, help="For whoever finds it paused.")
@click.option("--for", "span", type=DurationType(), help="End by itself after this long, e.g. 2h.")
@_by_option
def pause(
    why: str,
    span: timedelta | None,
    by: str,
    target: str | None,
    namespace: str | None,
    playbook: str | None,
    **overrides: Any,
) -> None:
    """Stop acting: everything, or one namespace, target or playbook. Takes effect before the next write.

    Alerts are still received and recorded. Survives restarts; ended by `remediator resume`.

    \b
    Examples:
      remediator pause --why "I do not trust it tonight"
      remediator pause --target bizra-testnet/bizra-apex --for 2h --why "database migration"
    """
    from remediator.wiring import open_journal  # noqa: PLC0415
    from remediator.worker import utc_now  # noqa: PLC0415

    scope = _scope(target, namespace, playbook) or "all"
    journal, now = open_journal(read_settings(**overrides)), utc_now()
    with journal.transaction() as tx:
        tx.engage_pause(scope=scope, by=by, why=why, until=now + span if span else None, now=now)
    until = f"until {now + span:%Y-%m-%d %H:%M} UTC" if span else "until somebody resumes"
    click.echo(f"paused: {scope} by {by}, {until}")


@click.command()
@common
@_scope_options
@_by_option
def resume(
    by: str, target: str | None, namespace: str | None, playbook: str | None, **overrides: Any
) -> None:
    """Act again: end the pauses of that scope, or all of them. Also closes the breaker.

    \b
    Examples:
      remediator resume
      remediator resume --target bizra-testnet/bizra-apex
    """
    from remediator.wiring import open_journal  # noqa: PLC0415
    from remediator.worker import utc_now  # noqa: PLC0415

    journal = open_journal(read_settings(**overrides))
    ended = journal.end_pauses(scope=_scope(target, namespace, playbook), by=by, now=utc_now())
    click.echo(f"resumed: {ended} pause{'' if ended == 1 else 's'} ended by {by}")


@click.command()
@common
@click.argument("number", type=NUMBER)
@_by_option
def approve(number: int, by: str, **overrides: Any) -> None:
    """Agree to the action that incident NUMBER waits to take (mode: approve).

    \b
    Example:
      remediator approve 7
    """
    _a_persons_word(number, overrides, lambda persons, now: persons.approve(number, by=by, now=now))


@click.command()
@common
@click.argument("number", type=NUMBER)
@_by_option
def reject(number: int, by: str, **overrides: Any) -> None:
    """Refuse the action that incident NUMBER waits to take: it is escalated.

    \b
    Example:
      remediator reject 7 --by ada
    """
    _a_persons_word(number, overrides, lambda persons, now: persons.reject(number, by=by, now=now))


@click.command()
@common
@click.argument("number", type=NUMBER)
@_by_option
def acknowledge(number: int, by: str, **overrides: Any) -> None:
    """Close the escalated incident NUMBER: the target may be acted on again.

    \b
    Example:
      remediator acknowledge 7
    """
    _a_persons_word(number, overrides, lambda persons, now: persons.acknowledge(number, by=by, now=now))


def _a_persons_word(number: int, overrides: dict[str, Any], say: Callable[[Any, Any], str]) -> None:
    from remediator.lifecycle.person import NotNow, Person  # noqa: PLC0415
    from remediator.wiring import open_journal  # noqa: PLC0415
    from remediator.worker import utc_now  # noqa: PLC0415

    try:
        click.echo(f"incident {number}: {say(Person(open_journal(read_settings(**overrides))), utc_now())}")
    except NotNow as error:
        raise click.ClickException(str(error)) from None
