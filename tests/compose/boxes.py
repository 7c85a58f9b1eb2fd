"""Containers without an engine: the programs of this machine in namespaces of their own.

A box has what the compose file says: its user, its mounts at their very paths, its environment, no
capabilities, a read-only root, a network address of its own and the services' names in /etc/hosts. So
commands, configurations and ports are used as they are written, nothing replaced.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.compose.model import HOME, Mount

TOOLS = ("unshare", "nsenter", "setpriv", "chroot", "ip", "wget", "curl")

_BUILD = r"""
set -e
root=$1; user=$2; hosts=$3; writable=$4; directory=$5; shift 5
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs "$root"
mkdir "$root/proc" "$root/dev" "$root/tmp" "$root/run" "$root/usr" "$root/etc"
for each in bin sbin lib lib32 lib64; do
  if [ -L "/$each" ]; then cp -a "/$each" "$root/$each"
  elif [ -d "/$each" ]; then mkdir "$root/$each"; mount --rbind "/$each" "$root/$each"; fi
done
for each in proc dev usr etc; do mount --rbind "/$each" "$root/$each"; done
mount --bind "$hosts" "$root/etc/hosts"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
while [ "$1" != -- ]; do
  if [ -d "$1" ]; then mkdir -p "$root$2"; else mkdir -p "$(dirname "$root$2")"; touch "$root$2"; fi
  mount --bind "$1" "$root$2"
  [ "$3" = rw ] || mount -o remount,bind,ro "$root$2"
  shift 3
done
shift
mkdir -p "$root$directory"
[ "$writable" = yes ] || mount -o remount,ro "$root"
exec chroot "$root" setpriv --reuid="$user" --regid="$user" --clear-groups --inh-caps=-all \
  --bounding-set=-all --no-new-privs env --chdir="$directory" -i "$@"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """How a service's programs run."""

    name: str
    user: int
    mounts: Sequence[Mount]
    environ: Mapping[str, str]
    directory: str
    read_only: bool
    service: str
    """Whose network it is on; a command run beside a service is on the service's."""
    programs: Sequence[Path] = ()
    """Folders of programs that are not under /usr."""


class Boxes:
    """A network with boxes on it; ends everything it started."""

    def __init__(self, directory: Path, names: Sequence[str]) -> None:
        self._directory = directory
        self._addresses = {name: f"10.99.0.{number}" for number, name in enumerate(names, start=2)}
        self._hosts = directory / "hosts"
        lines = [f"{address} {name}\n" for name, address in self._addresses.items()]
        self._hosts.write_text("".join(["127.0.0.1 localhost\n", *lines]), encoding="utf-8")
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._networks: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        self._network("switch", "ip link add bridge type bridge; ip addr add 10.99.0.1/24 dev bridge")
        self._in_network("switch", "ip link set bridge up")
        for number, (name, address) in enumerate(self._addresses.items()):
            owner = self._network(name, "ip link set lo up")
            self._in_network(
                "switch",
                f"ip link add port{number} type veth peer name eth0 netns {owner.pid}; "
                f"ip link set port{number} master bridge up",
            )
            self._in_network(name, f"ip addr add {address}/24 dev eth0; ip link set eth0 up")
        return self

    def __exit__(self, *_: object) -> None:
        for process in reversed(self._running.values()):
            _end(process)
        for process in self._networks.values():
            process.kill()
            process.communicate()

    def _network(self, name: str, setup: str) -> subprocess.Popen[bytes]:
        """A network namespace, held by a process that sleeps."""
        script = f"set -e; {setup}; echo up; exec sleep infinity"
        process = subprocess.Popen(["unshare", "--net", "sh", "-c", script], stdout=subprocess.PIPE)
        self._networks[name] = process
        assert process.stdout
        assert process.stdout.readline() == b"up\n"
        return process

    def _in_network(self, name: str, script: str) -> None:
        subprocess.run([*self._inside(name), "sh", "-ec", script], check=True)

    def volume(self, name: str, owner: int) -> Path:
        """A named volume, which an image's folder would have begun with this owner."""
        path = self._directory / "volumes" / name
        if not path.exists():
            path.mkdir(parents=True)
            os.chown(path, owner, owner)
        return path

    def start(self, box: Box, command: Sequence[str]) -> None:
        with self.log(box.name).open("ab") as log:
            self._running[box.name] = subprocess.Popen(
                self._line(box, command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def run(self, box: Box, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Run one command in such a box to its end."""
        return subprocess.run(
            self._line(box, command), capture_output=True, text=True, timeout=60, check=False
        )

    def log(self, name: str) -> Path:
        return self._directory / f"{name}.log"

    def ended(self, name: str) -> int | None:
        return self._running[name].poll()

    def wait(self, name: str) -> None:
        """Until it has ended by itself."""
        self._running[name].wait(timeout=60)

    def stop(self, name: str) -> int:
        """SIGTERM, as `docker compose stop` sends it; its exit status."""
        process = self._running.pop(name)
        process.terminate()
        status = process.wait(timeout=30)
        _end(process)
        return status

    def beside(self, service: str, command: Sequence[str]) -> str:
        """What a program of this machine says on a service's network, where its ports are on localhost."""
        line = [*self._inside(service), *command]
        return subprocess.run(line, capture_output=True, text=True, timeout=30, check=True).stdout

    def get(self, service: str, port_and_path: str, *headers: str) -> str:
        """What a service answers to another host; empty when it does not."""
        options = [option for header in headers for option in ("-H", header)]
        url = f"http://{self._addresses[service]}:{port_and_path}"
        command = [*self._inside("switch"), "curl", "-sf", "--noproxy", "*", "-m", "5", *options, url]
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False).stdout

    def _inside(self, name: str) -> list[str]:
        return ["nsenter", f"--net=/proc/{self._networks[name].pid}/ns/net"]

    def _line(self, box: Box, command: Sequence[str]) -> list[str]:
        root = self._directory / "roots" / box.name
        root.mkdir(parents=True, exist_ok=True)
        binds: list[str] = []
        own = [path for path in box.programs if not path.is_relative_to("/usr")]
        for path in (Path(sys.prefix), Path(sys.base_prefix), HOME, *own):
            binds += [str(path), str(path), "ro"]
        for mount in box.mounts:
            binds += [mount.source, mount.target, "ro" if mount.read_only else "rw"]
        return [
            *self._inside(box.service),
            *("unshare", "--mount", "sh", "-c", _BUILD, "box"),
            *(str(root), str(box.user), str(self._hosts)),
            *("no" if box.read_only else "yes", box.directory, *binds, "--"),
            *(f"{key}={value}" for key, value in box.environ.items()),
            *command,
        ]


def _end(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def missing_tool() -> str | None:
    """Why there can be no boxes here, if so."""
    if os.geteuid():
        return "only root may make namespaces"
    absent = [tool for tool in TOOLS if shutil.which(tool) is None]
    if absent:
        return f"not on PATH: {', '.join(absent)}"
    tried = subprocess.run(["unshare", "--net", "--mount", "true"], capture_output=True, check=False)
    return None if tried.returncode == 0 else f"no namespaces here: {tried.stderr.decode().strip()}"
