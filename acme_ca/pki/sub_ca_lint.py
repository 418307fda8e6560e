"""The last look at a sub-CA before it is signed: it is what the rule says, and nothing that is above it forbids it.

Each check is written against RFC 5280, not against the builder.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Network, IPv6Network

from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtensionOID

from acme_ca.pki.ca import EVERY_IPV4, EVERY_IPV6, IPNetwork
from acme_ca.pki.issuer import Issuer
from acme_ca.pki.leaf import USAGES
from acme_ca.pki.lint import LONGEST_SERIAL, LintError
from acme_ca.pki.sub_ca import SubCaRequest

CRITICAL = {ExtensionOID.BASIC_CONSTRAINTS, ExtensionOID.KEY_USAGE, ExtensionOID.NAME_CONSTRAINTS}
ALWAYS = CRITICAL | {
    ExtensionOID.EXTENDED_KEY_USAGE,
    ExtensionOID.SUBJECT_KEY_IDENTIFIER,
    ExtensionOID.AUTHORITY_KEY_IDENTIFIER,
}


def check(certificate: x509.Certificate, request: SubCaRequest, issuer: Issuer) -> None:
    """Raise LintError unless the certificate says exactly what was requested, and may be below this issuer."""
    found, above = certificate.extensions, issuer.certificate
    _require(certificate.issuer == above.subject, "the issuer's name is not the issuer's subject")
    _require(certificate.serial_number == request.serial, "the serial is not the one claimed")
    _require(0 < request.serial.bit_length() <= LONGEST_SERIAL, "the serial does not fit 20 octets")
    _check_subject(certificate, request)
    _check_validity(certificate, request, issuer)
    _check_extension_set(found, request, issuer)
    _check_keys(certificate, request, issuer)
    _check_authority(found, request)
    _check_constraints(found.get_extension_for_class(x509.NameConstraints).value, request)
    _check_names(found, request)
    _check_pointers(found, issuer)
    reason = unsuitable(issuer, request.permitted_dns, request.permitted_ips, request.path_length)
    if reason is not None:
        raise LintError(reason)


def unsuitable(issuer: Issuer, dns: Sequence[str], ips: Sequence[IPNetwork], path_length: int) -> str | None:
    """Say what the issuer, or something above it, does not allow a sub-CA that is to have these constraints, or None.

    RFC 5280 §4.2.1.9, §4.2.1.10: a path length counts the CAs below; what any certificate above excludes, or permits
    another part of, is not for those below it either.
    """
    for below, above in enumerate((issuer.certificate, *issuer.chain, issuer.root), start=1 + path_length):
        subject = above.subject.rfc4514_string()
        allowed = above.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length
        if allowed is not None and allowed < below:
            return f"{subject} has a path length of {allowed}, and would have {below} CAs below it"
        for name in _not_permitted(above, dns, ips):
            return f"{name} is outside the name constraints of {subject}"
    return None


def _not_permitted(above: x509.Certificate, dns: Sequence[str], ips: Sequence[IPNetwork]) -> Iterator[str]:
    try:
        constraints = above.extensions.get_extension_for_class(x509.NameConstraints).value
    except x509.ExtensionNotFound:
        return
    permitted, excluded = constraints.permitted_subtrees or [], constraints.excluded_subtrees or []
    zones = [one.value for one in permitted if isinstance(one, x509.DNSName)]
    closed = [one.value for one in excluded if isinstance(one, x509.DNSName)]
    for zone in dns:
        is_open = not zones or _is_below(zone, zones)
        if not is_open or any(_is_below(one, [zone]) or _is_below(zone, [one]) for one in closed):
            yield zone
    networks, shut = list(_networks(permitted)), list(_networks(excluded))
    for network in ips:
        is_open = not networks or any(_contains(one, network) for one in networks)
        if not is_open or any(_contains(one, network) or _contains(network, one) for one in shut):
            yield str(network)


def _networks(names: Iterable[x509.GeneralName]) -> Iterator[IPNetwork]:
    """Yield the addresses of constraints: there they are networks."""
    for one in names:
        if isinstance(one, x509.IPAddress) and isinstance(one.value, IPv4Network | IPv6Network):
            yield one.value


def _is_below(name: str, zones: Sequence[str]) -> bool:
    return any(not zone or name == zone or name.endswith(f".{zone}") for zone in zones)


def _contains(outer: IPNetwork, inner: IPNetwork) -> bool:
    """Whether a network has all of another in it; two of one version meet no other way than the one in the other."""
    return inner.version == outer.version and inner[0] in outer and inner.prefixlen >= outer.prefixlen


def _require(holds: bool, otherwise: str) -> None:  # noqa: FBT001 - reads as a sentence
    if not holds:
        raise LintError(otherwise)


def _check_subject(certificate: x509.Certificate, request: SubCaRequest) -> None:
    names = [one.value for one in certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)]
    _require(names == [request.common_name], f"the subject is {certificate.subject.rfc4514_string()!r}")
    _require(certificate.subject != certificate.issuer, "the subject is the issuer's own: it would look self-issued")


def _check_validity(certificate: x509.Certificate, request: SubCaRequest, issuer: Issuer) -> None:
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    _require((start, end) == (request.not_before, request.not_after), f"the validity is {start} to {end}")
    _require(start < end <= issuer.ends_at, f"the sub-CA would outlive the chain of {issuer.id}, to {issuer.ends_at}")


def _check_extension_set(extensions: x509.Extensions, request: SubCaRequest, issuer: Issuer) -> None:
    found = {extension.oid for extension in extensions}
    expected = set(ALWAYS)
    if request.uris or request.dns_names:
        expected.add(ExtensionOID.SUBJECT_ALTERNATIVE_NAME)
    if issuer.issuer_url is not None:
        expected.add(ExtensionOID.AUTHORITY_INFORMATION_ACCESS)
    if issuer.crl_url is not None:
        expected.add(ExtensionOID.CRL_DISTRIBUTION_POINTS)
    different = ", ".join(sorted(oid.dotted_string for oid in found ^ expected))
    _require(not different, f"extensions are missing, or are there that should not be: {different}")
    critical = {extension.oid for extension in extensions if extension.critical}
    _require(critical == CRITICAL, f"the critical extensions are {sorted(oid.dotted_string for oid in critical)}")


def _check_keys(certificate: x509.Certificate, request: SubCaRequest, issuer: Issuer) -> None:
    found = certificate.extensions
    _require(certificate.public_key() == request.public_key, "the key is not the requested one")
    above = (issuer.certificate, *issuer.chain, issuer.root)
    _require(all(request.public_key != one.public_key() for one in above), "the key is that of a CA above it")
    own = found.get_extension_for_class(x509.SubjectKeyIdentifier).value
    _require(
        own == x509.SubjectKeyIdentifier.from_public_key(request.public_key), "the subject key id is another key's"
    )
    authority = found.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    _require(authority.key_identifier == issuer.key_id, "the authority key identifier is not the issuer's")


def _check_authority(extensions: x509.Extensions, request: SubCaRequest) -> None:
    basic = extensions.get_extension_for_class(x509.BasicConstraints).value
    _require(basic.ca and basic.path_length == request.path_length, f"the basic constraints are {basic}")
    usage = extensions.get_extension_for_class(x509.KeyUsage).value
    others = (
        usage.digital_signature,
        usage.content_commitment,
        usage.key_encipherment,
        usage.data_encipherment,
        usage.key_agreement,
    )
    _require(usage.key_cert_sign and usage.crl_sign and not any(others), f"the key usage is {usage}")
    found = list(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    expected = [USAGES[name] for name in request.extended_key_usages]
    _require(found == expected, "the extended key usages are not the rule's")


def _check_constraints(found: x509.NameConstraints, request: SubCaRequest) -> None:
    """Each kind of name is permitted by the rule or excluded whole; a kind with neither would be free."""
    permitted: set[x509.GeneralName] = {x509.DNSName(zone) for zone in request.permitted_dns}
    permitted |= {x509.IPAddress(network) for network in request.permitted_ips}
    excluded: set[x509.GeneralName] = set() if request.permitted_dns else {x509.DNSName("")}
    versions = {network.version for network in request.permitted_ips}
    excluded |= {x509.IPAddress(one) for one in (EVERY_IPV4, EVERY_IPV6) if one.version not in versions}
    _require(set(found.permitted_subtrees or ()) == permitted, f"the permitted names are {found.permitted_subtrees}")
    _require(set(found.excluded_subtrees or ()) == excluded, f"the excluded names are {found.excluded_subtrees}")


def _check_names(extensions: x509.Extensions, request: SubCaRequest) -> None:
    """Hold the names of the sub-CA itself against the rule: they are within its own constraints."""
    found = [
        one
        for extension in extensions
        if isinstance(extension.value, x509.SubjectAlternativeName)
        for one in extension.value
    ]
    expected: set[x509.GeneralName] = {x509.UniformResourceIdentifier(uri) for uri in request.uris}
    expected |= {x509.DNSName(name) for name in request.dns_names}
    _require(set(found) == expected and len(found) == len(expected), f"the names are {found}")
    _require(len(request.uris) <= 1, "a SPIFFE signing certificate has one URI (X509-SVID §2)")
    for name in request.dns_names:
        _require(_is_below(name, request.permitted_dns), f"{name} is outside of what the sub-CA itself may certify")


def _check_pointers(extensions: x509.Extensions, issuer: Issuer) -> None:
    """Hold what leads to the issuer and its revocation list against the issuer. §4.2.1.13, §4.2.2.1."""
    for extension in extensions:
        if isinstance(extension.value, x509.AuthorityInformationAccess):
            places = [(one.access_method, one.access_location.value) for one in extension.value]
            expected = [(AuthorityInformationAccessOID.CA_ISSUERS, issuer.issuer_url)]
            _require(places == expected, f"authority information access has {places}")
        if isinstance(extension.value, x509.CRLDistributionPoints):
            points = [(point.full_name, point.reasons, point.crl_issuer) for point in extension.value]
            url = [x509.UniformResourceIdentifier(issuer.crl_url or "")]
            _require(points == [(url, None, None)], "the CRL distribution point is not the issuer's")
