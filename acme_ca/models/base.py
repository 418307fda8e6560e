"""Records: plain dataclasses, each with the table that keeps it, loaded and saved by a handful of statements.

They are SQLAlchemy Core, not its ORM: a session's bookkeeping took two thirds of the CPU time of an issuance, while a
transaction here touches at most five rows that it names itself. What a record's methods changed, `update` saves, on
condition that the row still has the status that was read: a change by somebody else in between is never overwritten.
"""

import dataclasses
import re
import secrets
import time
import types
import typing
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, ClassVar, NewType, Self, TypeVar

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Connection,
    DateTime,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Select,
    String,
    Table,
    TypeDecorator,
    bindparam,
)
from sqlalchemy import insert as insert_into
from sqlalchemy import select as select_from
from sqlalchemy import update as update_of
from sqlalchemy.engine import Dialect
from sqlalchemy.schema import SchemaItem
from sqlalchemy.types import TypeEngine

from acme_ca.models.prepared import Convert, Prepared
from acme_ca.problems import Contended

METADATA = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class UtcDateTime(TypeDecorator[datetime]):
    """An aware time in UTC; a database without time zones keeps it as naive UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def bind_processor(self, dialect: Dialect) -> Convert:
        """Refuse naive times; what is stored is UTC, in SQLite as text in SQLAlchemy's format."""
        return _utc if dialect.name == "postgresql" else _utc_text

    def result_processor(self, dialect: Dialect, coltype: object) -> Convert:  # noqa: ARG002 - the base class's signature
        """Return an aware time in UTC."""
        return _utc if dialect.name == "postgresql" else _from_utc_text


def _utc(value: datetime | None) -> datetime | None:
    if value is not None and value.tzinfo is None:
        raise ValueError(f"a naive time at the database: {value}")
    return None if value is None else value.astimezone(UTC)


def _utc_text(value: datetime | None) -> str | None:
    value = _utc(value)
    return None if value is None else value.replace(tzinfo=None).isoformat(" ", "microseconds")


def _from_utc_text(value: str | None) -> datetime | None:
    return None if value is None else datetime.fromisoformat(value).replace(tzinfo=UTC)


class Record:
    """A row as a plain object. Subclasses are dataclasses whose first field is the primary key."""

    table: ClassVar[Table]
    columns: ClassVar[tuple[str, ...]]
    _loaded: Sequence[Any]  # the values of the row, in the order of the columns

    @classmethod
    def from_row(cls, row: Sequence[Any]) -> Self:
        """Return the record of a row that has all columns of the table, in their order."""
        record = cls.__new__(cls)
        record.__dict__.update(zip(cls.columns, row, strict=True), _loaded=row)
        return record

    def copy(self) -> Self:
        """Return the same record to change apart from this one."""
        record = type(self).__new__(type(self))
        record.__dict__.update(self.__dict__)
        return record

    def changes(self) -> dict[str, Any]:
        """Return the columns whose value is not the one that was loaded or saved last."""
        loaded = zip(self.columns, self._loaded, strict=True)
        return {name: self.__dict__[name] for name, value in loaded if self.__dict__[name] != value}

    def loaded(self, column: str) -> Any:  # noqa: ANN401 - whatever the column has
        """Return what the row had in a column when it was loaded or saved last; None if there is no such column."""
        return self._loaded[self.columns.index(column)] if column in self.columns else None

    def saved(self) -> None:
        """Take the present values for those of the row."""
        self._loaded = [self.__dict__[name] for name in self.columns]


AnyRecord = TypeVar("AnyRecord", bound=Record)
BigInt = NewType("BigInt", int)
"""A number of up to 63 bits; an `int` has 31."""

_COLUMN_TYPES: dict[Any, TypeEngine[Any]] = {
    str: String(),
    int: Integer(),
    BigInt: BigInteger(),
    bool: Boolean(),
    bytes: LargeBinary(),
    datetime: UtcDateTime(),
    list: JSON(none_as_null=True),
    dict: JSON(none_as_null=True),
}


def table_of(kind: type[Record], name: str, *items: SchemaItem) -> Table:
    """Make the table of a record: a column for each field, nullable where the field may be None."""
    hints = typing.get_type_hints(kind)
    columns = [_column(field.name, hints[field.name]) for field in dataclasses.fields(kind)]  # type: ignore[arg-type]  # every record is a dataclass
    columns[0].primary_key = True
    kind.table = Table(name, METADATA, *columns, *items)
    kind.columns = tuple(column.name for column in columns)
    return kind.table


