"""OCSP requests and responses, beside what cryptography reads and writes of them."""

from __future__ import annotations

from contextlib import nullcontext, suppress
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp as pyca
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID
from hypothesis import example, given
from hypothesis import strategies as st

from acme_ca.pki import der, ocsp
from acme_ca.pki.der import DerError, Reader
from acme_ca.pki.ocsp import Responder, Single
from tests.pki.conftest import NOW, Authority

HASHES: list[hashes.HashAlgorithm] = [hashes.SHA1(), hashes.SHA256(), hashes.SHA384(), hashes.SHA512()]
SERIALS = st.integers(1, 2**159 - 1)


@pytest.fixture(scope="module")
def responder(ca: Authority) -> Responder:
    key = ec.generate_private_key(ec.SECP256R1())
    return ocsp.make_responder(key, "OCSP responder of i", ca.certificate, ca.key, NOW, timedelta(days=2))


def asked(ca: Authority, serial: int, algorithm: hashes.HashAlgorithm = HASHES[0], nonce: bytes | None = None) -> bytes:
    name_hash, key_hash = ocsp.issuer_hashes(ca.certificate, algorithm.name)
    builder = pyca.OCSPRequestBuilder().add_certificate_by_hash(name_hash, key_hash, serial, algorithm)
    if nonce is not None:
        builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
    return builder.build().public_bytes(Encoding.DER)


def request_of(*ids: bytes, extensions: bytes = b"") -> bytes:
    """A request by hand, for what no builder makes."""
    requests = der.encode(der.SEQUENCE, *(der.encode(der.SEQUENCE, one) for one in ids))
    return der.encode(der.SEQUENCE, der.encode(der.SEQUENCE, requests, extensions))


def nonces(*values: bytes, critical: bytes = b"") -> bytes:
    inner = (
        der.encode(
            der.SEQUENCE, ocsp.NONCE, critical, der.encode(der.OCTET_STRING, der.encode(der.OCTET_STRING, value))
        )
        for value in values
    )
    return der.encode(der.context(2), der.encode(der.SEQUENCE, *inner))


@given(serial=SERIALS, algorithm=st.sampled_from(HASHES), nonce=st.none() | st.binary(min_size=1, max_size=128))
def test_requests_are_read_as_others_write_them(
    ca: Authority, serial: int, algorithm: hashes.HashAlgorithm, nonce: bytes | None
) -> None:
    found = ocsp.parse(asked(ca, serial, algorithm, nonce))
    (one,) = found.ids
    assert (one.serial, one.hash_name, found.nonce) == (serial, algorithm.name, nonce)
    assert ocsp.is_of(one, ca.certificate)
    assert not ocsp.is_of(one, ca.root)
    assert one.der == ocsp.cert_id(ca.certificate, serial, algorithm.name).der


@given(
    serial=SERIALS,
    status=st.sampled_from(["good", "revoked", "unknown"]),
    reason=st.sampled_from([0, 1, 3, 4, 5, 9]),
    nonce=st.none() | st.binary(min_size=1, max_size=128),
)
def test_responses_are_read_by_others_as_they_are_meant(
    ca: Authority, responder: Responder, serial: int, status: str, reason: int, nonce: bytes | None
) -> None:
    revoked_at, code = (NOW - timedelta(hours=1), reason) if status == "revoked" else (None, None)
    one = Single(ocsp.cert_id(ca.certificate, serial), status, NOW, NOW + timedelta(hours=8), revoked_at, code)
    found = pyca.load_der_ocsp_response(ocsp.respond([one], responder, NOW, nonce))
    assert found.response_status == pyca.OCSPResponseStatus.SUCCESSFUL
    assert found.certificate_status.name == status.upper()
    assert found.serial_number == serial
    assert (found.this_update_utc, found.next_update_utc, found.produced_at_utc) == (NOW, NOW + timedelta(hours=8), NOW)
    assert found.revocation_time_utc == revoked_at
    expected = {1: "key_compromise", 3: "affiliation_changed", 4: "superseded", 5: "cessation_of_operation"}
    name = found.revocation_reason.name if found.revocation_reason else None
    assert name == ({**expected, 9: "privilege_withdrawn"}.get(reason) if status == "revoked" else None)
    extensions = [one.value.nonce for one in found.extensions if isinstance(one.value, x509.OCSPNonce)]
    assert extensions == ([nonce] if nonce is not None else [])
    assert found.certificates == [responder.certificate]
    key_id = responder.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    assert found.responder_key_hash == key_id
    public_key = responder.key.public_key()
    assert isinstance(public_key, ec.EllipticCurvePublicKey)
    public_key.verify(found.signature, found.tbs_response_bytes, ec.ECDSA(hashes.SHA256()))


