"""Certificates of certificate authorities: roots, and the intermediates of environments. RFC 5280 §4.2."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import TypeAlias

from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

from acme_ca import identifiers, public_keys
from acme_ca.pki.signing import SigningKey, hash_for, new_serial
from acme_ca.problems import Problem
from acme_ca.public_keys import PublicKey

IPNetwork: TypeAlias = IPv4Network | IPv6Network

EVERY_IPV4, EVERY_IPV6 = ip_network("0.0.0.0/0"), ip_network("::/0")

CA_KEY_USAGE = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)

CA_EXTENDED_KEY_USAGE = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])


def make_root(
    key: SigningKey, *, common_name: str, organization: str, not_before: datetime, not_after: datetime
) -> x509.Certificate:
    """Return a self-signed root. It constrains nothing: its intermediates do. Raises BadPublicKey for a weak key."""
    public_keys.check(key.public_key())
    name = name_of(common_name, [organization])
    builder = _authority(key.public_key(), name, name, not_before, not_after, path_length=None)
    return builder.sign(key, hash_for(key))


def make_intermediate(  # noqa: PLR0913 - all keywords, each a fact of the certificate with no default to hide it
    root_cert: x509.Certificate,
    root_key: SigningKey,
    public_key: PublicKey,
    *,
    common_name: str,
    permitted_dns: tuple[str, ...],
    permitted_ips: tuple[IPNetwork, ...] = (),
    not_before: datetime,
    not_after: datetime,
    issuer_url: str | None = None,
    crl_url: str | None = None,
    path_length: int = 0,
) -> x509.Certificate:
    """Return an intermediate that issues only below `permitted_dns` and in `permitted_ips`; leafs only, as it is.

    `issuer_url` is where the root is published in DER, `crl_url` where the root's revocation list is. Raises ValueError
    for a zone that is no name, for no zone and no network at all, and for a validity that is not inside the root's;
    BadPublicKey for a weak key.
    """
    public_keys.check(public_key)
    if root_key.public_key() != root_cert.public_key():
        raise ValueError("the root's key does not belong to the root's certificate")
    if not_after > root_cert.not_valid_after_utc or not_before < root_cert.not_valid_before_utc:
        raise ValueError(
            f"validity {not_before:%Y-%m-%d %H:%M:%S} to {not_after:%Y-%m-%d %H:%M:%S} is not inside the root's, "
            f"{root_cert.not_valid_before_utc:%Y-%m-%d %H:%M:%S} to {root_cert.not_valid_after_utc:%Y-%m-%d %H:%M:%S}"
        )
    if not permitted_dns and not permitted_ips:
        raise ValueError("an intermediate without permitted zones or networks could issue nothing")
    name = name_below(root_cert, common_name)
    builder = (
        _authority(public_key, name, root_cert.subject, not_before, not_after, path_length)
        .add_extension(constraints_to(permitted_dns, permitted_ips), critical=True)
        .add_extension(CA_EXTENDED_KEY_USAGE, critical=False)
        .add_extension(key_identifier_of(root_cert), critical=False)
    )
    if issuer_url is not None:
        builder = builder.add_extension(access_to(issuer_url), critical=False)
    if crl_url is not None:
        builder = builder.add_extension(list_at(crl_url), critical=False)
    return builder.sign(root_key, hash_for(root_key))


def make_cross_sign(  # noqa: PLR0913 - all keywords, each a fact of the certificate with no default to hide it
    root_cert: x509.Certificate,
    root_key: SigningKey,
    other: x509.Certificate,
    *,
    not_before: datetime,
    not_after: datetime,
    path_length: int,
    issuer_url: str | None = None,
    crl_url: str | None = None,
) -> x509.Certificate:
    """Return a certificate for name and key of another root: who trusts this root alone verifies what is below both.

    It constrains nothing, as the other root does not. Raises ValueError for a validity that is not inside both roots'.
    """
    for one in (root_cert, other):
        if not_after > one.not_valid_after_utc or not_before < one.not_valid_before_utc:
            raise ValueError(
                f"validity {not_before:%Y-%m-%d %H:%M:%S} to {not_after:%Y-%m-%d %H:%M:%S} is not inside that of "
                f"{one.subject.rfc4514_string()}, {one.not_valid_before_utc} to {one.not_valid_after_utc}"
            )
    public_key: PublicKey = other.public_key()  # type: ignore[assignment]  # who calls has checked what kind it is
    own = own_identifier_of(other)
    builder = _authority(public_key, other.subject, root_cert.subject, not_before, not_after, path_length, own)
    builder = builder.add_extension(key_identifier_of(root_cert), critical=False)
    if issuer_url is not None:
        builder = builder.add_extension(access_to(issuer_url), critical=False)
    if crl_url is not None:
        builder = builder.add_extension(list_at(crl_url), critical=False)
    return builder.sign(root_key, hash_for(root_key))


def own_identifier_of(authority: x509.Certificate) -> x509.SubjectKeyIdentifier:
    """Return the name that a CA certificate gives its key; raises ValueError when it gives none. RFC 5280 §4.2.1.2."""
    try:
        return authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound as error:
        raise ValueError(f"CA certificate {authority.subject.rfc4514_string()} has no subjectKeyIdentifier") from error


def key_identifier_of(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    """Return the extension by which a certificate names its issuer's key. RFC 5280 §4.2.1.1."""
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own_identifier_of(issuer))


