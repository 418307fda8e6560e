"""Certificate signing requests: what is read, and that nothing but BadCsr comes of the rest."""

from __future__ import annotations

import hashlib
from ipaddress import ip_address, ip_network

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID, ObjectIdentifier
from hypothesis import example, given
from hypothesis import strategies as st

from acme_ca.identifiers import Identifier
from acme_ca.pki import csr as requests
from acme_ca.pki.csr import Csr
from acme_ca.pki.signing import MldsaPrivateKey, new_mldsa
from acme_ca.problems import BadCsr
from acme_ca.vocabulary import MLDSA_KEY_TYPES, KeyType

KEY = ec.generate_private_key(ec.SECP256R1())
RSA_KEY = rsa.generate_private_key(65_537, 2048)
SigningKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey

A = x509.DNSName("a.corp.example")
EVERYTHING: tuple[x509.ExtensionType, ...] = (
    x509.SubjectAlternativeName(
        [
            A,
            x509.DNSName("*.corp.example"),
            x509.IPAddress(ip_address("10.1.2.3")),
            x509.IPAddress(ip_address("fd00::1")),
            x509.UniformResourceIdentifier("spiffe://corp.example/ns/a"),
        ]
    ),
    x509.BasicConstraints(ca=False, path_length=None),
    x509.KeyUsage(*[True, False, True, False, False, False, False, False, False]),
    x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CODE_SIGNING]),
    x509.TLSFeature([x509.TLSFeatureType.status_request]),
    x509.NameConstraints([x509.DNSName("corp.example")], None),
)

# cryptography warns of names that X.520 has no room for, and reads them: so do we.
lengths_are_warned_about = pytest.mark.filterwarnings("ignore:Attribute's length:UserWarning")


def request(
    *names: x509.GeneralName,
    key: SigningKey = KEY,
    common_names: tuple[str, ...] = (),
    extensions: tuple[x509.ExtensionType, ...] = (),
) -> bytes:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name) for name in common_names])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    for extension in ((x509.SubjectAlternativeName(names),) if names else ()) + extensions:
        builder = builder.add_extension(extension, critical=False)
    if isinstance(key, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey | MldsaPrivateKey):
        return builder.sign(key, None).public_bytes(Encoding.DER)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def tlv(tag: int, *contents: bytes) -> bytes:
    """Return a DER element."""
    content = b"".join(contents)
    length = len(content)
    if length < 128:
        return bytes([tag, length]) + content
    octets = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(octets)]) + octets + content


def signed(info: bytes) -> bytes:
    """Return a request around a CertificationRequestInfo, whatever that is, with a good signature by KEY."""
    algorithm = tlv(0x30, bytes.fromhex("06082a8648ce3d040302"))
    signature = KEY.sign(hashlib.sha256(info).digest(), ec.ECDSA(Prehashed(hashes.SHA256())))
    return tlv(0x30, info, algorithm, tlv(0x03, b"\0", signature))


def info_of(der: bytes) -> bytes:
    return x509.load_der_x509_csr(der).tbs_certrequest_bytes


def attributes(*elements: bytes) -> bytes:
    """Return a request with an empty subject and attributes that the builder would not make."""
    spki = KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return signed(tlv(0x30, b"\x02\x01\x00", tlv(0x30), spki, tlv(0xA0, *elements)))


def extension_request(*extensions: bytes) -> bytes:
    return tlv(0x30, bytes.fromhex("06092a864886f70d01090e"), tlv(0x31, tlv(0x30, *extensions)))


SAN_EXTENSION = tlv(0x30, bytes.fromhex("0603551d11"), tlv(0x04, tlv(0x30, tlv(0x82, b"a.corp.example"))))


