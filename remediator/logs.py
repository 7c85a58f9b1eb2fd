"""One event a line on standard error: readable on a terminal, JSON otherwise."""

from __future__ import annotations

import logging
import sys
from typing import Any

# Where rich is there, structlog imports it to show tracebacks with the values of all variables: 5 MiB in
# every process, and secrets on a screen. So it is not there while structlog is imported.
_RICH = sys.modules.get("rich")
sys.modules["rich"] = None  # type: ignore[assignment]
import structlog  # noqa: E402

del sys.modules["rich"]
if _RICH is not None:
    sys.modules["rich"] = _RICH


def configure_logs(form: str = "auto") -> None:
    """Set up logging once per process; `form` is auto, json or console."""
    readable = form == "console" or (form == "auto" and sys.stderr.isatty())
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last: list[Any] = (
        [structlog.dev.ConsoleRenderer()]
        if readable
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str)]
    )
    structlog.configure(
        processors=[*shared, *last],
        # One write a line: `print` takes two, between which another process' line fits.
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    # What libraries say goes the same way, from warnings up.
    form_library = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
    )
    out = logging.StreamHandler(sys.stderr)
    out.setFormatter(form_library)
    root = logging.getLogger()
    root.handlers[:] = [out]
    root.setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)


def logger(name: str) -> Any:
    """A logger whose lines carry `part=name`."""
    return structlog.get_logger(part=name)
