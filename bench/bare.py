"""What acknowledging durably costs at the least: Flask and gunicorn, one row for each request.

`python -m bench.bare PORT FILE`: the same kind of SQLite file at the same durability (WAL, fsync on every
commit), one connection behind a lock, gunicorn's threads as `remediator serve` has them.
"""

from __future__ import annotations

import sqlite3
import sys
import threading
from typing import Any

from flask import Flask, jsonify, request
from gunicorn.app.base import BaseApplication


class Bare(BaseApplication):  # type: ignore[misc]
    def __init__(self, port: str, file: str) -> None:
        self._port, self._file = port, file
        super().__init__()

    def load_config(self) -> None:
        self.cfg.set("bind", f"127.0.0.1:{self._port}")
        self.cfg.set("worker_class", "gthread")
        self.cfg.set("threads", 8)
        self.cfg.set("keepalive", 75)
        self.cfg.set("control_socket_disable", True)

    def load(self) -> Any:
        app = Flask("bare")
        db = sqlite3.connect(self._file, isolation_level=None, check_same_thread=False)
        for pragma in ("journal_mode=WAL", "synchronous=FULL"):
            db.execute(f"PRAGMA {pragma}")
        db.execute("CREATE TABLE IF NOT EXISTS received (id INTEGER PRIMARY KEY, alerts INTEGER, body TEXT)")
        lock = threading.Lock()

        @app.post("/webhook")
        def webhook() -> Any:
            alerts = len(request.get_json()["alerts"])
            with lock:
                db.execute("BEGIN IMMEDIATE")
                db.execute(
                    "INSERT INTO received VALUES (NULL, ?, ?)", (alerts, request.get_data(as_text=True))
                )
                db.execute("COMMIT")
            return jsonify(stored=alerts), 202

        return app


if __name__ == "__main__":
    Bare(*sys.argv[1:]).run()
