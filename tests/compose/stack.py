"""The services of the compose file in boxes, started in its order and by its conditions."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from tests.compose.boxes import Box, Boxes
from tests.compose.model import HOME, Compose, Dockerfile, Mount
from tests.waiting import eventually

NOBODY = 65534
_USERS = {"prom/prometheus": NOBODY, "prom/alertmanager": NOBODY}
_ENTRYPOINTS = {"prom/prometheus": "prometheus", "prom/alertmanager": "alertmanager"}
"""What the images of others run, and as whom."""
_FEATURES = "--enable-feature="
_OURS = {"remediator": "service", "remediator-lab": "lab"}


@dataclass(frozen=True, slots=True)
class Binaries:
    """One version of Prometheus and Alertmanager."""

    prometheus: Path
    alertmanager: Path

    @property
    def folders(self) -> tuple[Path, ...]:
        return (self.prometheus.parent, self.alertmanager.parent)

    def __getitem__(self, name: str) -> Path:
        return self.prometheus if name == "prometheus" else self.alertmanager


def binaries_in(place: str | None) -> Binaries | None:
    """On PATH, or in one folder."""
    prometheus = shutil.which("prometheus", path=place)
    alertmanager = shutil.which("alertmanager", path=place) or shutil.which(
        "prometheus-alertmanager", path=place
    )
    if not prometheus or not alertmanager:
        return None
    return Binaries(Path(prometheus).resolve(), Path(alertmanager).resolve())


class Stack:
    """What `docker compose up` would start, but for services of which there is no program here."""

    def __init__(self, compose: Compose, boxes: Boxes, binaries: Binaries | None = None) -> None:
        self._compose = compose
        self._boxes = boxes
        self._binaries = binaries
        self._dockerfile = Dockerfile()

    def up(self) -> None:
        for name in self._compose.order:
            if self._program(name):
                self.await_conditions(name)
                self.start(name)
        for name in self._compose.order:
            if self._program(name) and "healthcheck" in self._compose.services[name]:
                self.becomes_healthy(name)

    def start(self, name: str) -> None:
        command = [self._found(word) for word in self.command(name)]
        if self._program_lacks_features(name):
            command = [word for word in command if not word.startswith(_FEATURES)]
        self._boxes.start(self.box(name), command)

    def command(self, name: str) -> list[str]:
        """The entry point and the arguments, as the engine would put them together."""
        service = self._compose.services[name]
        stage = _OURS.get(self._image(name))
        if stage is None:
            return [_ENTRYPOINTS[self._image(name)], *service.get("command", [])]
        image = json.loads(self._dockerfile.last(stage, "ENTRYPOINT"))
        arguments = [] if "entrypoint" in service else json.loads(self._dockerfile.last(stage, "CMD"))
        return [*service.get("entrypoint", image), *service.get("command", arguments)]

    def box(self, name: str) -> Box:
        service = self._compose.services[name]
        stage = _OURS.get(self._image(name))
        environ: dict[str, str] = self._dockerfile.environment(stage) if stage else {}
        user = int(self._dockerfile.last(stage, "USER").split(":")[0]) if stage else _USERS[self._image(name)]
        mounts = [self._placed(mount, user) for mount in self._compose.mounts(name)]
        path = os.pathsep.join([str(Path(sys.prefix) / "bin"), "/usr/bin", "/bin"])
        return Box(
            name=name,
            user=user,
            mounts=mounts,
            environ={**environ, **service.get("environment", {}), "PATH": path},
            directory=self._dockerfile.last(stage, "WORKDIR") if stage else "/",
            read_only=service["read_only"],
            service=name,
            programs=self._binaries.folders if self._binaries else (),
        )

    def exec(self, command: str) -> str:
        """Run a line `docker compose exec SERVICE COMMAND...` as it is documented; what it printed."""
        match = re.fullmatch(r"docker compose exec (?P<service>[a-z-]+) (?P<rest>.+)", command)
        assert match, command
        box = replace(self.box(match["service"]), name=f"{match['service']}-exec")
        done = self._boxes.run(box, [self._found(word) for word in shlex.split(match["rest"])])
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def healthy(self, name: str) -> bool:
        kind, *command = self._compose.services[name]["healthcheck"]["test"]
        assert kind == "CMD"
        box = replace(self.box(name), name=f"{name}-health")
        return self._boxes.run(box, command).returncode == 0

    def becomes_healthy(self, name: str) -> None:
        def look() -> bool:
            said = self._boxes.log(name).read_text(encoding="utf-8", errors="replace")
            assert self._boxes.ended(name) is None, f"{name} ended: {said[-2000:]}"
            return self.healthy(name)

        eventually(look, f"{name} is healthy")

    def await_conditions(self, name: str) -> None:
        for other, wanted in self._compose.services[name].get("depends_on", {}).items():
            if wanted["condition"] == "service_healthy":
                self.becomes_healthy(other)
                continue
            assert wanted["condition"] == "service_completed_successfully"
            self._boxes.wait(other)
            said = self._boxes.log(other).read_text(encoding="utf-8")
            assert self._boxes.ended(other) == 0, said

    def _image(self, name: str) -> str:
        image: str = self._compose.services[name]["image"]
        return image.partition(":")[0]

    def _program(self, name: str) -> bool:
        return self._image(name) in {*_OURS, *_ENTRYPOINTS}

    def _found(self, word: str) -> str:
        if self._binaries is None or word not in _ENTRYPOINTS.values():
            return word
        return str(self._binaries[word])

    def _program_lacks_features(self, name: str) -> bool:
        """Whether this Alertmanager is older than that of the image, and would not start with the flag."""
        if name != "alertmanager" or self._binaries is None:
            return False
        asked = [str(self._binaries[name]), "--help"]
        done = subprocess.run(asked, capture_output=True, text=True, timeout=20, check=False)
        return _FEATURES not in done.stdout + done.stderr

    def _placed(self, mount: Mount, user: int) -> Mount:
        if mount.kind != "volume":
            return replace(mount, source=str((HOME / mount.source).resolve()))
        return replace(mount, source=str(self._boxes.volume(mount.source, user)))
