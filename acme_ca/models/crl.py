"""Certificate revocation lists as they were published last, and when they are due again. RFC 5280 §5."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import Connection, bindparam, case, select, update

from acme_ca.models.base import BigInt, Record, table_of
from acme_ca.models.certificate import CERTIFICATES, Certificate
from acme_ca.models.prepared import Prepared

MICROSECONDS = 1_000_000
NONE_YET = BigInt(0)


@dataclass(kw_only=True)
class Crl(Record):
    """One list. `key` is ISSUER for all certificates of an issuer, ISSUER/SHARD for those of a shard.

    `number` is the CRLNumber of `der`, and 0 before there is one. `marks` counts what asked for a new list; `due_at` is
    timetable and lease in one. `urls` are all under which a shard was ever published: certificates name one each.
    """

    key: str
    environment: str
    issuer_id: str
    shard: int | None
    due_at: datetime
    marks: BigInt = NONE_YET
    number: BigInt = NONE_YET
    this_update: datetime | None = None
    next_update: datetime | None = None
    entries: int = 0
    size: int = 0
    urls: list[str] = field(default_factory=list)
    der: bytes | None = None


CRLS = table_of(Crl, "crls")

_LIGHT = [column for column in CRLS.columns if column.name != "der"]  # a list may have megabytes
_STATE = Prepared(select(*_LIGHT).where(CRLS.c.key == bindparam("key")))
_STATES = Prepared(select(*_LIGHT).order_by(CRLS.c.key))
_PUBLISHED = Prepared(
    select(CRLS.c.number, CRLS.c.this_update, CRLS.c.next_update, CRLS.c.der).where(CRLS.c.key == bindparam("key"))
)
_MARK = Prepared(
    update(CRLS)
    .where(CRLS.c.key == bindparam("_key"))
    .values(marks=CRLS.c.marks + 1, due_at=bindparam("now", type_=CRLS.c.due_at.type))
)
_CLAIM = Prepared(
    update(CRLS)
    .where(
        CRLS.c.key == bindparam("_key"),
        CRLS.c.due_at == bindparam("_due_at", type_=CRLS.c.due_at.type),
        CRLS.c.marks == bindparam("_marks"),
    )
    .values(due_at=bindparam("lease", type_=CRLS.c.due_at.type))
)
_PUBLISH = Prepared(
    update(CRLS)
    .where(CRLS.c.key == bindparam("_key"), CRLS.c.number == bindparam("_number"))
    .values(
        number=bindparam("number", type_=CRLS.c.number.type),
        this_update=bindparam("this_update", type_=CRLS.c.due_at.type),
        next_update=bindparam("next_update", type_=CRLS.c.due_at.type),
        entries=bindparam("entries", type_=CRLS.c.entries.type),
        size=bindparam("size", type_=CRLS.c.size.type),
        urls=bindparam("urls", type_=CRLS.c.urls.type),
        der=bindparam("der", type_=CRLS.c.der.type),
        due_at=case(
            (CRLS.c.marks == bindparam("_marks"), bindparam("refresh_at", type_=CRLS.c.due_at.type)),
            else_=CRLS.c.due_at,
        ),
    )
)


def key_of(issuer_id: str, shard: int | None) -> str:
    """Return the key of an issuer's full list, or of the list of a shard."""
    return issuer_id if shard is None else f"{issuer_id}/{shard}"


def next_number(before: int, now: datetime) -> BigInt:
    """Return the number of the next list: the time in microseconds, or one more than the last if that is not later.

    A count alone would go back when a database is restored from a backup; the time alone, when a clock is set back.
    RFC 5280 §5.2.3 has room for 20 octets.
    """
    return BigInt(max(before + 1, int(now.timestamp() * MICROSECONDS)))


def states(connection: Connection) -> list[Crl]:
    """Return all lists without their DER, in the order of their keys."""
    return [_light(row) for row in _STATES.rows(connection, {})]


def state(connection: Connection, key: str) -> Crl | None:
    """Return a list without its DER, or None."""
    rows = _STATE.rows(connection, {"key": key})
    return _light(rows[0]) if rows else None


def published(connection: Connection, key: str) -> tuple[int, datetime, datetime, bytes] | None:
    """Return number, thisUpdate, nextUpdate and DER of a list, or None when there is none yet."""
    rows = _PUBLISHED.rows(connection, {"key": key})
    if not rows or rows[0][3] is None:
        return None
    number, this_update, next_update, der = rows[0]
    return number, this_update, next_update, der


def mark(connection: Connection, key: str, now: datetime) -> bool:
    """Let a list be made anew at once; return whether there is such a list."""
    return _MARK.change(connection, {"_key": key, "now": now}) == 1


def claim(connection: Connection, crl: Crl, lease: datetime) -> bool:
    """Take the making of a list until `lease`; return whether nobody else did, and nothing asked for it since."""
    values = {"_key": crl.key, "_due_at": crl.due_at, "_marks": crl.marks, "lease": lease}
    return _CLAIM.change(connection, values) == 1


def publish(connection: Connection, before: Crl, after: Crl) -> bool:
    """Put a list in the place of the one before, if that is still there; return whether it was.

    What was marked since `before` was read stays due: the new list may not have it.
    """
    values = {
        "_key": before.key,
        "_number": before.number,
        "_marks": before.marks,
        "number": after.number,
        "this_update": after.this_update,
        "next_update": after.next_update,
        "entries": after.entries,
        "size": after.size,
        "urls": after.urls,
        "der": after.der,
        "refresh_at": after.due_at,
    }
    return _PUBLISH.change(connection, values) == 1


def revoked_since(connection: Connection, crl: Crl, ended_after: datetime) -> Iterable[tuple[str, datetime, int]]:
    """Return serial, time and reason of the revoked certificates of a list that end after this moment."""
    columns = CERTIFICATES.c
    statement = select(columns.serial, columns.revoked_at, columns.revocation_reason).where(
        columns.issuer_id == crl.issuer_id, columns.revoked_at.is_not(None), columns.not_after >= ended_after
    )
    if crl.shard is not None:
        statement = statement.where(columns.crl_shard == crl.shard)
    rows = connection.execute(statement.order_by(columns.not_after, columns.serial))
    return [(serial, at, reason or 0) for serial, at, reason in rows]


def keys_about(lines: Iterable[Certificate]) -> list[str]:
    """Return the keys of the lists that certificates belong to, in the order in which they are to be locked."""
    return sorted({key_of(line.issuer_id, shard) for line in lines for shard in (None, line.crl_shard)})


def ended_after(before: datetime | None, now: datetime, lifetime: timedelta) -> datetime:
    """Return the moment after which a certificate has to end to be listed.

    RFC 5280 §3.3: an entry may leave only after it was on a regularly scheduled list that was issued when its
    certificate had ended. It stays for a whole lifetime of lists, within which one is scheduled, and, if none was
    made in that time, for the next one.
    """
    return now - lifetime if before is None else min(before, now - lifetime)


def _light(row: Iterable[object]) -> Crl:
    crl: Crl = Crl.from_row([*row, None])
    return crl
