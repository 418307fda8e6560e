"""Issuers that operators distrust."""

import sqlalchemy as sa
from alembic import op

from acme_ca.models.base import UtcDateTime

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go to this revision."""
    op.create_table(
        "distrusted_issuers",
        sa.Column("key_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("environment", sa.String(), nullable=False),
        sa.Column("issuer_id", sa.String(), nullable=False),
        sa.Column("serial", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("spread", sa.Integer(), nullable=False),
        sa.Column("explanation_url", sa.String(), nullable=True),
        sa.Column("ordered_by", sa.String(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("replacement_id", sa.String(), nullable=True),
        sa.Column("unpublished_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("key_sha256", name=op.f("pk_distrusted_issuers")),
    )
    op.create_index("ix_distrusted_issuers_environment", "distrusted_issuers", ["environment", "issuer_id"])


def downgrade() -> None:
    """Go back to the revision before."""
    op.drop_table("distrusted_issuers")
