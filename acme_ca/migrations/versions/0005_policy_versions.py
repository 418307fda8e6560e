"""Policies that operators apply, and what a policy in the shadow would decide otherwise."""

import sqlalchemy as sa
from alembic import op

from acme_ca.models.base import UtcDateTime

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go to this revision."""
    op.add_column("versions", sa.Column("created_by", sa.String(), nullable=True))
    op.add_column("versions", sa.Column("comment", sa.String(), nullable=True))
    op.create_table(
        "applied_policies",
        sa.Column("environment", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=True),
        sa.Column("shadow", sa.Integer(), nullable=True),
        sa.Column("changed_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("environment", name=op.f("pk_applied_policies")),
    )
    op.create_table(
        "shadow_findings",
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("environment", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("outcome", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("rule", sa.String(), nullable=True),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("account_id", sa.String(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("first_at", UtcDateTime(), nullable=False),
        sa.Column("last_at", UtcDateTime(), nullable=False),
        sa.Column("audited_at", UtcDateTime(), nullable=True),
        sa.Column("audit_due_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_shadow_findings")),
    )
    op.create_index("ix_shadow_findings_environment", "shadow_findings", ["environment", "number", "key"], unique=False)
    due = sa.text("audit_due_at IS NOT NULL")
    op.create_index(
        "ix_shadow_findings_due", "shadow_findings", ["audit_due_at"], sqlite_where=due, postgresql_where=due
    )


def downgrade() -> None:
    """Go back to the revision before."""
    op.drop_table("shadow_findings")
    op.drop_table("applied_policies")
    op.drop_column("versions", "comment")
    op.drop_column("versions", "created_by")
