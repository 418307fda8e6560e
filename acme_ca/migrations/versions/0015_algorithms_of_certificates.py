"""Which kind of key certificates have, and what they are signed with. Older ones are read for it while they live."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go to this revision."""
    for column in ("key_type", "signature"):
        op.add_column("certificates", sa.Column(column, sa.String(), nullable=True))


def downgrade() -> None:
    """Go back to the revision before."""
    for column in ("signature", "key_type"):
        op.drop_column("certificates", column)
