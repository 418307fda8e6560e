"""Which public keys are accepted, for accounts and certificates alike. RFC 8555 §6.2, §11.1; NIST SP 800-89 §5.3.3.

Those of ML-DSA (FIPS 204, RFC 9881) need no look: any octets of the right length are a key, and loading counts them.
"""

from __future__ import annotations

import hashlib
import math
from typing import TypeAlias

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey, MLDSA65PublicKey, MLDSA87PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from acme_ca.problems import BadPublicKey
from acme_ca.vocabulary import KeyType, MldsaKeyType

JosePublicKey: TypeAlias = EllipticCurvePublicKey | RSAPublicKey | Ed25519PublicKey
"""Keys that signatures in JSON are verified by: of accounts and of workloads."""
MldsaPublicKey: TypeAlias = MLDSA44PublicKey | MLDSA65PublicKey | MLDSA87PublicKey
PublicKey: TypeAlias = JosePublicKey | MldsaPublicKey
"""Keys of certificates."""

MIN_RSA_BITS = 2048
MAX_RSA_BITS = 4096  # larger keys only buy verification time to a client that wants to cost it
MIN_RSA_EXPONENT = 65537  # SP 800-89 §5.3.3: odd, 2^16 < e < 2^256
MAX_RSA_EXPONENT_BITS = 256
FERMAT_ROUNDS = 100
_SMALL_PRIME_LIMIT = 2000
_ROCA_PRIME_LIMIT = 168  # the 39 primes that Infineon's RSALib builds 512-bit primes from, CVE-2017-15361

_CURVES: dict[str, KeyType] = {"secp256r1": "ec-p256", "secp384r1": "ec-p384", "secp521r1": "ec-p521"}


def check(key: object) -> KeyType:
    """Return the kind of an acceptable public key; RSA keys count as the next smaller listed size.

    Raises BadPublicKey, which says what was seen and what is accepted.
    """
    if isinstance(key, EllipticCurvePublicKey):
        return _check_ec(key)
    if isinstance(key, RSAPublicKey):
        return _check_rsa(key)
    if isinstance(key, Ed25519PublicKey):
        return _check_ed25519(key)
    if isinstance(key, MldsaPublicKey):
        return mldsa_kind(key)
    raise BadPublicKey(f"a key of kind {type(key).__name__} is not accepted; expected EC, RSA, Ed25519 or ML-DSA")


def mldsa_kind(key: MldsaPublicKey) -> MldsaKeyType:
    """Return which parameter set of FIPS 204 §4 a key is of."""
    if isinstance(key, MLDSA44PublicKey):
        return "ml-dsa-44"
    return "ml-dsa-65" if isinstance(key, MLDSA65PublicKey) else "ml-dsa-87"


def spki_sha256(key: PublicKey) -> bytes:
    """Return the SHA-256 (32 bytes) of the DER SubjectPublicKeyInfo: the identity of a key, whatever carries it."""
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()


def _check_ec(key: EllipticCurvePublicKey) -> KeyType:
    # cryptography refuses points off the curve and the point at infinity when it loads a key.
    if (kind := _CURVES.get(key.curve.name)) is None:
        raise BadPublicKey(f"the curve {key.curve.name} is not accepted; expected P-256, P-384 or P-521")
    return kind


# --- RSA: a modulus that is neither short nor made of primes that can be found ---


def _primes(limit: int) -> tuple[int, ...]:
    return tuple(n for n in range(2, limit) if all(n % d for d in range(2, math.isqrt(n) + 1)))


def _powers(base: int, modulus: int) -> frozenset[int]:
    """Return the subgroup that base generates in the integers modulo a prime."""
    members, power = {1}, base % modulus
    while power not in members:
        members.add(power)
        power = power * base % modulus
    return frozenset(members)


_SMALL_PRIMES_PRODUCT = math.prod(_primes(_SMALL_PRIME_LIMIT))
# RSALib's primes are k*M + (65537^a mod M), M the product of small primes, so its moduli are powers of 65537 modulo
# every one of these (Nemec et al., The Return of Coppersmith's Attack, 2017, §3.1). Where 65537 generates the whole
# group, the prime tells nothing. A good modulus passes for bad with probability below 2^-26.
_ROCA_GROUPS = tuple(
    (prime, group)
    for prime in _primes(_ROCA_PRIME_LIMIT)[1:]
    if len(group := _powers(MIN_RSA_EXPONENT, prime)) < prime - 1
)
_SQUARES_MOD_64 = frozenset(n * n % 64 for n in range(64))


