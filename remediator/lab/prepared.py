"""What a stack of containers reads: the shipped configuration at a speed, and secrets made on the spot.

Rules, scraping, routing, policy and dashboards are copied from the checkout with every duration divided by
the speed; at speed 1 nothing but the placeholders of the routing changes. Secrets that are there already are
kept, so that a restart does not lock anybody out.
"""

from __future__ import annotations

import json
import secrets
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from remediator.lab.prometheus.compress import (
    compress,
    compress_alertmanager,
    compress_expression,
    compress_prometheus,
)
from remediator.lab.prometheus.durations import divide
from remediator.lab.stage import compressed_policy

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

PLACEHOLDER = "example.invalid"
"""What the shipped routing writes where an address of somebody's own belongs."""
_PROMETHEUS_FLAGS = {
    "query.lookback-delta": "5m",
    "rules.alert.resend-delay": "1m",
    "rules.alert.for-grace-period": "1m",  # the default of 10m would reset short alerts at a restart
}
_RULE_FILES = (".yml", ".yaml")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = __doc__
    parser.add_argument(
        "--home",
        type=Path,
        default=Path(),
        metavar="DIR",
        help="where policy.yaml, prometheus-rules/, alertmanager/ and grafana/ are (default: here)",
    )
    parser.add_argument("--configuration", type=Path, required=True, metavar="DIR", help="written there")
    parser.add_argument("--secrets", type=Path, required=True, metavar="DIR", help="made there when missing")
    parser.add_argument(
        "--cluster", default="http://lab:8001", metavar="URL", help="the API server in the kubeconfig"
    )
    parser.add_argument(
        "--speed", type=_positive, default=1.0, help="divides every duration; 60 makes a minute a second"
    )


def _positive(text: str) -> float:
    value = float(text)
    if value <= 0:
        raise ValueError(text)
    return value


def run(args: argparse.Namespace) -> int:
    """Write everything, say what, and leave."""
    try:
        write_configuration(args.home, args.configuration, args.speed)
        made = make_secrets(args.secrets, args.cluster)
    except OSError as error:
        print(f"{error}; the checkout has to be readable for everybody", flush=True)
        return 1
    print(f"configuration at speed {args.speed:g} in {args.configuration}", flush=True)
    print(f"secrets in {args.secrets}: {', '.join(made) or 'all there already'}", flush=True)
    return 0


def write_configuration(home: Path, to: Path, speed: float) -> None:
    """Write what Prometheus, Alertmanager, Grafana and the remediator read."""
    for name in ("prometheus", "alertmanager", "grafana"):
        shutil.rmtree(to / name, ignore_errors=True)  # what was taken out of the checkout goes here, too
    _prometheus(home / "prometheus-rules", to / "prometheus", speed)
    _alertmanager(home / "alertmanager", to / "alertmanager", speed)
    _grafana(home / "grafana", to / "grafana", speed)
    _write(to / "policy.yaml", _policy((home / "policy.yaml").read_text(encoding="utf-8"), speed))


def _prometheus(shipped: Path, to: Path, speed: float) -> None:
    for path in sorted(shipped.iterdir()):
        if path.suffix not in _RULE_FILES:
            continue
        text = path.read_text(encoding="utf-8")
        if path.name == "prometheus.yml":
            _write(to / path.name, _at_speed(text, speed, _faster_scraping))
        elif "groups" in (yaml.safe_load(text) or {}):
            _write(to / path.name, _at_speed(text, speed, compress))
    flags = [f"--{flag}={divide(duration, speed)}\n" for flag, duration in _PROMETHEUS_FLAGS.items()]
    _write(to / "flags", "".join(flags))


def _faster_scraping(text: str, speed: float) -> str:
    """With the whole interval to answer in: no network and no database is faster for the lab's clock."""
    config = yaml.safe_load(compress_prometheus(text, speed))
    config["global"]["scrape_timeout"] = config["global"]["scrape_interval"]
    for job in config["scrape_configs"]:
        if "http_sd_configs" not in job:  # not the simulated node, but a program with work to do
            job["scrape_interval"] = job["scrape_timeout"] = divide("60s", speed)
    return yaml.safe_dump(config, sort_keys=False, width=4096)


def _at_speed(text: str, speed: float, faster: Callable[[str, float], str]) -> str:
    """At speed 1 the very text, comments and all."""
    return text if speed == 1 else faster(text, speed)


