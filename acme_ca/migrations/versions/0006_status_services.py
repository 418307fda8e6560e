"""Status services: revocation lists, OCSP responses, and what of the ledger they are made of."""

import sqlalchemy as sa
from alembic import op

from acme_ca.models.base import UtcDateTime

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

REVOKED, DUE = sa.text("revoked_at IS NOT NULL"), sa.text("ocsp_due_at IS NOT NULL")


def upgrade() -> None:
    """Go to this revision. What was issued before points to no list, and is on the full one and on shard 0."""
    op.add_column("certificates", sa.Column("crl_shard", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("certificates", sa.Column("ocsp_due_at", UtcDateTime(), nullable=True))
    op.create_index(
        "ix_certificates_revoked",
        "certificates",
        ["issuer_id", "not_after"],
        unique=False,
        sqlite_where=REVOKED,
        postgresql_where=REVOKED,
    )
    op.create_index(
        "ix_certificates_ocsp",
        "certificates",
        ["issuer_id", "ocsp_due_at"],
        unique=False,
        sqlite_where=DUE,
        postgresql_where=DUE,
    )
    op.create_table(
        "crls",
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("environment", sa.String(), nullable=False),
        sa.Column("issuer_id", sa.String(), nullable=False),
        sa.Column("shard", sa.Integer(), nullable=True),
        sa.Column("due_at", UtcDateTime(), nullable=False),
        sa.Column("marks", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("this_update", UtcDateTime(), nullable=True),
        sa.Column("next_update", UtcDateTime(), nullable=True),
        sa.Column("entries", sa.Integer(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("der", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_crls")),
    )
    op.create_table(
        "ocsp_responses",
        sa.Column("serial", sa.String(), nullable=False),
        sa.Column("issuer_id", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("this_update", UtcDateTime(), nullable=False),
        sa.Column("next_update", UtcDateTime(), nullable=False),
        sa.Column("der", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("serial", name=op.f("pk_ocsp_responses")),
    )


def downgrade() -> None:
    """Go back to the revision before."""
    for table in ("ocsp_responses", "crls"):
        op.drop_table(table)
    for index in ("ix_certificates_ocsp", "ix_certificates_revoked"):
        op.drop_index(index, table_name="certificates")
    for column in ("ocsp_due_at", "crl_shard"):
        op.drop_column("certificates", column)
