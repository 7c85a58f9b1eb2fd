"""Where things are: each setting by its variable or its option, each mistake by its name."""

from __future__ import annotations

from dataclasses import fields
from datetime import timedelta
from pathlib import Path

import pytest

from remediator.settings import SettingMistake, Settings, read_settings, shown, variable

GIVEN = {
    "policy": ("/etc/p.yaml", Path("/etc/p.yaml")),
    "database": ("postgresql://u:p@db/remediator", "postgresql://u:p@db/remediator"),
    "prometheus": ("https://prometheus:9090/base", "https://prometheus:9090/base"),
    "alertmanager": ("http://a:9093,https://b/x", ("http://a:9093", "https://b/x")),
    "receiver": ("us", "us"),
    "reconcile": ("30s", timedelta(seconds=30)),
    "kubeconfig": ("/k", Path("/k")),
    "listen": ("0.0.0.0:9", "0.0.0.0:9"),
    "token_file": ("/t", Path("/t")),
    "insecure": ("true", True),
    "workers": ("3", 3),
    "threads": ("5", 5),
    "max_body": ("1000", 1000),
    "recheck": ("5s", timedelta(seconds=5)),
    "poll": ("500ms", timedelta(milliseconds=500)),
    "lease": ("1m", timedelta(minutes=1)),
    "idle": ("3s", timedelta(seconds=3)),
    "keep_incidents": ("30d", timedelta(days=30)),
    "keep_most_incidents": ("7", 7),
    "keep_notifications": ("2d", timedelta(days=2)),
    "keep_most_notifications": ("8", 8),
    "log": ("json", "json"),
}


def test_every_setting_is_tried_here():
    assert set(GIVEN) == {field.name for field in fields(Settings)}


@pytest.mark.parametrize("name", GIVEN)
def test_each_setting_is_read_from_its_variable(name):
    text, value = GIVEN[name]

    settings = read_settings({f"REMEDIATOR_{name.upper()}": text})

    assert getattr(settings, name) == value
    others = {field.name for field in fields(Settings)} - {name}
    assert all(getattr(settings, other) == getattr(Settings(), other) for other in others)
    assert variable(name) == f"REMEDIATOR_{name.upper()}"


@pytest.mark.parametrize("name", GIVEN)
def test_an_empty_variable_is_as_good_as_none(name):
    assert read_settings({variable(name): ""}) == Settings()


@pytest.mark.parametrize("name", GIVEN)
def test_an_option_wins_over_the_variable_and_none_does_not(name):
    text, value = GIVEN[name]
    environ = {variable(name): text}

    assert getattr(read_settings(environ, **{name: None}), name) == value
    other = {"log": "console", "insecure": False}.get(name, getattr(Settings(), name))
    if other is not None:
        assert getattr(read_settings(environ, **{name: other}), name) == other


def test_nothing_given_are_the_defaults():
    assert read_settings({}) == Settings()
    assert read_settings({"REMEDIATOR_POLCY": "typo.yaml", "PATH": "/bin"}) == Settings()


@pytest.mark.parametrize(
    ("name", "text", "takes"),
    [
        ("database", "remediator.db", "sqlite:///FILE or postgresql://USER@HOST/NAME"),
        ("database", "mysql://db/remediator", "sqlite:///FILE or postgresql://USER@HOST/NAME"),
        ("prometheus", "prometheus:9090", "a base URL, e.g. http://prometheus:9090"),
        ("alertmanager", "alertmanager:9093", "base URLs with commas between"),
        ("alertmanager", ",", "base URLs with commas between"),
        ("reconcile", "2m", "a duration up to 1m"),
        ("listen", "8080", "HOST:PORT, e.g. 0.0.0.0:8080"),
        ("listen", ":8080", "HOST:PORT"),
        ("listen", "localhost:http", "HOST:PORT"),
        ("listen", "localhost:65536", "HOST:PORT"),
        ("insecure", "maybe", "true or false"),
        ("workers", "0", "a whole number from 1"),
        ("workers", "-1", "a whole number from 1"),
        ("threads", "many", "a whole number from 1"),
        ("max_body", "4MB", "a whole number from 1"),
        ("recheck", "15", "is not a duration"),
        ("poll", "0s", "a duration up to 1m"),
        ("lease", "2m", "a duration up to 1m"),
        ("idle", "-1s", "is not a duration"),
        ("keep_incidents", "23h", "a duration from 1d"),
        ("keep_most_incidents", "0", "a whole number from 1"),
        ("log", "xml", "auto, json or console"),
    ],
)
def test_each_mistake_names_its_variable_or_option_and_what_it_takes(name, text, takes):
    with pytest.raises(SettingMistake) as mistake:
        read_settings({variable(name): text})
    assert str(mistake.value).startswith(f"{variable(name)}={text!r}: it takes ")
    assert takes in str(mistake.value)

    with pytest.raises(SettingMistake) as mistake:
        read_settings({}, **{name: text})
    assert str(mistake.value).startswith(f"--{name.replace('_', '-')}={text!r}: it takes ")


@pytest.mark.parametrize("text", ["1", "true", "TRUE", "yes"])
def test_yes_has_several_words(text):
    assert read_settings({"REMEDIATOR_INSECURE": text}).insecure is True


@pytest.mark.parametrize("text", ["0", "false", "No"])
def test_no_has_several_words(text):
    assert read_settings({"REMEDIATOR_INSECURE": text}).insecure is False


@pytest.mark.parametrize(
    ("listen", "loopback"),
    [
        ("127.0.0.1:8080", True),
        ("localhost:8080", True),
        ("[::1]:8080", True),
        ("0.0.0.0:8080", False),
        ("[::]:8080", False),
        ("127.0.0.1.example.com:8080", False),
        ("remediator:8080", False),
    ],
)
def test_loopback_is_told_from_the_world(listen, loopback):
    assert read_settings({}, listen=listen).on_loopback is loopback


@pytest.mark.parametrize("name", GIVEN)
def test_a_value_is_shown_as_its_variable_takes_it(name):
    _, value = GIVEN[name]

    assert getattr(read_settings({variable(name): shown(value)}), name) == value
