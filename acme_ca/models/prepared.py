"""Statements that are compiled once, and then go to the driver as they are.

SQLAlchemy's execution of a compiled statement costs three times what SQLite takes to answer it. The statements of
every request are kept here as the SQL of each dialect, with what turns values into parameters and columns into values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, cast

from sqlalchemy import Connection, Executable
from sqlalchemy.engine import Dialect
from sqlalchemy.sql.compiler import SQLCompiler

Convert = Callable[[Any], Any]


class _Cursor(Protocol):
    rowcount: int

    def fetchall(self) -> list[Sequence[Any]]: ...


class Prepared:
    """A statement of SQLAlchemy Core, without `IN` over a list: that has a number of parameters of its own each time.

    `columns` are those that an INSERT gives values for.
    """

    def __init__(self, statement: Executable, columns: Sequence[str] | None = None) -> None:
        self._statement = statement
        self._columns = columns
        self._compiled: dict[str, _Compiled] = {}

    def rows(self, connection: Connection, parameters: Mapping[str, Any]) -> list[Sequence[Any]]:
        """Execute, and return what was found."""
        compiled = self._for(connection.dialect)
        found = compiled.execute(connection, parameters).fetchall()
        return [compiled.converted(row) for row in found] if compiled.results else found

    def change(self, connection: Connection, parameters: Mapping[str, Any]) -> int:
        """Execute, and return how many rows changed."""
        return self._for(connection.dialect).execute(connection, parameters).rowcount

    def change_many(self, connection: Connection, parameters: Sequence[Mapping[str, Any]]) -> None:
        """Execute once with each parameters."""
        self._for(connection.dialect).execute_many(connection, parameters)

    def _for(self, dialect: Dialect) -> _Compiled:
        compiled = self._compiled.get(dialect.name)
        if compiled is None:
            compiled = self._compiled[dialect.name] = _Compiled(self._statement, self._columns, dialect)
        return compiled


class _Compiled:
    """A statement in one dialect."""

    def __init__(self, statement: Executable, columns: Sequence[str] | None, dialect: Dialect) -> None:
        compiled = cast("SQLCompiler", statement.compile(dialect=dialect, column_keys=columns))  # type: ignore[attr-defined]  # every Executable of Core compiles
        self._sql = str(compiled)
        self._positions = compiled.positiontup
        self._constants = {name: bind.effective_value for name, bind in compiled.binds.items() if not bind.required}
        binds = {name: bind.type.dialect_impl(dialect).bind_processor(dialect) for name, bind in compiled.binds.items()}
        self._binds = tuple((name, convert) for name, convert in binds.items() if convert is not None)
        results = [column.type.dialect_impl(dialect).result_processor(dialect, None) for column in _columns(statement)]
        self.results = tuple((index, convert) for index, convert in enumerate(results) if convert is not None)

    def execute(self, connection: Connection, parameters: Mapping[str, Any]) -> _Cursor:
        driver = cast("Any", connection.connection.driver_connection)  # each driver has `execute`, as sqlite3 has it
        return cast("_Cursor", driver.execute(self._sql, self._arguments(parameters)))

    def execute_many(self, connection: Connection, parameters: Sequence[Mapping[str, Any]]) -> None:
        driver = cast("Any", connection.connection.driver_connection)
        driver.cursor().executemany(self._sql, [self._arguments(values) for values in parameters])

    def _arguments(self, parameters: Mapping[str, Any]) -> Mapping[str, Any] | Sequence[Any]:
        values = {**self._constants, **parameters}
        for name, convert in self._binds:
            values[name] = convert(values[name])
        return values if self._positions is None else [values[name] for name in self._positions]

    def converted(self, row: Sequence[Any]) -> list[Any]:
        values = list(row)
        for index, convert in self.results:
            values[index] = convert(values[index])
        return values


def _columns(statement: Executable) -> Sequence[Any]:
    return tuple(getattr(statement, "selected_columns", ()))
