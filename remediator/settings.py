"""Environment to settings: where things are. What may be done is in the policy file."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import timedelta
from pathlib import Path
from typing import Any

from remediator.core.durations import format_duration, parse_duration

LOOPBACK = ("127.0.0.1", "::1", "localhost")
_LARGEST_PORT = 65535


class SettingMistake(ValueError):
    """An environment variable cannot be used. The message names it and says what it takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Each field is set by `REMEDIATOR_` and its name in capitals."""

    policy: Path = Path("policy.yaml")
    """The policy file; it is read again when it changes."""
    database: str = "sqlite:///remediator.db"
    """SQLAlchemy URL of the journal, SQLite or PostgreSQL."""
    prometheus: str = "http://127.0.0.1:9090"
    """Base URL of the Prometheus that verification asks."""
    alertmanager: tuple[str, ...] = ()
    """Base URLs of all Alertmanagers, with commas between: what fires there is looked up as well."""
    receiver: str = "remediator"
    """Name of Alertmanager's receiver that is us."""
    reconcile: timedelta = timedelta(minutes=1)
    """How often Alertmanager is asked what fires."""
    kubeconfig: Path | None = None
    """A kubeconfig file; without it the pod's service account, else KUBECONFIG or ~/.kube/config."""
    listen: str = "127.0.0.1:8080"
    """HOST:PORT of the webhook."""
    token_file: Path | None = None
    """Bearer tokens for the webhook, one a line: two are valid at once, so that they can be rotated."""
    insecure: bool = False
    """Run without a token; only on loopback."""
    workers: int = 1
    """gunicorn worker processes, each with its worker thread."""
    threads: int = 8
    """Web threads in each process."""
    max_body: int = 16 * 1024 * 1024
    """Largest accepted body in bytes."""
    recheck: timedelta = timedelta(seconds=15)
    """How often a held incident is looked at."""
    poll: timedelta = timedelta(seconds=2)
    """How often a rollout is looked at."""
    lease: timedelta = timedelta(seconds=25)
    """How long a worker may take for one step before another takes over."""
    idle: timedelta = timedelta(seconds=1)
    """How often a worker looks for incidents that another process received."""
    keep_incidents: timedelta = timedelta(days=90)
    """How long closed incidents are kept, from 1d to 366d."""
    keep_most_incidents: int = 100_000
    """How many closed incidents are kept at most."""
    keep_notifications: timedelta = timedelta(days=14)
    """How long the bodies of notifications are kept, from 1d to 366d."""
    keep_most_notifications: int = 50_000
    """How many bodies of notifications are kept at most."""
    log: str = "auto"
    """json, console, or auto: console on a terminal."""

    @property
    def host(self) -> str:
        return self.listen.rpartition(":")[0].strip("[]")

    @property
    def on_loopback(self) -> bool:
        return self.host in LOOPBACK


def _boolean(text: str) -> bool:
    words = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False, "": False}
    if text.lower() not in words:
        raise ValueError("true or false")
    return words[text.lower()]


def _positive(text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise ValueError("a whole number from 1")
    return number


def _span(text: str) -> timedelta:
    span = parse_duration(text)
    if not timedelta() < span <= timedelta(minutes=1):
        raise ValueError("a duration up to 1m, e.g. 2s")
    return span


def _days(text: str) -> timedelta:
    span = parse_duration(text)
    if span < timedelta(days=1):
        raise ValueError("a duration from 1d, e.g. 90d")
    return span


def _listen(text: str) -> str:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > _LARGEST_PORT:
        raise ValueError("HOST:PORT, e.g. 0.0.0.0:8080")
    return text


def _database(text: str) -> str:
    if not text.startswith(("sqlite:///", "postgresql://", "postgresql+psycopg://")):
        raise ValueError("sqlite:///FILE or postgresql://USER@HOST/NAME")
    return text


def _prometheus(text: str) -> str:
    if not text.startswith(("http://", "https://")):
        raise ValueError("a base URL, e.g. http://prometheus:9090")
    return text


def _alertmanagers(text: str) -> tuple[str, ...]:
    urls = tuple(url.strip() for url in text.split(",") if url.strip())
    if not urls or not all(url.startswith(("http://", "https://")) for url in urls):
        raise ValueError("base URLs with commas between, e.g. http://alertmanager:9093")
    return urls


def _log(text: str) -> str:
    if text not in ("auto", "json", "console"):
        raise ValueError("auto, json or console")
    return text


_READERS: Mapping[str, Callable[[str], Any]] = {
    "policy": Path,
    "database": _database,
    "prometheus": _prometheus,
    "alertmanager": _alertmanagers,
    "receiver": str,
    "reconcile": _span,
    "kubeconfig": Path,
    "token_file": Path,
    "insecure": _boolean,
    "workers": _positive,
    "threads": _positive,
    "max_body": _positive,
    "recheck": _span,
    "poll": _span,
    "lease": _span,
    "idle": _span,
    "listen": _listen,
    "keep_incidents": _days,
    "keep_most_incidents": _positive,
    "keep_notifications": _days,
    "keep_most_notifications": _positive,
    "log": _log,
}


def shown(value: Any) -> str:
    """Write a setting's value as its variable takes it."""
    if isinstance(value, timedelta):
        return format_duration(value)
    if isinstance(value, tuple):
        return ",".join(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return f"REMEDIATOR_{name.upper()}"


def read_settings(environ: Mapping[str, str] = os.environ, **overrides: Any) -> Settings:
    """Read the settings. An empty variable is none; an override that is not None wins.

    Raises SettingMistake.
    """
    values: dict[str, Any] = {}
    for field in fields(Settings):
        named = variable(field.name)
        value: Any = environ.get(named) or None
        if overrides.get(field.name) is not None:
            named, value = f"--{field.name.replace('_', '-')}", overrides[field.name]
        if value is None:
            continue
        try:
            values[field.name] = _READERS[field.name](value) if isinstance(value, str) else value
        except ValueError as error:
            raise SettingMistake(f"{named}={value!r}: it takes {error}") from None
    return Settings(**values)
