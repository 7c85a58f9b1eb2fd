"""What may be read: recorded series, what Prometheus makes itself, and a list of what the jobs export."""

from __future__ import annotations

from pathlib import Path

from remediator.alignment.located import Mistake, Unreadable, read_located

PROMETHEUS_MAKES = frozenset(
    [
        "ALERTS",
        "ALERTS_FOR_STATE",
        "up",
        "scrape_body_size_bytes",
        "scrape_duration_seconds",
        "scrape_sample_limit",
        "scrape_samples_post_metric_relabeling",
        "scrape_samples_scraped",
        "scrape_series_added",
        "scrape_timeout_seconds",
    ]
)


def read_series(file: Path) -> tuple[frozenset[str], tuple[Mistake, ...]]:
    """Read the names under `series`, listed by the job that exports them."""
    try:
        document = read_located(file)
    except Unreadable as error:
        return frozenset(), (error.mistake,)
    except FileNotFoundError:
        message = "list here, under series, by job, what is exported; or --without series"
        return frozenset(), (Mistake(file=str(file), line=1, path="", message=message),)
    jobs = document.value.get("series")
    if not isinstance(jobs, dict):
        return frozenset(), (document.mistake(("series",), "list names by job under the key series"),)
    names: set[str] = set()
    mistakes = []
    for job, listed in jobs.items():
        if isinstance(listed, list) and all(isinstance(name, str) for name in listed):
            names |= set(listed)
        else:
            mistakes.append(document.mistake(("series", str(job)), f"list the names that {job} exports"))
    return frozenset(names), tuple(mistakes)