def test_every_certificate_of_a_request_is_answered_in_its_place(ca: Authority, responder: Responder) -> None:
    ids = [ocsp.cert_id(ca.certificate, serial, name).der for serial, name in ((5, "sha1"), (6, "sha256"), (5, "sha1"))]
    found = ocsp.parse(request_of(*ids))
    assert [one.serial for one in found.ids] == [5, 6, 5]
    singles = [Single(one, "good", NOW, NOW + timedelta(hours=1)) for one in found.ids]
    answer = pyca.load_der_ocsp_response(ocsp.respond(singles, responder, NOW, None))
    assert [one.serial_number for one in answer.responses] == [5, 6, 5]
    assert [one.hash_algorithm.name for one in answer.responses] == ["sha1", "sha256", "sha1"]


def test_a_responder_can_sign_responses_and_nothing_else(ca: Authority, responder: Responder) -> None:
    extensions = responder.certificate.extensions
    assert {(one.oid, one.critical) for one in extensions} == {
        (ExtensionOID.BASIC_CONSTRAINTS, True),
        (ExtensionOID.KEY_USAGE, True),
        (ExtensionOID.EXTENDED_KEY_USAGE, False),
        (ExtensionOID.OCSP_NO_CHECK, False),
        (ExtensionOID.SUBJECT_KEY_IDENTIFIER, False),
        (ExtensionOID.AUTHORITY_KEY_IDENTIFIER, False),
    }
    usages = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usages) == [ExtendedKeyUsageOID.OCSP_SIGNING]
    assert responder.ends_at == NOW + timedelta(days=2)
    late = ca.certificate.not_valid_after_utc - timedelta(hours=1)
    last = ocsp.make_responder(responder.key, "last", ca.certificate, ca.key, late, timedelta(days=2))
    assert last.ends_at == ca.certificate.not_valid_after_utc


SHA1 = "06052b0e03021a"
ID = der.encode(
    der.SEQUENCE,
    der.encode(der.SEQUENCE, bytes.fromhex(SHA1)),
    der.encode(der.OCTET_STRING, b"n" * 20),
    der.encode(der.OCTET_STRING, b"k" * 20),
    der.encode(der.INTEGER, b"\x05"),
)


def id_of(parameters: bytes = b"", name_hash: bytes = b"n" * 20, serial: bytes = b"\x05", oid: str = SHA1) -> bytes:
    """What names a certificate, with something in it that no client sends."""
    return der.encode(
        der.SEQUENCE,
        der.encode(der.SEQUENCE, bytes.fromhex(oid), parameters),
        der.encode(der.OCTET_STRING, name_hash),
        der.encode(der.OCTET_STRING, b"k" * 20),
        der.encode(der.INTEGER, serial),
    )


def test_a_hash_that_is_not_known_is_read() -> None:
    assert ocsp.parse(request_of(id_of(oid="06022a03", name_hash=b"n" * 64))).ids[0].hash_name is None


@pytest.mark.parametrize(
    "one",
    [
        id_of(b"\x05\x01\x00"),
        id_of(b"\x05\x00\x05\x00"),
        id_of(b"\x04\x00"),
        id_of(der.encode(der.OCTET_STRING, b"x" * 7000)),
        id_of(name_hash=b"n" * 19),
        id_of(name_hash=b"n" * 21),
        id_of(name_hash=b"n" * 65, oid="06022a03"),
        id_of(serial=b"\xff"),
        id_of(serial=b"\x01" * 21),
        id_of(serial=b"\x00" + b"\xff" * 20),
    ],
)
def test_what_names_a_certificate_has_no_room_for_anything_else(one: bytes) -> None:
    with pytest.raises(DerError):
        ocsp.parse(request_of(one))


