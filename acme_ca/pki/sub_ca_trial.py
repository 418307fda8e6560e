"""A sub-CA tried out before it is signed: leafs below a twin of it verify inside its constraints, and only there.

The twin has the same content with a key of this process, so that an independent verifier reads what was encoded.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import verification

from acme_ca.pki.ca import key_identifier_of
from acme_ca.pki.leaf import USAGES
from acme_ca.pki.lint import LintError
from acme_ca.pki.signing import SigningKey, hash_for, new_serial
from acme_ca.pki.sub_ca import SubCaRequest

OUTSIDE = ("probe.invalid", "203.0.113.1", "2001:db8:ffff::1")  # RFC 2606, RFC 5737, RFC 3849


def try_out(twin: x509.Certificate, key: SigningKey, request: SubCaRequest) -> None:
    """Raise LintError when a leaf that should verify does not, or one that should not does."""
    for name, is_inside in _probes(request):
        if _verifies(_leaf(twin, key, name, request), twin, request) != is_inside:
            does = "does not verify" if is_inside else "verifies"
            raise LintError(f"a leaf for {name.value} {does} below the sub-CA, against what the rule says")


def _probes(request: SubCaRequest) -> Iterator[tuple[x509.GeneralName, bool]]:
    """Yield names, and whether the sub-CA may certify them."""
    for zone in request.permitted_dns:
        yield x509.DNSName(zone), True
    for network in request.permitted_ips:
        yield x509.IPAddress(network[0]), True
    outside, *addresses = OUTSIDE
    yield x509.DNSName(outside), any(f".{outside}".endswith(f".{zone}") for zone in request.permitted_dns)
    for address in map(ip_address, addresses):
        yield x509.IPAddress(address), any(address in network for network in request.permitted_ips)


def _leaf(twin: x509.Certificate, key: SigningKey, name: x509.GeneralName, request: SubCaRequest) -> x509.Certificate:
    return (
        x509.CertificateBuilder()
        .serial_number(new_serial())
        .issuer_name(twin.subject)
        .subject_name(x509.Name([]))
        .not_valid_before(request.not_before)
        .not_valid_after(request.not_after)
        .public_key(ec.generate_private_key(ec.SECP256R1()).public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([name]), critical=True)
        .add_extension(x509.ExtendedKeyUsage([USAGES[one] for one in request.extended_key_usages]), critical=False)
        .add_extension(key_identifier_of(twin), critical=False)
        .sign(key, hash_for(key))
    )


def _verifies(leaf: x509.Certificate, twin: x509.Certificate, request: SubCaRequest) -> bool:
    """Whether a leaf verifies with the twin as its anchor, whose constraints count."""
    at = request.not_before + timedelta(seconds=1)
    policy = verification.PolicyBuilder().time(at).store(verification.Store([twin]))
    (name,) = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    try:
        if "clientAuth" in request.extended_key_usages:
            policy.build_client_verifier().verify(leaf, [])
        else:
            policy.build_server_verifier(name).verify(leaf, [])
    except verification.VerificationError:
        return False
    return True
