"""One statement for many rows.

SQLite runs it once for each row, inside of this process. PostgreSQL would have to answer for each row: there
all of them are one parameter, a text of JSON, and it runs once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    JSON,
    Column,
    ColumnElement,
    Connection,
    Executable,
    Table,
    Text,
    bindparam,
    cast,
    column,
    func,
    select,
)
from sqlalchemy.types import TypeEngine

from remediator.adapters.journal.connection import insert_into
from remediator.adapters.journal.schema import microseconds

if TYPE_CHECKING:
    from remediator.adapters.journal.connection import Upsert

_ROWS = "rows"


class Given:
    """The values of many rows, as a statement refers to them."""

    def __init__(self, dialect: str, types: Mapping[str, TypeEngine[Any]]) -> None:
        self._dialect = dialect
        self._one_by_one = dialect == "sqlite"
        # JSON within JSON stays a text until it is in its column: as JSON, PostgreSQL would look into it.
        self._packed = [name for name, kind in types.items() if isinstance(kind, JSON)]
        if self._one_by_one:
            self._values: dict[str, ColumnElement[Any]] = {
                name: bindparam(name, type_=kind) for name, kind in types.items()
            }
            return
        rows = func.json_to_recordset(cast(bindparam(_ROWS, type_=Text()), JSON))
        columns = [column(name, Text() if name in self._packed else kind) for name, kind in types.items()]
        given = rows.table_valued(*columns, name="given").render_derived(with_types=True)
        self._values = {
            name: cast(given.c[name], JSON) if name in self._packed else given.c[name] for name in types
        }

    def __getitem__(self, name: str) -> ColumnElement[Any]:
        return self._values[name]

    def into(self, table: Table) -> Upsert:
        """An INSERT of all rows, in their order."""
        new = insert_into(table, self._dialect)
        if self._one_by_one:
            return new
        return new.from_select(list(self._values), select(*self._values.values()))

    def parameters(self, rows: Sequence[Mapping[str, Any]]) -> Any:
        """What a statement that refers to these values is to be executed with."""
        if self._one_by_one:
            return rows
        if self._packed:
            rows = [{**row, **{name: json.dumps(row[name]) for name in self._packed}} for row in rows]
        return {_ROWS: json.dumps(rows, default=microseconds)}


@dataclass(frozen=True, slots=True)
class Many:
    """A statement that refers to the values of many rows."""

    given: Given
    statement: Executable

    def run(self, connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        """For all of them; none is nothing to do."""
        if rows:
            connection.execute(self.statement, self.given.parameters(rows))


def rows_of(table: Table, names: Sequence[str], dialect: str) -> Given:
    """Values for these columns of the table."""
    columns: list[Column[Any]] = [table.c[name] for name in names]
    return Given(dialect, {one.name: one.type for one in columns})