def get(connection: Connection, kind: type[AnyRecord], key: str | bytes, *, lock: bool = False) -> AnyRecord | None:
    """Return the record with this primary key, or None; `lock` holds it until the transaction ends."""
    rows = _by_key(kind.table, lock).rows(connection, {"key": key})
    return kind.from_row(rows[0]) if rows else None


def get_one(connection: Connection, kind: type[AnyRecord], key: str | bytes, *, lock: bool = False) -> AnyRecord:
    """Return the record with this primary key, which is known to exist."""
    found = get(connection, kind, key, lock=lock)
    if found is None:
        raise LookupError(f"{kind.__name__} {key!r} is gone")
    return found


def select(kind: type[Record], *conditions: ColumnElement[bool]) -> Select[Any]:
    """Return the statement that finds the records of a kind; `find` executes it."""
    return select_from(kind.table).where(*conditions)


def find(
    connection: Connection, kind: type[AnyRecord], statement: Select[Any] | Prepared, **parameters: object
) -> list[AnyRecord]:
    """Return the records that a statement made by `select` finds; one that is used often is `Prepared`."""
    if isinstance(statement, Prepared):
        return [kind.from_row(row) for row in statement.rows(connection, parameters)]
    return [kind.from_row(row) for row in connection.execute(statement, parameters)]


def insert(connection: Connection, *records: Record) -> None:
    """Add records to their tables."""
    for record in records:
        _insertion(record.table).change(connection, {name: record.__dict__[name] for name in record.columns})
        record.saved()


def update(connection: Connection, record: Record) -> None:
    """Save what was changed; raises Contended when the row's status is no longer the one that was loaded."""
    changed = record.changes()
    if not changed:
        return
    values = {**changed, "_key": record.loaded(record.columns[0]), "_status": record.loaded("status")}
    if _updating(record.table, tuple(changed)).change(connection, values) != 1:
        raise Contended
    record.saved()


ID = re.compile(r"[0-9a-f]{26}")


def new_id() -> str:
    """Return a row's identifier: 26 lower-case hexadecimal digits, 52 bits of time (µs) before 52 random bits.

    Rows made together lie together in the index, so that inserting costs the same however large the table is, and
    those of one client in the order in which they were made.
    """
    return f"{time.time_ns() // 1_000 & 0xFFFFFFFFFFFFF:013x}{secrets.randbits(52):013x}"


def first_id(moment: datetime) -> str:
    """Return the least identifier that `new_id` could have made at a moment."""
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    micros = max(0, since // timedelta(microseconds=1)) & 0xFFFFFFFFFFFFF
    return f"{micros:013x}{0:013x}"


def partial_index(name: str, *columns: Column[Any], where: ColumnElement[bool], unique: bool = False) -> Index:
    """Make an index that holds only the rows of which the condition is true."""
    return Index(name, *columns, unique=unique, sqlite_where=where, postgresql_where=where)


def _column(name: str, hint: Any) -> Column[Any]:  # noqa: ANN401 - a type annotation is any object
    parts: Iterable[Any] = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    kinds = [part for part in parts if part is not types.NoneType]
    kind = typing.get_origin(kinds[0]) or kinds[0]
    return Column(name, _COLUMN_TYPES[kind], nullable=len(kinds) < len(tuple(parts)))


@cache
def _by_key(table: Table, lock: bool) -> Prepared:  # noqa: FBT001 - a cache's key
    statement = select_from(table).where(_key_of(table) == bindparam("key"))
    return Prepared(statement.with_for_update() if lock else statement)


@cache
def _insertion(table: Table) -> Prepared:
    return Prepared(insert_into(table).inline(), table.columns.keys())


@cache
def _updating(table: Table, names: tuple[str, ...]) -> Prepared:
    statement = update_of(table).where(_key_of(table) == bindparam("_key"))
    if "status" in table.columns:
        statement = statement.where(table.c.status == bindparam("_status"))
    return Prepared(statement.values({name: bindparam(name) for name in names}))


def _key_of(table: Table) -> Column[Any]:
    return next(iter(table.primary_key.columns))


BIG_SERIAL = BigInteger().with_variant(Integer, "sqlite")  # counts up by itself
