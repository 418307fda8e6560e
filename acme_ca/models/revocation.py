"""Revocations of many certificates: what was asked for, and how far it is. RFC 5280 §5.3.1."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Index, select

from acme_ca.models import base
from acme_ca.models.base import Record, first_id, new_id, partial_index, table_of
from acme_ca.models.certificate import Certificate
from acme_ca.models.selection import Selection


class RevocationStatus(StrEnum):
    """`running` until every certificate of the selection was looked at."""

    RUNNING = "running"
    FINISHED = "finished"


@dataclass(kw_only=True)
class Revocation(Record):
    """The revocation of the certificates of a selection that were valid at `as_of`: `total` of them.

    The newest comes first; those from `after` on are done. `skipped` are those that expired, or that somebody else
    revoked, in the meantime, and those that were being signed: they are abandoned. `reason` is a code of
    RFC 5280 §5.3.1.
    """

    id: str = field(default_factory=new_id)
    environment: str
    selection: dict[str, Any]
    reason: int
    as_of: datetime
    total: int
    status: str = RevocationStatus.RUNNING.value
    after: str | None = None
    revoked: int = 0
    skipped: int = 0
    ordered_by: str
    created_at: datetime
    finished_at: datetime | None = None

    def selected(self) -> Selection:
        """Return the selection."""
        return Selection.load(self.selection)

    def will_reach(self, line: Certificate) -> bool:
        """Whether it will come to a certificate that is valid now."""
        is_ahead = line.id < first_id(self.as_of) and (self.after is None or line.id < self.after)
        return is_ahead and self.status == RevocationStatus.RUNNING and self.selected().matches(line)

    def advance(self, after: str, revoked: int, skipped: int) -> None:
        """Count a batch whose last certificate is `after`."""
        self.after = after
        self.revoked += revoked
        self.skipped += skipped

    def finish(self, now: datetime) -> None:
        """End it: there is no further certificate."""
        self.status = RevocationStatus.FINISHED.value
        self.finished_at = now


REVOCATIONS = table_of(Revocation, "revocations")
Index("ix_revocations_environment", REVOCATIONS.c.environment, REVOCATIONS.c.id)
partial_index("ix_revocations_running", REVOCATIONS.c.id, where=REVOCATIONS.c.finished_at.is_(None))


def running_ids(connection: Connection) -> list[str]:
    """Return the ids of revocations that are not finished, the oldest first."""
    running = select(REVOCATIONS.c.id).where(REVOCATIONS.c.finished_at.is_(None)).order_by(REVOCATIONS.c.id)
    return list(connection.scalars(running))


def running(connection: Connection, environment: str) -> list[Revocation]:
    """Return an environment's revocations that are not finished: few, and mostly none."""
    columns = REVOCATIONS.c
    statement = base.select(Revocation, columns.finished_at.is_(None), columns.environment == environment)
    return base.find(connection, Revocation, statement)


def newest(connection: Connection, environment: str, *, before: str | None, limit: int) -> list[Revocation]:
    """Return revocations of an environment, the newest first, from the one `before` an id on."""
    statement = base.select(Revocation, REVOCATIONS.c.environment == environment)
    if before is not None:
        statement = statement.where(REVOCATIONS.c.id < before)
    return base.find(connection, Revocation, statement.order_by(REVOCATIONS.c.id.desc()).limit(limit))