def test_a_request_is_read_no_further_than_its_limits() -> None:
    assert len(ocsp.parse(request_of(*[ID] * 32)).ids) == 32
    with pytest.raises(DerError, match="more than 32"):
        ocsp.parse(request_of(*[ID] * 32, b"garbage"))
    other = nonces(b"x").replace(ocsp.NONCE, ocsp.BASIC)
    inner = Reader(Reader(other).take(der.context(2))).take(der.SEQUENCE)
    for count, error in ((16, None), (17, "extensions")):
        asked = request_of(ID, extensions=der.encode(der.context(2), der.encode(der.SEQUENCE, inner * count)))
        with pytest.raises(DerError, match=error) if error else nullcontext():
            ocsp.parse(asked)
    with pytest.raises(DerError, match="8192"):
        ocsp.parse(b"\x30" * 8193)


def test_a_hash_without_parameters_is_the_same_hash() -> None:
    assert ocsp.parse(request_of(ID)).ids[0].hash_name == "sha1"


@pytest.mark.parametrize(
    "request_der",
    [
        b"",
        b"\x30\x00",
        b"\x30\x80\x00\x00",
        request_of(),
        request_of(*[ID] * 33),
        request_of(ID) + b"\x00",
        request_of(ID)[:-1],
        request_of(ID + b"\x05\x00"),
        request_of(ID, extensions=nonces(b"")),
        request_of(ID, extensions=nonces(b"x" * 129)),
        request_of(ID, extensions=nonces(b"x", b"y")),
        request_of(ID, extensions=nonces(b"x").replace(ocsp.NONCE, b"\x06\x01\x2a").replace(b"\x04", b"\x05", 1)),
        request_of(ID.replace(b"\x02\x01\x05", b"\x02\x00")),
        b"\x30\x84\xff\xff\xff\xff",
        b"\x30\x85\x00\x00\x00\x00\x01\x00",
    ],
)
def test_a_malformed_request_is_refused(request_der: bytes) -> None:
    with pytest.raises(DerError):
        ocsp.parse(request_der)


def test_a_critical_extension_that_is_not_known_is_refused() -> None:
    unknown = nonces(b"x", critical=der.encode(der.BOOLEAN, b"\xff")).replace(ocsp.NONCE, ocsp.BASIC)
    with pytest.raises(DerError, match="critical"):
        ocsp.parse(request_of(ID, extensions=unknown))
    harmless = nonces(b"x").replace(ocsp.NONCE, ocsp.BASIC)
    assert ocsp.parse(request_of(ID, extensions=harmless)).nonce is None


@given(st.binary(max_size=200), st.data())
@example(request_of(ID), None)
def test_bytes_of_any_kind_are_read_or_refused(noise: bytes, data: st.DataObject | None) -> None:
    base = request_of(ID, extensions=nonces(b"nonce"))
    at = 0 if data is None else data.draw(st.integers(0, len(base)))
    for candidate in (noise, base[:at] + noise, base[:at] + noise + base[at:], base[:at] + noise + base[at + 1 :]):
        with suppress(DerError):
            assert ocsp.parse(candidate).ids


@given(st.binary(max_size=70_000).map(lambda content: content * 3), st.integers(0, 255))
def test_values_are_read_as_they_are_written(content: bytes, tag: int) -> None:
    reader = Reader(der.encode(tag, content) + b"\x05\x00")
    assert reader.take(tag) == content
    with pytest.raises(DerError):
        reader.end()


@given(st.integers(-(2**200), 2**200))
def test_numbers_are_read_in_their_shortest_form_only(number: int) -> None:
    content = number.to_bytes(number.bit_length() // 8 + 1, signed=True)
    if not (len(content) > 1 and content[0] == 0xFF and content[1] >= 0x80):  # -2**(8n-1) needs a byte less
        assert der.integer(content) == number
    with pytest.raises(DerError):
        der.integer((b"\xff" if number < 0 else b"\x00") + content)
