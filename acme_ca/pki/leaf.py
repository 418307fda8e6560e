"""Leaf certificates: everything but the key comes from the order, the profile and the issuer. RFC 5280 §4."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from acme_ca.identifiers import Identifier
from acme_ca.pki.ca import access_to, key_identifier_of, list_at
from acme_ca.pki.profile import Profile
from acme_ca.public_keys import PublicKey

USAGES = {"serverAuth": ExtendedKeyUsageOID.SERVER_AUTH, "clientAuth": ExtendedKeyUsageOID.CLIENT_AUTH}
LONGEST_COMMON_NAME = 64  # characters, RFC 5280 appendix A.1 (ub-common-name)

# RFC 9608 §2: there is no revocation information, and no need to look for it. The value is an ASN.1 NULL.
NO_REVOCATION = x509.UnrecognizedExtension(ObjectIdentifier("2.5.29.56"), b"\x05\x00")


@dataclass(frozen=True, slots=True)
class LeafRequest:
    """What is to be certified. `uris` is the workload's SPIFFE ID or nothing; times are aware, in whole seconds."""

    identifiers: tuple[Identifier, ...]
    uris: tuple[str, ...]
    public_key: PublicKey
    profile: Profile
    serial: int
    not_before: datetime
    not_after: datetime


def builder(
    request: LeafRequest,
    issuer: x509.Certificate,
    issuer_url: str | None,
    crl_url: str | None,
    ocsp_url: str | None = None,
) -> x509.CertificateBuilder:
    """Return the certificate but for its signature. The URLs are plain http (RFC 5280 §4.2.2.1, §4.2.1.13).

    Where there is no revocation, there is no OCSP responder to ask either (RFC 9608 §4).
    """
    subject = subject_of(request)
    built = (
        x509.CertificateBuilder()
        .serial_number(request.serial)
        .issuer_name(issuer.subject)
        .not_valid_before(request.not_before)
        .not_valid_after(request.not_after)
        .subject_name(subject)
        .public_key(request.public_key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(key_usage(request), critical=True)
        .add_extension(extended_key_usage(request), critical=False)
        .add_extension(key_identifier_of(issuer), critical=False)
        # §4.2.1.6: with an empty subject the names stand here alone, so that everybody has to read them.
        .add_extension(alternative_name(request), critical=not list(subject))
    )
    ocsp_url = None if request.profile.revocation == "none" else ocsp_url
    if issuer_url is not None or ocsp_url is not None:
        built = built.add_extension(access_to(issuer_url, ocsp_url), critical=False)
    if request.profile.revocation == "none":
        return built.add_extension(NO_REVOCATION, critical=False)
    if crl_url is None:
        raise ValueError("the profile needs a CRL, and the issuer publishes none")
    return built.add_extension(list_at(crl_url), critical=False)


def subject_of(request: LeafRequest) -> x509.Name:
    """Return the subject: empty, or, where the profile says so, the first DNS name that fits; never an address."""
    if request.profile.subject == "common-name":
        for name in request.identifiers:
            if name.type == "dns" and len(name.value) <= LONGEST_COMMON_NAME:
                return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name.value)])
    return x509.Name([])


def alternative_name(request: LeafRequest) -> x509.SubjectAlternativeName:
    """Return exactly the names of the request: URIs first, then identifiers in the order's order."""
    uris = (x509.UniformResourceIdentifier(uri) for uri in request.uris)
    names = (
        x509.DNSName(name.value) if name.type == "dns" else x509.IPAddress(ip_address(name.value))
        for name in request.identifiers
    )
    return x509.SubjectAlternativeName([*uris, *names])


def key_usage(request: LeafRequest) -> x509.KeyUsage:
    """Return digitalSignature; RSA keys of servers also encrypt, for clients without Diffie-Hellman. §4.2.1.3."""
    serves = "serverAuth" in request.profile.extended_key_usages
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=serves and isinstance(request.public_key, RSAPublicKey),
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def extended_key_usage(request: LeafRequest) -> x509.ExtendedKeyUsage:
    """Return the profile's usages. §4.2.1.12."""
    return x509.ExtendedKeyUsage([USAGES[usage] for usage in request.profile.extended_key_usages])
