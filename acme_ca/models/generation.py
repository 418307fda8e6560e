"""The generations of issuers: those that follow the ones of the configuration, and when each is what."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Connection, UniqueConstraint, update

from acme_ca.models import base
from acme_ca.models.base import Record, table_of
from acme_ca.models.prepared import Prepared


class GenerationStatus(StrEnum):
    """`preparing`: it has no certificate yet. `published`: it has; what it does follows from its times."""

    PREPARING = "preparing"
    PUBLISHED = "published"
    RETIRED = "retired"


@dataclass(kw_only=True)
class Generation(Record):
    """One issuer of a line; the first one is that of the configuration, and the line has its name.

    `certificate`, `root`, and `chain` between them, are PEM. While it is prepared, `due_at` is the end of the claim of
    whoever does it (`claimed_by`); None when it waits for its certificate. `told` is the last stage that the audit
    trail tells of.
    """

    id: str
    environment: str
    line: str
    number: int
    status: str = GenerationStatus.PREPARING.value
    certificate: str | None = None
    chain: str | None = None
    root: str | None = None
    created_at: datetime
    staged_at: datetime | None = None
    activates_at: datetime | None = None
    retired_at: datetime | None = None
    told: str | None = None
    claimed_by: str | None = None
    due_at: datetime | None = None

    def publish(self, certificate: str, chain: str, root: str, staged_at: datetime, activates_at: datetime) -> None:
        """Give it its certificate: from now on it is staged."""
        if self.status != GenerationStatus.PREPARING:
            raise RuntimeError(f"issuer {self.id} is {self.status}, not preparing")
        self.status = GenerationStatus.PUBLISHED.value
        self.certificate, self.chain, self.root = certificate, chain, root
        self.staged_at, self.activates_at = staged_at, activates_at
        self.claimed_by = self.due_at = None

    def retire(self, now: datetime) -> None:
        """Let nothing be served for it any more."""
        self.status = GenerationStatus.RETIRED.value
        self.retired_at = now


ISSUERS = table_of(Generation, "issuers", UniqueConstraint("line", "number"))
_ALL = Prepared(base.select(Generation).order_by(ISSUERS.c.line, ISSUERS.c.number))


def generations(connection: Connection) -> list[Generation]:
    """Return all generations of which something is known, by line, each in its order."""
    return base.find(connection, Generation, _ALL)


def claim_again(connection: Connection, generation: Generation, by: str, until: datetime) -> bool:
    """Take the preparation over from whoever had it; return whether nobody was faster."""
    columns = ISSUERS.c
    same = columns.due_at.is_(None) if generation.due_at is None else columns.due_at == generation.due_at
    changed = connection.execute(
        update(ISSUERS)
        .where(columns.id == generation.id, columns.status == GenerationStatus.PREPARING.value, same)
        .values(claimed_by=by, due_at=until)
    )
    return changed.rowcount == 1


def release(connection: Connection, generation: Generation) -> bool:
    """End the claim of the preparation; return whether it was still that of this one."""
    columns = ISSUERS.c
    own = (columns.id == generation.id, columns.claimed_by == generation.claimed_by)
    changed = connection.execute(
        update(ISSUERS)
        .where(*own, columns.status == GenerationStatus.PREPARING.value)
        .values(claimed_by=None, due_at=None)
    )
    return changed.rowcount == 1


def tell(connection: Connection, generation: Generation, stage: str, since: datetime) -> bool:
    """Remember that a stage was told, and since when it signs; return whether nobody else did."""
    columns = ISSUERS.c
    before = columns.told.is_(None) if generation.told is None else columns.told == generation.told
    changed = connection.execute(
        update(ISSUERS).where(columns.id == generation.id, before).values(told=str(stage), activates_at=since)
    )
    return changed.rowcount == 1
