"""What Compose itself makes of docker-compose.yml; it needs no engine for that.

The other tests here start the services as `tests/compose/model.py` reads the file. Here both have to agree.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.components import missing
from tests.compose.model import HOME, Compose, Mount

SPEED = {"SPEED": "60"}
PROFILES = [[], ["--profile=kubeconfig"]]
pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def compose() -> list[str]:
    """The command: beside this Python, on PATH, or a plugin of the docker client."""
    beside = shutil.which("docker-compose", path=str(Path(sys.prefix) / "bin"))
    if found := beside or shutil.which("docker-compose"):
        return [found]
    plugin = ["docker", "compose"]
    if shutil.which("docker") and not subprocess.run([*plugin, "version"], check=False).returncode:
        return plugin
    return missing("no docker-compose; the extra `dev` brings one")


def config(compose: list[str], *flags: str, environ: dict[str, str] | None = None) -> str:
    """What `docker compose FLAGS` prints, with these variables set and none of ours."""
    told = {key: value for key, value in os.environ.items() if key in ("PATH", "HOME")} | (environ or {})
    done = subprocess.run(
        [*compose, *flags], cwd=HOME, env=told, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr, "a warning"
    return done.stdout


@pytest.mark.parametrize("profile", PROFILES, ids=lambda flags: " ".join(flags) or "no profile")
def test_compose_accepts_the_file(compose: list[str], profile: list[str]) -> None:
    config(compose, *profile, "config", "--quiet")


@pytest.mark.parametrize("profile", PROFILES, ids=lambda flags: " ".join(flags) or "no profile")
def test_a_profile_adds_its_services_and_nothing_else(compose: list[str], profile: list[str]) -> None:
    started = config(compose, *profile, "config", "--services").split()
    assert set(started) == set(Compose().order) | ({"remediator-kubeconfig"} if profile else set())


@pytest.mark.parametrize("environ", [{}, SPEED, {"POLICY": "./deploy/policies/observe/policy.yaml"}], ids=str)
def test_our_model_of_the_file_is_that_of_compose(compose: list[str], environ: dict[str, str]) -> None:
    resolved = json.loads(config(compose, "--profile=*", "config", "--format=json", environ=environ))
    ours = Compose(environ)
    assert resolved["services"].keys() == ours.services.keys()
    for name, service in resolved["services"].items():
        mine = ours.services[name]
        for key in ("entrypoint", "command"):
            assert service.get(key) == mine.get(key), (name, key)
        for key in ("environment", "labels", "image", "read_only", "cap_drop", "security_opt", "restart"):
            assert service.get(key) == mine.get(key), (name, key)
        assert service.get("healthcheck", {}).get("test") == mine.get("healthcheck", {}).get("test"), name
        assert waits(service) == waits(mine), name
        assert set(mounts(resolved, service)) == {absolute(one) for one in ours.mounts(name)}, name
        published = [
            f"{one['host_ip']}:{one['published']}:{one['target']}" for one in service.get("ports", [])
        ]
        assert published == mine.get("ports", []), name


def waits(service: dict[str, Any]) -> dict[str, str]:
    return {other: how["condition"] for other, how in (service.get("depends_on") or {}).items()}


def absolute(mount: Mount) -> tuple[Any, ...]:
    source = mount.source if mount.kind == "volume" else str((HOME / mount.source).resolve())
    return mount.kind, source, mount.target, mount.read_only, mount.nocopy


def mounts(resolved: dict[str, Any], service: dict[str, Any]) -> list[tuple[Any, ...]]:
    found = [
        (
            one["type"],
            one["source"],
            one["target"],
            one.get("read_only", False),
            one.get("volume", {}).get("nocopy", False),
        )
        for one in service.get("volumes", [])
    ]
    secrets = resolved.get("secrets", {})
    return found + [
        ("secret", secrets[one["source"]]["file"], f"/run/secrets/{one['target']}", True, False)
        for one in service.get("secrets", [])
    ]
