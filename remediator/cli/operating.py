"""Commands for whoever is on call: incidents, pause, resume, approve, reject, acknowledge."""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
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
from remediator.core.policy import Policy
from remediator.settings import read_settings


@click.command(short_help="List the incidents and what holds the machine, or tell one.")
@common
@click.argument("number", type=NUMBER, required=False)
@click.option("--open", "open_only", is_flag=True, help="Only incidents that are not closed.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 1000))
@json_option
def incidents(number: int | None, open_only: bool, limit: int, as_json: bool, **overrides: Any) -> None:
    """List the incidents and what holds the machine, or tell the whole story of one.

    \b
    Examples:
      remediator incidents --open
      remediator incidents 7
    """
    from remediator.render import show_listing, show_story  # noqa: PLC0415
    from remediator.views import listing, story_record  # noqa: PLC0415
    from remediator.wiring import find_journal  # noqa: PLC0415
    from remediator.worker import utc_now  # noqa: PLC0415

    settings = read_settings(**overrides)
    journal = find_journal(settings)
    if number is None:
        found = journal.incidents(open_only=open_only, limit=limit)
        listed = listing(found, journal.pauses(now=utc_now()), journal.storm())
        print_json(listed) if wants_json(as_json) else show_listing(listed)
        return
    story = journal.story(number)
    if story is None:
        raise click.ClickException(f"there is no incident {number}")
    record = story_record(story, _policy_if_any(settings.policy, quietly=True))
    print_json(record) if wants_json(as_json) else show_story(record)


def _scope(target: str | None, namespace: str | None, playbook: str | None) -> str | None:
    given = [name for name in (target, namespace, playbook) if name is not None]
    if "" in given:  # an empty shell variable must not mean everything
        raise click.UsageError("--target, --namespace and --playbook take a name")
    if len(given) > 1:
        raise click.UsageError("give one of --target, --namespace, --playbook, or none for everything")
    if target:
        try:
            return f"target:{Target.parse(target)}"
        except ValueError:
            wanted = "NAMESPACE/DEPLOYMENT or NAMESPACE/statefulset/NAME"
            raise click.UsageError(f"--target takes {wanted}, not {target!r}") from None
    if namespace:
        return f"namespace:{namespace}"
    return f"playbook:{playbook}" if playbook else None


def _scope_options(command: Command) -> Command:
    for option in (
        click.option("--playbook", metavar="ALERT", help="Only this alert's playbook."),
        click.option("--namespace", help="Only this namespace."),
        click.option(
            "--target",
            metavar="NAMESPACE/DEPLOYMENT",
            help="Only this Deployment, or NAMESPACE/statefulset/NAME.",
        ),
    ):
        command = option(command)
    return command


def _me() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def _reason(_ctx: click.Context, _param: click.Parameter, value: str) -> str:
    if not value.strip():  # an empty shell variable says nothing to whoever finds it paused
        raise click.BadParameter("say why, for whoever finds it paused")
    return value


def _person(_ctx: click.Context, _param: click.Parameter, value: str) -> str:
    if value == BREAKER:
        raise click.BadParameter(f"{BREAKER!r} is the breaker itself; give a person's name")
    return value


_by_option = click.option(
    "--by", default=_me, callback=_person, show_default="the user", help="Who does this."
)


@click.command(short_help="Stop acting: everything, a namespace, a target or a playbook.")
@common
@_scope_options
@click.option("--why", required=True, callback=_reason, help="For whoever finds it paused.")
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
    from remediator.wiring import find_journal  # noqa: PLC0415
    from remediator.worker import utc_now  # noqa: PLC0415

    scope = _scope(target, namespace, playbook) or "all"
    settings = read_settings(**overrides)
    journal, now = find_journal(settings), utc_now()
    with journal.transaction() as tx:
        tx.engage_pause(scope=scope, by=by, why=why, until=now + span if span else None, now=now)
    until = f"until {now + span:%Y-%m-%d %H:%M} UTC" if span else "until somebody resumes"
    click.echo(f"paused: {scope} by {by}, {until}")
    policy = _policy_if_any(settings.policy) if scope != "all" else None
    if policy is not None and not _names_something(policy, target, namespace, playbook):
        told = f"careful: {settings.policy} has no {scope.replace(':', ' ', 1)}, so this stops nothing of it"
        click.secho(told, fg="yellow", err=True)


def _names_something(policy: Policy, target: str | None, namespace: str | None, playbook: str | None) -> bool:
    """Whether the policy would do anything there: a slip of the pen must not look like a stop."""
    return (
        target in {str(one) for one in policy.targets}
        or namespace in {one.namespace for one in policy.targets}
        or playbook in policy.playbooks
    )


@click.command(short_help="Act again: end a pause, or close the breaker.")
@common
@click.option("--everything", is_flag=True, help="End every pause, whoever set it, and close the breaker.")
@click.option("--breaker", is_flag=True, help="Close the breaker, and leave the pauses of people.")
@_scope_options
@_by_option
def resume(
    by: str,
    *,
    target: str | None,
    namespace: str | None,
    playbook: str | None,
    breaker: bool,
    everything: bool,
    **overrides: Any,
) -> None:
    """Act again: end what the same words set as a pause. Other pauses stay, and are named.

    \b
    Examples:
      remediator resume
      remediator resume --target bizra-testnet/bizra-apex
      remediator resume --breaker
      remediator resume --everything
    """
    from remediator.views import ended_by  # noqa: PLC0415
    from remediator.wiring import find_journal  # noqa: PLC0415
    from remediator.worker import utc_now  # noqa: PLC0415

    scope = _scope(target, namespace, playbook)
    if (scope is not None) + breaker + everything > 1:
        raise click.UsageError("give one of --target, --namespace, --playbook, --breaker, --everything")
    journal, now = find_journal(read_settings(**overrides)), utc_now()
    if everything:
        ended = journal.end_pauses(scope=None, by=by, now=now)
    else:
        ended = journal.end_pauses(scope=scope or "all", breaker=breaker, by=by, now=now)
    click.echo(f"resumed: {ended} pause{'' if ended == 1 else 's'} ended by {by}")
    for left in journal.pauses(now=now):
        told = f"still paused: {left.scope} by {left.by}: {left.why} (ends by: {ended_by(left)})"
        click.secho(told, fg="yellow", err=True)


def _meant_options(command: Command) -> Command:
    for option in (
        click.option("--action", metavar="WORDS", help="Only if it waits for this action, as it is shown."),
        click.option("--step", type=NUMBER, help="Only if it waits for the playbook's step of this number."),
    ):
        command = option(command)
    return command


@click.command(short_help="Agree to the action that an incident waits to take.")
@common
@click.argument("number", type=NUMBER)
@_meant_options
@_by_option
def approve(number: int, step: int | None, action: str | None, by: str, **overrides: Any) -> None:
    """Agree to the action that incident NUMBER waits to take (mode: approve).

    With --action or --step nothing is approved if another one waits by then.

    \b
    Example:
      remediator approve 7 --action "rolling restart"
    """
    _on_what_waits("approve", number, step, action, by, overrides)


@click.command(short_help="Refuse the action that an incident waits to take.")
@common
@click.argument("number", type=NUMBER)
@_meant_options
@_by_option
def reject(number: int, step: int | None, action: str | None, by: str, **overrides: Any) -> None:
    """Refuse the action that incident NUMBER waits to take: it is escalated.

    With --action or --step nothing is refused if another one waits by then.

    \b
    Example:
      remediator reject 7 --action "rolling restart" --by ada
    """
    _on_what_waits("reject", number, step, action, by, overrides)


@click.command(short_help="Close an escalated incident: its target may be acted on again.")
@common
@click.argument("number", type=NUMBER, required=False)
@click.option("--storm", is_flag=True, help="Close the storm and all incidents that it holds.")
@_by_option
def acknowledge(number: int | None, storm: bool, by: str, **overrides: Any) -> None:
    """Close the escalated incident NUMBER: the target may be acted on again.

    \b
    Examples:
      remediator acknowledge 7
      remediator acknowledge --storm
    """
    if (number is None) != storm:
        raise click.UsageError("give the NUMBER of an incident, or --storm")
    if number is None:
        _a_persons_word("storm", overrides, lambda persons, now: persons.acknowledge_storm(by=by, now=now))
        return
    _a_persons_word(number, overrides, lambda persons, now: persons.acknowledge(number, by=by, now=now))


def _on_what_waits(
    word: str, number: int, step: int | None, action: str | None, by: str, overrides: dict[str, Any]
) -> None:
    from remediator.lifecycle.person import Meant  # noqa: PLC0415

    meant = Meant(step=step, action=action)
    _a_persons_word(
        number,
        overrides,
        lambda persons, now: getattr(persons, word)(number, by=by, now=now, meant=meant),
    )


def _a_persons_word(about: int | str, overrides: dict[str, Any], say: Callable[[Any, Any], str]) -> None:
    from remediator.lifecycle.person import NotNow, Person  # noqa: PLC0415
    from remediator.wiring import find_journal  # noqa: PLC0415
    from remediator.worker import utc_now  # noqa: PLC0415

    settings = read_settings(**overrides)
    persons = Person(find_journal(settings), _policy_if_any(settings.policy))
    try:
        said = say(persons, utc_now())
    except NotNow as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"incident {about}: {said}" if isinstance(about, int) else f"{about}: {said}")


def _policy_if_any(path: Path, *, quietly: bool = False) -> Policy | None:
    """What a person says or reads must not depend on the policy file."""
    from remediator.policy_file import PolicyMistakes, read_policy  # noqa: PLC0415

    try:
        return read_policy(path)
    except (PolicyMistakes, OSError) as error:
        if not quietly:
            click.echo(f"without the policy, which cannot be used: {error}", err=True)
        return None
