"""Keys for external account binding: made for a client, listed, revoked. RFC 8555 §7.3.4."""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from acme_ca import clock
from acme_ca.db import Database
from acme_ca.jose import b64url_encode
from acme_ca.models import base
from acme_ca.models.account import Account, AccountStatus
from acme_ca.models.external_key import ExternalKey
from acme_ca.problems import NotFound
from acme_ca.services import audit

MAC_KEY_SIZE = 32  # bytes; HS256 wants no more


@dataclass(frozen=True, slots=True)
class NewKey:
    """What is given to the client, once: `mac_key` is base64url without padding, as clients take it."""

    kid: str
    mac_key: str
    expires_at: datetime | None


def create(
    database: Database,
    environment: str,
    *,
    label: str | None = None,
    reusable: bool = False,
    lifetime: timedelta | None = None,
    by: str | None = None,
) -> NewKey:
    """Make a key; it binds one account unless `reusable`, and not after `lifetime`."""
    now = clock.now()
    mac_key = secrets.token_bytes(MAC_KEY_SIZE)
    key = ExternalKey(
        kid=secrets.token_hex(10),
        environment=environment,
        mac_key=mac_key,
        label=label,
        reusable=reusable,
        created_at=now,
        expires_at=now + lifetime if lifetime is not None else None,
    )
    with database.write(durable=True) as connection:
        base.insert(connection, key)
        audit.record(connection, environment, "external_key.created", key.kid, label=label, reusable=reusable, by=by)
    return NewKey(key.kid, b64url_encode(mac_key), key.expires_at)


def get(database: Database, environment: str, kid: str) -> ExternalKey:
    """Return a key; raises NotFound."""
    with database.read() as connection:
        return _get(connection, environment, kid)


def page(
    database: Database, environment: str, after: str | None, limit: int, label: str | None = None
) -> tuple[list[ExternalKey], str | None]:
    """Return an environment's keys by their identifiers, and after which one the next page begins."""
    columns = ExternalKey.table.c
    statement = base.select(ExternalKey, columns.environment == environment).order_by(columns.kid).limit(limit + 1)
    if after is not None:
        statement = statement.where(columns.kid > after)
    if label is not None:
        statement = statement.where(columns.label == label)
    with database.read() as connection:
        found = base.find(connection, ExternalKey, statement)
    return found[:limit], found[limit - 1].kid if len(found) > limit else None


def revoke(
    database: Database, environment: str, kid: str, *, keep_accounts: bool = False, by: str | None = None
) -> int:
    """Make a key unusable and, unless they are kept, end its accounts; return how many ended. Raises NotFound."""
    now = clock.now()
    with database.write(durable=True) as connection:
        key = _get(connection, environment, kid, lock=True)
        if key.revoked_at is None:
            key.revoked_at = now
            base.update(connection, key)
            audit.record(connection, environment, "external_key.revoked", kid, by=by)
        accounts = [] if keep_accounts else _accounts_of(connection, key)
        for account in accounts:
            account.revoke(now)
            base.update(connection, account)
            audit.record(
                connection, environment, "account.revoked", account.id, account_id=account.id, eab_kid=kid, by=by
            )
    return len(accounts)


def _get(connection: Connection, environment: str, kid: str, *, lock: bool = False) -> ExternalKey:
    key = base.get(connection, ExternalKey, kid, lock=lock)
    if key is None or key.environment != environment:
        raise NotFound(f"environment {environment} has no external account key {kid[:80]}")
    return key


def _accounts_of(connection: Connection, key: ExternalKey) -> list[Account]:
    """Return the accounts that were made with a key and may still act, locked."""
    columns = Account.table.c
    made_with_it = base.select(
        Account,
        columns.environment == key.environment,
        columns.eab_kid == key.kid,
        columns.status == AccountStatus.VALID.value,
    )
    return base.find(connection, Account, made_with_it.with_for_update())
