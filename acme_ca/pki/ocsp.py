"""OCSP requests and responses. RFC 6960 §4, RFC 9654 (nonce), RFC 5019 (what caches need).

cryptography reads a request for one certificate, and writes a response about one. RFC 6960 §4.1.1 lets clients ask for
several, and each has to be answered (§4.2.2.3): both are therefore read and written here, with no more DER than that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import new as new_hash
from typing import TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from acme_ca.pki import der
from acme_ca.pki.ca import key_identifier_of
from acme_ca.pki.der import DerError, Reader
from acme_ca.pki.signing import MldsaPrivateKey, SigningKey, new_mldsa, new_serial, sign
from acme_ca.public_keys import mldsa_kind
from acme_ca.vocabulary import MldsaKeyType, SignatureName

SUCCESSFUL, MALFORMED_REQUEST, INTERNAL_ERROR, TRY_LATER, UNAUTHORIZED = 0, 1, 2, 3, 6  # OCSPResponseStatus, §4.2.1
MOST_CERTIFICATES = 32  # in one request; each is a look into the ledger
MOST_EXTENSIONS = 16  # of a request or a certificate in it
LONGEST_REQUEST = 8192  # octets: 32 certificates by SHA-512 are below
LONGEST_HASH = 64  # octets, of one that is not known here
LONGEST_SERIAL = 20  # octets, RFC 5280 §4.1.2.2
LONGEST_NONCE = 128  # octets, RFC 9654 §2.1
NONCE = bytes.fromhex("06092b0601050507300102")  # id-pkix-ocsp-nonce
BASIC = bytes.fromhex("06092b0601050507300101")  # id-pkix-ocsp-basic
ECDSA_WITH_SHA256 = bytes.fromhex("300a06082a8648ce3d040302")
MLDSA: dict[MldsaKeyType, bytes] = {  # without parameters, RFC 9881 §3
    "ml-dsa-44": bytes.fromhex("300b0609608648016503040311"),
    "ml-dsa-65": bytes.fromhex("300b0609608648016503040312"),
    "ml-dsa-87": bytes.fromhex("300b0609608648016503040313"),
}
ResponderKey: TypeAlias = ec.EllipticCurvePrivateKey | MldsaPrivateKey
HASHES = {
    bytes.fromhex("06052b0e03021a"): "sha1",
    bytes.fromhex("0609608648016503040201"): "sha256",
    bytes.fromhex("0609608648016503040202"): "sha384",
    bytes.fromhex("0609608648016503040203"): "sha512",
}
BACKDATE = timedelta(minutes=5)  # of a responder's certificate, for clients whose clock is behind


@dataclass(frozen=True, slots=True)
class CertId:
    """The certificate that is asked about. `der` is what the response repeats. §4.1.1."""

    der: bytes
    hash_name: str | None  # None: one that is not known here
    name_hash: bytes
    key_hash: bytes
    serial: int


@dataclass(frozen=True, slots=True)
class OcspRequest:
    """What a client asks. `nonce` is the value of the extension, without its OCTET STRING."""

    ids: tuple[CertId, ...]
    nonce: bytes | None


@dataclass(frozen=True, slots=True)
class Single:
    """The answer about one certificate: `good`, `revoked` (then with time and reason) or `unknown`. §4.2.1."""

    id: CertId
    status: str
    this_update: datetime
    next_update: datetime
    revoked_at: datetime | None = None
    reason: int | None = None


@dataclass(frozen=True)
class Responder:
    """The delegated signer of an issuer's responses. §4.2.2.2."""

    certificate: x509.Certificate
    key: ResponderKey = field(repr=False)

    @property
    def ends_at(self) -> datetime:
        """When its certificate ends, and with it what it signed."""
        return self.certificate.not_valid_after_utc


def parse(request_der: bytes) -> OcspRequest:
    """Return what a request asks; raises DerError for a malformed one. Its signature, if any, is not looked at."""
    if len(request_der) > LONGEST_REQUEST:
        raise DerError(f"the request has {len(request_der)} octets, expected at most {LONGEST_REQUEST}")
    whole = Reader(request_der)
    request = Reader(whole.take(der.SEQUENCE))
    whole.end()
    body = Reader(request.take(der.SEQUENCE))
    request.maybe(der.context(0))
    request.end()
    if (version := body.maybe(der.context(0))) is not None and version != b"\x02\x01\x00":
        raise DerError("the version is not 1")
    body.maybe(der.context(1))  # requestorName
    ids = tuple(_cert_ids(Reader(body.take(der.SEQUENCE))))
    extensions = body.maybe(der.context(2))
    body.end()
    if not ids:
        raise DerError("the request is about no certificate")
    return OcspRequest(ids, None if extensions is None else _nonce(extensions))


