"""The ledger: every serial that was ever given to a signature, and what became of it. RFC 8555 §7.4.2, §7.6."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from acme_ca.models.base import Base, new_id
from acme_ca.problems import AlreadyRevoked


class CertificateStatus(StrEnum):
    """`claimed`: the serial is taken, no signature recorded yet. `abandoned`: whoever claimed it died or failed."""

    CLAIMED = "claimed"
    ISSUED = "issued"
    ABANDONED = "abandoned"


class Certificate(Base):
    """A line of the ledger, written before the key signs. `serial` is lower-case hexadecimal of 32 digits."""

    __tablename__ = "certificates"
    __table_args__ = (
        UniqueConstraint("serial"),
        Index(
            "uq_certificates_issued_order",
            "order_id",
            unique=True,
            sqlite_where=text("status = 'issued'"),
            postgresql_where=text("status = 'issued'"),
        ),
        Index("ix_certificates_account_id", "account_id", "id"),
    )

    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    serial: Mapped[str]
    environment: Mapped[str]
    account_id: Mapped[str]
    order_id: Mapped[str]
    issuer_id: Mapped[str]
    authority_key_id: Mapped[bytes]
    status: Mapped[str] = mapped_column(default=CertificateStatus.CLAIMED.value)
    profile: Mapped[str]
    policy_version: Mapped[str]
    names: Mapped[list[str]]
    key_sha256: Mapped[bytes]  # of the SubjectPublicKeyInfo
    not_before: Mapped[datetime]
    not_after: Mapped[datetime]
    created_at: Mapped[datetime]
    der: Mapped[bytes | None]
    replaced_by: Mapped[str | None]  # the order that replaces it, RFC 9773
    revoked_at: Mapped[datetime | None]
    revocation_reason: Mapped[int | None]  # RFC 5280 §5.3.1

    def issue(self, der: bytes) -> None:
        """Record the signed certificate."""
        if self.status != CertificateStatus.CLAIMED:
            raise RuntimeError(f"serial {self.serial} is {self.status}, not claimed")
        self.status = CertificateStatus.ISSUED.value
        self.der = der

    def abandon(self) -> None:
        """Give the serial up: nothing that was signed with it left this process."""
        self.status = CertificateStatus.ABANDONED.value

    def revoke(self, now: datetime, reason: int) -> None:
        """Revoke; raises AlreadyRevoked. §7.6."""
        if self.revoked_at is not None:
            raise AlreadyRevoked(f"certificate {self.serial} was revoked at {self.revoked_at:%Y-%m-%d %H:%M:%S} UTC")
        self.revoked_at = now
        self.revocation_reason = reason


class BlockedKey(Base):
    """A public key that nobody may use again, in any environment: it was reported compromised."""

    __tablename__ = "blocked_keys"

    key_sha256: Mapped[bytes] = mapped_column(primary_key=True)
    serial: Mapped[str]  # of the certificate whose revocation blocked it
    blocked_at: Mapped[datetime]
