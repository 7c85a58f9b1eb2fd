"""What a journal has, asked of its database itself."""

from __future__ import annotations

import json
from typing import Self

from sqlalchemy import create_engine, make_url, text


class Kept:
    """The journal as its database has it; a context manager."""

    def __init__(self, database: str) -> None:
        url = make_url(database)
        driver = "postgresql+psycopg" if url.get_backend_name() == "postgresql" else "sqlite"
        self._engine = create_engine(url.set(drivername=driver))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._engine.dispose()

    def number(self, query: str) -> int:
        with self._engine.connect() as connection:
            return int(connection.execute(text(query)).scalar_one())

    def escalations(self) -> dict[str, float]:
        query = "SELECT labels, sum(value) AS total FROM counters WHERE name = 'escalations' GROUP BY labels"
        with self._engine.connect() as connection:
            rows = connection.execute(text(query)).all()
        return {json.loads(row.labels)["reason"]: row.total for row in rows}

    def every_hold_has_outlasted(self, seconds: float, *, looked_every: float) -> bool:
        """Whether each incident that a storm holds was looked at again when it had been held for so long."""
        since = "(SELECT min(at) FROM events WHERE incident_id = incidents.id AND kind = 'held')"
        looked = f"next_at - {looked_every * 1_000_000:.0f}"
        sooner = f"hold_reason = 'storm' AND {looked} <= {since} + {seconds * 1_000_000:.0f}"
        return self.number(f"SELECT count(*) FROM incidents WHERE {sooner}") == 0
