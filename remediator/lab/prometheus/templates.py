"""The templates of labels and annotations, as far as alert rules commonly use them.

Knows `{{ $value }}`, `{{ $labels.name }}`, `{{ printf "%.2f" $value }}` and pipes into `humanize`,
`humanizePercentage`, `humanizeDuration`, `urlquery`, `printf "..."`. As in Prometheus a template that
cannot be expanded becomes a visible text in the value and never stops the alert.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal
from typing import TYPE_CHECKING
from urllib.parse import quote_plus

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_ACTION = re.compile(r"\{\{-?\s*(.*?)\s*-?\}\}", re.DOTALL)
_LABEL = re.compile(r"\$labels\.([A-Za-z_][A-Za-z0-9_]*)")
_PRINTF = re.compile(r'printf\s+"((?:\\.|[^"\\])*)"\s*(\S+)?')
_LARGE = ("", "k", "M", "G", "T", "P", "E", "Z", "Y")
_SMALL = ("", "m", "u", "n", "p", "f", "a", "z", "y")


def format_value(value: float) -> str:
    """Write a sample value as Prometheus does: shortest exact form, no exponent."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    text = format(Decimal(repr(float(value))), "f")
    return text.removesuffix(".0")


def _general(value: float, digits: int = 4) -> str:
    return f"{value:.{digits}g}" if math.isfinite(value) else format_value(value)


def humanize(value: float) -> str:
    if value == 0 or not math.isfinite(value):
        return _general(value)
    prefixes = _LARGE if abs(value) >= 1 else _SMALL
    factor = 1 / 1000 if abs(value) >= 1 else 1000
    index = 0
    while index < len(prefixes) - 1 and (abs(value) >= 1000 if factor < 1 else abs(value) < 1):  # noqa: PLR2004
        value *= factor
        index += 1
    return _general(value) + prefixes[index]


def humanize_percentage(value: float) -> str:
    return _general(value * 100) + "%"


def humanize_duration(value: float) -> str:
    if not math.isfinite(value):
        return _general(value)
    if value == 0:
        return "0s"
    sign, seconds = ("-", -value) if value < 0 else ("", value)
    if seconds < 1:
        return sign + humanize(seconds) + "s"
    if seconds < 60:  # noqa: PLR2004  # a minute
        return f"{sign}{_general(seconds)}s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (minutes, "m"), (rest, "s")]
    while parts[0][0] == 0:
        parts.pop(0)
    return sign + " ".join(f"{number}{unit}" for number, unit in parts)


_NUMERIC: dict[str, Callable[[float], str]] = {
    "humanize": humanize,
    "humanizePercentage": humanize_percentage,
    "humanizeDuration": humanize_duration,
}


def expand(text: str, labels: Mapping[str, str], value: float) -> str:
    """Expand one template text; a failure is said in the text itself."""
    try:
        return _ACTION.sub(lambda action: _pipeline(action.group(1), labels, value), text)
    except (ValueError, TypeError) as error:
        return f"<error expanding template: {error}>"


def _pipeline(action: str, labels: Mapping[str, str], value: float) -> str:
    first, *pipes = [part.strip() for part in action.split("|")]
    current = _first(first, labels, value)
    for pipe in pipes:
        current = _piped(pipe, current)
    return current if isinstance(current, str) else format_value(current)


def _first(part: str, labels: Mapping[str, str], value: float) -> str | float:
    printed = _PRINTF.fullmatch(part)
    if printed is not None and printed[2] is not None:
        return printed[1] % _argument(printed[2], labels, value)
    name, _, rest = part.partition(" ")
    if name in _NUMERIC and rest:
        return _NUMERIC[name](float(_argument(rest.strip(), labels, value)))
    return _argument(part, labels, value)


def _argument(word: str, labels: Mapping[str, str], value: float) -> str | float:
    if word in ("$value", ".Value"):
        return value
    label = _LABEL.fullmatch(word)
    if label is not None:
        return labels.get(label[1], "")
    raise ValueError(f"not supported here: {word}")


def _piped(pipe: str, current: str | float) -> str:
    if pipe in _NUMERIC:
        return _NUMERIC[pipe](float(current))
    if pipe == "urlquery":
        return quote_plus(current if isinstance(current, str) else format_value(current), safe="~")
    printed = _PRINTF.fullmatch(pipe)
    if printed is not None and printed[2] is None:
        return printed[1] % current
    raise ValueError(f"not supported here: {pipe}")
