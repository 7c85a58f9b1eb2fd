"""What an API server's own audit log says, also where it has set a full one aside meanwhile."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Json = dict[str, Any]


def audited(log: Path, word: str, *, since: float) -> list[Json]:
    """The events with that word in them, each once, in order; written since then (seconds since 1970), or
    at least in the same file."""
    found: dict[tuple[str, str], Json] = {}
    for file in _files(log, since):
        with file.open(encoding="utf-8") as lines:
            events = [json.loads(line) for line in lines if word in line and line.endswith("\n")]
        found |= {(event["auditID"], event["stage"]): event for event in events}
    return sorted(found.values(), key=lambda event: str(event["stageTimestamp"]))


def _files(log: Path, since: float) -> Iterator[Path]:
    """The log, and then what has been made of it: it is set aside once it is full."""
    yield log
    for aside in log.parent.glob(f"{log.stem}-*{log.suffix}"):
        if aside.stat().st_mtime >= since:
            yield aside
