"""Signing keys and the algorithms they sign certificates with. RFC 5758 §3.2, RFC 4055 §5, RFC 8410 §3."""

from __future__ import annotations

import secrets
from functools import cache
from typing import TypeAlias

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

from acme_ca.public_keys import PublicKey

SigningKey: TypeAlias = EllipticCurvePrivateKey | RSAPrivateKey | Ed25519PrivateKey
"""cryptography's own keys and subclasses of its interfaces, such as a key in an HSM."""

HashAlgorithm: TypeAlias = hashes.SHA256 | hashes.SHA384 | hashes.SHA512

SERIAL_ENTROPY = 128  # bits

_BY_CURVE: dict[str, HashAlgorithm] = {
    "secp256r1": hashes.SHA256(),
    "secp384r1": hashes.SHA384(),
    "secp521r1": hashes.SHA512(),
}


def hash_for(key: SigningKey) -> HashAlgorithm | None:
    """Return the hash that `key` signs with: as strong as the curve, SHA-256 for RSA, None for Ed25519."""
    return hash_of(key.public_key())


def hash_of(key: PublicKey) -> HashAlgorithm | None:
    """Return the hash of what the private half of `key` signed."""
    if isinstance(key, EllipticCurvePublicKey):
        return _BY_CURVE[key.curve.name]
    return hashes.SHA256() if isinstance(key, RSAPublicKey) else None


def new_serial() -> int:
    """Return a serial number of 17 octets: 128 random bits behind an octet of 1. RFC 5280 §4.1.2.2.

    Without that octet every second serial would start with a zero octet in DER, for the sign. mod_md leaves it out of
    the identifiers of RFC 9773 §4.1, and could renew only every second certificate.
    """
    return 1 << SERIAL_ENTROPY | secrets.randbits(SERIAL_ENTROPY)


def throwaway_like(key: SigningKey) -> SigningKey:
    """Return this process's key for certificates that nobody ever sees, of a kind that signs as `key` does."""
    return _throwaway(key.curve.name if isinstance(key, EllipticCurvePrivateKey) else "rsa")


@cache
def _throwaway(kind: str) -> SigningKey:
    if kind == "rsa":
        return rsa.generate_private_key(65_537, 2048)
    curves: dict[str, ec.EllipticCurve] = {
        curve.name: curve for curve in (ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1())
    }
    return ec.generate_private_key(curves[kind])
