"""The format x5c: a compact JWS by which the holder of a certified key signs the key authorization.

docs/workload-identity-00.md; RFC 7515 §7.1, RFC 7518 §3, RFC 8037 §3.1. Whether the certificate is worth anything is
told by acme_ca.workload.chain and the provider.
"""

from __future__ import annotations

import hmac
from binascii import a2b_base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512, HashAlgorithm

from acme_ca import public_keys
from acme_ca.jose.encoding import b64url_decode, load_object, shown
from acme_ca.problems import BadPublicKey, Malformed, Problem
from acme_ca.public_keys import JosePublicKey
from acme_ca.vocabulary import MLDSA_KEY_TYPES
from acme_ca.workload import chain
from acme_ca.workload.base import MAX_EVIDENCE, Expected, refusal

TYPE = "acme-workload-pop+jws"
MAX_CERTIFICATES = 8

_HEADER = frozenset({"alg", "typ", "url", "x5c"})
_PARTS = 3  # of a compact JWS, RFC 7515 §7.1
_MAX_URL = 2048

_DIGESTS: Mapping[str, HashAlgorithm] = {"256": SHA256(), "384": SHA384(), "512": SHA512()}
_CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")


@dataclass(frozen=True, slots=True)
class SignedProof:
    """A well-formed JWS whose signature has not been verified, and whose chain nobody has looked into.

    `chain` is the leaf and what the client sent of the way to a root; all fields of the certificates can be read.
    """

    chain: tuple[x509.Certificate, ...]
    alg: str
    url: str
    payload: bytes = field(repr=False)
    signing_input: bytes = field(repr=False)
    signature: bytes = field(repr=False)

    @property
    def leaf(self) -> x509.Certificate:
        """The certificate whose key has signed."""
        return self.chain[0]


def parse(evidence: object) -> SignedProof:
    """Return the proof in `{"sig": "<compact JWS>"}`; more members beside sig are ignored.

    Raises evidence_malformed.
    """
    if not isinstance(evidence, dict) or not isinstance(text := evidence.get("sig"), str):
        raise _malformed('expected an object with the string sig: {"sig": "<compact JWS>"}')
    if len(text) > MAX_EVIDENCE:
        raise _malformed(f"sig has {len(text)} characters; at most {MAX_EVIDENCE} are read")
    parts = text.split(".")
    if len(parts) != _PARTS:
        raise _malformed(f"sig has {len(parts)} parts; a compact JWS has {_PARTS}, divided by dots (RFC 7515 §7.1)")
    protected, payload, signature = (_decoded(part, name) for part, name in zip(parts, _NAMES, strict=True))
    header = _header(protected)
    alg, url = _string(header, "alg"), _string(header, "url")
    certificates = _chain(header["x5c"])
    return SignedProof(certificates, alg, url, payload, text.rpartition(".")[0].encode("ascii"), signature)


def verify(signed: SignedProof, expected: Expected) -> None:
    """Return if the leaf's key has signed what is expected.

    Raises signature_invalid for another key, algorithm or a key too weak, and binding_mismatch for a proof that was
    made for another account, challenge or server.
    """
    if expected.key_authorization is None:
        raise refusal("binding_mismatch", "an x5c proof signs a key authorization, and the request is for none")
    _verify_signature(signed)
    if signed.url != expected.url:
        raise refusal("binding_mismatch", f"the proof is for the url {shown(signed.url)}; expected {expected.url}")
    if not hmac.compare_digest(signed.payload, expected.key_authorization.encode()):
        raise refusal(
            "binding_mismatch",
            f"the proof signs {len(signed.payload)} octets with SHA-256 {sha256(signed.payload).hexdigest()}; "
            f"expected the key authorization {expected.key_authorization}",
        )


# --- the shape ---

_NAMES = ("the protected header of sig", "the payload of sig", "the signature of sig")


def _malformed(detail: str) -> Problem:
    return refusal("evidence_malformed", f"the x5c evidence cannot be read: {detail}")


def _decoded(part: str, what: str) -> bytes:
    try:
        return b64url_decode(part, what)
    except Malformed as problem:
        raise _malformed(problem.detail) from problem


