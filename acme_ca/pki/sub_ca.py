"""Certificates of sub-CAs: the key comes from a request, everything else from a rule and the issuer. RFC 5280 §4.2."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from cryptography import x509

from acme_ca.pki.ca import CA_KEY_USAGE, IPNetwork, access_to, constraints_to, key_identifier_of, name_below
from acme_ca.pki.issuer import Issuer
from acme_ca.pki.leaf import USAGES
from acme_ca.pki.profile import Usage
from acme_ca.public_keys import PublicKey


@dataclass(frozen=True, slots=True)
class SubCaRequest:
    """What is to be certified: all but the key comes from a rule. Times are aware, in whole seconds.

    `uris` is the trust domain's SPIFFE ID or nothing. `path_length` is how many CAs there may be below it.
    """

    common_name: str
    dns_names: tuple[str, ...]
    uris: tuple[str, ...]
    permitted_dns: tuple[str, ...]
    permitted_ips: tuple[IPNetwork, ...]
    path_length: int
    extended_key_usages: tuple[Usage, ...]
    public_key: PublicKey
    serial: int
    not_before: datetime
    not_after: datetime


def builder(issuer: Issuer, request: SubCaRequest, public_key: PublicKey) -> x509.CertificateBuilder:
    """Return the certificate but for its signature. It has no digitalSignature: no mesh asks a CA for it."""
    above = issuer.certificate
    built = (
        x509.CertificateBuilder()
        .serial_number(request.serial)
        .issuer_name(above.subject)
        .not_valid_before(request.not_before)
        .not_valid_after(request.not_after)
        .subject_name(name_below(above, request.common_name))
        .public_key(public_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=request.path_length), critical=True)
        .add_extension(CA_KEY_USAGE, critical=True)
        .add_extension(constraints_to(request.permitted_dns, request.permitted_ips), critical=True)
        .add_extension(x509.ExtendedKeyUsage([USAGES[one] for one in request.extended_key_usages]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(key_identifier_of(above), critical=False)
    )
    uris = [x509.UniformResourceIdentifier(uri) for uri in request.uris]
    names = [x509.DNSName(name) for name in request.dns_names]
    if uris or names:
        built = built.add_extension(x509.SubjectAlternativeName([*uris, *names]), critical=False)
    if issuer.issuer_url is not None:
        built = built.add_extension(access_to(issuer.issuer_url), critical=False)
    if issuer.crl_url is not None:
        point = x509.DistributionPoint([x509.UniformResourceIdentifier(issuer.crl_url)], None, None, None)
        built = built.add_extension(x509.CRLDistributionPoints([point]), critical=False)
    return built
