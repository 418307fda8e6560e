"""Whether what a root signed is what the plan says: before it leaves the ceremony, and whenever it is verified."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.hashes import SHA256

from acme_ca import public_keys
from acme_ca.ceremony.plan import BACKDATE, REASONS, Crl, CrossSign, Intermediate, Lasting, Plan
from acme_ca.pki import crl as pki
from acme_ca.pki.ca import (
    CA_EXTENDED_KEY_USAGE,
    CA_KEY_USAGE,
    access_to,
    constraints_to,
    key_identifier_of,
    list_at,
    name_of,
    own_identifier_of,
)
from acme_ca.problems import BadPublicKey
from acme_ca.public_keys import PublicKey


def of_root(certificate: x509.Certificate, plan: Plan, *, adopted: bool = False) -> Iterator[str]:
    """Yield what is not as the plan says; the validity of a root that was there before is not the plan's."""
    root = plan.root
    name = name_of(root.common_name, [root.organization])
    if certificate.subject != name:
        yield f"its subject is {certificate.subject.rfc4514_string()}, expected {name.rfc4514_string()}"
    if (reason := _not_issued_by(certificate, certificate)) is not None:
        yield f"it is not self-signed: {reason}"
    yield from _of_key(certificate, root.kind)
    if not adopted:
        expected = [x509.BasicConstraints(ca=True, path_length=None), CA_KEY_USAGE]
        yield from _of_extensions(certificate, [*expected, _own_identifier(certificate)])
        yield from _of_validity(certificate, root)


def of_intermediate(
    certificate: x509.Certificate, root: x509.Certificate, planned: Intermediate, key: PublicKey
) -> Iterator[str]:
    """Yield what is not as the plan says, or not for the key of the request."""
    organizations = [one.value for one in root.subject if one.oid == x509.NameOID.ORGANIZATION_NAME]
    name = name_of(planned.common_name, map(str, organizations))
    if certificate.subject != name:
        yield f"its subject is {certificate.subject.rfc4514_string()}, expected {name.rfc4514_string()}"
    if certificate.public_key() != key:
        yield "it is for another key than that of the request"
    if (reason := _not_issued_by(certificate, root)) is not None:
        yield f"it is not issued by the root: {reason}"
    expected: list[x509.ExtensionType] = [
        x509.BasicConstraints(ca=True, path_length=planned.path_length),
        CA_KEY_USAGE,
        CA_EXTENDED_KEY_USAGE,
        constraints_to(planned.permitted_dns, planned.permitted_ips),
        key_identifier_of(root),
        _own_identifier(certificate),
        *([] if planned.issuer_url is None else [access_to(planned.issuer_url)]),
        *([] if planned.crl_url is None else [list_at(planned.crl_url)]),
    ]
    yield from _of_extensions(certificate, expected)
    yield from _of_validity(certificate, planned)


def of_cross_sign(
    certificate: x509.Certificate, root: x509.Certificate, planned: CrossSign, other: x509.Certificate
) -> Iterator[str]:
    """Yield what is not as the plan says, or not for the root that the plan names."""
    if certificate.subject != other.subject or certificate.public_key() != other.public_key():
        yield f"it is not for the name and key of {other.subject.rfc4514_string()}"
    if (reason := _not_issued_by(certificate, root)) is not None:
        yield f"it is not issued by the root: {reason}"
    expected: list[x509.ExtensionType] = [
        x509.BasicConstraints(ca=True, path_length=planned.path_length),
        CA_KEY_USAGE,
        key_identifier_of(root),
        own_identifier_of(other),
        *([] if planned.issuer_url is None else [access_to(planned.issuer_url)]),
        *([] if planned.crl_url is None else [list_at(planned.crl_url)]),
    ]
    yield from _of_extensions(certificate, expected)
    yield from _of_validity(certificate, planned)


def of_other_root(other: x509.Certificate, root: x509.Certificate, planned: CrossSign) -> Iterator[str]:
    """Yield why another root cannot be cross-signed: it is not that of the plan, or not fit to be a root."""
    if (found := other.fingerprint(SHA256()).hex()) != planned.sha256:
        yield f"its SHA-256 is {found}, and the plan says {planned.sha256}"
    if (reason := _not_issued_by(other, other)) is not None:
        yield f"it is not self-signed: {reason}"
    if other.public_key() == root.public_key() or other.subject == root.subject:
        yield "it has the key or the name of the root that signs; a new root takes both anew"
    basic = [one.value for one in other.extensions if isinstance(one.value, x509.BasicConstraints)]
    if not any(one.ca for one in basic):
        yield "it is no CA certificate (basicConstraints CA:TRUE)"
    try:
        own_identifier_of(other)
        public_keys.check(other.public_key())
    except ValueError as error:
        yield str(error)
    except BadPublicKey as error:
        yield error.detail


def of_crl(data: bytes, root: x509.Certificate, planned: Crl) -> Iterator[str]:
    """Yield what is not as the plan says."""
    try:
        crl = pki.read(data, root)
    except ValueError as error:
        yield str(error)
        return
    found = {entry.serial_number: (_reason(entry), entry.revocation_date_utc) for entry in crl}
    expected = {int(one.serial, 16): (REASONS[one.reason], one.date.replace(microsecond=0)) for one in planned.revoked}
    if found != expected:
        yield f"it lists {len(found)} certificates that are not those of the plan ({len(expected)})"
    if isinstance(planned.number, int) and pki.number_of(crl) != planned.number:
        yield f"its number is {pki.number_of(crl)}, expected {planned.number}"
    ends = planned.next_update
    days = None if crl.next_update_utc is None else crl.next_update_utc - crl.last_update_utc - BACKDATE
    is_planned = crl.next_update_utc == ends if ends else days == timedelta(days=planned.next_update_days or 0)
    if not is_planned:
        yield f"its nextUpdate is {crl.next_update_utc}, which is not that of the plan"


def _of_key(certificate: x509.Certificate, kind: str) -> Iterator[str]:
    try:
        found = public_keys.check(certificate.public_key())
    except BadPublicKey as error:
        yield error.detail
        return
    if found != kind:
        yield f"its key is of kind {found}, expected {kind}"


def _of_validity(certificate: x509.Certificate, planned: Lasting) -> Iterator[str]:
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if (start, end) != planned.validity(start + BACKDATE):
        yield f"its validity, {start} to {end}, is not that of the plan"


def _of_extensions(certificate: x509.Certificate, expected: list[x509.ExtensionType]) -> Iterator[str]:
    found = {extension.oid: extension.value for extension in certificate.extensions}
    wanted = {value.oid: value for value in expected}
    for oid in sorted({*found, *wanted}, key=lambda oid: oid.dotted_string):
        if found.get(oid) != wanted.get(oid):
            seen = "is missing" if oid not in found else "is not in the plan" if oid not in wanted else "is another one"
            yield f"the extension {oid.dotted_string} {seen}"


def _own_identifier(certificate: x509.Certificate) -> x509.SubjectKeyIdentifier:
    return x509.SubjectKeyIdentifier.from_public_key(certificate.public_key())


def _not_issued_by(certificate: x509.Certificate, root: x509.Certificate) -> str | None:
    try:
        certificate.verify_directly_issued_by(root)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm) as error:
        return str(error) or "the signature does not verify"
    return None


def _reason(entry: x509.RevokedCertificate) -> int:
    numbers = {flag: number for number, flag in pki.REASONS.items()}
    for extension in entry.extensions:
        if isinstance(extension.value, x509.CRLReason):
            return numbers.get(extension.value.reason, -1)
    return 0
