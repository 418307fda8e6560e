"""The signed message: a JWS in flattened JSON serialization. RFC 8555 §6.2, RFC 7515 §7.2.2.

The envelope is checked whole before anything is verified, nothing is fetched because a header says so, and each
algorithm goes with one kind of key.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from acme_ca.jose.encoding import b64url_decode, load_object, shown
from acme_ca.problems import BadSignatureAlgorithm, Malformed
from acme_ca.public_keys import JosePublicKey

ALGORITHMS = ("ES256", "ES384", "ES512", "RS256", "EdDSA")

_MEMBERS = frozenset({"protected", "payload", "signature"})
_NONCE = re.compile(r"[A-Za-z0-9_-]+")
_CURVE_ALGORITHMS = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
_ECDSA = {"ES256": ECDSA(hashes.SHA256()), "ES384": ECDSA(hashes.SHA384()), "ES512": ECDSA(hashes.SHA512())}
_SHA256 = hashes.SHA256()
_PKCS1 = PKCS1v15()


@dataclass(frozen=True, slots=True)
class Header:
    """The protected header. Of a request it has exactly one of `kid` and `jwk`; `nonce` may be missing. §6.2."""

    alg: str
    url: str
    nonce: str | None
    kid: str | None
    jwk: Mapping[str, object] | None


@dataclass(frozen=True, slots=True)
class Envelope:
    """A well-formed JWS whose signature has not been verified."""

    header: Header
    payload: bytes
    signing_input: bytes
    signature: bytes


def parse(body: bytes) -> Envelope:
    """Return the JWS of a request. Raises Malformed or BadSignatureAlgorithm.

    Whether the nonce is there and good, and the url is that of the request, is for the caller to check.
    """
    envelope = parse_members(load_object(body, "the request body"), ALGORITHMS)
    header = envelope.header
    if (header.kid is None) == (header.jwk is None):
        seen = "neither kid nor jwk" if header.kid is None else "both kid and jwk"
        raise Malformed(f"the protected header has {seen}; expected exactly one (RFC 8555 §6.2)")
    return envelope


def verify(envelope: Envelope, key: JosePublicKey) -> None:
    """Raise BadSignatureAlgorithm if alg is not the key's own algorithm, and Malformed if the signature is wrong."""
    alg = envelope.header.alg
    if alg != (expected := algorithm_for(key)):
        raise bad_algorithm(f"alg {alg} does not fit the key; expected {expected}", ALGORITHMS)
    try:
        if isinstance(key, EllipticCurvePublicKey):
            key.verify(_dss_signature(envelope.signature, key, alg), envelope.signing_input, _ECDSA[alg])
        elif isinstance(key, Ed25519PublicKey):
            key.verify(envelope.signature, envelope.signing_input)
        else:
            key.verify(envelope.signature, envelope.signing_input, _PKCS1, _SHA256)
    except InvalidSignature as error:
        raise _bad_signature(alg) from error


def algorithm_for(key: JosePublicKey) -> str:
    """Return the one algorithm that is accepted with a key. RFC 7518 §3.4, RFC 8037 §3.1."""
    if isinstance(key, EllipticCurvePublicKey):
        return _CURVE_ALGORITHMS[key.curve.name]
    return "EdDSA" if isinstance(key, Ed25519PublicKey) else "RS256"


def parse_members(members: Mapping[str, object], algorithms: tuple[str, ...]) -> Envelope:
    """Return the JWS of decoded JSON members; which of nonce, kid and jwk it needs is for the caller to check."""
    if members.keys() != _MEMBERS:
        raise _wrong_members(members)
    protected, payload = members["protected"], members["payload"]
    header = _parse_header(b64url_decode(protected, "protected"), algorithms)
    decoded = b64url_decode(payload, "payload")
    signature = b64url_decode(members["signature"], "signature")
    return Envelope(header, decoded, f"{protected}.{payload}".encode("ascii"), signature)


def bad_algorithm(detail: str, algorithms: tuple[str, ...]) -> BadSignatureAlgorithm:
    """Return the problem with the list of algorithms that §6.2 asks for."""
    return BadSignatureAlgorithm(detail, extra={"algorithms": list(algorithms)})


def _wrong_members(members: Mapping[str, object]) -> Malformed:
    expected = "expected protected, payload and signature: flattened JSON serialization (RFC 8555 §6.2)"
    if missing := sorted(_MEMBERS - members.keys()):
        return Malformed(f"the JWS has no member {missing[0]}; {expected}")
    extra = sorted(members.keys() - _MEMBERS)
    return Malformed(f"the JWS has the member {shown(extra[0])}; {expected}")


def _parse_header(protected: bytes, algorithms: tuple[str, ...]) -> Header:
    members = load_object(protected, "the protected header")
    for name in ("b64", "crit"):  # RFC 7797 §6: not understood here, so refused; RFC 7515 §4.1.11
        if name in members:
            raise Malformed(f"the protected header has the member {name}; no extension is supported")
    alg, url = _string(members, "alg"), _string(members, "url")
    if alg is None or url is None:
        raise Malformed("the protected header needs alg and url (RFC 8555 §6.2)")
    if alg not in algorithms:
        raise bad_algorithm(f"alg {shown(alg)} is not accepted; expected one of {', '.join(algorithms)}", algorithms)
    nonce = _string(members, "nonce")
    if nonce is not None and not _NONCE.fullmatch(nonce):
        raise Malformed("the nonce is not base64url (RFC 8555 §6.5.2)")
    return Header(alg, url, nonce, _string(members, "kid"), _jwk(members))


def _jwk(members: Mapping[str, object]) -> Mapping[str, object] | None:
    if "jwk" not in members:
        return None
    if not isinstance(jwk := members["jwk"], dict):
        raise Malformed("jwk in the protected header is not a JSON object")
    return jwk


def _string(members: Mapping[str, object], name: str) -> str | None:
    if name not in members:
        return None
    value = members[name]
    # URLs, nonces and key identifiers are printable ASCII; NUL and lone surrogates would break a database later.
    if not isinstance(value, str) or not value.isascii() or not value.isprintable():
        raise Malformed(f"{name} in the protected header is not a string of printable ASCII")
    return value


def _dss_signature(signature: bytes, key: EllipticCurvePublicKey, alg: str) -> bytes:
    """Return r and s, which JWS writes side by side in the length of the curve, in DER. RFC 7518 §3.4."""
    length = (key.key_size + 7) // 8
    if len(signature) != 2 * length:
        raise _bad_signature(alg)
    r, s = int.from_bytes(signature[:length], "big"), int.from_bytes(signature[length:], "big")
    return encode_dss_signature(r, s)


def _bad_signature(alg: str) -> Malformed:
    return Malformed(f"the {alg} signature of the JWS is not valid for the key")
