"""Signing keys and the signatures they make. RFC 5758 §3.2, RFC 4055 §3 and §5, RFC 8410 §3, RFC 9881 §3."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from functools import cache
from typing import Any, Protocol, TypeAlias, TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey, MLDSA65PrivateKey, MLDSA87PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS, PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.x509.oid import SignatureAlgorithmOID as Oid

from acme_ca.public_keys import MldsaPublicKey, PublicKey, mldsa_kind
from acme_ca.vocabulary import RSA_SIGNATURES, SignatureName

MldsaPrivateKey: TypeAlias = MLDSA44PrivateKey | MLDSA65PrivateKey | MLDSA87PrivateKey
SigningKey: TypeAlias = EllipticCurvePrivateKey | RSAPrivateKey | Ed25519PrivateKey | MldsaPrivateKey
"""cryptography's own keys and subclasses of its interfaces, such as a key in an HSM."""

HashAlgorithm: TypeAlias = hashes.SHA256 | hashes.SHA384 | hashes.SHA512

SERIAL_ENTROPY = 128  # bits

_BY_CURVE: dict[str, HashAlgorithm] = {
    "secp256r1": hashes.SHA256(),
    "secp384r1": hashes.SHA384(),
    "secp521r1": hashes.SHA512(),
}
_BY_NAME: Mapping[str, HashAlgorithm] = {one.name: one for one in _BY_CURVE.values()}
_NAMES: Mapping[x509.ObjectIdentifier, SignatureName] = {
    Oid.ECDSA_WITH_SHA256: "ecdsa-sha256",
    Oid.ECDSA_WITH_SHA384: "ecdsa-sha384",
    Oid.ECDSA_WITH_SHA512: "ecdsa-sha512",
    Oid.RSA_WITH_SHA256: "rsa-sha256",
    Oid.RSA_WITH_SHA384: "rsa-sha384",
    Oid.RSA_WITH_SHA512: "rsa-sha512",
    Oid.ED25519: "ed25519",
    Oid.ML_DSA_44: "ml-dsa-44",
    Oid.ML_DSA_65: "ml-dsa-65",
    Oid.ML_DSA_87: "ml-dsa-87",
}
_MLDSA_KEYS: Mapping[str, type[MldsaPrivateKey]] = {
    "ml-dsa-44": MLDSA44PrivateKey,
    "ml-dsa-65": MLDSA65PrivateKey,
    "ml-dsa-87": MLDSA87PrivateKey,
}

Signed_co = TypeVar("Signed_co", covariant=True)


class Builder(Protocol[Signed_co]):
    """cryptography's builders of certificates, revocation lists and requests."""

    def sign(
        self,
        private_key: SigningKey,
        algorithm: HashAlgorithm | None,
        backend: Any = None,  # noqa: ANN401 - cryptography's, of no use any more
        *,
        rsa_padding: PSS | PKCS1v15 | None = None,
    ) -> Signed_co:
        """Sign what was built."""


def sign(builder: Builder[Signed_co], key: SigningKey, signature: SignatureName | None = None) -> Signed_co:
    """Return what was built, signed by `key` with `signature`, or with what the key makes if nobody says otherwise.

    A salt of RSASSA-PSS is as long as the hash, which is MGF1's too (RFC 4055 §3.1). Raises ValueError for a signature
    that the key does not make.
    """
    if signature is None:
        return builder.sign(key, hash_for(key))
    if signature not in (possible := signatures_of(key.public_key())):
        raise ValueError(f"the key makes no signature {signature}; expected {' or '.join(possible)}")
    if not isinstance(key, RSAPrivateKey):
        return builder.sign(key, hash_for(key))
    hash_ = _BY_NAME[signature.rpartition("-")[2]]
    padding = PSS(MGF1(hash_), hash_.digest_size) if signature.startswith("rsa-pss-") else PKCS1v15()
    return builder.sign(key, hash_, rsa_padding=padding)


def signatures_of(key: PublicKey) -> tuple[SignatureName, ...]:
    """Return what the private half of `key` may sign with; the first is what it does if nobody says otherwise."""
    if isinstance(key, EllipticCurvePublicKey):
        names: dict[str, SignatureName] = {"sha256": "ecdsa-sha256", "sha384": "ecdsa-sha384", "sha512": "ecdsa-sha512"}
        return (names[_BY_CURVE[key.curve.name].name],)
    if isinstance(key, RSAPublicKey):
        return RSA_SIGNATURES
    return (mldsa_kind(key),) if isinstance(key, MldsaPublicKey) else ("ed25519",)


def signature_of(certificate: x509.Certificate) -> str:
    """Return what a certificate is signed with: a SignatureName, or the dotted OID of anything else."""
    oid = certificate.signature_algorithm_oid
    if oid != Oid.RSASSA_PSS:
        return _NAMES.get(oid, oid.dotted_string)
    try:
        hash_ = certificate.signature_hash_algorithm
    except UnsupportedAlgorithm:
        hash_ = None
    name = "" if hash_ is None else f"rsa-pss-{hash_.name}"
    return name if name in RSA_SIGNATURES else oid.dotted_string


def hash_for(key: SigningKey) -> HashAlgorithm | None:
    """Return the hash that `key` signs with: as strong as the curve, SHA-256 for RSA, None for Ed25519 and ML-DSA."""
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
    if isinstance(key, MldsaPrivateKey):
        return _throwaway(mldsa_kind(key.public_key()))
    return _throwaway(key.curve.name if isinstance(key, EllipticCurvePrivateKey) else "rsa")


def new_mldsa(kind: str) -> MldsaPrivateKey:
    """Make a key of FIPS 204; raises UnsupportedAlgorithm where cryptography is built on an OpenSSL without."""
    return _MLDSA_KEYS[kind].generate()


@cache
def _throwaway(kind: str) -> SigningKey:
    if kind == "rsa":
        return rsa.generate_private_key(65_537, 2048)
    if kind in _MLDSA_KEYS:
        return new_mldsa(kind)
    curves: dict[str, ec.EllipticCurve] = {
        curve.name: curve for curve in (ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1())
    }
    return ec.generate_private_key(curves[kind])
