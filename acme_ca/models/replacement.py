"""Mass replacements: certificates whose clients are told to renew now, spread over some time. RFC 9773 §4.2."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Index, bindparam

from acme_ca.models import base
from acme_ca.models.base import Record, first_id, new_id, partial_index, table_of
from acme_ca.models.certificate import Certificate
from acme_ca.models.prepared import Prepared
from acme_ca.models.selection import Selection
from acme_ca.problems import Conflict


class ReplacementStatus(StrEnum):
    """`finished`: no certificate is left that is valid and not replaced."""

    RUNNING = "running"
    FINISHED = "finished"
    CANCELLED = "cancelled"


@dataclass(kw_only=True)
class Replacement(Record):
    """The replacement of the certificates of a selection that were valid at `as_of` and had no successor: `total`.

    Each has its moment within `spread` seconds from `created_at` on. `replaced` have a successor, without those that
    had one before (`replaced_before`); `remaining` are valid and have none; all others expired or were revoked. Both
    are counted by the worker.
    """

    id: str = field(default_factory=new_id)
    environment: str
    selection: dict[str, Any]
    spread: int
    explanation_url: str | None = None
    total: int
    replaced_before: int = 0
    replaced: int = 0
    remaining: int
    status: str = ReplacementStatus.RUNNING.value
    ordered_by: str
    as_of: datetime
    created_at: datetime
    ended_at: datetime | None = None

    def selected(self) -> Selection:
        """Return the selection."""
        return Selection.load(self.selection)

    def includes(self, line: Certificate) -> bool:
        """Whether a valid certificate is to be replaced: one of the selection that was there when it was counted."""
        return line.id < first_id(self.as_of) and self.selected().matches(line)

    def moment(self, line: Certificate) -> datetime:
        """Return when a certificate is to be replaced: always the same, and another one for each certificate."""
        digest = hashlib.sha256(f"{self.id}/{line.serial}".encode()).digest()
        return self.created_at + timedelta(seconds=self.spread * int.from_bytes(digest[:4], "big") / 2**32)

    def count(self, replaced: int, remaining: int, now: datetime) -> None:
        """Note how far it is; without any that remain, it is finished."""
        self.replaced, self.remaining = replaced, remaining
        if remaining == 0:
            self.status = ReplacementStatus.FINISHED.value
            self.ended_at = now

    def cancel(self, now: datetime) -> None:
        """End it: certificates have their usual windows again; raises Conflict when it ended before."""
        if self.status != ReplacementStatus.RUNNING:
            raise Conflict(f"replacement {self.id} is {self.status} already")
        self.status = ReplacementStatus.CANCELLED.value
        self.ended_at = now


REPLACEMENTS = table_of(Replacement, "replacements")
Index("ix_replacements_environment", REPLACEMENTS.c.environment, REPLACEMENTS.c.id)
partial_index("ix_replacements_running", REPLACEMENTS.c.environment, where=REPLACEMENTS.c.ended_at.is_(None))

_RUNNING = Prepared(
    base.select(
        Replacement, REPLACEMENTS.c.environment == bindparam("environment"), REPLACEMENTS.c.ended_at.is_(None)
    ).order_by(REPLACEMENTS.c.id)
)


def running(connection: Connection, environment: str) -> list[Replacement]:
    """Return the environment's replacements that are going on, the oldest first: few, and mostly none."""
    return base.find(connection, Replacement, _RUNNING, environment=environment)


def newest(connection: Connection, environment: str, *, before: str | None, limit: int) -> list[Replacement]:
    """Return replacements of an environment, the newest first, from the one `before` an id on."""
    statement = base.select(Replacement, REPLACEMENTS.c.environment == environment)
    if before is not None:
        statement = statement.where(REPLACEMENTS.c.id < before)
    return base.find(connection, Replacement, statement.order_by(REPLACEMENTS.c.id.desc()).limit(limit))