def _check_rsa(key: RSAPublicKey) -> KeyType:
    bits = key.key_size
    if not MIN_RSA_BITS <= bits <= MAX_RSA_BITS or bits % 8:
        raise BadPublicKey(
            f"an RSA key of {bits} bits is not accepted; expected {MIN_RSA_BITS} to {MAX_RSA_BITS}, a multiple of 8",
        )
    numbers = key.public_numbers()
    if numbers.e < MIN_RSA_EXPONENT or not numbers.e & 1 or numbers.e.bit_length() > MAX_RSA_EXPONENT_BITS:
        raise BadPublicKey("the RSA exponent is not accepted; expected an odd number from 65537 to 2^256, best 65537")
    if math.gcd(numbers.n, _SMALL_PRIMES_PRODUCT) != 1:
        raise BadPublicKey("the RSA modulus has a small factor; make a new key")
    if all(numbers.n % prime in group for prime, group in _ROCA_GROUPS):
        raise BadPublicKey("the RSA key has the ROCA weakness (CVE-2017-15361); make a new key with other software")
    if _factors_are_close(numbers.n):
        raise BadPublicKey("the primes of the RSA key are too close (CVE-2022-26320); make a new key")
    if bits < 3072:  # noqa: PLR2004 - the name of the kind says it
        return "rsa-2048"
    return "rsa-3072" if bits < MAX_RSA_BITS else "rsa-4096"


def _factors_are_close(modulus: int) -> bool:
    """Try Fermat's factorisation: n = a^2 - b^2 with a near the square root of n."""
    a = math.isqrt(modulus - 1) + 1
    rest = a * a - modulus
    for _ in range(FERMAT_ROUNDS):
        # Most numbers are no squares already modulo 64, and that costs no square root.
        if rest & 63 in _SQUARES_MOD_64 and math.isqrt(rest) ** 2 == rest:
            return True
        rest += 2 * a + 1
        a += 1
    return False


# --- Ed25519: OpenSSL takes any 32 bytes for a key ---

_P = 2**255 - 19
_D = -121665 * pow(121666, -1, _P) % _P
_ROOT_OF_MINUS_ONE = pow(2, (_P - 1) // 4, _P)


def _is_square(number: int) -> bool:
    return pow(number, (_P - 1) // 2, _P) in {0, 1}


def _square_root(square: int) -> int:
    root = pow(square, (_P + 3) // 8, _P)
    return root if root * root % _P == square else root * _ROOT_OF_MINUS_ONE % _P


def _low_order_ordinates() -> frozenset[int]:
    """Return y of the eight points whose order divides 8.

    Order 1 has y=1, order 2 y=-1, order 4 y=0. A point of order 8 doubles to y=0, so x^2 = -y^2, which makes the
    curve's equation d*y^4 + 2*y^2 - 1 = 0.
    """
    discriminant = _square_root((1 + _D) % _P)
    candidates = [(sign * discriminant - 1) * pow(_D, -1, _P) % _P for sign in (1, -1)]
    roots = [_square_root(candidate) for candidate in candidates if _is_square(candidate)]
    return frozenset({0, 1, _P - 1, *roots, *(_P - root for root in roots)})


_LOW_ORDER = _low_order_ordinates()


def _check_ed25519(key: Ed25519PublicKey) -> KeyType:
    y = int.from_bytes(key.public_bytes_raw(), "little") & (2**255 - 1)
    if y >= _P:
        raise BadPublicKey("the Ed25519 key is not canonically encoded (RFC 8032 §5.1.3)")
    if y in _LOW_ORDER:
        raise BadPublicKey("the Ed25519 key is a point of small order, for which anyone can sign; make a new key")
    # x^2 = (y^2-1)/(d*y^2+1); a quotient is a square exactly when the product is.
    if not _is_square((y * y - 1) * (_D * y * y + 1)):
        raise BadPublicKey("the Ed25519 key is not a point of the curve (RFC 8032 §5.1.3)")
    return "ed25519"
