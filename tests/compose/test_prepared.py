"""What `prepare` writes: at speed 1 the shipped files, at another the same in less time."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from remediator.lab.prepared import kubeconfig, make_secrets, without_placeholders, write_configuration
from remediator.policy_file import read_policy
from tests.compose.model import HOME


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    to = tmp_path_factory.mktemp("as-shipped")
    write_configuration(HOME, to, 1)
    return to


@pytest.fixture(scope="module")
def fast(tmp_path_factory: pytest.TempPathFactory) -> Path:
    to = tmp_path_factory.mktemp("fast")
    write_configuration(HOME, to, 60)
    return to


def test_at_speed_1_the_files_are_the_shipped_ones(shipped: Path) -> None:
    pairs = [
        ("policy.yaml", "policy.yaml"),
        ("prometheus-rules/prometheus.yml", "prometheus/prometheus.yml"),
        ("prometheus-rules/hive.yml", "prometheus/hive.yml"),
    ]
    pairs += [
        (f"grafana/dashboards/{path.name}", f"grafana/dashboards/{path.name}")
        for path in (HOME / "grafana/dashboards").glob("*.json")
    ]
    assert len(pairs) >= 5
    for ours, written in pairs:
        assert (shipped / written).read_bytes() == (HOME / ours).read_bytes()


def test_every_rule_file_that_prometheus_is_told_of_is_there(fast: Path) -> None:
    config = yaml.safe_load((fast / "prometheus/prometheus.yml").read_text())
    for pattern in config["rule_files"]:
        assert list((fast / "prometheus").glob(pattern)), pattern


def test_a_speed_divides_scraping_rules_routing_and_policy(fast: Path) -> None:
    config = yaml.safe_load((fast / "prometheus/prometheus.yml").read_text())
    assert config["global"]["scrape_interval"] == "250ms"
    jobs = {job["job_name"]: job for job in config["scrape_configs"]}
    assert jobs["remediator"]["scrape_timeout"] == "1s", "a page from a database needs its time"
    routing = yaml.safe_load((fast / "alertmanager/alertmanager.yml").read_text())
    assert routing["route"]["group_wait"] == "500ms"
    policy = read_policy(fast / "policy.yaml")
    before = read_policy(HOME / "policy.yaml")
    assert policy.targets == before.targets
    assert policy.limits.patience * 60 == before.limits.patience


def test_the_flags_of_prometheus_follow_the_speed(shipped: Path, fast: Path) -> None:
    wanted = ["--query.lookback-delta=300s", "--rules.alert.resend-delay=60s"]
    assert (shipped / "prometheus/flags").read_text().split() == [
        *wanted,
        "--rules.alert.for-grace-period=60s",
    ]
    assert "--rules.alert.for-grace-period=1s" in (fast / "prometheus/flags").read_text().split()


def test_dashboards_follow_the_speed_too(fast: Path) -> None:
    for path in (fast / "grafana/dashboards").glob("*.json"):
        dashboard = json.loads(path.read_text())
        assert re.fullmatch(r"now-\d+s", dashboard["time"]["from"])
        assert dashboard["refresh"] == "1s"
        assert not re.search(r"\[\d+[mhd]\]", path.read_text())
    source = yaml.safe_load((fast / "grafana/provisioning/datasources/prometheus.yml").read_text())
    assert source["datasources"][0]["jsonData"]["timeInterval"] == "250ms"


def test_grafana_finds_the_dashboards_where_they_were_written(fast: Path) -> None:
    providers = yaml.safe_load((fast / "grafana/provisioning/dashboards/files.yml").read_text())["providers"]
    assert [provider["options"]["path"] for provider in providers] == [str(fast / "grafana/dashboards")]


def test_every_secret_that_the_configuration_names_is_made(shipped: Path, tmp_path: Path) -> None:
    make_secrets(tmp_path, "http://lab:8001")
    text = "".join(path.read_text() for path in shipped.rglob("*.y*ml"))
    named = set(re.findall(r"_file: '?/run/secrets/([a-z_]+)", text))
    assert named
    assert named <= {path.name for path in tmp_path.iterdir()}


def test_secrets_are_made_once(tmp_path: Path) -> None:
    assert make_secrets(tmp_path, "http://lab:8001") == ["remediator_token", "grafana_admin_password"]
    before = (tmp_path / "remediator_token").read_text()
    assert len(before) >= 32
    assert make_secrets(tmp_path, "http://lab:8002") == []
    assert (tmp_path / "remediator_token").read_text() == before
    written = json.loads((tmp_path / "kubeconfig").read_text())
    assert written == kubeconfig("http://lab:8002")


def test_placeholders_are_left_out_and_what_was_filled_in_stays() -> None:
    config = {
        "global": {"smtp_smarthost": "smtp.example.invalid:587", "smtp_from": "me@bizra.org", "x": 1},
        "route": {"receiver": "on-call"},
        "receivers": [
            {"name": "on-call", "email_configs": [{"to": "a@example.invalid"}, {"to": "b@bizra.org"}]},
            {"name": "lead", "email_configs": [{"to": "c@example.invalid"}]},
        ],
    }
    assert without_placeholders(config) == {
        "global": {"x": 1},
        "route": {"receiver": "on-call"},
        "receivers": [{"name": "on-call", "email_configs": [{"to": "b@bizra.org"}]}, {"name": "lead"}],
    }


def test_what_was_taken_out_of_the_checkout_is_taken_out_of_the_volume(tmp_path: Path) -> None:
    write_configuration(HOME, tmp_path, 1)
    stray = tmp_path / "prometheus/old.yml"
    stray.write_text("groups: []")
    write_configuration(HOME, tmp_path, 1)
    assert not stray.exists()
