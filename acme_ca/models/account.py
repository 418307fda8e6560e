"""Accounts and the external keys that may bind to them. RFC 8555 §7.1.2, §7.3."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import UniqueConstraint
from sqlalchemy.orm import Mapped, Session, mapped_column

from acme_ca.models.base import Base, new_id
from acme_ca.problems import AccountDoesNotExist, Unauthorized


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


class Account(Base):
    """An account of one environment, found by its key's thumbprint (RFC 7638, base64url)."""

    __tablename__ = "accounts"
    __table_args__ = (UniqueConstraint("environment", "thumbprint"),)

    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    environment: Mapped[str]
    thumbprint: Mapped[str]
    jwk: Mapped[dict[str, Any]]
    status: Mapped[str] = mapped_column(default=AccountStatus.VALID.value)
    contact: Mapped[list[str]] = mapped_column(default=list)
    terms_agreed_at: Mapped[datetime | None]
    eab_kid: Mapped[str | None]
    eab_label: Mapped[str | None]
    external_account_binding: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]

    def require_valid(self) -> None:
        """Raise Unauthorized unless the account may act. §7.3.6: a deactivated account can do nothing."""
        if self.status != AccountStatus.VALID:
            raise Unauthorized(
                f"this account is {self.status}: it can no longer be used; make a new one with a new key"
            )

    def deactivate(self, now: datetime) -> None:
        """End the account at its client's wish. §7.3.6."""
        self.require_valid()
        self.status = AccountStatus.DEACTIVATED.value
        self.ended_at = now


def acting_account(session: Session, environment: str, signer: Signer) -> Account:
    """Return the signer's account as it stands now, in the caller's transaction.

    Raises AccountDoesNotExist, or Unauthorized when it was ended or its key was changed in the meantime.
    """
    account = session.get(Account, signer.account_id)
    if account is None or account.environment != environment:
        raise AccountDoesNotExist(f"account {signer.account_id} does not exist in environment {environment}")
    account.require_valid()
    if account.thumbprint != signer.thumbprint:
        raise Unauthorized("the account's key was changed; this request is signed by the old one")
    return account
