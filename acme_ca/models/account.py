"""Accounts. RFC 8555 §7.1.2, §7.3."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeVar

from sqlalchemy import Connection, Index, UniqueConstraint, bindparam

from acme_ca.models import base
from acme_ca.models.base import Record, new_id, partial_index, table_of
from acme_ca.problems import AccountDoesNotExist, AccountEnded, NotFound, Unauthorized


@dataclass(frozen=True, slots=True)
class Signer:
    """Who signed a request: the account named in it, and the thumbprint of the key that verified it."""

    account_id: str
    thumbprint: str


class AccountStatus(StrEnum):
    """§7.1.6: an account is valid until its client (deactivated) or the server (revoked) ends it."""

    VALID = "valid"
    DEACTIVATED = "deactivated"
    REVOKED = "revoked"


@dataclass(kw_only=True)
class Account(Record):
    """An account of one environment, found by its key's thumbprint (RFC 7638, base64url).

    `note` is the operators'. With `paused`, orders look whether their names are (`models/pause.py`). `key_sha256` is of
    the key's SubjectPublicKeyInfo, as that of a blocked key is; None for a key that would not be taken any more.
    `scope` is what the external key that it was bound by is for.
    """

    id: str = field(default_factory=new_id)
    environment: str
    thumbprint: str
    jwk: dict[str, Any]
    status: str = AccountStatus.VALID.value
    contact: list[str]
    terms_agreed_at: datetime | None = None
    eab_kid: str | None = None
    eab_label: str | None = None
    external_account_binding: dict[str, Any] | None = None
    created_at: datetime
    ended_at: datetime | None = None
    note: str | None = None
    paused: bool = False
    key_sha256: bytes | None = None
    scope: dict[str, Any] | None = None

    def require_valid(self) -> None:
        """Raise AccountEnded unless the account may act. §7.3.6: a deactivated account can do nothing."""
        if self.status != AccountStatus.VALID:
            raise AccountEnded(
                f"this account is {self.status}: it can no longer be used; make a new one with a new key"
            )

    def deactivate(self, now: datetime) -> None:
        """End the account at its client's wish. §7.3.6."""
        self._end(AccountStatus.DEACTIVATED, now)

    def revoke(self, now: datetime) -> None:
        """End the account at the server's wish."""
        self._end(AccountStatus.REVOKED, now)

    def _end(self, status: AccountStatus, now: datetime) -> None:
        self.require_valid()
        self.status = status.value
        self.ended_at = now


class Owned(Record):
    """A record that belongs to an account of an environment, and is shown to nobody else."""

    environment: str
    account_id: str


AnyOwned = TypeVar("AnyOwned", bound=Owned)


def owned(
    connection: Connection, kind: type[AnyOwned], environment: str, account_id: str, key: str, *, lock: bool = False
) -> AnyOwned:
    """Return the account's own record; raises NotFound, or Unauthorized for another account's."""
    record = base.get(connection, kind, key, lock=lock)
    name = kind.__name__.lower()
    if record is None or record.environment != environment:
        raise NotFound(f"there is no {name} {key}")
    if record.account_id != account_id:
        raise Unauthorized(f"{name} {key} belongs to another account")
    return record


ACCOUNTS = table_of(Account, "accounts", UniqueConstraint("environment", "thumbprint"))
Index("ix_accounts_newest", ACCOUNTS.c.environment, ACCOUNTS.c.id)
partial_index("ix_accounts_eab_kid", ACCOUNTS.c.eab_kid, ACCOUNTS.c.id, where=ACCOUNTS.c.eab_kid.is_not(None))
partial_index("ix_accounts_eab_label", ACCOUNTS.c.eab_label, ACCOUNTS.c.id, where=ACCOUNTS.c.eab_label.is_not(None))
partial_index("ix_accounts_ended", ACCOUNTS.c.environment, ACCOUNTS.c.id, where=ACCOUNTS.c.ended_at.is_not(None))
partial_index("ix_accounts_key", ACCOUNTS.c.key_sha256, where=ACCOUNTS.c.key_sha256.is_not(None))
_OF_KEY = base.select(
    Account, ACCOUNTS.c.environment == bindparam("environment"), ACCOUNTS.c.thumbprint == bindparam("thumbprint")
)


def account_of_key(connection: Connection, environment: str, thumbprint: str) -> Account | None:
    """Return the account that has a key, by its thumbprint."""
    found = base.find(connection, Account, _OF_KEY, environment=environment, thumbprint=thumbprint)
    return found[0] if found else None


def living_accounts_of(connection: Connection, key_sha256: bytes) -> list[Account]:
    """Return the accounts of all environments that have a key, by its hash, and may act; locked."""
    statement = base.select(
        Account, ACCOUNTS.c.key_sha256 == key_sha256, ACCOUNTS.c.status == AccountStatus.VALID.value
    )
    return base.find(connection, Account, statement.order_by(ACCOUNTS.c.id).with_for_update())


def acting_account(connection: Connection, environment: str, signer: Signer, *, lock: bool = False) -> Account:
    """Return the signer's account as it stands now, in the caller's transaction.

    Raises AccountDoesNotExist, AccountEnded, or Unauthorized when its key was changed in the meantime.
    """
    account = base.get(connection, Account, signer.account_id, lock=lock)
    if account is None or account.environment != environment:
        raise AccountDoesNotExist(f"account {signer.account_id} does not exist in environment {environment}")
    account.require_valid()
    if account.thumbprint != signer.thumbprint:
        raise Unauthorized("the account's key was changed; this request is signed by the old one")
    return account