def dns(*values: str) -> frozenset[Identifier]:
    return frozenset(Identifier("dns", value) for value in values)


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        (KEY, "ec-p256"),
        (ec.generate_private_key(ec.SECP384R1()), "ec-p384"),
        (ec.generate_private_key(ec.SECP521R1()), "ec-p521"),
        (RSA_KEY, "rsa-2048"),
        (ed25519.Ed25519PrivateKey.generate(), "ed25519"),
        *((new_mldsa(kind), kind) for kind in MLDSA_KEY_TYPES),
    ],
)
def test_the_key_is_read(key: SigningKey, kind: KeyType) -> None:
    csr = requests.parse(request(A, key=key))
    assert csr.key_type == kind
    assert csr.public_key == key.public_key()


def test_every_kind_of_name_is_read_and_other_extensions_are_ignored() -> None:
    csr = requests.parse(request(common_names=("b.corp.example",), extensions=EVERYTHING))
    assert csr.identifiers == dns("a.corp.example", "b.corp.example", "*.corp.example") | {
        Identifier("ip", "10.1.2.3"),
        Identifier("ip", "fd00::1"),
    }
    assert csr.uris == ("spiffe://corp.example/ns/a",)


@pytest.mark.parametrize(
    ("common_names", "names", "expected"),
    [
        (("a.corp.example",), (), dns("a.corp.example")),
        (("A.Corp.Example",), (A,), dns("a.corp.example")),
        (("10.1.2.3",), (), frozenset({Identifier("ip", "10.1.2.3")})),
        (("fd00:0::1",), (), frozenset({Identifier("ip", "fd00::1")})),
        (("b.corp.example", "c.corp.example"), (A,), dns("a.corp.example", "b.corp.example", "c.corp.example")),
        ((), (A, A, x509.DNSName("A.CORP.EXAMPLE")), dns("a.corp.example")),
        ((), (), frozenset()),
    ],
)
def test_common_names_count_as_names(
    common_names: tuple[str, ...], names: tuple[x509.GeneralName, ...], expected: frozenset[Identifier]
) -> None:
    assert requests.parse(request(*names, common_names=common_names)).identifiers == expected


@pytest.mark.parametrize(
    ("der", "message"),
    [
        (b"", "not a valid PKCS#10"),
        (b"0" * 32_769, "at most 32768"),
        (request(A) + b"\0", "not a valid PKCS#10"),
        (request(A, key=ec.generate_private_key(ec.SECP256K1())), "the CSR's key: .*secp256k1"),
        (request(A, key=rsa.generate_private_key(65_537, 1024)), "the CSR's key: .*1024"),
        (request(A, key=ed448.Ed448PrivateKey.generate()), "the CSR's key: .*Ed448"),
        (request(common_names=("My Server",)), "a name in the CSR"),
        (request(x509.DNSName("")), "a name in the CSR"),
        (request(x509.DNSName("a_b.corp.example")), "a name in the CSR"),
        (request(x509.DNSName("10.1.2.3")), "a name in the CSR"),
        (request(x509.IPAddress(ip_address("::ffff:10.1.2.3"))), "a name in the CSR"),
        (request(x509.IPAddress(ip_network("10.0.0.0/8"))), "type IPAddress"),
        (request(A, x509.RFC822Name("root@corp.example")), "type RFC822Name"),
        (request(A, x509.DirectoryName(x509.Name([]))), "type DirectoryName"),
        (request(A, x509.RegisteredID(ObjectIdentifier("1.2.3"))), "type RegisteredID"),
        (request(A, x509.OtherName(ObjectIdentifier("1.3.6.1.4.1.311.20.2.3"), b"\x0c\x01a")), "type OtherName"),
        (request(A, extensions=(x509.BasicConstraints(ca=True, path_length=0),)), "CA:TRUE"),
        (request(*[x509.DNSName(f"a{n}.example") for n in range(1001)]), "1001 names"),
        (
            request(A, extensions=(x509.UnrecognizedExtension(ExtensionOID.TLS_FEATURE, tlv(0x30, b"\2\1\1")),)),
            "known: 1",
        ),
        (attributes(extension_request(SAN_EXTENSION), extension_request(SAN_EXTENSION)), "more than one extensionReq"),
        (attributes(extension_request(SAN_EXTENSION, SAN_EXTENSION)), "not a valid PKCS#10"),
        (attributes(extension_request(tlv(0x30, bytes.fromhex("0603551d11"), tlv(0x04)))), "not a valid PKCS#10"),
        (
            attributes(extension_request(tlv(0x30, bytes.fromhex("0603551d11"), tlv(0x04, tlv(0x30, tlv(0xA3)))))),
            "not a valid PKCS#10",
        ),
    ],
)
def test_what_cannot_be_accepted_is_refused_with_its_reason(der: bytes, message: str) -> None:
    with pytest.raises(BadCsr, match=message):
        requests.parse(der)


