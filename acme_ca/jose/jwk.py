"""Public keys as JSON: EC and RSA (RFC 7518 §6), OKP (RFC 8037 §2), thumbprints (RFC 7638).

Keys of ML-DSA are written (draft-ietf-cose-dilithium §4) and not read: certificates have them, accounts do not.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from josepy.jwk import JWKEC, JWKRSA

from acme_ca import public_keys
from acme_ca.jose.encoding import b64url_decode, b64url_encode, shown
from acme_ca.problems import BadPublicKey, Malformed
from acme_ca.public_keys import JosePublicKey, MldsaPublicKey, PublicKey, mldsa_kind

_PRIVATE_MEMBERS = ("d", "p", "q", "dp", "dq", "qi", "oth", "k")
_CURVES = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
_COORDINATE_BYTES = {"P-256": 32, "P-384": 48, "P-521": 66}
_ED25519_BYTES = 32
_MAX_MODULUS_BYTES = public_keys.MAX_RSA_BITS // 8
_MAX_EXPONENT_BYTES = public_keys.MAX_RSA_EXPONENT_BITS // 8


@dataclass(frozen=True, slots=True)
class Jwk:
    """An accepted public key. `json` has the required members alone; `thumbprint` is base64url SHA-256 (RFC 7638)."""

    thumbprint: str
    json: Mapping[str, str] = field(compare=False)
    key: JosePublicKey = field(compare=False, repr=False)


def jwk_from_json(obj: object) -> Jwk:
    """Return the key of a JWK whose optional members (use, key_ops, alg, ...) are ignored.

    Raises Malformed for what is not a JWK and BadPublicKey for a key that is not accepted, private keys included.
    """
    if not isinstance(obj, dict):
        raise Malformed("jwk is not a JSON object")
    if private := [name for name in _PRIVATE_MEMBERS if name in obj]:
        raise BadPublicKey(f"jwk has the private member {private[0]}; send the public key alone, and make a new one")
    kty = obj.get("kty")
    if not isinstance(kty, str):
        raise Malformed("jwk has no kty string")
    if (read := _READERS.get(kty)) is None:
        raise BadPublicKey(f"a jwk with kty {shown(kty)} is not accepted; expected EC, RSA or OKP")
    key = read(obj)
    public_keys.check(key)
    return jwk_from_public_key(key)


def jwk_from_public_key(key: JosePublicKey) -> Jwk:
    """Return the JWK of a key, which is not checked again."""
    return Jwk(json=members_of(key), thumbprint=thumbprint_of(key), key=key)


def thumbprint_of(key: PublicKey) -> str:
    """Return the thumbprint of a key: base64url SHA-256. RFC 7638."""
    # The members are in lexicographic order, to be written without white space: §3.2.
    return b64url_encode(sha256(json.dumps(members_of(key), separators=(",", ":")).encode()).digest())


def members_of(key: PublicKey) -> dict[str, str]:
    """Return the required members of a key's JWK. RFC 7518 §6.2.1, §6.3.1, RFC 8037 §2."""
    if isinstance(key, MldsaPublicKey):
        return {"alg": mldsa_kind(key).upper(), "kty": "AKP", "pub": b64url_encode(key.public_bytes_raw())}
    if isinstance(key, Ed25519PublicKey):
        return {"crv": "Ed25519", "kty": "OKP", "x": b64url_encode(key.public_bytes_raw())}
    if isinstance(key, RSAPublicKey):
        rsa = key.public_numbers()
        return {"e": _uint(rsa.e), "kty": "RSA", "n": _uint(rsa.n)}
    point = key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)[1:]
    crv, half = _CURVES[key.curve.name], len(point) // 2
    return {"crv": crv, "kty": "EC", "x": b64url_encode(point[:half]), "y": b64url_encode(point[half:])}


def _uint(number: int) -> str:
    return b64url_encode(number.to_bytes((number.bit_length() + 7) // 8, "big"))


def _octets(obj: Mapping[str, object], name: str) -> bytes:
    if name not in obj:
        raise Malformed(f"jwk has no member {name}")
    return b64url_decode(obj[name], f"jwk member {name}")


def _read_ec(obj: dict[str, object]) -> EllipticCurvePublicKey:
    crv = obj.get("crv")
    if not isinstance(crv, str):
        raise Malformed("jwk has no crv string")
    if (length := _COORDINATE_BYTES.get(crv)) is None:
        raise BadPublicKey(f"the curve {shown(crv)} is not accepted; expected P-256, P-384 or P-521")
    for name in ("x", "y"):
        if len(octets := _octets(obj, name)) != length:
            raise BadPublicKey(f"jwk member {name} has {len(octets)} bytes; {crv} needs {length} (RFC 7518 §6.2.1)")
    try:
        numbers = JWKEC.fields_from_json(obj).key.public_numbers()
    except ValueError as error:
        raise BadPublicKey(f"the jwk is not a point of the curve {crv}") from error
    key: EllipticCurvePublicKey = numbers.public_key()  # out of josepy's wrapper
    return key


def _read_rsa(obj: dict[str, object]) -> RSAPublicKey:
    for name, limit in (("n", _MAX_MODULUS_BYTES), ("e", _MAX_EXPONENT_BYTES)):
        octets = _octets(obj, name)
        if not octets or octets[0] == 0:
            raise Malformed(f"jwk member {name} is empty or starts with a zero byte (RFC 7518 §2, Base64urlUInt)")
        if len(octets) > limit:
            raise BadPublicKey(f"jwk member {name} has {len(octets)} bytes; at most {limit} are accepted")
    try:
        numbers = JWKRSA.fields_from_json(obj).key.public_numbers()
    except ValueError as error:
        raise BadPublicKey("the jwk is not an RSA public key; expected an odd exponent smaller than n") from error
    key: RSAPublicKey = numbers.public_key()  # out of josepy's wrapper
    return key


def _read_okp(obj: dict[str, object]) -> Ed25519PublicKey:
    if (crv := obj.get("crv")) != "Ed25519":
        raise BadPublicKey(f"the curve {shown(crv)} is not accepted; expected Ed25519")
    if len(x := _octets(obj, "x")) != _ED25519_BYTES:
        raise BadPublicKey(f"jwk member x has {len(x)} bytes; Ed25519 needs {_ED25519_BYTES}")
    return Ed25519PublicKey.from_public_bytes(x)


_READERS: dict[str, Callable[[dict[str, object]], JosePublicKey]] = {"EC": _read_ec, "RSA": _read_rsa, "OKP": _read_okp}
