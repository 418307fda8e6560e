"""Replacements that begin later than they were counted, and lists that name every URL that they ever had."""

import sqlalchemy as sa
from alembic import op
from cryptography import x509

from acme_ca.models.base import UtcDateTime

revision = "0011"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go to this revision. A replacement was counted when it was begun."""
    op.add_column("replacements", sa.Column("as_of", UtcDateTime(), nullable=True))
    op.add_column("replacements", sa.Column("replaced_before", sa.Integer(), nullable=False, server_default="0"))
    op.execute("UPDATE replacements SET as_of = created_at")
    with op.batch_alter_table("replacements") as table:
        table.alter_column("as_of", existing_type=UtcDateTime(), nullable=False)
        table.alter_column("replaced_before", existing_type=sa.Integer(), server_default=None)
    op.add_column("crls", sa.Column("urls", sa.JSON(), nullable=False, server_default="[]"))
    with op.batch_alter_table("crls") as table:
        table.alter_column("urls", existing_type=sa.JSON(), server_default=None)
    _keep_urls()


def downgrade() -> None:
    """Go back to the revision before."""
    with op.batch_alter_table("crls") as table:
        table.drop_column("urls")
    with op.batch_alter_table("replacements") as table:
        table.drop_column("replaced_before")
        table.drop_column("as_of")


def _keep_urls() -> None:
    """Read the URLs of the shards from their lists, which named one each."""
    crls = sa.table("crls", sa.column("key"), sa.column("shard"), sa.column("der"), sa.column("urls", sa.JSON()))
    connection = op.get_bind()
    rows = connection.execute(
        sa.select(crls.c.key, crls.c.der).where(crls.c.shard.is_not(None), crls.c.der.is_not(None))
    )
    for key, der in rows.all():
        only = x509.load_der_x509_crl(bytes(der)).extensions.get_extension_for_class(x509.IssuingDistributionPoint)
        urls = [name.value for name in only.value.full_name or ()]
        connection.execute(crls.update().where(crls.c.key == key).values(urls=urls))
