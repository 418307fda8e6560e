"""Signing: the account key (RFC 8555 §6.2) and compact proofs of possession (RFC 7515 §7.1)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property

from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from acme_ca.agent.errors import AgentError
from acme_ca.jose import Jwk, algorithm_for, b64url_encode, jwk_from_public_key

PrivateKey = EllipticCurvePrivateKey | RSAPrivateKey | Ed25519PrivateKey

_DIGESTS = {"ES256": SHA256(), "ES384": SHA384(), "ES512": SHA512()}
_CURVES = ("secp256r1", "secp384r1", "secp521r1")


def new_key() -> EllipticCurvePrivateKey:
    """Make a P-256 key."""
    return generate_private_key(SECP256R1())


def to_pem(key: PrivateKey) -> bytes:
    """Render as PKCS#8 in PEM, without encryption."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def from_pem(pem: bytes, where: object) -> PrivateKey:
    """Return a private key without a passphrase; raises AgentError that names `where` it came from."""
    try:
        key = load_pem_private_key(pem, None)
    except (ValueError, TypeError) as error:  # TypeError: it has a passphrase
        raise AgentError(f"{where} has no private key in PEM without a passphrase") from error
    if isinstance(key, EllipticCurvePrivateKey) and key.curve.name not in _CURVES:
        raise AgentError(f"{where} has a key on the curve {key.curve.name}; expected P-256, P-384 or P-521")
    if not isinstance(key, EllipticCurvePrivateKey | RSAPrivateKey | Ed25519PrivateKey):
        raise AgentError(f"{where} has a key that is not EC, RSA or Ed25519")
    return key


def compact(key: PrivateKey, header: Mapping[str, object], payload: bytes) -> str:
    """Return a compact JWS; its alg, which goes first into the header, is the key's own."""
    protected = {"alg": algorithm_for(key.public_key()), **header}
    signing_input = f"{_json64(protected)}.{b64url_encode(payload)}"
    return f"{signing_input}.{b64url_encode(_signature(key, signing_input.encode()))}"


class AccountKey:
    """The key of an ACME account."""

    def __init__(self, key: EllipticCurvePrivateKey) -> None:
        self.key = key

    @cached_property
    def jwk(self) -> Jwk:
        """The public key, with its thumbprint."""
        return jwk_from_public_key(self.key.public_key())

    def key_authorization(self, token: str) -> str:
        """Return the key authorization of a token. §8.1."""
        return f"{token}.{self.jwk.thumbprint}"

    def sign(self, url: str, payload: object, nonce: str, kid: str | None) -> bytes:
        """Return the body of a request; a payload of None is that of POST-as-GET. §6.2, §6.3."""
        who = {"jwk": dict(self.jwk.json)} if kid is None else {"kid": kid}
        content = b"" if payload is None else json.dumps(payload).encode()
        text = compact(self.key, {"nonce": nonce, "url": url, **who}, content)
        protected, body, signature = text.split(".")
        return json.dumps({"protected": protected, "payload": body, "signature": signature}).encode()


def _json64(value: object) -> str:
    return b64url_encode(json.dumps(value, separators=(",", ":")).encode())


def _signature(key: PrivateKey, message: bytes) -> bytes:
    if isinstance(key, RSAPrivateKey):
        return key.sign(message, PKCS1v15(), SHA256())
    if isinstance(key, Ed25519PrivateKey):
        return key.sign(message)
    digest = _DIGESTS[algorithm_for(key.public_key())]
    r, s = decode_dss_signature(key.sign(message, ECDSA(digest)))
    length = (key.key_size + 7) // 8  # RFC 7518 §3.4: both in the length of the field
    return r.to_bytes(length, "big") + s.to_bytes(length, "big")