def _alertmanager(shipped: Path, to: Path, speed: float) -> None:
    for path in sorted(shipped.iterdir()):
        if path.suffix == ".tmpl":
            _write(to / path.name, path.read_text(encoding="utf-8"))
    text = compress_alertmanager((shipped / "alertmanager.yml").read_text(encoding="utf-8"), speed)
    config = without_placeholders(yaml.safe_load(text))
    _write(to / "alertmanager.yml", yaml.safe_dump(config, sort_keys=False, allow_unicode=True, width=4096))


def without_placeholders(config: dict[str, Any]) -> dict[str, Any]:
    """Leave out the ways to people that were never filled in: each try would be a failed notification.

    The receivers stay, by name and in the routing; Alertmanager's page shows what they would have been told.
    """
    kept = {key: value for key, value in (config.get("global") or {}).items() if not _unfilled(value)}
    if "smtp_smarthost" not in kept:
        kept = {key: value for key, value in kept.items() if not key.startswith("smtp_")}
    return {**config, "global": kept, "receivers": [_filled_in(each) for each in config["receivers"]]}


def _filled_in(receiver: dict[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for key, value in receiver.items():
        if not isinstance(value, list):
            kept[key] = value
        elif filled := [one for one in value if not _unfilled(one)]:
            kept[key] = filled
    return kept


def _unfilled(value: Any) -> bool:
    return PLACEHOLDER in json.dumps(value)


def _policy(text: str, speed: float) -> str:
    def faster(text: str, speed: float) -> str:
        targets = yaml.safe_load(text)["targets"]
        policy = compressed_policy(text, speed, [target["deployment"] for target in targets])
        return yaml.safe_dump({**policy, "targets": targets}, sort_keys=False, width=4096)

    return _at_speed(text, speed, faster)


# ------------------------------------------------------------ dashboards


def _grafana(shipped: Path, to: Path, speed: float) -> None:
    for path in sorted(shipped.glob("dashboards/**/*.json")):
        text = path.read_text(encoding="utf-8")
        _write(to / path.relative_to(shipped), _at_speed(text, speed, _faster_dashboard))
    for path in sorted(shipped.glob("provisioning/*/*.y*ml")):
        document = _faster(yaml.safe_load(path.read_text(encoding="utf-8")), speed)
        for provider in document.get("providers") or []:
            provider["options"]["path"] = str(to / "dashboards")
        _write(to / path.relative_to(shipped), yaml.safe_dump(document, sort_keys=False, width=4096))


def _faster_dashboard(text: str, speed: float) -> str:
    return json.dumps(_faster(json.loads(text), speed), indent=1)


def _faster(node: Any, speed: float, key: str = "") -> Any:
    """Divide what Grafana knows of time: expressions, steps, the range first shown, how often it looks."""
    if isinstance(node, dict):
        return {name: _faster(value, speed, name) for name, value in node.items()}
    if isinstance(node, list):
        return [_faster(item, speed) for item in node]
    if not isinstance(node, str) or not node:
        return node
    if key == "expr":
        return compress_expression(node, speed)
    if key == "from" and node.startswith("now-") and node[4].isdigit():
        return f"now-{_whole_seconds(node.removeprefix('now-'), speed)}"
    if key == "refresh" and node[0].isdigit():
        return _whole_seconds(node, speed)
    if key in ("timeInterval", "interval", "step") and node[0].isdigit():
        return divide(node, speed)
    return node


def _whole_seconds(duration: str, speed: float) -> str:
    in_milliseconds = divide(duration, speed)
    if not in_milliseconds.endswith("ms"):
        return in_milliseconds
    return f"{max(1, round(int(in_milliseconds.removesuffix('ms')) / 1000))}s"


# ------------------------------------------------------------ secrets


def make_secrets(directory: Path, cluster: str) -> list[str]:
    """Make what is missing, and the kubeconfig; returns the names of what was made.

    Everybody may read the files, since the programs that share the directory run as different users; who may
    enter the directory is for whoever mounts it to decide.
    """
    made = []
    for name in ("remediator_token", "grafana_admin_password"):
        if not (directory / name).exists():
            _write(directory / name, secrets.token_urlsafe(32))  # without a line end: Grafana takes all of it
            made.append(name)
    _write(directory / "kubeconfig", json.dumps(kubeconfig(cluster), indent=1) + "\n")
    return made


def kubeconfig(server: str) -> dict[str, Any]:
    """For a cluster that asks for no credentials, as a simulated one (JSON is YAML).

    A token would not help: kubectl sends none over plain HTTP.
    """
    context = {"cluster": "lab", "user": "lab", "namespace": "default"}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "lab",
        "clusters": [{"name": "lab", "cluster": {"server": server}}],
        "users": [{"name": "lab", "user": {}}],
        "contexts": [{"name": "lab", "context": context}],
    }


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
