"""Write the dashboards: `python grafana/make_dashboards.py [DIRECTORY]`. A test holds both equal.

Generated, because a panel is ten lines that matter and a hundred that are the same for all of them.
"""
# ruff: noqa: INP001 - a script beside what it writes

from __future__ import annotations

import json
import sys
from pathlib import Path

from ahsan import ahsan
from machine import remediator


def main(directory: Path) -> None:
    for made in (ahsan(), remediator()):
        text = json.dumps(made, indent=2, ensure_ascii=False)
        (directory / f"{made['uid']}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "dashboards")
