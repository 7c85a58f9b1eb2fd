"""A copy of a SQLite journal that is being written, as it was at one moment."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from remediator.ports import JournalUnavailable

_BUSY_SECONDS = 30


def copy_sqlite(database: Path, to: Path) -> int:
    """Copy into a new file, readable by us only; returns its size in bytes.

    One read transaction, so writers do not wait. The name appears only when the copy is whole, checked and on
    disk. Raises JournalUnavailable, FileExistsError, OSError.
    """
    if to.exists():
        raise FileExistsError(f"{to} is there already; a backup overwrites nothing")
    if not database.is_file():
        raise JournalUnavailable(f"there is no journal {database}")
    part = to.with_name(f"{to.name}.part")
    part.unlink(missing_ok=True)
    os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    try:
        _copy(database, part)
        with part.open("rb") as copied:
            os.fsync(copied.fileno())
        os.link(part, to)  # unlike a rename it overwrites nothing
        _sync_folder(to.parent)
    except sqlite3.Error as error:
        raise JournalUnavailable(f"{type(error).__name__}: {error}") from None
    finally:
        part.unlink(missing_ok=True)
    return to.stat().st_size


def _copy(database: Path, part: Path) -> None:
    with closing(sqlite3.connect(database, timeout=_BUSY_SECONDS, isolation_level=None)) as source:
        source.execute("VACUUM INTO ?", (str(part),))
    with closing(sqlite3.connect(part)) as copy:
        (found,) = copy.execute("PRAGMA quick_check").fetchone()
    if found != "ok":
        raise sqlite3.DatabaseError(f"the copy is damaged: {found}")


def _sync_folder(folder: Path) -> None:
    number = os.open(folder, os.O_RDONLY)
    with suppress(OSError):
        os.fsync(number)
    os.close(number)
