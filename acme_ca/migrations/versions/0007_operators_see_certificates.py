"""What operators search, revoke, replace and pause by."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op

from acme_ca.models.base import UtcDateTime

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

MAX_DEPTH = 10
BATCH = 1000
CERTIFICATE_COLUMNS = ("workload_provider", "workload_subject", "eab_kid", "replaces")
FILLED = (
    ("ix_accounts_eab_kid", "accounts", ["eab_kid", "id"], "eab_kid"),
    ("ix_accounts_eab_label", "accounts", ["eab_label", "id"], "eab_label"),
    ("ix_accounts_ended", "accounts", ["environment", "id"], "ended_at"),
    ("ix_certificates_revoked_newest", "certificates", ["environment", "id"], "revoked_at"),
    ("ix_certificates_evidence", "certificates", ["not_after"], "evidence"),
)
INDEXES = (
    ("ix_accounts_newest", "accounts", ["environment", "id"]),
    ("ix_certificates_key", "certificates", ["key_sha256", "id"]),
    ("ix_certificates_issuer", "certificates", ["issuer_id", "id"]),
    ("ix_certificates_profile", "certificates", ["environment", "profile", "id"]),
    ("ix_certificates_newest", "certificates", ["environment", "id", "not_after"]),
    ("ix_blocked_keys_blocked_at", "blocked_keys", ["blocked_at"]),
)


def upgrade() -> None:
    """Go to this revision."""
    for name in CERTIFICATE_COLUMNS:
        op.add_column("certificates", sa.Column(name, sa.String(), nullable=True))
    op.add_column("certificates", sa.Column("evidence", sa.LargeBinary(), nullable=True))
    op.add_column("accounts", sa.Column("note", sa.String(), nullable=True))
    op.add_column("accounts", sa.Column("paused", sa.Boolean(), nullable=False, server_default=sa.false()))
    with op.batch_alter_table("accounts") as table:
        table.alter_column("paused", existing_type=sa.Boolean(), server_default=None)
    with op.batch_alter_table("blocked_keys") as table:
        table.alter_column("serial", existing_type=sa.String(), nullable=True)
        table.add_column(sa.Column("reason", sa.String(), nullable=True))
        table.add_column(sa.Column("blocked_by", sa.String(), nullable=True))
    _terms()
    _revocations()
    _replacements()
    _pauses()
    for name, table_name, columns in INDEXES:
        op.create_index(name, table_name, columns, unique=False)
    for name, table_name, columns, column in FILLED:
        _partial_index(name, table_name, columns, f"{column} IS NOT NULL")


def downgrade() -> None:
    """Go back to the revision before."""
    for table in ("pauses", "replacements", "revocations", "certificate_terms"):
        op.drop_table(table)
    for name, table, *_ in (*INDEXES, *FILLED):
        op.drop_index(name, table_name=table)
    op.execute("DELETE FROM blocked_keys WHERE serial IS NULL")
    with op.batch_alter_table("blocked_keys") as batch:
        batch.alter_column("serial", existing_type=sa.String(), nullable=False)
        batch.drop_column("reason")
        batch.drop_column("blocked_by")
    for column in ("note", "paused"):
        op.drop_column("accounts", column)
    for column in (*CERTIFICATE_COLUMNS, "evidence"):
        op.drop_column("certificates", column)


def _terms() -> None:
    op.create_table(
        "certificate_terms",
        sa.Column("environment", sa.String(), nullable=False),
        sa.Column("term", sa.String(), nullable=False),
        sa.Column("certificate_id", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("environment", "term", "certificate_id", name=op.f("pk_certificate_terms")),
        sqlite_with_rowid=False,
    )
    op.execute(
        "UPDATE certificates SET eab_kid = (SELECT eab_kid FROM accounts WHERE accounts.id = account_id),"
        " workload_provider = (SELECT provider FROM workload_bindings WHERE workload_bindings.id = binding_id),"
        " workload_subject = (SELECT subject FROM workload_bindings WHERE workload_bindings.id = binding_id)"
    )
    columns = "id, environment, names, eab_kid, workload_subject, workload_provider, workload_rule"
    page = sa.text(f"SELECT {columns} FROM certificates WHERE id > :after ORDER BY id LIMIT {BATCH}")  # noqa: S608 - constants
    terms = sa.table("certificate_terms", sa.column("environment"), sa.column("term"), sa.column("certificate_id"))
    connection, after = op.get_bind(), ""
    while lines := connection.execute(page, {"after": after}).all():
        rows = [
            {"environment": line.environment, "term": term, "certificate_id": line.id}
            for line in lines
            for term in _terms_of(line)
        ]
        connection.execute(terms.insert(), rows)
        after = lines[-1].id


def _terms_of(line: Any) -> Sequence[str]:  # noqa: ANN401 - a row
    names = json.loads(line.names) if isinstance(line.names, str) else line.names
    terms = dict.fromkeys(names)
    for name in names:
        terms.update(dict.fromkeys(_domains(name)))
    rule = None if line.workload_rule is None else line.workload_rule.rpartition("@")[0]
    others = {
        "eab": line.eab_kid,
        "subject": line.workload_subject,
        "provider": line.workload_provider,
        "rule": rule,
    }
    return [*terms, *(f"{kind}:{value}" for kind, value in others.items() if value is not None)]


def _domains(name: str) -> Iterator[str]:
    kind, _, value = name.partition(":")
    labels = value.removeprefix("*.").split(".") if kind == "dns" else []
    for first in range(max(0, len(labels) - MAX_DEPTH), len(labels)):
        yield "." + ".".join(labels[first:])


def _revocations() -> None:
    op.create_table(
        "revocations",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("environment", sa.String(), nullable=False),
        sa.Column("selection", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("reason", sa.Integer(), nullable=False),
        sa.Column("as_of", UtcDateTime(), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("after", sa.String(), nullable=True),
        sa.Column("revoked", sa.Integer(), nullable=False),
        sa.Column("skipped", sa.Integer(), nullable=False),
        sa.Column("ordered_by", sa.String(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("finished_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_revocations")),
    )
    op.create_index("ix_revocations_environment", "revocations", ["environment", "id"], unique=False)
    _partial_index("ix_revocations_running", "revocations", ["id"], "finished_at IS NULL")


def _replacements() -> None:
    op.create_table(
        "replacements",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("environment", sa.String(), nullable=False),
        sa.Column("selection", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("spread", sa.Integer(), nullable=False),
        sa.Column("explanation_url", sa.String(), nullable=True),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("replaced", sa.Integer(), nullable=False),
        sa.Column("remaining", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("ordered_by", sa.String(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("ended_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_replacements")),
    )
    op.create_index("ix_replacements_environment", "replacements", ["environment", "id"], unique=False)
    _partial_index("ix_replacements_running", "replacements", ["environment"], "ended_at IS NULL")


def _pauses() -> None:
    op.create_table(
        "pauses",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("environment", sa.String(), nullable=False),
        sa.Column("account_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("failing_since", UtcDateTime(), nullable=False),
        sa.Column("paused_until", UtcDateTime(), nullable=True),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pauses")),
    )
    op.create_index("ix_pauses_expires_at", "pauses", ["expires_at"], unique=False)
    op.create_index("ix_pauses_account_id", "pauses", ["account_id"], unique=False)
    _partial_index("ix_pauses_paused", "pauses", ["environment", "id"], "paused_until IS NOT NULL")


def _partial_index(name: str, table: str, columns: list[str], where: str) -> None:
    condition = sa.text(where)
    op.create_index(name, table, columns, unique=False, sqlite_where=condition, postgresql_where=condition)
