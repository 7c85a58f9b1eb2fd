"""docker-compose.yml as compose reads it: merged, interpolated, short forms spelt out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import yaml

HOME = Path(__file__).parents[2]
FILE = HOME / "docker-compose.yml"
_VARIABLE = re.compile(r"\$\{(?P<name>[A-Z_]+)(?::-(?P<default>[^}]*))?\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """Something at a path in a container: a folder of ours, a named volume, or a secret."""

    kind: str
    source: str
    target: str
    read_only: bool
    nocopy: bool = False


class Compose:
    """The model, with these variables set."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        given = environ or {}

        def value(match: re.Match[str]) -> str:
            return given.get(match["name"]) or match["default"] or ""

        self.document: dict[str, Any] = yaml.safe_load(_VARIABLE.sub(value, FILE.read_text(encoding="utf-8")))
        self.services: dict[str, dict[str, Any]] = self.document["services"]

    @cached_property
    def order(self) -> list[str]:
        """The services without a profile, each after what it depends on."""
        wanted = {name for name, service in self.services.items() if "profiles" not in service}
        graph = {name: set(self.services[name].get("depends_on", {})) for name in wanted}
        return list(TopologicalSorter(graph).static_order())

    def mounts(self, name: str) -> Iterator[Mount]:
        service = self.services[name]
        for written in service.get("volumes", []):
            yield _long(written) if isinstance(written, str) else _spelt_out(written)
        for secret in service.get("secrets", []):
            source = self.document["secrets"][secret["source"]]["file"]
            target = f"/run/secrets/{secret['target']}"
            yield Mount(kind="secret", source=source, target=target, read_only=True)


def _long(written: str) -> Mount:
    source, target, *options = written.split(":")
    kind = "bind" if source.startswith((".", "/", "~")) else "volume"
    return Mount(kind=kind, source=source, target=target, read_only="ro" in options)


def _spelt_out(written: dict[str, Any]) -> Mount:
    return Mount(
        kind=written["type"],
        source=written["source"],
        target=written["target"],
        read_only=written.get("read_only", False),
        nocopy=written.get("volume", {}).get("nocopy", False),
    )


# ------------------------------------------------------------ the Dockerfile


@dataclass(frozen=True, slots=True)
class Instruction:
    word: str
    rest: str


class Dockerfile:
    """The stages of the Dockerfile, each with its instructions and what it begins from."""

    def __init__(self, path: Path = HOME / "Dockerfile") -> None:
        self.arguments: dict[str, str] = {}
        self.stages: dict[str, list[Instruction]] = {}
        self.begins: dict[str, str] = {}
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
        stage = ""
        for logical in "\n".join(lines).replace("\\\n", " ").splitlines():
            if not logical.strip():
                continue
            word, _, rest = logical.strip().partition(" ")
            if word == "ARG" and not stage:
                name, _, default = rest.partition("=")
                self.arguments[name] = default
            elif word == "FROM":
                base, _, stage = rest.partition(" AS ")
                self.begins[stage] = base
                self.stages[stage] = []
            else:
                self.stages[stage].append(Instruction(word, " ".join(rest.split())))

    def whole(self, stage: str) -> list[Instruction]:
        """Its instructions after those of the stages that it is built upon."""
        base = self.begins[stage]
        return [*(self.whole(base) if base in self.stages else []), *self.stages[stage]]

    def last(self, stage: str, word: str) -> str:
        return [each.rest for each in self.whole(stage) if each.word == word][-1]

    def copied(self, stage: str) -> list[str]:
        """What it takes from the checkout."""
        return [
            source
            for each in self.whole(stage)
            if each.word == "COPY" and "--from=" not in each.rest
            for source in each.rest.split()[:-1]
        ]

    def environment(self, stage: str) -> dict[str, str]:
        said = " ".join(each.rest for each in self.whole(stage) if each.word == "ENV")
        return dict(pair.split("=", 1) for pair in said.split())