def is_of(cert_id: CertId, issuer: x509.Certificate) -> bool:
    """Whether a certificate that is asked about names this issuer: by the hashes of its name and key. §4.1.1."""
    if cert_id.hash_name is None:
        return False
    return (cert_id.name_hash, cert_id.key_hash) == issuer_hashes(issuer, cert_id.hash_name)


def issuer_hashes(issuer: x509.Certificate, hash_name: str) -> tuple[bytes, bytes]:
    """Return the hashes of an issuer's name in DER and of its key's bits. §4.1.1."""
    name, key = issuer.subject.public_bytes(), _key_bits(issuer)
    return new_hash(hash_name, name, usedforsecurity=False).digest(), new_hash(
        hash_name, key, usedforsecurity=False
    ).digest()


def cert_id(issuer: x509.Certificate, serial: int, hash_name: str = "sha1") -> CertId:
    """Return what clients name a certificate by: SHA-1 as nearly all do, which RFC 5019 §2.1.1 asks for."""
    name_hash, key_hash = issuer_hashes(issuer, hash_name)
    oid = next(oid for oid, name in HASHES.items() if name == hash_name)
    encoded = der.encode(
        der.SEQUENCE,
        der.encode(der.SEQUENCE, oid, der.encode(der.NULL)),
        der.encode(der.OCTET_STRING, name_hash),
        der.encode(der.OCTET_STRING, key_hash),
        der.encode(der.INTEGER, serial.to_bytes(serial.bit_length() // 8 + 1, signed=True)),
    )
    return CertId(encoded, hash_name, name_hash, key_hash, serial)


def respond(singles: Sequence[Single], responder: Responder, produced_at: datetime, nonce: bytes | None) -> bytes:
    """Return a successful response in DER: an answer for each certificate, signed by the responder."""
    parts = [
        der.encode(der.context(2), der.encode(der.OCTET_STRING, _key_hash(responder.certificate))),  # byKey
        der.time(produced_at),
        der.encode(der.SEQUENCE, *(_single(one) for one in singles)),
    ]
    if nonce is not None:
        value = der.encode(der.OCTET_STRING, der.encode(der.OCTET_STRING, nonce))
        parts.append(der.encode(der.context(1), der.encode(der.SEQUENCE, der.encode(der.SEQUENCE, NONCE, value))))
    data = der.encode(der.SEQUENCE, *parts)
    algorithm, signature = _signed(responder.key, data)
    basic = der.encode(
        der.SEQUENCE,
        data,
        algorithm,
        der.encode(der.BIT_STRING, b"\x00", signature),
        der.encode(der.context(0), der.encode(der.SEQUENCE, responder.certificate.public_bytes(Encoding.DER))),
    )
    answer = der.encode(der.SEQUENCE, BASIC, der.encode(der.OCTET_STRING, basic))
    return der.encode(der.SEQUENCE, _status(SUCCESSFUL), der.encode(der.context(0), answer))


def _signed(key: ResponderKey, data: bytes) -> tuple[bytes, bytes]:
    """Return the AlgorithmIdentifier in DER, and the signature."""
    if isinstance(key, MldsaPrivateKey):
        return MLDSA[mldsa_kind(key.public_key())], key.sign(data)
    return ECDSA_WITH_SHA256, key.sign(data, ec.ECDSA(SHA256()))


def failure(status: int) -> bytes:
    """Return a response that says only why there is none; nobody signs it. §2.3."""
    return der.encode(der.SEQUENCE, _status(status))


def new_responder_key(issuer: SigningKey) -> ResponderKey:
    """Make a key as good as the issuer's where that is ML-DSA's; else on P-256: answers stay small and quick."""
    if isinstance(issuer, MldsaPrivateKey):
        return new_mldsa(mldsa_kind(issuer.public_key()))
    return ec.generate_private_key(ec.SECP256R1())


def responder_name(issuer_id: str) -> str:
    """Return the common name of an issuer's responder."""
    return f"OCSP responder of {issuer_id}"


def make_responder(
    key: ResponderKey,
    name: str,
    issuer: x509.Certificate,
    issuer_key: SigningKey,
    now: datetime,
    lifetime: timedelta,
    signature: SignatureName | None = None,
) -> Responder:
    """Return a responder whose certificate the issuer signs: for OCSP alone, and not to be checked itself. §4.2.2.2.1.

    It ends before its issuer does.
    """
    now = now.replace(microsecond=0)
    public_key = key.public_key()
    built = (
        x509.CertificateBuilder()
        .serial_number(new_serial())
        .issuer_name(issuer.subject)
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .public_key(public_key)
        .not_valid_before(max(now - BACKDATE, issuer.not_valid_before_utc))
        .not_valid_after(min(now + lifetime, issuer.not_valid_after_utc))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(SIGNS_ONLY, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING]), critical=False)
        .add_extension(x509.OCSPNoCheck(), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(key_identifier_of(issuer), critical=False)
    )
    certificate = sign(built, issuer_key, signature)
    certificate.verify_directly_issued_by(issuer)
    return Responder(certificate, key)


SIGNS_ONLY = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=False,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)