def access_to(issuer_url: str | None, ocsp_url: str | None = None) -> x509.AuthorityInformationAccess:
    """Return the extension that says where the issuer's certificate and its OCSP responder are. RFC 5280 §4.2.2.1."""
    places = ((AuthorityInformationAccessOID.OCSP, ocsp_url), (AuthorityInformationAccessOID.CA_ISSUERS, issuer_url))
    return x509.AuthorityInformationAccess(
        [
            x509.AccessDescription(method, x509.UniformResourceIdentifier(url))
            for method, url in places
            if url is not None
        ]
    )


def name_below(issuer: x509.Certificate, common_name: str) -> x509.Name:
    """Return the name of a CA below another: with the same organization."""
    organizations = issuer.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    return name_of(common_name, [str(attribute.value) for attribute in organizations])


def list_at(crl_url: str) -> x509.CRLDistributionPoints:
    """Return the extension that says where the issuer's revocation list is. RFC 5280 §4.2.1.13."""
    return x509.CRLDistributionPoints(
        [x509.DistributionPoint([x509.UniformResourceIdentifier(crl_url)], None, None, None)]
    )


def lists_of(certificate: x509.Certificate) -> Iterator[str]:
    """Yield where a certificate says that a revocation list about it is."""
    for extension in certificate.extensions:
        if isinstance(extension.value, x509.CRLDistributionPoints):
            for point in extension.value:
                yield from (str(name.value) for name in point.full_name or ())


def name_of(common_name: str, organizations: Iterable[str]) -> x509.Name:
    """Return a name of organizations and a common name, in this order."""
    return x509.Name(
        [
            *(x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization) for organization in organizations),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _authority(
    public_key: PublicKey,
    subject: x509.Name,
    issuer: x509.Name,
    not_before: datetime,
    not_after: datetime,
    path_length: int | None,
    own: x509.SubjectKeyIdentifier | None = None,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .serial_number(new_serial())
        .issuer_name(issuer)
        .not_valid_before(not_before)
        .not_valid_after(not_after)
        .subject_name(subject)
        .public_key(public_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(CA_KEY_USAGE, critical=True)
        .add_extension(own or x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )


def constraints_to(zones: tuple[str, ...], networks: tuple[IPNetwork, ...]) -> x509.NameConstraints:
    """Permit the zones and networks, and exclude the kinds of name of which nothing is permitted. RFC 5280 §4.2.1.10.

    A kind that is neither permitted nor excluded would be unconstrained. URIs are left so: verifiers disagree on them.
    """
    permitted = [*(_zone(zone) for zone in zones), *(x509.IPAddress(network) for network in networks)]
    excluded: list[x509.GeneralName] = [
        x509.IPAddress(everything)
        for everything in (EVERY_IPV4, EVERY_IPV6)
        if not any(network.version == everything.version for network in networks)
    ]
    if not zones:
        excluded.append(x509.DNSName(""))  # the empty name: every name is below it
    return x509.NameConstraints(permitted or None, excluded or None)


def _zone(zone: str) -> x509.DNSName:
    try:
        name = identifiers.parse("dns", zone)
    except Problem as error:
        raise ValueError(f"zone {zone!r}: {error.detail}") from error
    if name.wildcard or name.value != zone:
        raise ValueError(f"zone {zone!r}: expected a name in lower case without a wildcard, like {name.base}")
    return x509.DNSName(name.value)
