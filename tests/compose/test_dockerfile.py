"""The Dockerfile, read instruction by instruction, and the wheel that it builds."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path, PurePosixPath

import pytest

from tests.compose.model import HOME, Dockerfile

DOCKERFILE = Dockerfile()
FINAL = ("lab", "service")


def test_the_base_image_is_pinned_and_every_stage_begins_from_it() -> None:
    assert re.fullmatch(r"python:3\.11\.\d+-slim-bookworm", DOCKERFILE.arguments["PYTHON_IMAGE"])
    assert set(DOCKERFILE.begins.values()) <= {"${PYTHON_IMAGE}", *DOCKERFILE.stages}


def test_the_last_stage_is_the_service() -> None:
    assert list(DOCKERFILE.stages)[-1] == "service"
    assert DOCKERFILE.last("service", "CMD") == '["serve"]'


@pytest.mark.parametrize("stage", FINAL)
def test_an_image_runs_the_remediator_as_nobody_special(stage: str) -> None:
    assert DOCKERFILE.last(stage, "ENTRYPOINT") == '["remediator"]'
    assert DOCKERFILE.last(stage, "USER") == "10001:10001"
    after = [each.word for each in DOCKERFILE.whole(stage)]
    assert "RUN" not in after[after.index("USER") :]


@pytest.mark.parametrize("stage", FINAL)
def test_an_image_holds_nothing_that_builds_or_installs(stage: str) -> None:
    runs = " ".join(each.rest for each in DOCKERFILE.whole(stage) if each.word == "RUN")
    assert not re.search(r"apt|gcc|build-essential|pip install|curl|wget|git", runs)
    assert "pip uninstall" in runs
    taken = [each.rest for each in DOCKERFILE.whole(stage) if "--from=" in each.rest]
    assert [rest.split()[1:] for rest in taken] == [["/opt/remediator", "/opt/remediator"]]


def test_the_service_has_a_health_check_without_a_shell() -> None:
    command = DOCKERFILE.last("service", "HEALTHCHECK").partition(" CMD ")[2]
    assert json.loads(command)[0] == "python"
    assert "http://127.0.0.1:8080/healthz" in command
    assert DOCKERFILE.environment("service")["REMEDIATOR_LISTEN"].endswith(":8080")


def test_no_secret_is_built_in() -> None:
    for stage in DOCKERFILE.stages:
        for each in DOCKERFILE.whole(stage):
            assert each.word != "ARG"
            if each.word in ("ENV", "COPY", "ADD"):
                assert not re.search(r"token|password|secret|kubeconfig|\.env\b", each.rest, re.IGNORECASE)
            assert each.word != "ADD"


@pytest.mark.parametrize("stage", ["build", *FINAL])
def test_what_is_copied_exists_and_is_let_through(stage: str) -> None:
    for source in DOCKERFILE.copied(stage):
        assert (HOME / source).exists(), source
        assert let_through(source.rstrip("/")), source


def let_through(path: str) -> bool:
    """Whether .dockerignore leaves a path in: the last pattern that fits decides."""
    verdict = True
    for line in (HOME / ".dockerignore").read_text(encoding="utf-8").splitlines():
        pattern = line.removeprefix("!")
        if line.startswith("#") or not line:
            continue
        parents = [path, *map(str, PurePosixPath(path).parents)]
        if any(PurePosixPath(each).match(pattern.removeprefix("**/")) for each in parents if each != "."):
            verdict = line.startswith("!")
    return verdict


@pytest.mark.parametrize(
    "path",
    [".git", ".env", "compose", "compose/secrets/kubeconfig", "token", "remediator.db", ".venv", "tests",
     "remediator/__pycache__"],
)  # fmt: skip
def test_what_is_nobodys_business_stays_outside(path: str) -> None:
    assert not let_through(path)


def test_the_wheel_has_all_that_runs(tmp_path: Path) -> None:
    """What the build stage copies is enough, and what is no Python file comes along."""
    source = tmp_path / "src"
    source.mkdir()
    for name in DOCKERFILE.copied("build"):
        if (HOME / name).is_dir():
            shutil.copytree(HOME / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(HOME / name, source / name)
    expected = {
        str(path.relative_to(source)) for path in (source / "remediator").rglob("*") if path.is_file()
    }
    done = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", tmp_path, "."],
        cwd=source,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as contents:
        held = set(contents.namelist())
    assert expected <= held, expected - held
    assert any("migrations/versions/" in name for name in held)


def test_the_demo_of_the_lab_image_finds_what_it_plays() -> None:
    """An installed package carries no rules: the image has them where the demo looks, its working folder."""
    assert DOCKERFILE.last("lab", "CMD") == '["demo"]'
    assert DOCKERFILE.last("lab", "WORKDIR") == "/srv/remediator"
    assert {"policy.yaml", "prometheus-rules/", "alertmanager/"} <= set(DOCKERFILE.copied("lab"))
