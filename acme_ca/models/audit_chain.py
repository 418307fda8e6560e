"""The hash chain over the audit trail: each event's place in it, signed checkpoints, and the words to search by.

The hash of place n is SHA-256 over the hash of place n-1 (32 octets; zeros before the first) and the event's canonical
form. That is eight lines of UTF-8 without a final line break:

    id, time (RFC 3339, UTC, six digits of the second), environment, event, actor,
    `no account` or `account ID`, subject, details (JSON as it is stored, on one line)

The database itself makes it from the row, so that verification neither parses nor renders anything. No field but the
last can hold a line break (`audit.record` escapes it), and JSON has none: two rows that differ differ here.
"""

from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    LargeBinary,
    PrimaryKeyConstraint,
    String,
    Table,
    literal_column,
)

from acme_ca.models import base
from acme_ca.models.audit_event import AUDIT_EVENTS
from acme_ca.models.base import METADATA, Record, table_of

HASH_SIZE = 32  # octets of SHA-256
GENESIS = bytes(HASH_SIZE)
"""The hash before the first event."""

AUDIT_SEALS = Table(
    "audit_seals",
    METADATA,
    Column("seq", BigInteger(), primary_key=True, autoincrement=False),  # 1, 2, 3, … without gaps
    Column("event_id", BigInteger(), nullable=False, unique=True),
    Column("hash", LargeBinary(), nullable=False),
)
"""The place of each event in the chain. Append-only. Without a foreign key: PostgreSQL would lock each event for it."""

AUDIT_TERMS = Table(
    "audit_terms",
    METADATA,
    Column("term", String(), nullable=False),  # `name:www.corp.example`, `serial:00…`, `id:` + subject, account, …
    Column("event_id", BigInteger(), nullable=False),
    PrimaryKeyConstraint("term", "event_id"),
    sqlite_with_rowid=False,
)
"""Who and what sealed events are about, to search by. An index only: what is true the events say.

Append-only, and `ChainEnd` counts them: a search that tells less than there is would be believed.
"""


@dataclass(kw_only=True)
class Checkpoint(Record):
    """The chain's end at one moment, signed. Append-only. `hash` is that of place `seq`, `signature` is in DER.

    `key_id` is the SHA-256 of the signing key's SubjectPublicKeyInfo in hexadecimal.
    """

    seq: int
    hash: bytes
    signed_at: datetime
    key_id: str
    signature: bytes

    @property
    def text(self) -> bytes:
        """What is signed: six lines, each with its line break."""
        lines = (
            "acme-ca audit checkpoint v1",
            f"seq {self.seq}",
            f"hash {self.hash.hex()}",
            f"time {self.signed_at.replace(tzinfo=None).isoformat(timespec='microseconds')}Z",
            f"events {self.seq}",
            f"key {self.key_id}",
        )
        return "".join(f"{line}\n" for line in lines).encode()


@dataclass(kw_only=True)
class ChainEnd(Record):
    """Where the chain ends: the one row that the sealer changes, and by whose lock one sealer works at a time.

    Events with an identifier up to `last_id` are sealed, but for the `gaps`: identifiers that were skipped, with the
    time when that was seen. A transaction that was slower than others may still fill them.
    """

    name: str
    seq: int
    hash: bytes
    last_id: int
    gaps: dict[str, Any]
    terms: int = 0  # rows of AUDIT_TERMS


AUDIT_CHECKPOINTS = table_of(Checkpoint, "audit_checkpoints")
CHAIN_ENDS = table_of(ChainEnd, "audit_chain_ends")
for _table, _columns in ((AUDIT_CHECKPOINTS, ("seq",)), (CHAIN_ENDS, ("seq", "last_id", "terms"))):
    for _column in _columns:
        _table.c[_column].type = BigInteger()
AUDIT_CHECKPOINTS.c.seq.autoincrement = False

CHAIN = "chain"  # the name of the one row of ChainEnd

_ACCOUNT = "CASE WHEN e.account_id IS NULL THEN 'no account' ELSE 'account ' || e.account_id END"
_SQLITE = (
    "e.id || char(10) || replace(e.at, ' ', 'T') || 'Z' || char(10) || e.environment || char(10) || e.event "
    f"|| char(10) || e.actor || char(10) || {_ACCOUNT} || char(10) || e.subject || char(10) || e.details"
)
_POSTGRESQL = (
    "CAST(e.id AS text) || chr(10) || to_char(e.at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') || chr(10) "
    f"|| e.environment || chr(10) || e.event || chr(10) || e.actor || chr(10) || {_ACCOUNT} || chr(10) || e.subject "
    "|| chr(10) || CAST(e.details AS text)"
)
EVENT = AUDIT_EVENTS.alias("e")
"""The events under the name by which `canonical` knows them."""


def canonical(connection: Connection) -> Any:  # noqa: ANN401 - a column of octets
    """Return the column of the canonical form of an event of `EVENT`, in octets: no text is too strange to be read."""
    if connection.dialect.name == "postgresql":
        return literal_column(f"convert_to({_POSTGRESQL}, 'UTF8')")
    return literal_column(f"CAST({_SQLITE} AS BLOB)")


def link(previous: bytes, event: bytes) -> bytes:
    """Return the hash of an event's place in the chain, by its canonical form and the hash before it."""
    return sha256(previous + event).digest()


def chain_end(connection: Connection, *, lock: bool = False) -> ChainEnd:
    """Return where the chain ends; raises LookupError when somebody deleted that."""
    return base.get_one(connection, ChainEnd, CHAIN, lock=lock)
