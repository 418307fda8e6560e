"""How far each sink got with the audit trail."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import BigInteger

from acme_ca.models.base import Record, table_of


@dataclass(kw_only=True)
class SinkCursor(Record):
    """The last place of the chain that a sink has. `due_at` is when the claim of `claimed_by` runs out."""

    name: str
    seq: int = 0
    due_at: datetime | None = None
    claimed_by: str | None = None


SINK_CURSORS = table_of(SinkCursor, "audit_sinks")
SINK_CURSORS.c.seq.type = BigInteger()
