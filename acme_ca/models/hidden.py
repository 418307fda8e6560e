"""Columns whose indexes SQLite does not look at."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler


class Hidden(ColumnElement[Any]):
    """A column whose indexes SQLite does not look at: without statistics it would walk that of any condition."""

    inherit_cache = False  # it is compiled anew: what it hides is no part of the key

    def __init__(self, column: ColumnElement[Any]) -> None:
        """Hide a column."""
        self.column = column
        self.type = column.type


@compiles(Hidden)
def _compile_hidden(element: Hidden, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401 - SQLAlchemy's own
    sign = "+" if compiler.dialect.name == "sqlite" else ""
    return sign + compiler.process(element.column, **options)
