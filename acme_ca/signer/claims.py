"""The ledger's claim on a serial, as the signer reads it: without one, no leaf and no sub-CA is signed."""

from __future__ import annotations

from datetime import datetime, timedelta

from cryptography import x509

from acme_ca.db import Database
from acme_ca.keys import KeyAway
from acme_ca.models import base
from acme_ca.models import certificate as ledger
from acme_ca.models.certificate import Certificate, CertificateStatus
from acme_ca.models.distrusted_issuer import DistrustedIssuer
from acme_ca.pki.issuer import Issuer
from acme_ca.problems import BadPublicKey, ServiceUnavailable
from acme_ca.public_keys import PublicKey, check, spki_sha256
from acme_ca.signer.refusal import Refused, require
from acme_ca.vocabulary import KeyType

OLDEST = timedelta(minutes=5)  # a claim that is older belongs to somebody who died, or gave it up
SKEW = timedelta(minutes=1)  # of clocks of other hosts that claim


def claim(database: Database, environment: str, issuer: Issuer, found: x509.Certificate, now: datetime) -> Certificate:
    """Return the line that claims the serial of a certificate; raises Refused, and KeyAway without the database."""
    try:
        with database.read() as connection:
            line = ledger.by_serial(connection, environment, found.serial_number)
            is_trusted = base.get(connection, DistrustedIssuer, issuer.key_sha256) is None
    except ServiceUnavailable as error:
        raise KeyAway("the signer", f"it cannot read the ledger: {error.__cause__ or error}") from error
    serial = ledger.serial_text(found.serial_number)
    if line is None:
        raise Refused(f"the ledger of environment {environment} does not know serial {serial}; expected a claim")
    require(line.status == CertificateStatus.CLAIMED, f"serial {serial} is {line.status} in the ledger, not claimed")
    require(line.issuer_id == issuer.id, f"serial {serial} was claimed for issuer {line.issuer_id}, not {issuer.id}")
    require(is_trusted, f"issuer {issuer.id} is distrusted")
    age = now - line.created_at
    require(
        -SKEW <= age <= OLDEST,
        f"serial {serial} was claimed {age.total_seconds():.0f} s ago, expected at most {OLDEST.total_seconds():.0f}",
    )
    return line


def public_key(found: x509.Certificate, kinds: tuple[KeyType, ...]) -> PublicKey:
    """Return the key of a certificate if it is of one of the kinds; raises Refused."""
    key = found.public_key()
    try:
        kind = check(key)
    except BadPublicKey as error:
        raise Refused(f"the key to be certified: {error.detail}") from error
    require(kind in kinds, f"the key to be certified is of kind {kind}, expected {', '.join(kinds)}")
    return key  # type: ignore[return-value]  # `check` refuses keys of other kinds


def require_same_key(line: Certificate, key: PublicKey) -> None:
    """Raise Refused when the line claims its serial for another key."""
    require(spki_sha256(key) == line.key_sha256, f"serial {line.serial} was claimed for another key")