def test_the_hand_made_requests_are_otherwise_good() -> None:
    assert requests.parse(attributes(extension_request(SAN_EXTENSION))).identifiers == dns("a.corp.example")
    assert requests.parse(attributes(extension_request())).identifiers == frozenset()
    assert requests.parse(attributes()).identifiers == frozenset()


def test_a_sha1_signature_is_refused() -> None:
    info = info_of(request(A, key=RSA_KEY))
    signature = RSA_KEY.sign(info, padding.PKCS1v15(), hashes.SHA1())
    der = tlv(0x30, info, tlv(0x30, bytes.fromhex("06092a864886f70d010105"), b"\x05\0"), tlv(0x03, b"\0", signature))
    with pytest.raises(BadCsr, match=r"algorithm 1\.2\.840\.113549\.1\.1\.5, expected one of ecdsa-with-SHA256"):
        requests.parse(der)


def test_a_request_for_somebody_elses_key_is_refused() -> None:
    """The signature has to be by the key in the request: possession is what it proves."""
    stolen = info_of(request(A, key=ec.generate_private_key(ec.SECP256R1())))
    with pytest.raises(BadCsr, match="does not verify"):
        requests.parse(signed(stolen))


def test_a_request_of_the_largest_size_is_read() -> None:
    padding_extension = x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), b"x" * 32_000)
    assert requests.parse(request(A, extensions=(padding_extension,))).identifiers == dns("a.corp.example")


@lengths_are_warned_about
def test_a_common_name_longer_than_x520_allows_is_read() -> None:
    name = ".".join(["a" * 60] * 3) + ".example"
    subject = tlv(0x30, tlv(0x31, tlv(0x30, bytes.fromhex("0603550403"), tlv(0x0C, name.encode()))))
    spki = KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert requests.parse(signed(tlv(0x30, b"\x02\x01\x00", subject, spki, tlv(0xA0)))).identifiers == dns(name)


def csr(*names: str, uris: tuple[str, ...] = ()) -> Csr:
    return Csr(KEY.public_key(), "ec-p256", dns(*names), uris)


def test_equal_names_pass_in_any_order() -> None:
    requests.check_names(
        csr("a.example", "b.example"), (Identifier("dns", "b.example"), Identifier("dns", "a.example"))
    )


@pytest.mark.parametrize(
    ("asked", "ordered", "message"),
    [
        (("a.example",), ("a.example", "b.example"), "dns:b.example is in the order but not in the CSR"),
        (("a.example", "b.example"), ("a.example",), "dns:b.example is in the CSR but not in the order"),
        (("*.example",), ("example",), r"dns:example is in the order .*; dns:\*\.example is in the CSR"),
        ((), ("a.example",), "dns:a.example is in the order"),
        (tuple(f"a{n}.example" for n in range(30)), ("a0.example",), "and 19 more$"),
    ],
)
def test_other_names_are_refused_by_name(asked: tuple[str, ...], ordered: tuple[str, ...], message: str) -> None:
    with pytest.raises(BadCsr, match=message):
        requests.check_names(csr(*asked), dns(*ordered))


def test_an_address_is_not_the_name_that_looks_like_it() -> None:
    address = Csr(KEY.public_key(), "ec-p256", frozenset({Identifier("ip", "10.1.2.3")}), ())
    with pytest.raises(BadCsr, match="ip:10"):
        requests.check_names(address, (Identifier("dns", "10.1.2.3"),))


