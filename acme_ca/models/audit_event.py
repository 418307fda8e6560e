"""The audit trail: what happened. Each event is committed with its fact, and never changed or deleted afterwards.

Triggers refuse both (migrations/versions/0004). What an event was when it was sealed, audit_chain.py knows.
"""

from sqlalchemy import JSON, Column, Index, String, Table

from acme_ca.models.base import BIG_SERIAL, METADATA, UtcDateTime

SYSTEM = "system"
"""The actor of what the CA does by itself."""

AUDIT_EVENTS = Table(
    "audit_events",
    METADATA,
    Column("id", BIG_SERIAL, primary_key=True),
    Column("at", UtcDateTime(), nullable=False),
    Column("environment", String(), nullable=False),
    Column("event", String(), nullable=False),  # noun.verb
    Column("account_id", String()),
    Column("subject", String(), nullable=False),  # the identifier of what it is about
    Column("details", JSON(none_as_null=True), nullable=False),
    Column("actor", String(), nullable=False, server_default=SYSTEM),  # an account's id, "admin:NAME", "system", …
)
EVENTS = AUDIT_EVENTS.c
Index("ix_audit_events_at", EVENTS.at, EVENTS.id)
Index("ix_audit_events_environment", EVENTS.environment, EVENTS.id)
Index("ix_audit_events_event", EVENTS.event, EVENTS.id)
Index("ix_audit_events_subject", EVENTS.subject, EVENTS.id)
_OF_ACCOUNT = EVENTS.account_id.is_not(None)
Index(
    "ix_audit_events_account",
    EVENTS.account_id,
    EVENTS.id,
    sqlite_where=_OF_ACCOUNT,
    postgresql_where=_OF_ACCOUNT,
)
BY_SOMEBODY_ELSE = (EVENTS.account_id.is_(None)) | (EVENTS.actor != EVENTS.account_id)
"""Whether an event was not done by the account it is about: what an account does itself is found by the account."""
Index(
    "ix_audit_events_actor",
    EVENTS.actor,
    EVENTS.id,
    sqlite_where=BY_SOMEBODY_ELSE,
    postgresql_where=BY_SOMEBODY_ELSE,
)
