"""What every key backend must do. A backend's test class inherits KeyContract and provides `backend`."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from pydantic import ValidationError

from acme_ca import public_keys
from acme_ca.keys import KeyBackend, PrivateKey
from acme_ca.pki.signing import hash_for

MESSAGE = b"to be signed"
HASHES: dict[str, hashes.HashAlgorithm] = {
    "secp256r1": hashes.SHA256(),
    "secp384r1": hashes.SHA384(),
    "secp521r1": hashes.SHA512(),
}
"""What keys on a curve sign with: many services sign with nothing else."""


def sign(key: PrivateKey, message: bytes = MESSAGE) -> bytes:
    if isinstance(key, EllipticCurvePrivateKey):
        return key.sign(message, ec.ECDSA(HASHES[key.curve.name]))
    if isinstance(key, RSAPrivateKey):
        return key.sign(message, padding.PKCS1v15(), hashes.SHA256())
    return key.sign(message)


def verify(key: public_keys.PublicKey, signature: bytes, message: bytes = MESSAGE) -> None:
    if isinstance(key, EllipticCurvePublicKey):
        key.verify(signature, message, ec.ECDSA(HASHES[key.curve.name]))
    elif isinstance(key, RSAPublicKey):
        key.verify(signature, message, padding.PKCS1v15(), hashes.SHA256())
    else:
        assert isinstance(key, Ed25519PublicKey | public_keys.MldsaPublicKey)
        key.verify(signature, message)


class Child:
    """A process that was forked with a key, and signs once."""

    def __init__(self, key: PrivateKey) -> None:
        self._reader, writer = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            try:
                os.write(writer, sign(key))
            finally:
                os._exit(0)
        os.close(writer)

    def signature(self) -> bytes:
        """Wait for it; nothing if it failed."""
        with os.fdopen(self._reader, "rb") as pipe:
            signature = pipe.read()
        os.waitpid(self._pid, 0)
        return signature


class KeyContract:
    """Inherit, and override `backend` with a fixture that returns a working backend."""

    @pytest.fixture
    def backend(self) -> KeyBackend:
        raise NotImplementedError

    def test_the_key_signs_what_its_public_key_verifies(self, backend: KeyBackend) -> None:
        key = backend.open()
        verify(key.public_key(), sign(key))

    def test_the_key_passes_the_key_policy(self, backend: KeyBackend) -> None:
        assert public_keys.check(backend.open().public_key())

    def test_opening_twice_gives_the_same_key(self, backend: KeyBackend) -> None:
        verify(backend.open().public_key(), sign(backend.open()))

    def test_the_key_signs_certificates(self, backend: KeyBackend) -> None:
        key = backend.open()
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "contract")])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(1)
            .not_valid_before(now)
            .not_valid_after(now + timedelta(hours=1))
            .sign(key, hash_for(key))
        )
        certificate.verify_directly_issued_by(certificate)

    def test_threads_sign_at_once(self, backend: KeyBackend) -> None:
        key = backend.open()
        messages = [str(number).encode() for number in range(64)]
        with ThreadPoolExecutor(8) as pool:
            signatures = list(pool.map(lambda message: sign(key, message), messages))
        for signature, message in zip(signatures, messages, strict=True):
            verify(key.public_key(), signature, message)

    def test_a_later_generation_has_a_key_of_its_own_in_the_same_store(self, backend: KeyBackend) -> None:
        key, later = backend.open(), backend.beside(2)
        assert not later.exists()
        made = later.create(public_keys.check(key.public_key()))
        if not isinstance(key, RSAPrivateKey):  # of which stand-ins make one, for the time it takes
            assert made.public_key() != key.public_key()
        verify(made.public_key(), sign(later.open()))
        verify(key.public_key(), sign(backend.open()))
        assert later.type == backend.type  # type: ignore[attr-defined]  # every backend has it; KeyBackend leaves its literal open
        assert len({str(backend), str(later), str(backend.beside(3))}) == 3

    @pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
    def test_a_forked_child_signs(self, backend: KeyBackend) -> None:
        key = backend.open()
        sign(key)
        verify(key.public_key(), Child(key).signature())
        verify(key.public_key(), sign(key))

    def test_the_configuration_is_frozen_and_has_no_unknown_members(self, backend: KeyBackend) -> None:
        with pytest.raises(ValidationError, match="frozen"):
            backend.type = "other"  # type: ignore[attr-defined]  # every backend has it; KeyBackend leaves its literal open
        with pytest.raises(ValidationError, match="Extra inputs"):
            type(backend).model_validate(dict(backend) | {"colour": "blue"})
