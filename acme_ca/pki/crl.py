"""Certificate revocation lists: full ones, and shards that say which certificates they are about. RFC 5280 §5."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from acme_ca.pki.ca import key_identifier_of
from acme_ca.pki.signing import SigningKey, sign
from acme_ca.vocabulary import SignatureName

REASONS = {
    1: x509.ReasonFlags.key_compromise,
    2: x509.ReasonFlags.ca_compromise,
    3: x509.ReasonFlags.affiliation_changed,
    4: x509.ReasonFlags.superseded,
    5: x509.ReasonFlags.cessation_of_operation,
    6: x509.ReasonFlags.certificate_hold,
    9: x509.ReasonFlags.privilege_withdrawn,
    10: x509.ReasonFlags.aa_compromise,
}
"""CRLReason by its number. §5.3.1. Left out are 0, which is said by saying nothing, and 8, which is for delta CRLs."""


@dataclass(frozen=True, slots=True)
class Revoked:
    """One revoked certificate; `reason` is a code of §5.3.1."""

    serial: int
    at: datetime
    reason: int


@dataclass(frozen=True, slots=True)
class CrlRequest:
    """What is to be listed. `urls` are of the shard's distribution point, none for a full CRL; times are aware."""

    number: int
    this_update: datetime
    next_update: datetime
    revoked: Iterable[Revoked]
    urls: Sequence[str] = ()


def make(
    request: CrlRequest, issuer: x509.Certificate, key: SigningKey, signature: SignatureName | None = None
) -> bytes:
    """Return the signed CRL in DER. A shard's distribution point is critical: others must not take it for the whole.

    The builder is given its lists at once: adding one entry copies all that are there.
    """
    extensions: list[x509.Extension[x509.ExtensionType]] = [
        _extension(key_identifier_of(issuer)),
        _extension(x509.CRLNumber(request.number)),
    ]
    if request.urls:
        extensions.append(_extension(_only(request.urls), critical=True))
    builder = x509.CertificateRevocationListBuilder(
        issuer.subject,
        request.this_update.replace(microsecond=0, tzinfo=None),
        request.next_update.replace(microsecond=0, tzinfo=None),
        extensions,
        [_entry(one) for one in request.revoked],
    )
    return sign(builder, key, signature).public_bytes(Encoding.DER)


def to_pem(der: bytes) -> bytes:
    """Return a CRL in PEM. RFC 7468 §6."""
    return x509.load_der_x509_crl(der).public_bytes(Encoding.PEM)


def read(data: bytes, issuer: x509.Certificate) -> x509.CertificateRevocationList:
    """Return a whole CRL in PEM or DER that `issuer` signed; raises ValueError for anything else."""
    is_pem = data.lstrip().startswith(b"-----BEGIN")
    try:
        crl = x509.load_pem_x509_crl(data) if is_pem else x509.load_der_x509_crl(data)
        is_signed = crl.is_signature_valid(issuer.public_key())  # type: ignore[arg-type]  # what is no CA key raises
    except (ValueError, TypeError) as error:
        raise ValueError(f"it is no revocation list in PEM or DER: {error}") from error
    if crl.issuer != issuer.subject or not is_signed:
        raise ValueError(f"{issuer.subject.rfc4514_string()} has not signed it")
    if crl.next_update_utc is None:
        raise ValueError("it has no nextUpdate (RFC 5280 §5.1.2.5)")
    unknown = [extension.oid.dotted_string for extension in crl.extensions if extension.critical]
    if unknown:
        raise ValueError(f"it is about some certificates only, says its extension {', '.join(unknown)}")
    number_of(crl)
    return crl


def number_of(crl: x509.CertificateRevocationList) -> int:
    """Return the number of a CRL; raises ValueError when it has none. §5.2.3."""
    try:
        return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    except x509.ExtensionNotFound as error:
        raise ValueError("it has no CRL number (RFC 5280 §5.2.3)") from error


def _extension(value: x509.ExtensionType, *, critical: bool = False) -> x509.Extension[x509.ExtensionType]:
    return x509.Extension(value.oid, critical, value)


def _only(urls: Sequence[str]) -> x509.IssuingDistributionPoint:
    """Return what limits a CRL to the certificates that name this distribution point, by any of its URLs. §5.2.5."""
    return x509.IssuingDistributionPoint(
        full_name=[x509.UniformResourceIdentifier(url) for url in urls],
        relative_name=None,
        only_contains_user_certs=False,
        only_contains_ca_certs=False,
        only_some_reasons=None,
        indirect_crl=False,
        only_contains_attribute_certs=False,
    )


def _entry(revoked: Revoked) -> x509.RevokedCertificate:
    builder = (
        x509.RevokedCertificateBuilder()
        .serial_number(revoked.serial)
        .revocation_date(revoked.at.replace(microsecond=0, tzinfo=None))
    )
    if revoked.reason in REASONS:
        builder = builder.add_extension(x509.CRLReason(REASONS[revoked.reason]), critical=False)
    return builder.build()
