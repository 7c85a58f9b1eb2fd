"""Time compression: the same rules and routes, `speed` times faster.

Divides every duration of a rule file or an Alertmanager configuration by the speed, so that the demo shows
in seconds what takes minutes, with the shipped files and on a real Prometheus as well as on the stand-in.
What is no duration in the grammar is left alone: strings, label values, comments, and numbers of seconds
inside an expression (`time() - x > 3600`), which the rules therefore should not contain.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import yaml

from remediator.lab.prometheus.durations import divide, format_ms, parse_ms

if TYPE_CHECKING:
    from collections.abc import Mapping

_GROUP_KEYS = ("interval", "query_offset")
_RULE_KEYS = ("for", "keep_firing_for")
_ALERTMANAGER_KEYS = frozenset({"group_wait", "group_interval", "repeat_interval", "resolve_timeout"})
_PROMETHEUS_KEYS = frozenset({"scrape_interval", "evaluation_interval", "refresh_interval"})
# A request over a real network does not become faster with the lab's clock.
_TIMEOUT_KEYS = frozenset({"timeout", "scrape_timeout"})
_SHORTEST_TIMEOUT_MS = 1000

_TOKEN = re.compile(
    r"""
      (?P<string>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`[^`]*`)
    | (?P<comment>\#[^\n]*)
    | (?P<hexadecimal>0[xX][0-9a-fA-F]+)
    | (?P<duration>(?:[0-9]+(?:ms|[smhdwy]))+(?![A-Za-z0-9_.]))
    | (?P<number>(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)
    | (?P<identifier>[A-Za-z_:][A-Za-z0-9_:]*)
    | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_IN_BRACKETS = re.compile(r"(?P<duration>(?:[0-9]+(?:ms|[smhdwy]))+)|(?P<seconds>[0-9]+(?:\.[0-9]+)?)")


def compress(rules: str | Mapping[str, Any], speed: float) -> str:
    """Return the rule file with every duration divided by `speed`; text or the parsed mapping goes in."""
    document = yaml.safe_load(rules) if isinstance(rules, str) else rules
    if not isinstance(document, dict) or not isinstance(document.get("groups"), list):
        raise ValueError("not a rule file: there is no list `groups`")  # noqa: TRY004  # a bad file, not a bad call
    return _dump({**document, "groups": [_group(group, speed) for group in document["groups"]]})


def _group(group: Mapping[str, Any], speed: float) -> dict[str, Any]:
    faster = _divided(group, _GROUP_KEYS, speed)
    faster["rules"] = [
        {**_divided(rule, _RULE_KEYS, speed), "expr": compress_expression(str(rule["expr"]), speed)}
        for rule in group.get("rules") or []
    ]
    return faster


def _divided(mapping: Mapping[str, Any], keys: tuple[str, ...], speed: float) -> dict[str, Any]:
    return {key: divide(value, speed) if key in keys else value for key, value in mapping.items()}


def compress_expression(expression: str, speed: float) -> str:
    """Divide the ranges, resolutions, offsets and duration literals of one PromQL expression."""
    done: list[str] = []
    position = 0
    while position < len(expression):
        if expression[position] == "[":
            # Inside brackets a colon separates range and resolution; elsewhere it may begin a metric name.
            end = expression.find("]", position) + 1 or len(expression)
            done.append(_IN_BRACKETS.sub(lambda part: _bracketed(part, speed), expression[position:end]))
            position = end
            continue
        token = _TOKEN.match(expression, position)
        assert token is not None  # `other` takes any character
        text = token.group()
        done.append(divide(text, speed) if token.lastgroup == "duration" else text)
        position = token.end()
    return "".join(done)


def _bracketed(part: re.Match[str], speed: float) -> str:
    if part["duration"]:
        return divide(part["duration"], speed)
    return format_ms(max(1, round(float(part["seconds"]) * 1000 / speed)))


def compress_alertmanager(text: str, speed: float) -> str:
    """Return an Alertmanager configuration with its waits divided; time-outs keep at least a second."""
    return _dump(_walk(yaml.safe_load(text), _ALERTMANAGER_KEYS, speed))


def compress_prometheus(text: str, speed: float) -> str:
    """Return a Prometheus configuration (prometheus.yml) with its intervals divided.

    A scrape time-out may not exceed the interval, so it is the one time-out that follows without a floor.
    """
    document = _walk(yaml.safe_load(text), _PROMETHEUS_KEYS, speed)
    return _dump(document)


def _walk(node: Any, keys: frozenset[str], speed: float) -> Any:
    if isinstance(node, list):
        return [_walk(item, keys, speed) for item in node]
    if not isinstance(node, dict):
        return node
    return {key: _value(key, value, keys, speed) for key, value in node.items()}


def _value(key: str, value: Any, keys: frozenset[str], speed: float) -> Any:
    if isinstance(value, (dict, list)):
        return _walk(value, keys, speed)
    if key in keys or key == "scrape_timeout":
        return divide(value, speed)
    if key in _TIMEOUT_KEYS:
        whole = parse_ms(value)
        return format_ms(min(whole, max(_SHORTEST_TIMEOUT_MS, round(whole / speed))))
    return value


def _dump(document: Any) -> str:
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=4096)