def test_a_uri_has_to_be_allowed_to_the_octet() -> None:
    names, uri = dns("a.example"), "spiffe://corp.example/a"
    requests.check_names(csr("a.example", uris=(uri,)), names, (uri,))
    requests.check_names(csr("a.example"), names, (uri,))
    for other in (uri + "/", uri.upper(), uri + "\n"):
        with pytest.raises(BadCsr, match="not allowed"):
            requests.check_names(csr("a.example", uris=(other,)), names, (uri,))
    with pytest.raises(BadCsr, match="not allowed"):
        requests.check_names(csr("a.example", uris=(uri,)), names)


# --- whatever the bytes are ---

WHOLE = request(common_names=("b.corp.example",), extensions=EVERYTHING)
INFO = info_of(WHOLE)


@st.composite
def mutations(draw: st.DrawFn, original: bytes) -> bytes:
    """Return `original` with some octets replaced, dropped, doubled or put in."""
    mutated = bytearray(original)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(mutated)))
        end = min(len(mutated), start + draw(st.integers(0, 8)))
        mutated[start:end] = draw(st.one_of(st.binary(max_size=6), st.just(bytes(mutated[start:end]) * 2)))
    return bytes(mutated)


def read(der: bytes) -> None:
    """Parse what may be a request: it is one, or BadCsr says that it is not."""
    detail = ""
    try:
        found = requests.parse(der)
    except BadCsr as refusal:
        detail = refusal.detail
    else:
        assert all(isinstance(name, Identifier) for name in found.identifiers)
    assert detail.isprintable()
    assert len(detail) < 600


@given(st.binary(max_size=200))
def test_noise_is_refused(noise: bytes) -> None:
    read(noise)


@lengths_are_warned_about
@given(mutations(WHOLE))
def test_a_damaged_request_is_refused(der: bytes) -> None:
    read(der)


@lengths_are_warned_about
@given(mutations(INFO))
@example(INFO.replace(b"\x02\x01\x00", b"\x02\x01\x01", 1))  # another version
def test_a_damaged_request_that_is_well_signed_is_refused_or_read(info: bytes) -> None:
    read(signed(info))


@given(
    st.sampled_from(
        [
            ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
            ExtensionOID.BASIC_CONSTRAINTS,
            ExtensionOID.KEY_USAGE,
            ExtensionOID.EXTENDED_KEY_USAGE,
            ExtensionOID.NAME_CONSTRAINTS,
            ExtensionOID.CERTIFICATE_POLICIES,
            ExtensionOID.TLS_FEATURE,
            ObjectIdentifier("2.5.29.56"),
        ]
    ),
    st.one_of(st.binary(max_size=40), st.binary(max_size=20).map(lambda value: tlv(0x30, tlv(0x82, value)))),
)
@example(ExtensionOID.TLS_FEATURE, tlv(0x30, b"\x02\x01\x01"))
@example(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, tlv(0x30))
@example(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, tlv(0x30, tlv(0x87)))
@example(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, tlv(0x30, tlv(0x87, b"12345678")))
@example(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, tlv(0x30, tlv(0x86, b"\xff\n")))
@example(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, tlv(0x30, tlv(0xA0)))
@example(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, tlv(0x30, tlv(0xA5, b"\x05\0")))
def test_any_content_of_an_extension_is_refused_or_read(oid: ObjectIdentifier, content: bytes) -> None:
    read(request(extensions=(x509.UnrecognizedExtension(oid, content),)))


@lengths_are_warned_about
@given(st.sampled_from([0x0C, 0x13, 0x14, 0x16, 0x1C, 0x1E, 0x02, 0x03, 0x04, 0x05, 0x30]), st.binary(max_size=30))
@example(0x0C, b"")
@example(0x1E, b"\xd8\x00")
@example(0x03, b"")
def test_any_content_of_a_common_name_is_refused_or_read(tag: int, content: bytes) -> None:
    spki = KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    subject = tlv(0x30, tlv(0x31, tlv(0x30, bytes.fromhex("0603550403"), tlv(tag, content))))
    read(signed(tlv(0x30, b"\x02\x01\x00", subject, spki, tlv(0xA0))))
