"""The key policy: keys that are accepted and each kind of weak key that is not."""

from __future__ import annotations

import hashlib
import math
from random import Random

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from acme_ca import public_keys
from acme_ca.problems import BadPublicKey
from tests.support.jws import ACCOUNT_KINDS, Kind, shared_key

PRIMES_TO_167 = [n for n in range(2, 168) if all(n % d for d in range(2, n))]
PRIMES_TO_2000 = [n for n in range(2, 2000) if all(n % d for d in range(2, math.isqrt(n) + 1))]
SMALL_PRIMES = math.prod(PRIMES_TO_2000)
# Points of order 1, 2, 4 and 8 as the literature lists them, and two encodings that are not canonical.
LOW_ORDER = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
]
NOT_CANONICAL = [
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
]


def odd_number(bits: int, seed: int = 1) -> int:
    """A number of that size without small factors; nothing else about it matters to the checks."""
    random = Random(seed)
    while True:
        number = random.getrandbits(bits) | 1 | 3 << (bits - 2)
        if math.gcd(number, SMALL_PRIMES) == 1:
            return number


def rsa_key(n: int, e: int = 65537) -> rsa.RSAPublicKey:
    return rsa.RSAPublicNumbers(e, n).public_key()


@pytest.mark.parametrize("kind", ACCOUNT_KINDS)
def test_a_good_key_is_named(kind: Kind) -> None:
    assert public_keys.check(shared_key(kind).public_key()) == kind


@pytest.mark.parametrize(
    ("bits", "kind"),
    [(2048, "rsa-2048"), (3064, "rsa-2048"), (3072, "rsa-3072"), (4088, "rsa-3072"), (4096, "rsa-4096")],
)
def test_an_rsa_key_counts_as_the_next_smaller_size(bits: int, kind: str) -> None:
    assert public_keys.check(rsa_key(odd_number(bits))) == kind


@pytest.mark.parametrize("bits", [1024, 2040, 2049, 2052, 4104, 8192])
def test_rsa_keys_of_other_sizes_are_refused(bits: int) -> None:
    with pytest.raises(BadPublicKey, match=f"RSA key of {bits} bits .* expected 2048 to 4096"):
        public_keys.check(rsa_key(odd_number(bits)))


@pytest.mark.parametrize("e", [3, 17, 65535, 2**256 + 1])
def test_rsa_exponents_out_of_range_are_refused(e: int) -> None:
    with pytest.raises(BadPublicKey, match="exponent"):
        public_keys.check(rsa_key(odd_number(2048), e))


@pytest.mark.parametrize("prime", [3, 5, 751, 1999])
def test_an_rsa_modulus_with_a_small_factor_is_refused(prime: int) -> None:
    with pytest.raises(BadPublicKey, match="small factor"):
        public_keys.check(rsa_key(prime * (3 * 2**2046 // prime | 1)))


def test_a_roca_modulus_is_refused() -> None:
    """A product of primes k*M + 65537^a mod M is a power of 65537 modulo M; that is all the fingerprint sees."""
    product = math.prod(PRIMES_TO_167)
    random = Random(2)
    while True:
        n = pow(65537, random.getrandbits(60), product) + product * random.getrandbits(2048 - product.bit_length() - 1)
        n += product << (2047 - product.bit_length())
        if n.bit_length() == 2048 and n & 1 and math.gcd(n, SMALL_PRIMES) == 1:
            break
    with pytest.raises(BadPublicKey, match="ROCA"):
        public_keys.check(rsa_key(n))


@pytest.mark.parametrize("distance", [2, 2**300, 2**516])
def test_an_rsa_modulus_of_close_primes_is_refused(distance: int) -> None:
    p = odd_number(1024)
    q = next(q for q in range(p + distance, p + distance + 10**6, 2) if math.gcd(q, SMALL_PRIMES) == 1)
    with pytest.raises(BadPublicKey, match="too close"):
        public_keys.check(rsa_key(p * q))


def test_rsa_primes_that_are_far_apart_are_accepted() -> None:
    assert public_keys.check(rsa_key(odd_number(1024, 3) * odd_number(1024, 4))) == "rsa-2048"


@pytest.mark.parametrize("curve", [ec.SECP256K1(), ec.SECP224R1(), ec.BrainpoolP256R1()], ids=lambda curve: curve.name)
def test_other_curves_are_refused(curve: ec.EllipticCurve) -> None:
    with pytest.raises(BadPublicKey, match=f"{curve.name} is not accepted; expected P-256, P-384 or P-521"):
        public_keys.check(ec.generate_private_key(curve).public_key())


@pytest.mark.parametrize("point", LOW_ORDER)
def test_ed25519_points_of_small_order_are_refused(point: str) -> None:
    with pytest.raises(BadPublicKey, match="small order"):
        public_keys.check(ed25519.Ed25519PublicKey.from_public_bytes(bytes.fromhex(point)))


@pytest.mark.parametrize("point", NOT_CANONICAL)
def test_ed25519_points_that_are_not_canonical_are_refused(point: str) -> None:
    with pytest.raises(BadPublicKey, match="not canonically encoded"):
        public_keys.check(ed25519.Ed25519PublicKey.from_public_bytes(bytes.fromhex(point)))


def test_an_ed25519_key_off_the_curve_is_refused() -> None:
    with pytest.raises(BadPublicKey, match="not a point of the curve"):
        public_keys.check(ed25519.Ed25519PublicKey.from_public_bytes((2).to_bytes(32, "little")))


@given(seed=st.binary(min_size=32, max_size=32))
@settings(deadline=None, max_examples=50)
def test_every_ed25519_key_that_was_made_as_one_is_accepted(seed: bytes) -> None:
    assert public_keys.check(ed25519.Ed25519PrivateKey.from_private_bytes(seed).public_key()) == "ed25519"


@pytest.mark.parametrize(
    "key", [None, b"", ed448.Ed448PrivateKey.generate().public_key()], ids=["None", "bytes", "Ed448"]
)
def test_keys_of_other_kinds_are_refused(key: object) -> None:
    with pytest.raises(BadPublicKey, match="is not accepted; expected EC, RSA, Ed25519 or ML-DSA"):
        public_keys.check(key)


def test_the_hash_of_a_key_is_that_of_its_public_key_info() -> None:
    key = shared_key("ec-p256").public_key()
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert public_keys.spki_sha256(key) == hashlib.sha256(der).digest()
