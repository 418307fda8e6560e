"""What stand-ins for key services share: keys of each kind, and signatures over what arrives, digests or messages."""

from __future__ import annotations

from functools import cache
from typing import Literal

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS, PKCS1v15
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from acme_ca.keys import PrivateKey

CURVES: dict[str, ec.EllipticCurve] = {
    "ec-p256": ec.SECP256R1(),
    "ec-p384": ec.SECP384R1(),
    "ec-p521": ec.SECP521R1(),
    "ec-k256": ec.SECP256K1(),
}
HASHES: dict[int, hashes.HashAlgorithm] = {256: hashes.SHA256(), 384: hashes.SHA384(), 512: hashes.SHA512()}
Padding = Literal["pkcs1", "pss"]


@cache
def rsa_key(bits: int) -> rsa.RSAPrivateKey:
    """One RSA key of a size for all tests: they take long to find."""
    return rsa.generate_private_key(65_537, bits)


def new_key(kind: str) -> PrivateKey:
    """A key of a kind, as acme_ca.vocabulary.KeyType has it."""
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    if kind.startswith("rsa-"):
        return rsa_key(int(kind.removeprefix("rsa-")))
    return ec.generate_private_key(CURVES[kind])


def kind_of(key: PrivateKey) -> str:
    if isinstance(key, rsa.RSAPrivateKey):
        return f"rsa-{key.key_size}"
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return "ed25519"
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return next(kind for kind, curve in CURVES.items() if curve.name == key.curve.name)


def sign_digest(key: PrivateKey, digest: bytes, bits: int, padding: Padding | None = None) -> bytes:
    """Sign the digest of a message; `padding` is for RSA keys and only for them."""
    assert len(digest) * 8 == bits
    prehashed = Prehashed(HASHES[bits])
    if isinstance(key, rsa.RSAPrivateKey):
        assert padding is not None
        how = PSS(MGF1(HASHES[bits]), bits // 8) if padding == "pss" else PKCS1v15()
        return key.sign(digest, how, prehashed)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert padding is None
    return key.sign(digest, ec.ECDSA(prehashed))


def pem_of(key: PrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
