"""Commands that look before: check, rbac, explain, replay."""

from __future__ import annotations

import json
import sys
from collections.abc import Sized
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from remediator.cli.common import (
    NUMBER,
    Command,
    common,
    json_option,
    print_json,
    wants_json,
)
from remediator.core.actions import Target
from remediator.core.alerts import MalformedNotification, parse_notification
from remediator.settings import Settings, read_settings

if TYPE_CHECKING:
    from remediator.alignment.check import Places


_THERE: click.Path = click.Path(exists=True, path_type=Path)
_REVIEW_WITHIN = timedelta(seconds=5)
_BESIDE = ("rules", "series", "routing", "docs")


def _beside_options(command: Command) -> Command:
    """Add the options that say what the policy is held against."""
    for option in (
        click.option("--without", multiple=True, type=click.Choice(_BESIDE), help="Leave this out."),
        click.option("--receiver", metavar="NAME", help="Alertmanager's receiver that posts to remediator."),
        click.option("--docs", type=_THERE, metavar="FOLDER", help="Documents that runbook links lead to."),
        click.option("--routing", type=_THERE, metavar="FILE", help="Alertmanager's configuration."),
        click.option("--series", type=_THERE, metavar="FILE", help="What is exported. [default: in --rules]"),
        click.option("--rules", type=_THERE, metavar="PATH", help="Prometheus rule file, or folder of them."),
    ):
        command = option(command)
    return command


def _so_many(things: Sized, word: str) -> str:
    return f"{len(things)} {word}{'' if len(things) == 1 else 's'}"


@click.command()
@common
@_beside_options
@click.option("--schema", is_flag=True, help="Print the policy's JSON Schema for editors and stop.")
@json_option
def check(schema: bool, as_json: bool, policy: Path | None, database: str | None, **beside: Any) -> None:
    """Check the policy, and that rules, routing and runbook fit it. Exit status 1 if there is a mistake.

    Every mistake is named by file and line. What is not given is taken from beside the policy, if it is
    there: prometheus-rules with series.yml, alertmanager/alertmanager.yml, docs.

    \b
    Examples:
      remediator check --policy policy.yaml
      remediator check --rules rules/ --routing alertmanager.yml --without docs
      remediator check --schema > policy.schema.json
    """
    from remediator.alignment.check import places_beside  # noqa: PLC0415 - parsers, only where needed
    from remediator.policy_schema import json_schema  # noqa: PLC0415

    if schema:
        print_json(json_schema())
        return
    path = read_settings(policy=policy, database=database).policy
    found, sound = _checked(places_beside(path, **beside))
    mistakes = found["mistakes"]
    if wants_json(as_json):
        print_json(found)
    elif not mistakes:
        click.secho(f"{path} is sound", fg="green", nl=False)
        click.echo(f": {sound}")
    for mistake in () if wants_json(as_json) else mistakes:
        click.secho(f"{mistake['file']}:{mistake['line']}: ", bold=True, nl=False)
        where = mistake["path"] if mistake["file"] == str(path) else ""  # rules are known by their name
        click.echo(f"{where}: {mistake['message']}" if where else mistake["message"])
    sys.exit(1 if mistakes else 0)


def _checked(places: Places) -> tuple[dict[str, Any], str]:
    """What `check` found, and what it read in one line."""
    from remediator.alignment.check import check_alignment  # noqa: PLC0415
    from remediator.policy_file import PolicyMistakes, read_policy  # noqa: PLC0415

    found: dict[str, Any] = {"policy": str(places.policy)}
    mistakes: list[dict[str, Any]] = []
    sound = ""
    try:
        policy = read_policy(places.policy)
    except PolicyMistakes as error:
        mistakes += [{"file": str(places.policy), **asdict(mistake)} for mistake in error.mistakes]
    else:
        targets = [str(target) for target in policy.targets]
        found |= {"digest": policy.digest, "mode": policy.mode.value, "targets": targets}
        numbers = _so_many(targets, "target"), _so_many(policy.playbooks, "playbook")
        sound = f"{', '.join(numbers)}, mode {policy.mode}"
    alignment = check_alignment(places)
    read = {name: getattr(places, name) for name in _BESIDE}
    if any(read.values()):
        sound += f"; fits {', '.join(str(place) for place in read.values() if place)}"
    found |= {"playbooks": alignment.playbooks, "alerts": alignment.alerts}
    found |= {"rules_version": alignment.rules_version}
    found |= {name: str(place) if place else None for name, place in read.items()}
    return {**found, "mistakes": mistakes + [asdict(mistake) for mistake in alignment.mistakes]}, sound


