"""External account keys for some names and profiles, and for a number of accounts."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go to this revision."""
    op.add_column("external_keys", sa.Column("uses_left", sa.Integer(), nullable=True))
    for table in ("external_keys", "accounts"):
        op.add_column(table, sa.Column("scope", sa.JSON(none_as_null=True), nullable=True))


def downgrade() -> None:
    """Go back to the revision before."""
    for table in ("external_keys", "accounts"):
        op.drop_column(table, "scope")
    op.drop_column("external_keys", "uses_left")
