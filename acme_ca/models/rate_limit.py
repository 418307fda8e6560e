"""What was used of the rate limits: token buckets, one row for each that is not full. RFC 8555 §6.6.

A bucket is the time at which it is full again (the generic cell rate algorithm). To take a token moves that time on by
what one token takes to grow; there is none to take while the time would be further away than a whole bucket takes.
One statement looks and takes, so that all nodes agree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import BigInteger, Column, Connection, Index, String, Table, bindparam, case, delete, select
from sqlalchemy.dialects import postgresql, sqlite

from acme_ca.models.base import METADATA
from acme_ca.models.prepared import Prepared

SECOND = 1_000_000  # microseconds, in which the table counts

RATE_LIMITS = Table(
    "rate_limits",
    METADATA,
    Column("key", String(), primary_key=True),  # ENVIRONMENT/LIMIT/SUBJECT
    Column("full_at", BigInteger(), nullable=False),  # microseconds of Unix time
)
Index("ix_rate_limits_full_at", RATE_LIMITS.c.full_at)


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket: `count` tokens, all of which grow within `period`. `key` is ENVIRONMENT/LIMIT/SUBJECT."""

    key: str
    count: int
    period: timedelta

    @property
    def growth(self) -> int:
        """Microseconds that one token takes to grow; rounded up, so that never too many are taken."""
        return -(-(self.period // timedelta(microseconds=1)) // self.count)

    @property
    def room(self) -> int:
        """How far away, in microseconds, the time may be at which the bucket is full, for one token to be there."""
        return self.growth * (self.count - 1)

    def next_at(self, full_at: int) -> datetime:
        """Return when a token will be there, in UTC."""
        return time_of(full_at - self.room)


def microseconds(moment: datetime) -> int:
    """Return a time as the table has it."""
    return (moment - datetime.fromtimestamp(0, UTC)) // timedelta(microseconds=1)


def time_of(microseconds: int) -> datetime:
    """Return the time, in UTC, that stands in the table."""
    return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=microseconds)


def _taking(dialect: str) -> Prepared:
    now, growth, room, most = (bindparam(name, type_=BigInteger()) for name in ("now", "growth", "room", "most"))
    insert = (postgresql.insert if dialect == "postgresql" else sqlite.insert)(RATE_LIMITS)
    before = case((RATE_LIMITS.c.full_at > now, RATE_LIMITS.c.full_at), else_=now)
    after = case((before + growth > most, most), else_=before + growth)
    statement = insert.values(key=bindparam("key"), full_at=now + growth).on_conflict_do_update(
        index_elements=[RATE_LIMITS.c.key], set_={"full_at": after}, where=RATE_LIMITS.c.full_at <= room
    )
    return Prepared(statement)


_TAKING: Mapping[str, Prepared] = {dialect: _taking(dialect) for dialect in ("postgresql", "sqlite")}
_LOOKING = Prepared(select(RATE_LIMITS.c.full_at).where(RATE_LIMITS.c.key == bindparam("key")))


def take(connection: Connection, bucket: Bucket, now: datetime) -> datetime | None:
    """Take a token, or return when one will be there."""
    if _take(connection, bucket, microseconds(now), bucket.room):
        return None
    found = _LOOKING.rows(connection, {"key": bucket.key})
    return bucket.next_at(found[0][0]) if found else now


def spend(connection: Connection, bucket: Bucket, now: datetime) -> None:
    """Take a token away for what has happened already; from an empty bucket none is taken."""
    _take(connection, bucket, microseconds(now), bucket.growth * bucket.count)


def missing_until(connection: Connection, bucket: Bucket, now: datetime) -> datetime | None:
    """Return when a token will be there; None when there is one now. None is taken."""
    found = _LOOKING.rows(connection, {"key": bucket.key})
    due = bucket.next_at(found[0][0]) if found else now
    return due if due > now else None


def _take(connection: Connection, bucket: Bucket, now: int, room: int) -> bool:
    values = {
        "key": bucket.key,
        "now": now,
        "growth": bucket.growth,
        "room": now + room,
        "most": now + bucket.growth * bucket.count,
    }
    return _TAKING[connection.dialect.name].change(connection, values) == 1


def used(
    connection: Connection, prefix: str, after: str | None, limit: int, now: datetime
) -> Sequence[tuple[str, int]]:
    """Return keys that begin with `prefix` and come after another one, with the time at which each bucket is full."""
    columns = RATE_LIMITS.c
    statement = select(columns.key, columns.full_at).where(
        columns.key.startswith(prefix, autoescape=True),  # no range: a database's collation may order otherwise
        columns.full_at > microseconds(now),
    )
    if after is not None:
        statement = statement.where(columns.key > after)
    found = connection.execute(statement.order_by(columns.key).limit(limit))
    return [(key, full_at) for key, full_at in found]


def fill(connection: Connection, key: str) -> bool:
    """Fill a bucket; return whether anything was missing in it."""
    return connection.execute(delete(RATE_LIMITS).where(RATE_LIMITS.c.key == key)).rowcount == 1


def forget_full(connection: Connection, now: datetime, limit: int) -> int:
    """Delete rows of buckets that are full, `limit` at most; return how many."""
    full = select(RATE_LIMITS.c.key).where(RATE_LIMITS.c.full_at < microseconds(now)).limit(limit)
    moment = RATE_LIMITS.c.full_at < microseconds(now)  # looked at again: a token may have been taken since
    return connection.execute(delete(RATE_LIMITS).where(RATE_LIMITS.c.key.in_(full), moment)).rowcount
