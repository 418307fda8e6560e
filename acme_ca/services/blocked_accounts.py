"""Accounts whose key was blocked: they end with the transaction that blocks it, so that no request has to ask."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from acme_ca.models import base
from acme_ca.models.account import living_accounts_of
from acme_ca.services import audit


def end(connection: Connection, key_sha256: bytes, now: datetime, *, by: str) -> None:
    """End the accounts of all environments that have the key. What they hold is revoked by whoever wants it."""
    for account in living_accounts_of(connection, key_sha256):
        account.revoke(now)
        base.update(connection, account)
        audit.record(
            connection,
            account.environment,
            "account.revoked",
            account.id,
            account_id=account.id,
            key_sha256=key_sha256.hex(),
            by=by,
        )
