"""The rows of a CA's database as they are, past all services: to look at what was kept, and to let time pass."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import text

from acme_ca.db import Database
from tests.support.acme_client import AcmeClient

LONG_AGO = "2020-01-01 00:00:00.000000"  # as SQLite keeps times


def select(database: Database, query: str, **values: object) -> list[Any]:
    """The rows that a query finds."""
    with database.read() as connection:
        return list(connection.execute(text(query), values))


def change(database: Database, statement: str, **values: object) -> None:
    """Change rows behind the CA's back."""
    with database.write() as connection:
        connection.execute(text(statement), values)


def hours_ago(hours: float) -> str:
    """A moment in the past, as SQLite keeps times."""
    return (datetime.now(UTC) - timedelta(hours=hours)).strftime("%Y-%m-%d %H:%M:%S.%f")


def id_of(url: str) -> str:
    """The row's key in the URL of an account, order, authorization or certificate."""
    return url.rpartition("/")[2]


def expire(database: Database, table: str, url: str) -> None:
    """Let an order or authorization be past its time."""
    change(database, f"UPDATE {table} SET expires_at = :then WHERE id = :id", then=LONG_AGO, id=id_of(url))


def hasten(database: Database) -> None:
    """Let all backoffs and leases be over."""
    for table in ("authorizations", "orders"):
        change(database, f"UPDATE {table} SET due_at = :then WHERE due_at IS NOT NULL", then=LONG_AGO)


def settle(database: Database) -> None:
    """Wait until every validation that was begun has an outcome, be it that it is to be repeated."""
    while select(database, "SELECT id FROM authorizations WHERE due_at IS NOT NULL AND claimed_by IS NOT NULL"):
        time.sleep(0.005)


def everything(database: Database) -> dict[str, list[Any]]:
    """All that the CA keeps and a client could change; that it was refused is told, and is no change."""
    tables = ("accounts", "audit_events", "authorizations", "blocked_keys", "certificates", "external_keys", "orders")
    kept = {table: select(database, f"SELECT * FROM {table} ORDER BY 1") for table in tables}
    return kept | {"audit_events": [row for row in kept["audit_events"] if not row.event.endswith(".refused")]}


def serials(database: Database, client: AcmeClient) -> dict[str, str]:
    """The ledger's lines of a client: status by serial."""
    rows = select(
        database,
        "SELECT serial, status FROM certificates WHERE account_id = :account",
        account=id_of(str(client.signer.kid)),
    )
    return dict(tuple(row) for row in rows)
