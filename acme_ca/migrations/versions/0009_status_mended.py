"""Replacements that begin later than they are counted, all URLs of lists, and how long certificates lived."""

import sqlalchemy as sa
from alembic import op
from cryptography import x509

from acme_ca.models.base import UtcDateTime

revision = "0009"
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
    op.add_column("environment_keys", sa.Column("longest", sa.Integer(), nullable=False, server_default="0"))
    with op.batch_alter_table("environment_keys") as table:
        table.alter_column("longest", existing_type=sa.Integer(), server_default=None)
    _keep_longest()


def downgrade() -> None:
    """Go back to the revision before."""
    with op.batch_alter_table("environment_keys") as table:
        table.drop_column("longest")
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


def _keep_longest() -> None:
    """Look how long the certificates of each environment lived that were ever issued, in seconds."""
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    sqlite, postgresql = (
        "(julianday(not_after) - julianday(created_at)) * 86400",
        "EXTRACT(EPOCH FROM not_after - created_at)",
    )
    lived = sqlite if is_sqlite else postgresql
    of_each = f"SELECT MAX({lived}) FROM certificates WHERE certificates.environment = environment_keys.environment"  # noqa: S608 - constants
    op.execute(f"UPDATE environment_keys SET longest = CAST(COALESCE(({of_each}), 0) + 1 AS INTEGER)")  # noqa: S608 - constants
