"""The audit trail: what happened, in the order in which it was committed."""

from sqlalchemy import JSON, Column, String, Table

from acme_ca.models.base import BIG_SERIAL, METADATA, UtcDateTime

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
)
