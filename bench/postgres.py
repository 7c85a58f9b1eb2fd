"""A database of one's own on the PostgreSQL that TEST_POSTGRES_URL names."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

POSTGRES = "TEST_POSTGRES_URL"
WITHOUT = f"{POSTGRES} is not set, or psycopg is missing"


@contextmanager
def database() -> Iterator[str | None]:
    """Its URL; None where there is no PostgreSQL."""
    url = os.environ.get(POSTGRES)
    try:
        import psycopg  # noqa: PLC0415 - an extra
    except ImportError:
        url = None
    if not url:
        yield None
        return
    name = f"bench_{uuid4().hex[:12]}"
    with psycopg.connect(url, autocommit=True) as db:
        db.execute(f'CREATE DATABASE "{name}"')
        try:
            yield f"{url.rpartition('/')[0]}/{name}"
        finally:
            db.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def asked(url: str, query: str, *values: object) -> int:
    """The one number that the query gives."""
    import psycopg  # noqa: PLC0415 - an extra

    with psycopg.connect(url) as db:
        row = db.execute(query.encode(), values).fetchone()
    assert row is not None
    found: int = row[0]
    return found
