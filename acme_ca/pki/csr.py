"""Certificate signing requests: PKCS#10 (RFC 2986), read for a key and the names it asks for. RFC 8555 §7.4.

Nothing of a request reaches a certificate but its key: names are compared with the order, the rest is ignored.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID, ObjectIdentifier, SignatureAlgorithmOID

from acme_ca import identifiers, public_keys
from acme_ca.identifiers import Identifier
from acme_ca.pki.ca import CA_EXTENDED_KEY_USAGE, CA_KEY_USAGE, IPNetwork, constraints_to
from acme_ca.pki.signing import SigningKey, hash_for
from acme_ca.problems import BadCsr, BadPublicKey, Problem
from acme_ca.public_keys import PublicKey
from acme_ca.vocabulary import KeyType

SIZE_LIMIT = 32_768  # bytes of DER
NAMES_LIMIT = 1_000

SIGNATURE_ALGORITHMS: dict[ObjectIdentifier, str] = {
    SignatureAlgorithmOID.ECDSA_WITH_SHA256: "ecdsa-with-SHA256",
    SignatureAlgorithmOID.ECDSA_WITH_SHA384: "ecdsa-with-SHA384",
    SignatureAlgorithmOID.ECDSA_WITH_SHA512: "ecdsa-with-SHA512",
    SignatureAlgorithmOID.RSA_WITH_SHA256: "sha256WithRSAEncryption",
    SignatureAlgorithmOID.RSA_WITH_SHA384: "sha384WithRSAEncryption",
    SignatureAlgorithmOID.RSA_WITH_SHA512: "sha512WithRSAEncryption",
    SignatureAlgorithmOID.ED25519: "Ed25519",
    SignatureAlgorithmOID.ML_DSA_44: "ML-DSA-44",
    SignatureAlgorithmOID.ML_DSA_65: "ML-DSA-65",
    SignatureAlgorithmOID.ML_DSA_87: "ML-DSA-87",
}
EXTENSION_REQUESTS = (
    ObjectIdentifier("1.2.840.113549.1.9.14"),  # extensionRequest, RFC 2985 §5.4.2
    ObjectIdentifier("1.3.6.1.4.1.311.2.1.14"),  # Microsoft's older name for it
)
DETAIL_LIMIT = 200  # characters of what a client sent that are repeated to it

# What cryptography raises while it decodes parts of a request on demand.
DECODING_ERRORS = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)


@dataclass(frozen=True, slots=True)
class Csr:
    """What a request says that matters: a key of an accepted kind, and names; URIs are octet for octet as sent."""

    public_key: PublicKey
    key_type: KeyType
    identifiers: frozenset[Identifier]
    uris: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AuthorityCsr:
    """What the request of a CA says that matters: its key, and what it would be called; names with their type."""

    public_key: PublicKey
    key_type: KeyType
    common_names: tuple[str, ...]
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ProvedKey:
    """A key of an accepted kind whose holder signed the request; `subject` is what it calls itself (RFC 4514)."""

    csr: x509.CertificateSigningRequest
    public_key: PublicKey
    key_type: KeyType
    subject: str = ""


def parse(der: bytes) -> Csr:
    """Read a request in DER and verify its signature; raises BadCsr, whatever the bytes are."""
    with _as_bad_csr("DER"):
        request = _proved(der)
        names, uris = _names(request.csr)
    return Csr(request.public_key, request.key_type, names, uris)


def parse_authority(der: bytes) -> AuthorityCsr:
    """Read the request of a CA in DER and verify its signature; raises BadCsr.

    Whatever else it asks for is not looked at: everything but the key comes from elsewhere.
    """
    with _as_bad_csr("DER"):
        request = _proved(der)
        subject = request.csr.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        names = tuple(_authority_names(request.csr.extensions))
    return AuthorityCsr(request.public_key, request.key_type, tuple(str(name.value) for name in subject), names)


def proved_key(data: bytes) -> ProvedKey:
    """Return the key of a request in PEM or DER that its own signature proves, and its subject; raises BadCsr."""
    with _as_bad_csr("PEM or DER"):
        is_pem = data.lstrip().startswith(b"-----BEGIN")
        der = x509.load_pem_x509_csr(data).public_bytes(Encoding.DER) if is_pem else data
        found = _proved(der)
        return ProvedKey(found.csr, found.public_key, found.key_type, found.csr.subject.rfc4514_string())


def _authority_names(extensions: x509.Extensions) -> Iterator[str]:
    kinds = {x509.DNSName: "dns", x509.UniformResourceIdentifier: "uri"}
    for extension in extensions:
        if isinstance(extension.value, x509.SubjectAlternativeName):
            for name in extension.value:
                yield f"{kinds.get(type(name), type(name).__name__)}:{_shown(name.value)}"


@contextmanager
def _as_bad_csr(encoding: str) -> Iterator[None]:
    """Raise BadCsr for whatever reading a request raises."""
    try:
        yield
    except DECODING_ERRORS as error:
        raise BadCsr(f"the CSR is not a valid PKCS#10 request in {encoding}: {_shown(error)}") from error
    except KeyError as error:  # how cryptography meets numbers that no RFC assigns, in a TLS feature for one
        raise BadCsr(f"an extension of the CSR has a value that is not known: {_shown(error)}") from error


def make_for_authority(
    key: SigningKey, name: x509.Name, zones: tuple[str, ...], networks: tuple[IPNetwork, ...]
) -> x509.CertificateSigningRequest:
    """Return a request for an intermediate that says all that is asked for; whoever signs may take the key alone."""
    return (
        x509.CertificateSigningRequestBuilder()
        .subject_name(name)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(CA_KEY_USAGE, critical=True)
        .add_extension(constraints_to(zones, networks), critical=True)
        .add_extension(CA_EXTENDED_KEY_USAGE, critical=False)
        .sign(key, hash_for(key))
    )


def _proved(der: bytes) -> ProvedKey:
    if len(der) > SIZE_LIMIT:
        raise BadCsr(f"the CSR has {len(der)} bytes, at most {SIZE_LIMIT} are accepted")
    request = x509.load_der_x509_csr(der)
    public_key = request.public_key()
    try:
        key_type = public_keys.check(public_key)
    except BadPublicKey as error:
        raise BadCsr(f"the CSR's key: {error.detail}") from error
    _check_signature(request)
    return ProvedKey(request, public_key, key_type)  # type: ignore[arg-type]  # check() refuses other kinds of key


def check_names(csr: Csr, ordered: Iterable[Identifier], uris: Iterable[str] = ()) -> None:
    """Raise BadCsr unless the request names exactly the order's identifiers and no URI but `uris`. RFC 8555 §7.4."""
    expected = frozenset(ordered)
    differences = [
        *(f"{name} is in the order but not in the CSR" for name in sorted(expected - csr.identifiers)),
        *(f"{name} is in the CSR but not in the order" for name in sorted(csr.identifiers - expected)),
        *(f"uri:{_shown(uri)} is in the CSR but not allowed" for uri in sorted(set(csr.uris) - set(uris))),
    ]
    if differences:
        more = f" and {len(differences) - 10} more" if len(differences) > 10 else ""  # noqa: PLR2004 - enough to read
        raise BadCsr(f"the CSR must name exactly what the order does: {'; '.join(differences[:10])}{more}")


