"""Signatures of CA keys over texts: ECDSA in DER and RSASSA-PKCS1-v1_5 (RFC 3279 §2.2), ML-DSA (RFC 9881 §3)."""

from __future__ import annotations

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15

from acme_ca.pki.signing import MldsaPrivateKey, SigningKey, hash_of
from acme_ca.public_keys import MldsaPublicKey, PublicKey

SEQUENCE = 0x30  # the first octet of whatever else a CA's key signs. X.690 §8.9


def sign(key: SigningKey, text: bytes) -> bytes:
    """Return the signature over a text that can be nothing else that the key signs; raises ValueError."""
    _require_text(text)
    if isinstance(key, MldsaPrivateKey):
        return key.sign(text)
    algorithm = hash_of(key.public_key())
    if isinstance(key, ed25519.Ed25519PrivateKey) or algorithm is None:
        raise ValueError("expected an EC, RSA or ML-DSA key")
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key.sign(text, ec.ECDSA(algorithm))
    return key.sign(text, PKCS1v15(), algorithm)


def is_signed(text: bytes, signature: bytes, key: PublicKey) -> bool:
    """Whether the signature is the key's."""
    _require_text(text)
    algorithm = hash_of(key)
    try:
        if isinstance(key, MldsaPublicKey):
            key.verify(signature, text)
        elif isinstance(key, ed25519.Ed25519PublicKey) or algorithm is None:
            return False
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, text, ec.ECDSA(algorithm))
        else:
            key.verify(signature, text, PKCS1v15(), algorithm)
    except InvalidSignature:
        return False
    return True


def _require_text(text: bytes) -> None:
    """Refuse what could be the part of a certificate, CRL or request that is signed.

    TBSCertificate, TBSCertList and CertificationRequestInfo are SEQUENCEs, and DER starts every SEQUENCE with 0x30, the
    character "0". Signatures cover all octets and no prefix is added, so that whoever could choose a text of that form
    would have the CA sign a certificate. A text that starts with another octet is none of these, whatever follows.
    """
    if not text or text[0] == SEQUENCE:
        raise ValueError("a text to be signed must not start like DER")
