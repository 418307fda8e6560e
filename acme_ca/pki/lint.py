"""The last look at a certificate before the issuer's key signs it: it is what was asked for, and nothing more.

It reads a certificate of the same content signed by a throwaway key, so that a mistake of ours never becomes a
certificate. Each check is written against the RFC, not against the builder.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address

from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtensionOID

from acme_ca.identifiers import Identifier
from acme_ca.pki import leaf
from acme_ca.pki.leaf import LeafRequest

CRITICAL = {ExtensionOID.BASIC_CONSTRAINTS, ExtensionOID.KEY_USAGE}  # and subjectAltName, with an empty subject
ALWAYS = CRITICAL | {
    ExtensionOID.EXTENDED_KEY_USAGE,
    ExtensionOID.AUTHORITY_KEY_IDENTIFIER,
    ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
}
SOMETIMES = {
    ExtensionOID.AUTHORITY_INFORMATION_ACCESS,
    ExtensionOID.CRL_DISTRIBUTION_POINTS,
    leaf.NO_REVOCATION.oid,
}
LONGEST_SERIAL = 159  # bits of a positive INTEGER in 20 octets, RFC 5280 §4.1.2.2


class LintError(Exception):
    """The certificate is not what it has to be: a defect of the CA or of its configuration, not of the client."""


def check(
    certificate: x509.Certificate,
    request: LeafRequest,
    issuer: x509.Certificate,
    crl_url: str | None = None,
    ocsp_url: str | None = None,
) -> None:
    """Raise LintError unless the certificate says exactly what was requested, below this issuer.

    The URLs are where it is told whether a revocable certificate is revoked.
    """
    extensions = certificate.extensions
    _require(certificate.issuer == issuer.subject, "the issuer's name is not the issuer's subject")
    _require(certificate.serial_number == request.serial, "the serial is not the one claimed")
    _require(0 < request.serial.bit_length() <= LONGEST_SERIAL, "the serial does not fit 20 octets")
    _check_validity(certificate, request, issuer)
    _check_extension_set(extensions, issuer)
    _check_names(extensions, certificate.subject, request)
    check_within(request.identifiers, issuer)
    _check_usages(extensions, request)
    _check_revocation(extensions, request, crl_url, ocsp_url)
    _require(certificate.public_key() == request.public_key, "the key is not the requested one")
    _require(request.public_key != issuer.public_key(), "the key is the issuer's own")


def _require(holds: bool, otherwise: str) -> None:  # noqa: FBT001 - reads as a sentence
    if not holds:
        raise LintError(otherwise)


def _check_validity(certificate: x509.Certificate, request: LeafRequest, issuer: x509.Certificate) -> None:
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    _require((start, end) == (request.not_before, request.not_after), f"the validity is {start} to {end}")
    # What `validity` grants: either end may be wished a backdate further out, beside the backdate itself.
    longest = request.profile.lifetime + 3 * request.profile.backdate
    _require(0 < (end - start).total_seconds() <= longest, f"the validity is not within {longest} seconds")
    _require(end <= issuer.not_valid_after_utc, "the certificate outlives its issuer")


def _check_extension_set(extensions: x509.Extensions, issuer: x509.Certificate) -> None:
    """Hold the extensions against what leafs have, whoever put them there. RFC 5280 §4.2."""
    found = {extension.oid for extension in extensions}
    _require(found >= ALWAYS, f"extensions are missing: {_dotted(ALWAYS - found)}")
    _require(found <= ALWAYS | SOMETIMES, f"extensions that no leaf has: {_dotted(found - ALWAYS - SOMETIMES)}")
    critical = {extension.oid for extension in extensions if extension.critical}
    critical -= {ExtensionOID.SUBJECT_ALTERNATIVE_NAME}
    _require(critical == CRITICAL, f"the critical extensions are {_dotted(critical)}")
    authority = extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    above = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    _require(authority.key_identifier == above.digest, "the authority key identifier is not the issuer's")


def _dotted(oids: set[x509.ObjectIdentifier]) -> str:
    return ", ".join(sorted(oid.dotted_string for oid in oids))


def _check_names(extensions: x509.Extensions, subject: x509.Name, request: LeafRequest) -> None:
    found = extensions.get_extension_for_class(x509.SubjectAlternativeName)
    values = [
        *(("uri", uri) for uri in found.value.get_values_for_type(x509.UniformResourceIdentifier)),
        *(("dns", name) for name in found.value.get_values_for_type(x509.DNSName)),
        *(("ip", str(address)) for address in found.value.get_values_for_type(x509.IPAddress)),
    ]
    expected = [("uri", uri) for uri in request.uris] + [(name.type, name.value) for name in request.identifiers]
    _require(len(found.value) == len(values), "subjectAltName has a name that is no dns, ip or uri")
    _require(sorted(values) == sorted(expected), f"subjectAltName has {values}, expected {expected}")
    _require(bool(expected), "there is no name")
    _require(len(request.uris) <= 1, "an X.509-SVID has exactly one URI (SPIFFE X509-SVID §2)")
    _require(not request.uris or request.profile.may_carry_uri, "the profile carries no URI")
    _require(bool(list(subject)) or found.critical, "the subject is empty and subjectAltName is not critical")
    _require(subject == leaf.subject_of(request), f"the subject is {subject.rfc4514_string()!r}")


def check_within(names: Iterable[Identifier], issuer: x509.Certificate) -> None:
    """Raise LintError unless the issuer's own constraints permit all names. RFC 5280 §4.2.1.10."""
    try:
        constraints = issuer.extensions.get_extension_for_class(x509.NameConstraints).value
    except x509.ExtensionNotFound as error:
        raise LintError("the issuer has no name constraints") from error
    permitted, excluded = constraints.permitted_subtrees or [], constraints.excluded_subtrees or []
    for name in names:
        inside = any(_covers(subtree, name.type, name.value) for subtree in permitted)
        outside = any(_covers(subtree, name.type, name.value) for subtree in excluded)
        _require(inside and not outside, f"{name} is outside the name constraints of {issuer.subject.rfc4514_string()}")