def _cert_ids(requests: Reader) -> list[CertId]:
    found: list[CertId] = []
    while not requests.is_at_end:
        if len(found) == MOST_CERTIFICATES:
            raise DerError(f"the request is about more than {MOST_CERTIFICATES} certificates")
        one = Reader(requests.take(der.SEQUENCE))
        whole = one.take_whole(der.SEQUENCE)
        if (extensions := one.maybe(der.context(0))) is not None:
            _refuse_critical(extensions)
        one.end()
        found.append(_cert_id(whole))
    return found


def _cert_id(whole: bytes) -> CertId:
    parts = Reader(Reader(whole).take(der.SEQUENCE))
    algorithm = Reader(parts.take(der.SEQUENCE))
    hash_name = HASHES.get(algorithm.take_whole(der.OID))
    if algorithm.maybe(der.NULL):
        raise DerError("the NULL of a hash algorithm has content")
    algorithm.end()
    hashes = parts.take(der.OCTET_STRING), parts.take(der.OCTET_STRING)
    _check_hashes(hash_name, hashes)
    serial = parts.take(der.INTEGER)
    parts.end()
    if len(serial) > LONGEST_SERIAL or (number := der.integer(serial)) < 0:
        raise DerError(f"a serial number is negative or has more than {LONGEST_SERIAL} octets")
    return CertId(whole, hash_name, *hashes, number)


def _check_hashes(hash_name: str | None, hashes: tuple[bytes, bytes]) -> None:
    """Refuse hashes of another length than their algorithm's: the response repeats them, and caches keep them."""
    longest = LONGEST_HASH if hash_name is None else new_hash(hash_name, usedforsecurity=False).digest_size
    if any(len(one) > longest or (hash_name is not None and len(one) < longest) for one in hashes):
        raise DerError(f"a hash by {hash_name} has another length than {longest} octets")


def _extensions(explicit: bytes) -> list[tuple[bytes, bool, bytes]]:
    outer = Reader(explicit)
    inner = Reader(outer.take(der.SEQUENCE))
    outer.end()
    found: list[tuple[bytes, bool, bytes]] = []
    while not inner.is_at_end:
        if len(found) == MOST_EXTENSIONS:
            raise DerError(f"there are more than {MOST_EXTENSIONS} extensions")
        one = Reader(inner.take(der.SEQUENCE))
        oid, critical, value = one.take_whole(der.OID), one.maybe(der.BOOLEAN), one.take(der.OCTET_STRING)
        one.end()
        found.append((oid, critical not in {None, b"\x00"}, value))
    return found


def _nonce(explicit: bytes) -> bytes | None:
    """Return the nonce of a request; its length is a matter of RFC 9654 §2.1."""
    nonces = []
    for oid, critical, value in _extensions(explicit):
        if oid == NONCE:
            content = Reader(value)
            nonces.append(content.take(der.OCTET_STRING))
            content.end()
        elif critical:
            raise DerError("the request has a critical extension that is not known here")
    if len(nonces) > 1 or any(not 0 < len(nonce) <= LONGEST_NONCE for nonce in nonces):
        raise DerError(f"expected one nonce of 1 to {LONGEST_NONCE} octets")
    return nonces[0] if nonces else None


def _refuse_critical(explicit: bytes) -> None:
    if any(critical for _, critical, _ in _extensions(explicit)):
        raise DerError("the request has a critical extension that is not known here")


def _single(one: Single) -> bytes:
    return der.encode(
        der.SEQUENCE,
        one.id.der,
        _certificate_status(one),
        der.time(one.this_update),
        der.encode(der.context(0), der.time(one.next_update)),
    )


def _certificate_status(one: Single) -> bytes:
    if one.revoked_at is None:
        return der.encode(der.context(0 if one.status == "good" else 2, constructed=False))
    # §4.4.1 of RFC 5280's CRLReason: unspecified is said by saying nothing.
    reason = der.encode(der.context(0), der.encode(der.ENUMERATED, bytes((one.reason,)))) if one.reason else b""
    return der.encode(der.context(1), der.time(one.revoked_at), reason)


def _status(status: int) -> bytes:
    return der.encode(der.ENUMERATED, bytes((status,)))


def _key_bits(certificate: x509.Certificate) -> bytes:
    """Return the bits of a certificate's public key, without what says of which kind it is."""
    encoded = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    info = Reader(Reader(encoded).take(der.SEQUENCE))
    info.take(der.SEQUENCE)
    return info.take(der.BIT_STRING)[1:]


def _key_hash(certificate: x509.Certificate) -> bytes:
    """Return the KeyHash that responses name their signer by: SHA-1 of its key's bits. §4.2.1."""
    return new_hash("sha1", _key_bits(certificate), usedforsecurity=False).digest()
