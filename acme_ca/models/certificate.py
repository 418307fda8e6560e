"""The ledger: every serial that was ever given to a signature, and what became of it. RFC 8555 §7.4.2, §7.6."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Connection, Index, UniqueConstraint, bindparam, literal_column

from acme_ca.models import base
from acme_ca.models.base import Record, new_id, partial_index, table_of
from acme_ca.models.certificate_term import add_terms, terms_of
from acme_ca.problems import AlreadyRevoked
from acme_ca.public_keys import PublicKey, spki_sha256


class CertificateStatus(StrEnum):
    """`claimed`: the serial is taken, no signature recorded yet. `abandoned`: whoever claimed it died or failed."""

    CLAIMED = "claimed"
    ISSUED = "issued"
    ABANDONED = "abandoned"


SUB_CA = "sub-ca"
"""The `account_id` of the certificates of sub-CAs: no account ordered them, an operator did."""


def serial_text(serial: int) -> str:
    """Return a serial number as the ledger and the logs write it: 34 lower-case hexadecimal digits."""
    return f"{serial:034x}"


@dataclass(kw_only=True)
class Certificate(Record):
    """A line of the ledger, written before the key signs. `serial` is lower-case hexadecimal of 34 digits.

    `key_sha256` is of the SubjectPublicKeyInfo; `replaced_by` is the order that replaces it (RFC 9773);
    `revocation_reason` is a code of RFC 5280 §5.3.1. `workload_rule` is `NAME@VERSION` of the rule that granted names
    to the workload of `binding_id`. `crl_shard` is the shard of the issuer's list that it points to, for as long as it
    lives. At `ocsp_due_at` the next OCSP response is to be kept; None where none is. A sub-CA has `SUB_CA` for an
    account, an `order_id` that is no order's, the names that it may certify, and in `workload_rule` the rule that it
    was signed under. `eab_kid` is the external key that its account was bound by, `replaces` the serial of the
    certificate that the order named as replaced. `evidence` is how names were proved and policy decided:
    `models/evidence.py` packs it; it is kept as long as the certificate lives, and some time more. `key_type` is the
    kind of its key and `signature` what its issuer signs it with; None in lines from before they were written down.
    """

    id: str = field(default_factory=new_id)
    serial: str
    environment: str
    account_id: str
    order_id: str
    issuer_id: str
    authority_key_id: bytes
    status: str = CertificateStatus.CLAIMED.value
    profile: str
    policy_version: str
    names: list[str]
    key_sha256: bytes
    not_before: datetime
    not_after: datetime
    created_at: datetime
    der: bytes | None = None
    replaced_by: str | None = None
    revoked_at: datetime | None = None
    revocation_reason: int | None = None
    binding_id: str | None = None
    workload_rule: str | None = None
    crl_shard: int = 0
    ocsp_due_at: datetime | None = None
    workload_provider: str | None = None
    workload_subject: str | None = None
    eab_kid: str | None = None
    replaces: str | None = None
    evidence: bytes | None = None
    key_type: str | None = None
    signature: str | None = None

    @property
    def is_sub_ca(self) -> bool:
        """Whether it is the certificate of a sub-CA."""
        return self.account_id == SUB_CA

    @property
    def owner(self) -> str | None:
        """The account that ordered it, if one did."""
        return None if self.is_sub_ca else self.account_id

    def issue(self, der: bytes) -> None:
        """Record the signed certificate."""
        if self.status != CertificateStatus.CLAIMED:
            raise RuntimeError(f"serial {self.serial} is {self.status}, not claimed")
        self.status = CertificateStatus.ISSUED.value
        self.der = der

    def abandon(self) -> None:
        """Give the serial up: nothing that was signed with it left this process."""
        self.status = CertificateStatus.ABANDONED.value
        self.ocsp_due_at = None

    def revoke(self, now: datetime, reason: int) -> None:
        """Revoke; raises AlreadyRevoked. §7.6."""
        if self.revoked_at is not None:
            raise AlreadyRevoked(f"certificate {self.serial} was revoked at {self.revoked_at:%Y-%m-%d %H:%M:%S} UTC")
        self.revoked_at = now
        self.revocation_reason = reason
        if self.ocsp_due_at is not None:
            self.ocsp_due_at = now


@dataclass
class BlockedKey(Record):
    """A public key that nobody may use again, in any environment.

    That of certificate `serial` was reported compromised; or an operator (`blocked_by`) blocked it for a `reason`.
    """

    key_sha256: bytes
    serial: str | None
    blocked_at: datetime
    reason: str | None = None
    blocked_by: str | None = None


CERTIFICATES = table_of(Certificate, "certificates", UniqueConstraint("serial"))
partial_index(
    "uq_certificates_issued_order",
    CERTIFICATES.c.order_id,
    where=CERTIFICATES.c.status == literal_column("'issued'"),
    unique=True,
)
Index("ix_certificates_account_id", CERTIFICATES.c.account_id, CERTIFICATES.c.id)
partial_index("ix_certificates_binding", CERTIFICATES.c.binding_id, where=CERTIFICATES.c.binding_id.is_not(None))
partial_index(
    "ix_certificates_revoked",
    CERTIFICATES.c.issuer_id,
    CERTIFICATES.c.not_after,
    where=CERTIFICATES.c.revoked_at.is_not(None),
)
partial_index(
    "ix_certificates_ocsp",
    CERTIFICATES.c.issuer_id,
    CERTIFICATES.c.ocsp_due_at,
    where=CERTIFICATES.c.ocsp_due_at.is_not(None),
)
Index("ix_certificates_key", CERTIFICATES.c.key_sha256, CERTIFICATES.c.id)
Index("ix_certificates_issuer", CERTIFICATES.c.issuer_id, CERTIFICATES.c.id)
Index("ix_certificates_profile", CERTIFICATES.c.environment, CERTIFICATES.c.profile, CERTIFICATES.c.id)
Index("ix_certificates_newest", CERTIFICATES.c.environment, CERTIFICATES.c.id, CERTIFICATES.c.not_after)
partial_index(
    "ix_certificates_revoked_newest",
    CERTIFICATES.c.environment,
    CERTIFICATES.c.id,
    where=CERTIFICATES.c.revoked_at.is_not(None),
)
partial_index("ix_certificates_evidence", CERTIFICATES.c.not_after, where=CERTIFICATES.c.evidence.is_not(None))
BLOCKED_KEYS = table_of(BlockedKey, "blocked_keys")
Index("ix_blocked_keys_blocked_at", BLOCKED_KEYS.c.blocked_at)

_BY_SERIAL = base.select(
    Certificate, CERTIFICATES.c.serial == bindparam("serial"), CERTIFICATES.c.environment == bindparam("environment")
)


def add(connection: Connection, line: Certificate) -> None:
    """Add a line to the ledger, with the terms that it is found by."""
    base.insert(connection, line)
    rule = None if line.workload_rule is None else line.workload_rule.rpartition("@")[0]
    terms = terms_of(line.names, line.eab_kid, line.workload_subject, line.workload_provider, rule)
    add_terms(connection, line.environment, line.id, terms)


def is_blocked(connection: Connection, key: PublicKey) -> bool:
    """Whether a key was reported compromised."""
    return base.get(connection, BlockedKey, spki_sha256(key)) is not None


def by_serial(connection: Connection, environment: str, serial: int, *, lock: bool = False) -> Certificate | None:
    """Return the environment's ledger line of a serial number, or None."""
    statement = _BY_SERIAL.with_for_update() if lock else _BY_SERIAL
    found = base.find(connection, Certificate, statement, environment=environment, serial=serial_text(serial))
    return found[0] if found else None
