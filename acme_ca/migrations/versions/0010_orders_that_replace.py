"""Orders are found by the certificate that they replace."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go to this revision."""
    there = sa.text("replaces IS NOT NULL")
    op.create_index("ix_orders_replaces", "orders", ["replaces"], sqlite_where=there, postgresql_where=there)


def downgrade() -> None:
    """Go back to the revision before."""
    op.drop_index("ix_orders_replaces", "orders")
