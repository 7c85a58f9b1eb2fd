"""The command line. Coloured on a terminal, JSON in a pipe or with --json."""

from __future__ import annotations

import getpass
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import timedelta
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from remediator import __version__
from remediator.core.actions import Target
from remediator.core.alerts import MalformedNotification, parse_notification
from remediator.core.durations import parse_duration
from remediator.core.incidents import BREAKER
from remediator.logs import configure_logs
from remediator.ports import JournalUnavailable
from remediator.settings import SettingMistake, Settings, read_settings

if TYPE_CHECKING:
    from remediator.alignment.check import Places

Command = TypeVar("Command", bound=Callable[..., Any])

_NUMBER = click.IntRange(1, 2**63 - 1)  # of a row: what is larger makes the database's driver fail
_EXPECTED = (JournalUnavailable, SettingMistake, OSError, MalformedNotification)


class DurationType(click.ParamType[timedelta]):
    name = "duration"

    def convert(self, value: Any, param: Any, ctx: Any) -> timedelta:
        try:
            return value if isinstance(value, timedelta) else parse_duration(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


@contextmanager
def _explained_errors() -> Iterator[None]:
    """Show what is expected to go wrong as one message, without a traceback."""
    from remediator.policy_file import PolicyMistakes  # noqa: PLC0415 - pydantic, only where needed

    try:
        yield
    except PolicyMistakes as error:
        raise click.ClickException(f"the policy has mistakes:\n{error}") from None
    except _EXPECTED as error:
        raise click.ClickException(str(error)) from None


def _common(command: Command) -> Command:
    """Add the options that say where things are."""

    @wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        with _explained_errors():
            return command(*args, **kwargs)

    for option in (
        click.option("--database", metavar="URL", help="Journal. [env: REMEDIATOR_DATABASE]"),
        click.option("--policy", metavar="FILE", type=Path, help="Policy file. [env: REMEDIATOR_POLICY]"),
    ):
        wrapped = option(wrapped)
    return wrapped  # type: ignore[return-value]


_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON (the default in a pipe).")


def _wants_json(as_json: bool) -> bool:
    return as_json or not sys.stdout.isatty()


def _print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


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


@main.command()
@_common
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


_THERE: click.Path = click.Path(exists=True, path_type=Path)
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


@main.command()
@_common
@_beside_options
@click.option("--schema", is_flag=True, help="Print the policy's JSON Schema for editors and stop.")
@_json_option
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
        _print_json(json_schema())
        return
    path = read_settings(policy=policy, database=database).policy
    found, sound = _checked(places_beside(path, **beside))
    mistakes = found["mistakes"]
    if _wants_json(as_json):
        _print_json(found)
    elif not mistakes:
        click.secho(f"{path} is sound", fg="green", nl=False)
        click.echo(f": {sound}")
    for mistake in () if _wants_json(as_json) else mistakes:
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
        sound = f"{len(targets)} targets, {len(policy.playbooks)} playbooks, mode {policy.mode}"
    alignment = check_alignment(places)
    read = {name: getattr(places, name) for name in _BESIDE}
    if any(read.values()):
        sound += f"; fits {', '.join(str(place) for place in read.values() if place)}"
    found |= {"playbooks": alignment.playbooks, "alerts": alignment.alerts}
    found |= {"rules_version": alignment.rules_version}
    found |= {name: str(place) if place else None for name, place in read.items()}
    return {**found, "mistakes": mistakes + [asdict(mistake) for mistake in alignment.mistakes]}, sound


@main.command()
@_common
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
        owner = Target(*service_account.split("/"))  # the same two kinds of name
    except (TypeError, ValueError):
        raise click.UsageError(f"--service-account takes NAMESPACE/NAME, not {service_account!r}") from None
    policy = read_policy(read_settings(**overrides).policy)
    click.echo(manifests(policy, namespace=owner.namespace, account=owner.deployment), nl=False)


@main.command()
@_common
@click.argument("file", type=click.File("rb"))
@click.option("--prometheus", metavar="URL", help="[env: REMEDIATOR_PROMETHEUS]")
@click.option("--kubeconfig", type=Path, metavar="FILE", help="[env: REMEDIATOR_KUBECONFIG]")
@_json_option
def explain(file: Any, as_json: bool, **overrides: Any) -> None:
    """Say what would happen to a notification now: the decision, each step's and each guardrail's verdict.

    FILE is an Alertmanager webhook body, or - for standard input. Nothing is written and nothing is done.

    \b
    Examples:
      remediator explain tests/payloads/hive_down.json
      curl -s alertmanager/api/... | remediator explain - --json
    """
    from remediator.render import show_foresights  # noqa: PLC0415
    from remediator.views import explained  # noqa: PLC0415
    from remediator.wiring import build  # noqa: PLC0415
    from remediator.worker import utc_now  # noqa: PLC0415

    notification = parse_notification(_decode(file.read()))
    remediator = build(read_settings(**overrides))
    answer = explained(notification, remediator.lifecycle.foresee(notification, now=utc_now()))
    if _wants_json(as_json):
        _print_json(answer)
    else:
        show_foresights(answer)


def _decode(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise MalformedNotification(f"the file is not JSON: {error}") from None


@main.command()
@_common
@click.argument("file", type=click.File("rb"), required=False)
@click.option("--from-journal", "number", type=_NUMBER, metavar="ID", help="A notification received before.")
@click.option("--url", default="http://127.0.0.1:8080/webhook", show_default=True, metavar="URL")
@click.option("--token-file", type=Path, metavar="FILE", help="[env: REMEDIATOR_TOKEN_FILE]")
def replay(file: Any, number: int | None, url: str, **overrides: Any) -> None:
    """Post a notification to a running remediator, as Alertmanager would.

    \b
    Examples:
      remediator replay tests/payloads/hive_down.json
      remediator replay --from-journal 17 --url http://remediator:8080/webhook
    """
    from remediator.wiring import open_journal  # noqa: PLC0415

    settings = read_settings(**overrides)
    if (file is None) == (number is None):
        raise click.UsageError("give either FILE or --from-journal ID")
    if number is not None:
        body = open_journal(settings).notification(number)
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


@main.command()
@_common
@click.argument("number", type=_NUMBER, required=False)
@click.option("--open", "open_only", is_flag=True, help="Only incidents that are not closed.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 1000))
@_json_option
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
        _print_json(records) if _wants_json(as_json) else show_incidents(records)
        return
    story = journal.story(number)
    if story is None:
        raise click.ClickException(f"there is no incident {number}")
    record = story_record(story)
    _print_json(record) if _wants_json(as_json) else show_story(record)


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


@main.command()
@_common
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


@main.command()
@_common
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


@main.command()
@_common
@click.argument("number", type=_NUMBER)
@_by_option
def approve(number: int, by: str, **overrides: Any) -> None:
    """Agree to the action that incident NUMBER waits to take (mode: approve).

    \b
    Example:
      remediator approve 7
    """
    _a_persons_word(number, overrides, lambda persons, now: persons.approve(number, by=by, now=now))


@main.command()
@_common
@click.argument("number", type=_NUMBER)
@_by_option
def reject(number: int, by: str, **overrides: Any) -> None:
    """Refuse the action that incident NUMBER waits to take: it is escalated.

    \b
    Example:
      remediator reject 7 --by ada
    """
    _a_persons_word(number, overrides, lambda persons, now: persons.reject(number, by=by, now=now))


@main.command()
@_common
@click.argument("number", type=_NUMBER)
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


@main.command(add_help_option=False, context_settings={"ignore_unknown_options": True})
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


if __name__ == "__main__":
    main()
