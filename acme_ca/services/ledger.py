"""Looks at the ledger of certificates."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select

from acme_ca.db import Database
from acme_ca.models.certificate import CERTIFICATES, CertificateStatus

_NEWEST = 10_000  # lines; a look at the whole ledger could take minutes


def last_issued_at(database: Database, environment: str) -> datetime | None:
    """Return when an environment issued last, in UTC; None when that is not among the newest 10,000 lines."""
    columns = CERTIFICATES.c
    newest = (
        select(columns.environment, columns.status, columns.created_at, columns.id)
        .order_by(columns.id.desc())
        .limit(_NEWEST)
        .subquery()
    )
    statement = select(newest.c.created_at).where(
        newest.c.environment == environment, newest.c.status == CertificateStatus.ISSUED.value
    )
    with database.read() as connection:
        found: datetime | None = connection.scalar(statement.order_by(newest.c.id.desc()).limit(1))
    return found
