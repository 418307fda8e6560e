"""Workload identity: bindings, who was first, and what they decided."""

import sqlalchemy as sa
from alembic import op

from acme_ca.models.base import UtcDateTime

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

COLUMNS = (
    ("authorizations", "group_id"),
    ("authorizations", "binding_id"),
    ("certificates", "binding_id"),
    ("certificates", "workload_rule"),
    ("external_keys", "binding_id"),
    ("orders", "requested_profile"),
)
PARTIAL_INDEXES = (
    ("ix_authorizations_group", "authorizations", "group_id"),
    ("ix_authorizations_binding", "authorizations", "binding_id"),
    ("ix_certificates_binding", "certificates", "binding_id"),
)


def upgrade() -> None:
    """Go to this revision."""
    for table, column in COLUMNS:
        op.add_column(table, sa.Column(column, sa.String(), nullable=True))
    for name, table, column in PARTIAL_INDEXES:
        filled = sa.text(f"{column} IS NOT NULL")
        op.create_index(name, table, [column], unique=False, sqlite_where=filled, postgresql_where=filled)
    _workload_bindings()
    _workload_owners()
    _versions()


def downgrade() -> None:
    """Go back to the revision before."""
    for table in ("versions", "workload_owners", "workload_bindings"):
        op.drop_table(table)
    for name, table, _ in PARTIAL_INDEXES:
        op.drop_index(name, table_name=table)
    for table, column in COLUMNS:
        op.drop_column(table, column)


def _workload_bindings() -> None:
    op.create_table(
        "workload_bindings",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("environment", sa.String(), nullable=False),
        sa.Column("account_id", sa.String(), nullable=True),
        sa.Column("account_jkt", sa.String(), nullable=True),
        sa.Column("provider", sa.String(), nullable=False),
        sa.Column("issuer", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("instance", sa.String(), nullable=True),
        sa.Column("mode", sa.String(), nullable=False),
        sa.Column("claims", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("rule", sa.String(), nullable=False),
        sa.Column("policy_version", sa.String(), nullable=False),
        sa.Column("grant", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("renewable", sa.Boolean(), nullable=False),
        sa.Column("evidence_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.Column("revoked_at", UtcDateTime(), nullable=True),
        sa.Column("revoked_reason", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workload_bindings")),
    )
    for name, columns in (
        ("account_id", ["account_id", "expires_at"]),
        ("account_jkt", ["environment", "account_jkt"]),
        ("subject", ["environment", "subject"]),
        ("expires_at", ["expires_at"]),
    ):
        op.create_index(f"ix_workload_bindings_{name}", "workload_bindings", columns, unique=False)


def _workload_owners() -> None:
    op.create_table(
        "workload_owners",
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("environment", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("owner", sa.String(), nullable=False),
        sa.Column("first_seen_at", UtcDateTime(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=True),
        sa.Column("reserved_until", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_workload_owners")),
    )
    op.create_index("ix_workload_owners_owner", "workload_owners", ["owner"], unique=False)
    op.create_index("ix_workload_owners_expires_at", "workload_owners", ["expires_at"], unique=False)


def _versions() -> None:
    op.create_table(
        "versions",
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("environment", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("document", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_versions")),
    )
