"""The audit trail's index is append-only and counted, and SQLite refuses what replaces a row by inserting."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

KEYS = {
    "audit_events": "id = NEW.id",
    "audit_seals": "seq = NEW.seq OR event_id = NEW.event_id",
    "audit_checkpoints": "seq = NEW.seq",
}


def upgrade() -> None:
    """Go to this revision."""
    op.add_column("audit_chain_ends", sa.Column("terms", sa.BigInteger(), nullable=False, server_default="0"))
    op.execute("UPDATE audit_chain_ends SET terms = (SELECT count(*) FROM audit_terms)")
    if _is_postgresql():
        op.execute(
            "CREATE TRIGGER audit_terms_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_terms "
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_audit()"
        )
        return
    for verb in ("UPDATE", "DELETE"):
        _refuse(f"audit_terms_append_only_{verb.lower()}", f"{verb} ON audit_terms", "audit_terms")
    for table, key in KEYS.items():  # INSERT OR REPLACE deletes without the trigger for DELETE
        when = f"INSERT ON {table} WHEN EXISTS (SELECT 1 FROM {table} WHERE {key})"  # noqa: S608 - all written above
        _refuse(f"{table}_append_only_insert", when, table)


def downgrade() -> None:
    """Go back to the revision before."""
    if _is_postgresql():
        op.execute("DROP TRIGGER audit_terms_append_only ON audit_terms")
    else:
        for verb in ("update", "delete"):
            op.execute(f"DROP TRIGGER audit_terms_append_only_{verb}")
        for table in KEYS:
            op.execute(f"DROP TRIGGER {table}_append_only_insert")
    op.drop_column("audit_chain_ends", "terms")


def _refuse(name: str, when: str, table: str) -> None:
    op.execute(f"CREATE TRIGGER {name} BEFORE {when} BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END")


def _is_postgresql() -> bool:
    return op.get_bind().dialect.name == "postgresql"