def _covers(subtree: x509.GeneralName, type_: str, value: str) -> bool:
    if isinstance(subtree, x509.DNSName) and type_ == "dns":
        base = value.removeprefix("*.")
        return not subtree.value or base == subtree.value or base.endswith(f".{subtree.value}")
    if isinstance(subtree, x509.IPAddress) and type_ == "ip":
        address = IPv6Address(value) if ":" in value else IPv4Address(value)
        return address in subtree.value  # type: ignore[operator]  # in a constraint it is a network
    return False


def _check_usages(extensions: x509.Extensions, request: LeafRequest) -> None:
    _require(not extensions.get_extension_for_class(x509.BasicConstraints).value.ca, "it is a CA certificate")
    usage = extensions.get_extension_for_class(x509.KeyUsage).value
    _require(
        usage.digital_signature and not usage.key_cert_sign and not usage.crl_sign, "the key usage is not a leaf's"
    )
    found = set(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    expected = {leaf.USAGES[name] for name in request.profile.extended_key_usages}
    _require(found == expected, "the extended key usages are not the profile's")


def _check_revocation(
    extensions: x509.Extensions, request: LeafRequest, crl_url: str | None, ocsp_url: str | None
) -> None:
    """Hold what tells of revocation against the profile. RFC 5280 §4.2.1.13, §4.2.2.1; RFC 9608 §4."""
    is_revocable = request.profile.revocation == "crl"
    unrevocable = any(extension.oid == leaf.NO_REVOCATION.oid for extension in extensions)
    _require(unrevocable != is_revocable, "noRevAvail is not as the profile says")
    found = [value for extension in extensions if isinstance(value := extension.value, x509.CRLDistributionPoints)]
    points = [(point.full_name, point.relative_name, point.reasons, point.crl_issuer) for one in found for point in one]
    expected = [([x509.UniformResourceIdentifier(crl_url or "")], None, None, None)] if is_revocable else []
    _require(points == expected, "the CRL distribution point is not as the profile says")
    access = [
        one
        for extension in extensions
        if isinstance(extension.value, x509.AuthorityInformationAccess)
        for one in extension.value
    ]
    responders = [
        one.access_location.value for one in access if one.access_method == AuthorityInformationAccessOID.OCSP
    ]
    _require(
        responders == ([ocsp_url] if is_revocable and ocsp_url is not None else []),
        f"authority information access has the OCSP responders {responders}, which are not as the profile says",
    )
    known = {AuthorityInformationAccessOID.CA_ISSUERS, AuthorityInformationAccessOID.OCSP}
    _require({one.access_method for one in access} <= known, "authority information access has an unknown method")
