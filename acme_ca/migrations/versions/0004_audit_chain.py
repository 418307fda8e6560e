"""The audit trail is append-only, sealed into a hash chain, exported to sinks; refusals are counted."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from acme_ca.models.base import UtcDateTime

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

APPEND_ONLY = ("audit_events", "audit_seals", "audit_checkpoints")
INDEXES = (
    ("ix_audit_events_at", ["at", "id"]),
    ("ix_audit_events_environment", ["environment", "id"]),
    ("ix_audit_events_event", ["event", "id"]),
)


def upgrade() -> None:
    """Go to this revision."""
    op.add_column("audit_events", sa.Column("actor", sa.String(), nullable=False, server_default="system"))
    by = "details ->> 'by'" if _is_postgresql() else "json_extract(details, '$.by')"  # who it was, if not the account
    op.execute(f"UPDATE audit_events SET actor = COALESCE({by}, account_id, 'system')")  # noqa: S608 - written above
    for name, columns in INDEXES:
        op.create_index(name, "audit_events", columns)
    _chain()
    _sinks()
    _refusals()
    for table in APPEND_ONLY:
        _refuse_changes(table)


def downgrade() -> None:
    """Go back to the revision before."""
    for table in APPEND_ONLY:
        _allow_changes(table)
    if _is_postgresql():
        op.execute("DROP FUNCTION refuse_change_of_audit()")
    for table in (
        "refusal_counts",
        "audit_sinks",
        "audit_chain_ends",
        "audit_checkpoints",
        "audit_terms",
        "audit_seals",
    ):
        op.drop_table(table)
    for name, _ in INDEXES:
        op.drop_index(name, table_name="audit_events")
    op.drop_column("audit_events", "actor")


def _chain() -> None:
    op.create_table(
        "audit_seals",
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("event_id", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_audit_seals")),
        sa.UniqueConstraint("event_id", name=op.f("uq_audit_seals_event_id")),
    )
    op.create_table(
        "audit_terms",
        sa.Column("term", sa.String(), nullable=False),
        sa.Column("event_id", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("term", "event_id", name=op.f("pk_audit_terms")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "audit_checkpoints",
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("signed_at", UtcDateTime(), nullable=False),
        sa.Column("key_id", sa.String(), nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_audit_checkpoints")),
    )
    ends = op.create_table(
        "audit_chain_ends",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("last_id", sa.BigInteger(), nullable=False),
        sa.Column("gaps", sa.JSON(none_as_null=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_audit_chain_ends")),
    )
    op.bulk_insert(ends, [{"name": "chain", "seq": 0, "hash": bytes(32), "last_id": 0, "gaps": {}}])


def _sinks() -> None:
    op.create_table(
        "audit_sinks",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("due_at", UtcDateTime(), nullable=True),
        sa.Column("claimed_by", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_audit_sinks")),
    )


def _refusals() -> None:
    op.create_table(
        "refusal_counts",
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("environment", sa.String(), nullable=False),
        sa.Column("account_id", sa.String(), nullable=False),
        sa.Column("hour", UtcDateTime(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_refusal_counts")),
    )
    op.create_index("ix_refusal_counts_hour", "refusal_counts", ["hour"], unique=False)


def _is_postgresql() -> bool:
    return op.get_bind().dialect.name == "postgresql"


def _refuse_changes(table: str) -> None:
    """Let the database refuse what no part of the CA ever does."""
    if _is_postgresql():
        op.execute(
            "CREATE OR REPLACE FUNCTION refuse_change_of_audit() RETURNS trigger LANGUAGE plpgsql AS "
            "'BEGIN RAISE EXCEPTION ''% is append-only'', TG_TABLE_NAME; END'"
        )
        op.execute(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_audit()"
        )
        return
    for verb in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER {table}_append_only_{verb.lower()} BEFORE {verb} ON {table} "
            f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
        )


def _allow_changes(table: str) -> None:
    if _is_postgresql():
        op.execute(f"DROP TRIGGER {table}_append_only ON {table}")
        return
    for verb in ("update", "delete"):
        op.execute(f"DROP TRIGGER {table}_append_only_{verb}")
