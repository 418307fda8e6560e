"""Keys elsewhere: what they can do, and how a store that is away, or wrong, is met."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy, deepcopy
from datetime import datetime
from functools import partial

import pytest
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, x448
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from acme_ca.keys import KeyAway, KeyUnavailableError, PrivateKey, breaker, elsewhere
from acme_ca.keys.elsewhere import Scheme, Store
from acme_ca.pki.signing import MldsaPrivateKey, new_mldsa, signature_of
from acme_ca.pki.signing import sign as signed
from acme_ca.vocabulary import MLDSA_KEY_TYPES
from tests.keys.contract import sign, verify

ECDSA = ec.ECDSA(hashes.SHA256())


class Memory(Store):
    """A store with one key in memory, that can be away, and can be wrong."""

    where = "memory"

    def __init__(self, key: PrivateKey) -> None:
        self.key, self.public_key = key, key.public_key()
        self.asked = 0
        self.is_away = self.is_wrong = False

    def sign(self, scheme: Scheme, message: bytes) -> bytes:
        self.asked += 1
        if self.is_away:
            raise KeyAway(self.where, "it was unplugged")
        if self.is_wrong:
            message += b"?"
        if isinstance(self.key, ec.EllipticCurvePrivateKey):
            assert scheme.hash is not None
            return self.key.sign(message, ec.ECDSA(scheme.hash))
        if isinstance(self.key, rsa.RSAPrivateKey):
            assert scheme.hash is not None
            size = scheme.hash.digest_size
            how = padding.PSS(padding.MGF1(scheme.hash), size) if scheme.name == "rsa-pss" else padding.PKCS1v15()
            return self.key.sign(message, how, scheme.hash)
        return self.key.sign(message)


KINDS: dict[str, Callable[[], PrivateKey]] = {
    "ec": lambda: ec.generate_private_key(ec.SECP384R1()),
    "rsa": lambda: rsa.generate_private_key(65_537, 2048),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    **{kind: partial(new_mldsa, kind) for kind in MLDSA_KEY_TYPES},
}


@pytest.mark.parametrize("kind", KINDS)
def test_it_signs_and_stays(kind: str) -> None:
    store = Memory(KINDS[kind]())
    key = elsewhere.private_key(store)
    verify(key.public_key(), sign(key))
    assert copy(key) is key
    assert deepcopy(key) is key
    with pytest.raises(UnsupportedAlgorithm, match="stays where it is"):
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    if isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        assert key.key_size == store.key.key_size  # type: ignore[union-attr]  # only Ed25519 has none
        with pytest.raises(UnsupportedAlgorithm, match="stays where it is"):
            key.private_numbers()


def test_rsa_signs_with_pss_too() -> None:
    key = elsewhere.private_key(Memory(KINDS["rsa"]()))
    assert isinstance(key, rsa.RSAPrivateKey)
    pss = padding.PSS(padding.MGF1(hashes.SHA384()), padding.PSS.DIGEST_LENGTH)
    key.public_key().verify(key.sign(b"message", pss, hashes.SHA384()), b"message", pss, hashes.SHA384())


@pytest.mark.parametrize("algorithm", [hashes.SHA1(), Prehashed(hashes.SHA256())])
def test_other_hashes_are_refused(algorithm: hashes.HashAlgorithm | Prehashed) -> None:
    key = elsewhere.private_key(Memory(KINDS["ec"]()))
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    with pytest.raises(UnsupportedAlgorithm, match="SHA-256, SHA-384 or SHA-512"):
        key.sign(b"message", ec.ECDSA(algorithm))


def test_other_kinds_are_refused() -> None:
    store = Memory(KINDS["ec"]())
    other: object = x448.X448PrivateKey.generate().public_key()
    store.public_key = other  # type: ignore[assignment]  # what a store might have
    with pytest.raises(KeyUnavailableError, match="cannot sign here"):
        elsewhere.private_key(store)


def test_a_wrong_signature_is_never_given_out() -> None:
    store = Memory(KINDS["ec"]())
    store.is_wrong = True
    with pytest.raises(KeyAway) as raised:
        sign(elsewhere.private_key(store))
    assert "does not verify" in raised.value.reason
    assert "verify" not in raised.value.detail


def test_what_is_away_is_not_asked_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    time = [0.0]
    monkeypatch.setattr(breaker, "monotonic", lambda: time[0])
    store = Memory(KINDS["ec"]())
    key = elsewhere.private_key(store)
    sign(key)
    store.is_away = True
    for _ in range(5):
        with pytest.raises(KeyAway, match="unplugged") as raised:
            sign(key)
        assert raised.value.headers == {"Retry-After": "1"}
    assert store.asked == 2
    pauses = []
    for _ in range(9):
        pause = 0.0
        asked = store.asked
        while store.asked == asked:
            pause += 0.5
            time[0] += 0.5
            with pytest.raises(KeyAway):
                sign(key)
        pauses.append(pause)
    assert pauses == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    store.is_away = False
    time[0] += 30
    assert sign(key)
    assert sign(key)


@pytest.mark.parametrize("kind", MLDSA_KEY_TYPES)
def test_what_it_signs_by_ml_dsa_is_a_certificate(kind: str) -> None:
    key = elsewhere.private_key(Memory(new_mldsa(kind)))
    now, name = datetime(2030, 1, 1), x509.Name([])  # noqa: DTZ001 - the builder keeps it so
    certificate = signed(x509.CertificateBuilder(name, name, key.public_key(), 1, now, now), key)
    certificate.verify_directly_issued_by(certificate)
    assert signature_of(certificate) == kind
    assert isinstance(key, MldsaPrivateKey)
    with pytest.raises(UnsupportedAlgorithm, match="stays where it is"):
        key.sign(b"message", b"context")
    with pytest.raises(UnsupportedAlgorithm, match="stays where it is"):
        key.sign_mu(b"m" * 64)
    with pytest.raises(UnsupportedAlgorithm, match="stays where it is"):
        key.private_bytes_raw()
