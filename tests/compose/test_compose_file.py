"""What docker-compose.yml promises: nothing open to the network, nothing privileged, nothing loose."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.compose.model import FILE, HOME, Compose, Dockerfile

COMPOSE = Compose()
SERVICES = sorted(COMPOSE.services)
LASTING = [name for name in SERVICES if name != "prepare"]


@pytest.mark.parametrize("name", SERVICES)
def test_an_image_is_pinned_and_of_the_default_registry(name: str) -> None:
    image = COMPOSE.services[name]["image"]
    repository, _, tag = image.partition(":")
    assert re.fullmatch(r"v?\d+\.\d+\.\d+", tag), f"{image}: a tag that does not move"
    assert not {".", ":"} & set(repository.split("/")[0]), f"{image}: no registry host"


def test_what_is_built_has_the_version_of_the_package_and_a_stage_of_the_dockerfile() -> None:
    version = re.search(r'^version = "(.+)"', (HOME / "pyproject.toml").read_text(), re.MULTILINE)
    assert version
    stages = Dockerfile().stages
    built = [service for service in COMPOSE.services.values() if "build" in service]
    assert {service["image"].partition(":")[2] for service in built} == {version[1]}
    assert {service["build"]["target"] for service in built} <= set(stages)
    images = {(service["image"], service["build"]["target"]) for service in built}
    assert len(images) == len({image for image, _ in images}), "one image, one target"


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_can_do_no_more_than_it_needs(name: str) -> None:
    service = COMPOSE.services[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert not {"privileged", "cap_add", "devices", "pid", "ipc", "userns_mode", "user"} & set(service)
    assert service.get("network_mode", "none") == "none"
    assert "/var/run/docker.sock" not in json.dumps(service)


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_has_limits(name: str) -> None:
    service = COMPOSE.services[name]
    assert {"mem_limit", "cpus", "pids_limit", "logging"} <= set(service)


@pytest.mark.parametrize("name", LASTING)
def test_a_service_that_stays_is_watched_and_started_again(name: str) -> None:
    service = COMPOSE.services[name]
    assert service["restart"] == "unless-stopped"
    assert service["healthcheck"]["test"][0] == "CMD", "no shell"
    assert {"interval", "timeout", "retries", "start_period"} <= set(service["healthcheck"])


def test_ports_are_open_on_loopback_only_and_no_two_are_the_same() -> None:
    published = [port for service in COMPOSE.services.values() for port in service.get("ports", [])]
    assert all(re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port) for port in published), published
    hosts = [port.rsplit(":", 1)[0] for port in published]
    assert len(hosts) == len(set(hosts))


def test_what_is_mounted_from_the_checkout_is_there_and_cannot_be_written_to() -> None:
    for name in SERVICES:
        for mount in COMPOSE.mounts(name):
            if mount.kind == "bind":
                assert (HOME / mount.source).exists(), f"{name}: {mount.source}"
                assert mount.read_only, f"{name}: {mount.source}"


def test_named_volumes_are_declared_used_and_written_by_one_service() -> None:
    writers: dict[str, list[str]] = {}
    used = set()
    for name in SERVICES:
        for mount in COMPOSE.mounts(name):
            if mount.kind == "volume":
                used.add(mount.source)
                if not mount.read_only:
                    writers.setdefault(mount.source, []).append(name)
                elif mount.source in ("configuration", "secrets"):
                    assert mount.nocopy, f"{name} could fill {mount.source} from its image"
    assert used == set(COMPOSE.document["volumes"])
    assert all(len(names) == 1 for names in writers.values()), writers
    assert set(writers) == used


def test_state_survives_a_new_container() -> None:
    kept = {
        (name, mount.target) for name in SERVICES for mount in COMPOSE.mounts(name) if not mount.read_only
    }
    assert kept >= {
        ("prometheus", "/prometheus"),
        ("alertmanager", "/alertmanager"),
        ("grafana", "/var/lib/grafana"),
        ("remediator", "/data"),
        ("remediator-kubeconfig", "/data"),
    }


def test_secrets_are_files_and_none_is_in_the_repository() -> None:
    for secret in COMPOSE.document["secrets"].values():
        assert set(secret) == {"file"}
    for service in COMPOSE.services.values():
        for key, value in service.get("environment", {}).items():
            secret = re.search(r"TOKEN|PASSWORD|SECRET|KEY", key)
            assert not secret or str(value).startswith("/run/secrets/"), key
    folder = HOME / "compose/secrets"
    assert (folder / ".gitignore").read_text().splitlines()[-2:] == ["*", "!.gitignore"]
    if (HOME / ".git").exists():
        listed = subprocess.run(
            ["git", "ls-files", "compose/secrets"], cwd=HOME, capture_output=True, text=True, check=True
        )
        assert listed.stdout.split() == ["compose/secrets/.gitignore"]


def test_a_service_waits_for_what_it_reads_and_for_what_it_asks() -> None:
    for name in COMPOSE.order:
        waits = COMPOSE.services[name].get("depends_on", {})
        for other, how in waits.items():
            completes = other == "prepare"
            assert how["condition"] == ("service_completed_successfully" if completes else "service_healthy")
        reads = {mount.source for mount in COMPOSE.mounts(name)} & {"configuration", "secrets"}
        assert name == "prepare" or not reads or "prepare" in waits, f"{name} reads {reads}"


def test_the_second_profile_stands_alone() -> None:
    service = COMPOSE.services["remediator-kubeconfig"]
    assert service["profiles"] == ["kubeconfig"]
    assert "depends_on" not in service
    volumes = {mount.source for mount in COMPOSE.mounts("remediator-kubeconfig") if mount.kind == "volume"}
    others = {
        mount.source for name in SERVICES if name != "remediator-kubeconfig" for mount in COMPOSE.mounts(name)
    }
    assert not volumes & others
    secrets = [mount for mount in COMPOSE.mounts("remediator-kubeconfig") if mount.kind == "secret"]
    assert {Path(mount.source).parent for mount in secrets} == {Path("compose/secrets")}


def test_the_speed_reaches_the_lab_and_makes_compose_start_everything_anew() -> None:
    faster = Compose({"SPEED": "60"})
    for name in ("prepare", "lab"):
        assert "--speed=1" in COMPOSE.services[name]["command"]
        assert "--speed=60" in faster.services[name]["command"]
    for name in faster.order:
        assert faster.services[name]["labels"] == {"remediator.speed": "60"}


def test_prometheus_and_alertmanager_have_the_flags_that_the_rules_rely_on() -> None:
    prometheus = COMPOSE.services["prometheus"]["command"]
    assert "@/configuration/prometheus/flags" in prometheus
    assert not [
        flag for flag in prometheus if flag.startswith(("--web.enable-", "--storage.tsdb.retention.size"))
    ]
    assert "--cluster.listen-address=" in COMPOSE.services["alertmanager"]["command"]


def test_addresses_in_the_shipped_files_are_services_of_the_stack() -> None:
    texts = [
        HOME / "prometheus-rules/prometheus.yml",
        HOME / "alertmanager/alertmanager.yml",
        *(HOME / "grafana/provisioning").rglob("*.yml"),
        FILE,
    ]
    for path in texts:
        for line in path.read_text(encoding="utf-8").splitlines():
            for host in re.findall(r"http://([a-z-]+):\d+", line.partition(" #")[0]):
                assert host in {*COMPOSE.services, "localhost"}, f"{path}: {line}"


def test_the_documentation_names_services_ports_and_images_that_exist() -> None:
    text = (HOME / "docs/compose.md").read_text(encoding="utf-8")
    for name in re.findall(r"docker compose (?:exec|logs) ([a-z-]+)", text):
        assert name in COMPOSE.services
    published = {port.split(":")[1] for name in SERVICES for port in COMPOSE.services[name].get("ports", [])}
    assert set(re.findall(r"<http://localhost:(\d+)>", text)) == published
