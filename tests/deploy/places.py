"""What deploy/ holds, as objects."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.components import missing

Json = dict[str, Any]

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
OVERLAYS = ("sqlite", "postgres", "observe")
COMPONENTS = ("monitoring", "admission")


def kubectl_program() -> str:
    beside = shutil.which("kubectl", path=str(Path(sys.executable).parent))
    found = os.environ.get("KUBECTL") or beside or shutil.which("kubectl")
    program: str = found or missing("kubectl is not installed")
    return program


@cache
def build(folder: str) -> str:
    """What `kubectl kustomize` makes of a folder."""
    done = subprocess.run(
        [kubectl_program(), "kustomize", folder], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr, f"kustomize warns: {done.stderr}"
    return done.stdout


def objects(text: str) -> list[Json]:
    return [found for found in yaml.safe_load_all(text) if found]


def overlay(name: str) -> list[Json]:
    return objects(build(str(DEPLOY / "overlays" / name)))


def with_components(name: str, folder: Path) -> list[Json]:
    """An overlay with every optional component, as a user would write it."""
    relative = os.path.relpath(DEPLOY, folder)
    kustomization = {
        "resources": [f"{relative}/overlays/{name}"],
        "components": [f"{relative}/components/{component}" for component in COMPONENTS],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    return objects(build(str(folder)))


def the(kind: str, found: list[Json], name: str = "remediator") -> Json:
    matching = [one for one in found if one["kind"] == kind and one["metadata"]["name"] == name]
    assert len(matching) == 1, f"{len(matching)} of {kind}/{name}"
    return matching[0]


def pod_spec(found: list[Json], name: str = "remediator") -> Json:
    spec: Json = the("Deployment", found, name)["spec"]["template"]["spec"]
    return spec