@click.command(short_help="Print the Roles and RoleBindings that the policy needs.")
@common
@click.option(
    "--service-account",
    default="remediator/remediator",
    show_default=True,
    metavar="NAMESPACE/NAME",
    help="Who is granted the permissions.",
)
def rbac(service_account: str, **overrides: Any) -> None:
    """Print the Roles and RoleBindings that the policy needs, and nothing beyond.

    One Role for each namespace of a target; each rule says what needs it.

    \b
    Examples:
      remediator rbac --policy policy.yaml
      remediator rbac --service-account oncall/remediator | kubectl apply -f -
    """
    from remediator.permissions import manifests  # noqa: PLC0415
    from remediator.policy_file import read_policy  # noqa: PLC0415

    try:
        namespace, name = service_account.split("/")
        owner = Target(namespace, name)  # the same two kinds of name
    except ValueError:
        raise click.UsageError(f"--service-account takes NAMESPACE/NAME, not {service_account!r}") from None
    policy = read_policy(read_settings(**overrides).policy)
    click.echo(manifests(policy, namespace=owner.namespace, account=owner.name), nl=False)


@click.command(short_help="Say what a notification would lead to now, and why.")
@common
@click.argument("file", type=click.File("rb"))
@click.option("--prometheus", metavar="URL", help="[env: REMEDIATOR_PROMETHEUS]")
@click.option("--kubeconfig", type=Path, metavar="FILE", help="[env: REMEDIATOR_KUBECONFIG]")
@json_option
def explain(file: Any, as_json: bool, **overrides: Any) -> None:
    """Say what would happen to a notification now: the decision, each step's and each guardrail's verdict.

    FILE is an Alertmanager webhook body, or - for standard input. Nothing is written and nothing is done.

    \b
    Examples:
      remediator explain tests/payloads/firing.json
      remediator explain - --json < tests/payloads/firing.json
    """
    from remediator.permissions import needed_on_each  # noqa: PLC0415
    from remediator.render import show_foresights  # noqa: PLC0415
    from remediator.views import explained  # noqa: PLC0415
    from remediator.wiring import foreseeing  # noqa: PLC0415
    from remediator.worker import utc_now  # noqa: PLC0415

    notification = parse_notification(_decode(file.read()))
    settings = read_settings(**overrides)
    with foreseeing(settings) as remediator:
        if remediator.settings != settings:
            click.echo("no journal yet: told as if nothing had ever happened", err=True)
        policy = remediator.policy.current()
        # As a running process asks it, so that both say the same of a step that may not be taken.
        remediator.cluster.review(needed_on_each(policy), within=_REVIEW_WITHIN)
        answer = explained(notification, remediator.lifecycle.foresee(notification, now=utc_now()))
    if wants_json(as_json):
        print_json(answer)
    else:
        show_foresights(answer)


def _decode(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise MalformedNotification(f"the file is not JSON: {error}") from None


@click.command(short_help="Post a notification to a running remediator, as Alertmanager.")
@common
@click.argument("file", type=click.File("rb"), required=False)
@click.option("--from-journal", "number", type=NUMBER, metavar="ID", help="A notification received before.")
@click.option("--url", default="http://127.0.0.1:8080/webhook", show_default=True, metavar="URL")
@click.option("--token-file", type=Path, metavar="FILE", help="[env: REMEDIATOR_TOKEN_FILE]")
def replay(file: Any, number: int | None, url: str, **overrides: Any) -> None:
    """Post a notification to a running remediator, as Alertmanager would.

    \b
    Examples:
      remediator replay tests/payloads/firing.json
      remediator replay --from-journal 17 --url http://remediator:8080/webhook
    """
    from remediator.wiring import find_journal  # noqa: PLC0415

    settings = read_settings(**overrides)
    if (file is None) == (number is None):
        raise click.UsageError("give either FILE or --from-journal ID")
    if number is not None:
        body = find_journal(settings).notification(number)
        if body is None:
            raise click.ClickException(f"the journal has no notification {number}")
        raw = body.encode()
    else:
        raw = file.read()
    _post(url, raw, settings)


def _post(url: str, raw: bytes, settings: Settings) -> None:
    import requests  # noqa: PLC0415

    headers = {"Content-Type": "application/json"}
    if settings.token_file is not None:
        tokens = [line.strip() for line in settings.token_file.read_bytes().splitlines() if line.strip()]
        if not tokens:
            raise click.ClickException(f"the token file {settings.token_file} is empty")
        headers["Authorization"] = f"Bearer {tokens[0].decode('latin-1')}"
    try:
        response = requests.post(url, data=raw, headers=headers, timeout=(3, 30), allow_redirects=False)
    except requests.RequestException as error:
        raise click.ClickException(f"{url}: {type(error).__name__}; is `remediator serve` running?") from None
    click.echo(f"HTTP {response.status_code}", err=True)
    click.echo(response.text.rstrip())
    sys.exit(0 if response.ok else 1)
