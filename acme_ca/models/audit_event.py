"""The audit trail: what happened, in the order in which it was committed."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Integer
from sqlalchemy.orm import Mapped, mapped_column

from acme_ca.models.base import Base


class AuditEvent(Base):
    """One fact, written in the transaction that made it one; rows are only ever added."""

    __tablename__ = "audit_events"

    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    at: Mapped[datetime]
    environment: Mapped[str]
    event: Mapped[str]  # noun.verb
    account_id: Mapped[str | None]
    subject: Mapped[str]  # the identifier of what it is about
    details: Mapped[dict[str, Any]]