def _header(protected: bytes) -> dict[str, object]:
    """Return alg, typ, url and x5c. No other member may be there: what nobody needs is not ignored by mistake."""
    try:
        header = load_object(protected, _NAMES[0])
    except Malformed as problem:
        raise _malformed(problem.detail) from problem
    if header.keys() != _HEADER:
        missing, extra = sorted(_HEADER - header.keys()), sorted(header.keys() - _HEADER)
        seen = f"without {missing[0]}" if missing else f"with {shown(extra[0])}"
        raise _malformed(f"{_NAMES[0]} is {seen}; expected exactly alg, typ, url and x5c")
    if header["typ"] != TYPE:
        raise _malformed(f"{_NAMES[0]} has the typ {shown(header['typ'])}; expected {TYPE}")
    return header


def _string(header: Mapping[str, object], name: str) -> str:
    value = header[name]
    if not isinstance(value, str) or len(value) > _MAX_URL:
        raise _malformed(f"{name} of {_NAMES[0]} is not a string of at most {_MAX_URL} characters")
    return value


def _chain(x5c: object) -> tuple[x509.Certificate, ...]:
    if not isinstance(x5c, list) or not 1 <= len(x5c) <= MAX_CERTIFICATES:
        raise _malformed(f"x5c is not an array of 1 to {MAX_CERTIFICATES} certificates, the leaf first")
    return tuple(_certificate(text, f"x5c[{index}]") for index, text in enumerate(x5c))


def _certificate(text: object, what: str) -> x509.Certificate:
    if not isinstance(text, str) or not text.isascii():
        raise _malformed(f"{what} is not a string of base64 (RFC 7515 §4.1.6)")
    try:
        return chain.load_der(a2b_base64(text, strict_mode=True))
    except chain.UNREADABLE as error:
        raise _malformed(f"{what} is no DER certificate in base64: {shown(str(error))}") from error


# --- the signature ---


def _verify_signature(signed: SignedProof) -> None:
    try:
        key = signed.leaf.public_key()
        if public_keys.check(key) in MLDSA_KEY_TYPES:
            raise BadPublicKey("signatures by ML-DSA are not read here; expected EC, RSA or Ed25519")
    except Problem as problem:
        raise refusal("signature_invalid", f"the key of the leaf certificate: {problem.detail}") from problem
    accepted, check = _verifier(key)  # type: ignore[arg-type]  # only these kinds come so far
    if signed.alg not in accepted:
        raise refusal(
            "signature_invalid",
            f"alg {shown(signed.alg)} does not fit the key of the leaf certificate; expected {' or '.join(accepted)}",
        )
    try:
        check(signed)
    except InvalidSignature as error:
        raise refusal(
            "signature_invalid", f"the {signed.alg} signature is not by the key of the leaf certificate"
        ) from error


def _verifier(key: JosePublicKey) -> tuple[tuple[str, ...], Callable[[SignedProof], None]]:
    """Return the algorithms that go with the key, and how one is verified, which raises InvalidSignature."""
    if isinstance(key, EllipticCurvePublicKey):
        return (_CURVES[key.curve.name],), lambda signed: _verify_ec(key, signed)
    if isinstance(key, RSAPublicKey):
        return _RSA, lambda signed: _verify_rsa(key, signed)
    return ("EdDSA",), lambda signed: _verify_ed25519(key, signed)


def _verify_ec(key: EllipticCurvePublicKey, signed: SignedProof) -> None:
    length = (key.key_size + 7) // 8
    if len(signed.signature) != 2 * length:  # RFC 7518 §3.4: r and s, each as long as the field
        raise InvalidSignature
    r, s = (int.from_bytes(half) for half in (signed.signature[:length], signed.signature[length:]))
    key.verify(encode_dss_signature(r, s), signed.signing_input, ECDSA(_digest(signed)))


def _verify_rsa(key: RSAPublicKey, signed: SignedProof) -> None:
    digest = _digest(signed)
    scheme = (
        padding.PKCS1v15()
        if signed.alg.startswith("RS")
        else padding.PSS(padding.MGF1(digest), salt_length=digest.digest_size)  # RFC 7518 §3.5
    )
    key.verify(signed.signature, signed.signing_input, scheme, digest)


def _verify_ed25519(key: Ed25519PublicKey, signed: SignedProof) -> None:
    key.verify(signed.signature, signed.signing_input)


def _digest(signed: SignedProof) -> HashAlgorithm:
    return _DIGESTS[signed.alg[-3:]]