def _check_signature(request: x509.CertificateSigningRequest) -> None:
    if request.signature_algorithm_oid not in SIGNATURE_ALGORITHMS:
        raise BadCsr(
            f"the CSR is signed with algorithm {request.signature_algorithm_oid.dotted_string}, "
            f"expected one of {', '.join(SIGNATURE_ALGORITHMS.values())}"
        )
    if not request.is_signature_valid:
        raise BadCsr("the CSR's signature does not verify with the CSR's own key")


def _names(request: x509.CertificateSigningRequest) -> tuple[frozenset[Identifier], tuple[str, ...]]:
    """Return the identifiers of subject and subjectAltName, and the URIs of the latter."""
    if sum(attribute.oid in EXTENSION_REQUESTS for attribute in request.attributes) > 1:
        raise BadCsr("the CSR has more than one extensionRequest attribute, expected one with all extensions")
    found = {_common_name(str(name.value)) for name in request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)}
    uris: list[str] = []
    for name in _alternative_names(request.extensions):
        if isinstance(name, x509.UniformResourceIdentifier):
            uris.append(name.value)
        else:
            found.add(_identifier(name))
    return frozenset(found), tuple(uris)


def _alternative_names(extensions: x509.Extensions) -> Iterator[x509.GeneralName]:
    """Yield the names of the subjectAltName; a request to become a CA is refused, other extensions are ignored."""
    for extension in extensions:
        if isinstance(extension.value, x509.BasicConstraints) and extension.value.ca:
            raise BadCsr("the CSR asks for a CA certificate (basicConstraints CA:TRUE), only leafs are issued")
        if isinstance(extension.value, x509.SubjectAlternativeName):
            if len(extension.value) > NAMES_LIMIT:
                raise BadCsr(f"the CSR has {len(extension.value)} names, at most {NAMES_LIMIT} are accepted")
            yield from extension.value


def _identifier(name: x509.GeneralName) -> Identifier:
    if isinstance(name, x509.DNSName):
        return _parsed("dns", name.value)
    if isinstance(name, x509.IPAddress) and isinstance(name.value, IPv4Address | IPv6Address):
        return _parsed("ip", str(name.value))
    raise BadCsr(
        f"the CSR has a subjectAltName of type {type(name).__name__}, only dNSName, iPAddress and URI are read"
    )


def _common_name(text: str) -> Identifier:
    """Read a common name as an address if it is one, else as a dns name."""
    try:
        address = ip_address(text)
    except ValueError:
        return _parsed("dns", text)
    return _parsed("ip", str(address))


def _parsed(type_: str, value: str) -> Identifier:
    try:
        return identifiers.parse(type_, value)
    except Problem as error:
        raise BadCsr(f"a name in the CSR: {error.detail}") from error


def _shown(value: object) -> str:
    """Quote what came from outside: printable and bounded."""
    text = ascii(str(value))[1:-1]
    return text if len(text) <= DETAIL_LIMIT else text[:DETAIL_LIMIT] + "..."
