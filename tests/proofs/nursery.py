"""Forks a remediator for each line it reads: `python -m tests.proofs.nursery`.

Everything is imported once, before the forks: a life then costs milliseconds. Each line is JSON with what
`Life` has; for each life that ended one line comes back: its number, and the signal that ended it or 0.
"""

from __future__ import annotations

import json
import os
import select
import sys
import traceback
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

from flask import Flask

from remediator.core.incidents import Phase
from remediator.logs import configure_logs
from remediator.ports import JournalUnavailable
from remediator.serve import Process
from remediator.settings import Settings
from remediator.wiring import build
from tests.proofs.points import Points
from tests.waiting import eventually

LONGEST = 240.0
"""Seconds a life may take: more than all waits that the policy allows an incident, one after the other."""
ACCEPTED, DIED_AT, RESULT = "accepted", "died-at", "result.json"


@dataclass(frozen=True, slots=True)
class Life:
    number: int
    directory: str
    database: str
    kubeconfig: str
    prometheus: str
    notification: dict[str, Any]
    die_at: int | None = None


def live(life: Life) -> None:
    """Serve until the incident has ended: the webhook by its application, the worker in its thread."""
    directory = Path(life.directory)
    points = Points(die_at=life.die_at, record=directory / DIED_AT)
    settings = Settings(
        policy=directory / "policy.yaml",
        database=life.database,
        kubeconfig=Path(life.kubeconfig),
        prometheus=life.prometheus,
        insecure=True,
        recheck=timedelta(milliseconds=400),
        poll=timedelta(milliseconds=200),
        lease=timedelta(milliseconds=1500),
        idle=timedelta(milliseconds=100),
        log="json",
    )
    points.watch()
    process = Process(build(settings))
    worker, journal = process.remediator.worker, process.remediator.journal
    worker.start()
    client = process.app.test_client()
    accepted = directory / ACCEPTED

    def is_over() -> bool:
        if not accepted.exists():  # Alertmanager sends again what was not answered 2xx
            answer = client.post("/webhook", json=life.notification)
            if answer.status_code == 202:
                accepted.touch()
        with suppress(JournalUnavailable):  # a slow machine: the one connection is in use
            told = journal.incidents()
            return bool(told) and told[-1].phase in (Phase.CLOSED, Phase.RETURNING, Phase.ESCALATED)
        return False

    with suppress(AssertionError):  # how far it came in that time is told below, and judged
        eventually(is_over, within=LONGEST)
    told = journal.incidents()
    story = journal.story(told[-1].id) if told else None
    ended = story.incident.closed_at if story else None
    # One that began when the first had ended is no second one for the same.
    beside = [one for one in journal.incidents() if ended is None or one.opened_at <= ended]
    result = {
        "incidents": len(beside),
        "phase": story.incident.phase.value if story else None,
        "reason": story.incident.reason.value if story and story.incident.reason else None,
        "timeline_holds": story is not None and story.broken_at is None,
        "timeline": [f"{e['at']:%T.%f} {e['kind']} {e['reason']} {e['detail']}" for e in story.events]
        if story
        else [],
        "points": points.names,
    }
    (directory / RESULT).write_text(json.dumps(result), encoding="utf-8")


def _fork(life: Life) -> int:
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        log = os.open(f"{life.directory}/log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        configure_logs("json")
        live(life)
        status = 0
    except BaseException:  # noqa: BLE001 - into its log; the life ends in any case
        traceback.print_exc()
    finally:
        os._exit(status)


def main() -> None:
    """Read lives, fork them, tell of their ends; until the input ends."""
    Flask("warm").test_client()  # imported here, not in every life
    with suppress(ImportError):
        import_module("psycopg")
    children: dict[int, int] = {}
    waiting, is_open = b"", True
    while is_open or children:
        if is_open and select.select([0], [], [], 0.02)[0]:
            read = os.read(0, 1 << 16)
            is_open = bool(read)
            *lines, waiting = (waiting + read).split(b"\n")
            for line in lines:
                life = Life(**json.loads(line))
                children[_fork(life)] = life.number
        while children:
            child, status = os.waitpid(-1, os.WNOHANG if is_open else 0)
            if not child:
                break
            ended = {"number": children.pop(child), "signal": os.WTERMSIG(status), "status": status >> 8}
            sys.stdout.write(json.dumps(ended) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
