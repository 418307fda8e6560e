"""A small ACME signer for tests, written apart from acme_ca.jose so that neither mirrors a mistake of the other.

`Signer.new("ec-p256").sign(url, payload, nonce=..., kid=...)` is the body of a request.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512, HashAlgorithm

Kind = Literal["ec-p256", "ec-p384", "ec-p521", "ed25519", "rsa-2048", "rsa-3072", "rsa-4096"]
PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey

ACCOUNT_KINDS: tuple[Kind, ...] = ("ec-p256", "ec-p384", "ec-p521", "ed25519", "rsa-2048")
_CURVES: dict[str, tuple[ec.EllipticCurve, HashAlgorithm, str, str]] = {
    "ec-p256": (ec.SECP256R1(), SHA256(), "P-256", "ES256"),
    "ec-p384": (ec.SECP384R1(), SHA384(), "P-384", "ES384"),
    "ec-p521": (ec.SECP521R1(), SHA512(), "P-521", "ES512"),
}
_BY_CURVE = {curve.name: (digest, crv, alg) for curve, digest, crv, alg in _CURVES.values()}


def b64(data: bytes) -> str:
    """base64url without padding."""
    return urlsafe_b64encode(data).decode().rstrip("=")


def integer(number: int, length: int | None = None) -> str:
    """Base64urlUInt, RFC 7518 §2."""
    return b64(number.to_bytes(length or (number.bit_length() + 7) // 8, "big"))


def make_key(kind: Kind) -> PrivateKey:
    """A new key. RSA takes a while: see `shared_key`."""
    if kind in _CURVES:
        return ec.generate_private_key(_CURVES[kind][0])
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    return rsa.generate_private_key(65537, int(kind.removeprefix("rsa-")))


@cache
def shared_key(kind: Kind, number: int = 0) -> PrivateKey:  # noqa: ARG001 - the number tells keys of one kind apart
    """A key that all tests of a process share, for where it does not matter that it is new."""
    return make_key(kind)


def algorithm(key: PrivateKey) -> str:
    """The JWS algorithm of a key."""
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return _BY_CURVE[key.curve.name][2]
    return "RS256" if isinstance(key, rsa.RSAPrivateKey) else "EdDSA"


def public_jwk(key: PrivateKey) -> dict[str, str]:
    """The public JWK, required members only."""
    public = key.public_key()
    if isinstance(public, ec.EllipticCurvePublicKey):
        point, length = public.public_numbers(), (public.key_size + 7) // 8
        crv = _BY_CURVE[public.curve.name][1]
        return {"kty": "EC", "crv": crv, "x": integer(point.x, length), "y": integer(point.y, length)}
    if isinstance(public, rsa.RSAPublicKey):
        numbers = public.public_numbers()
        return {"kty": "RSA", "n": integer(numbers.n), "e": integer(numbers.e)}
    return {"kty": "OKP", "crv": "Ed25519", "x": b64(public.public_bytes_raw())}


def thumbprint(key: PrivateKey) -> str:
    """The thumbprint in base64url, RFC 7638."""
    return b64(hashlib.sha256(json.dumps(public_jwk(key), sort_keys=True, separators=(",", ":")).encode()).digest())


def raw_signature(key: PrivateKey, message: bytes) -> bytes:
    """The signature as JWS carries it, by the key's own algorithm."""
    if isinstance(key, ec.EllipticCurvePrivateKey):
        r, s = decode_dss_signature(key.sign(message, ec.ECDSA(_BY_CURVE[key.curve.name][0])))
        length = (key.key_size + 7) // 8
        return r.to_bytes(length, "big") + s.to_bytes(length, "big")
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(message, padding.PKCS1v15(), SHA256())
    return key.sign(message)


def encode_payload(payload: object) -> bytes:
    """None is the empty payload of POST-as-GET, bytes stand for themselves, all else becomes JSON."""
    if payload is None:
        return b""
    return payload if isinstance(payload, bytes) else json.dumps(payload).encode()


def flattened(key: PrivateKey, protected: Mapping[str, Any] | bytes, payload: object) -> dict[str, str]:
    """A flattened JWS with just this protected header, well-formed or not."""
    header = protected if isinstance(protected, bytes) else json.dumps(protected).encode()
    signing_input = f"{b64(header)}.{b64(encode_payload(payload))}"
    signature = raw_signature(key, signing_input.encode())
    protected_text, _, payload_text = signing_input.partition(".")
    return {"protected": protected_text, "payload": payload_text, "signature": b64(signature)}


def eab(
    kid: str,
    secret: bytes,
    account_key: PrivateKey,
    url: str,
    alg: str = "HS256",
    /,  # so that the header can have members of these names
    **header: Any,  # noqa: ANN401 - members of any kind, wrong ones too
) -> dict[str, str]:
    """An externalAccountBinding, RFC 8555 §7.3.4. More header members may be given to make a wrong one."""
    protected = {"alg": alg, "kid": kid, "url": url} | header
    signing_input = f"{b64(json.dumps(protected).encode())}.{b64(json.dumps(public_jwk(account_key)).encode())}"
    mac = hmac.digest(secret, signing_input.encode(), f"sha{alg.removeprefix('HS')}")
    protected_text, _, payload_text = signing_input.partition(".")
    return {"protected": protected_text, "payload": payload_text, "signature": b64(mac)}


@dataclass(frozen=True)
class Signer:
    """A client's key, and its account URL once it has one."""

    key: PrivateKey
    kid: str | None = None

    @classmethod
    def new(cls, kind: Kind = "ec-p256", kid: str | None = None) -> Signer:
        """A signer with a new key."""
        return cls(make_key(kind), kid)

    @property
    def jwk(self) -> dict[str, str]:
        """The public JWK."""
        return public_jwk(self.key)

    @property
    def thumbprint(self) -> str:
        """The thumbprint of the key."""
        return thumbprint(self.key)

    def message(
        self,
        url: str,
        payload: object = None,
        /,
        *,
        nonce: str | None = None,
        use_jwk: bool = False,
        **header: Any,  # noqa: ANN401 - members of any kind, wrong ones too
    ) -> dict[str, str]:
        """The JWS as JSON members: by kid when the signer has one, else by jwk. `header` adds or replaces members."""
        protected: dict[str, Any] = {"alg": algorithm(self.key), "url": url}
        if nonce is not None:
            protected["nonce"] = nonce
        if self.kid is None or use_jwk:
            protected["jwk"] = self.jwk
        else:
            protected["kid"] = self.kid
        return flattened(self.key, protected | header, payload)

    def sign(
        self,
        url: str,
        payload: object = None,
        /,
        *,
        nonce: str | None = None,
        use_jwk: bool = False,
        **header: Any,  # noqa: ANN401 - members of any kind, wrong ones too
    ) -> bytes:
        """The body of a request."""
        return json.dumps(self.message(url, payload, nonce=nonce, use_jwk=use_jwk, **header)).encode()

    def key_change(self, new: Signer, url: str) -> dict[str, str]:
        """The inner JWS that is the payload of keyChange, RFC 8555 §7.3.5."""
        return new.message(url, {"account": self.kid, "oldKey": self.jwk}, use_jwk=True)
