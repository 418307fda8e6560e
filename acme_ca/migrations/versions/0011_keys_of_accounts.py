"""Orders are found by the certificate that they replace, accounts by the hash of their key; blocked ones end."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from alembic import op

from acme_ca.jose import jwk_from_json
from acme_ca.models.base import UtcDateTime
from acme_ca.problems import Problem
from acme_ca.public_keys import spki_sha256

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

BATCH = 1000
INDEXES = (("ix_orders_replaces", "orders", "replaces"), ("ix_accounts_key", "accounts", "key_sha256"))
ACCOUNTS = sa.table(
    "accounts",
    sa.column("id", sa.String()),
    sa.column("environment", sa.String()),
    sa.column("jwk", sa.JSON()),
    sa.column("status", sa.String()),
    sa.column("ended_at", UtcDateTime()),
    sa.column("key_sha256", sa.LargeBinary()),
)
BLOCKED_KEYS = sa.table("blocked_keys", sa.column("key_sha256", sa.LargeBinary()))
AUDIT_EVENTS = sa.table(
    "audit_events",
    sa.column("at", UtcDateTime()),
    sa.column("environment", sa.String()),
    sa.column("event", sa.String()),
    sa.column("account_id", sa.String()),
    sa.column("subject", sa.String()),
    sa.column("details", sa.JSON()),
)


def upgrade() -> None:
    """Go to this revision."""
    op.add_column("accounts", sa.Column("key_sha256", sa.LargeBinary(), nullable=True))
    for name, table, column in INDEXES:
        there = sa.text(f"{column} IS NOT NULL")
        op.create_index(name, table, [column], sqlite_where=there, postgresql_where=there)
    connection, after = op.get_bind(), ""
    page = sa.select(ACCOUNTS.c.id, ACCOUNTS.c.jwk).order_by(ACCOUNTS.c.id).limit(BATCH)
    while rows := connection.execute(page.where(ACCOUNTS.c.id > after)).all():
        _fill(connection, rows)
        after = rows[-1].id
    _end_blocked(connection)


def downgrade() -> None:
    """Go back to the revision before."""
    for name, table, _ in INDEXES:
        op.drop_index(name, table)
    op.drop_column("accounts", "key_sha256")


def _fill(connection: sa.Connection, rows: Sequence[Any]) -> None:
    found = [{"of": row.id, "hash": _hash_of(row.jwk)} for row in rows]
    statement = sa.update(ACCOUNTS).where(ACCOUNTS.c.id == sa.bindparam("of"))
    connection.execute(statement.values(key_sha256=sa.bindparam("hash")), found)


def _hash_of(jwk: object) -> bytes | None:
    try:
        return spki_sha256(jwk_from_json(json.loads(jwk) if isinstance(jwk, str) else jwk).key)
    except Problem:  # a key that is not taken any more, and cannot be blocked by accident
        return None


def _end_blocked(connection: sa.Connection) -> None:
    now = datetime.now(UTC)
    blocked = ACCOUNTS.c.key_sha256.in_(sa.select(BLOCKED_KEYS.c.key_sha256))
    living = sa.select(ACCOUNTS.c.id, ACCOUNTS.c.environment, ACCOUNTS.c.key_sha256)
    for row in connection.execute(living.where(ACCOUNTS.c.status == "valid", blocked)).all():
        ended = sa.update(ACCOUNTS).where(ACCOUNTS.c.id == row.id)
        connection.execute(ended.values(status="revoked", ended_at=now))
        event = {
            "at": now,
            "environment": row.environment,
            "event": "account.revoked",
            "account_id": row.id,
            "subject": row.id,
            "details": {"key_sha256": row.key_sha256.hex()},
        }
        connection.execute(sa.insert(AUDIT_EVENTS).values(event))
