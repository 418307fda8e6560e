"""Keys for external account binding: made for a client, listed, revoked. RFC 8555 §7.3.4."""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from acme_ca import clock
from acme_ca.authority import Authority
from acme_ca.db import Database
from acme_ca.jose import b64url_encode
from acme_ca.models import base
from acme_ca.models.account import Account, AccountStatus
from acme_ca.models.external_key import ExternalKey, new_mac_key
from acme_ca.models.revocation import Revocation
from acme_ca.models.selection import Selection
from acme_ca.policy.scope import Scope
from acme_ca.problems import NotFound
from acme_ca.services import audit, revocations, selecting

EVERYTHING = Scope()


@dataclass(frozen=True, slots=True)
class NewKey:
    """What is given to the client, once: `mac_key` is base64url without padding, as clients take it."""

    kid: str
    mac_key: str
    expires_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A key that is wanted: for one account, or `uses` of them, or with `reusable` any number.

    It binds none after `lifetime`. Its accounts may have what it is for (`scope`), as far as the rules allow it.
    """

    label: str | None = None
    reusable: bool = False
    uses: int | None = None
    lifetime: timedelta | None = None
    scope: Scope = EVERYTHING


def create(database: Database, environment: str, wanted: Wanted | None = None, *, by: str | None = None) -> NewKey:
    """Make a key, for one account and everything if nothing else is wanted."""
    wanted = Wanted() if wanted is None else wanted
    now = clock.now()
    mac_key = new_mac_key()
    key = ExternalKey(
        kid=secrets.token_hex(10),
        environment=environment,
        mac_key=mac_key,
        label=wanted.label,
        reusable=wanted.reusable or wanted.uses is not None,
        created_at=now,
        expires_at=None if wanted.lifetime is None else now + wanted.lifetime,
        uses_left=wanted.uses,
        scope=wanted.scope.document(),
    )
    with database.write(durable=True) as connection:
        base.insert(connection, key)
        audit.record(
            connection,
            environment,
            "external_key.created",
            key.kid,
            label=key.label,
            reusable=key.reusable,
            uses=key.uses_left,
            scope=key.scope,
            by=by,
        )
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
    ca: Authority, environment: str, kid: str, *, keep_accounts: bool = False, reason: int | None = None, by: str
) -> tuple[int, Revocation | None]:
    """Make a key unusable and, unless they are kept, end its accounts; with a `reason`, revoke their certificates too.

    Return how many accounts ended, and the revocation of many that the worker does. Raises NotFound and
    BadRevocationReason.
    """
    if reason is not None:
        revocations.check_reason(reason)
    ended = _revoke(ca.database, environment, kid, keep_accounts=keep_accounts, by=by)
    if reason is None:
        return ended, None
    return ended, revocations.start(ca, _certificates_of(environment, kid), reason, by=by, expected=None)


def preview_revoke(
    ca: Authority, environment: str, kid: str, *, keep_accounts: bool = False, reason: int | None = None, by: str
) -> tuple[int, int]:
    """Return how many accounts `revoke` would end, and how many certificates it would revoke; raises as it does."""
    if reason is not None:
        revocations.check_reason(reason)
    with ca.database.rehearsal():
        ended = _revoke(ca.database, environment, kid, keep_accounts=keep_accounts, by=by)
    return ended, 0 if reason is None else selecting.preview(ca, _certificates_of(environment, kid)).total


def _certificates_of(environment: str, kid: str) -> Selection:
    return Selection(environment=environment, eab_kid=kid)


def _revoke(database: Database, environment: str, kid: str, *, keep_accounts: bool, by: str) -> int:
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
