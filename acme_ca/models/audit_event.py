"""The audit trail: what happened. Each event is committed with its fact, and never changed or deleted afterwards.

Triggers refuse both (migrations/versions/0004). What an event was when it was sealed, audit_chain.py knows. Only what
grows at its end is indexed here, for each index is written in the transaction of each fact; by what else events are
found, AUDIT_TERMS has once they are sealed.
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
