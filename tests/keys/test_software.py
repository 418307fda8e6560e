"""Keys in encrypted files."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa, x25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from pydantic import TypeAdapter

from acme_ca import public_keys
from acme_ca.keys import AnyKey, KeyBackend, KeyUnavailableError, SoftwareKey
from acme_ca.secret import Secret
from acme_ca.vocabulary import MLDSA_KEY_TYPES, KeyType
from tests.keys.contract import KeyContract

PASSPHRASE = b"a passphrase long enough"


@pytest.fixture
def unopened(tmp_path: Path) -> SoftwareKey:
    """Return a backend whose file is not there yet."""
    (tmp_path / "passphrase").write_bytes(PASSPHRASE)
    (tmp_path / "passphrase").chmod(0o600)
    return SoftwareKey(path=tmp_path / "ca.key", passphrase=Secret("file", str(tmp_path / "passphrase")))


def write(backend: SoftwareKey, key: PrivateKeyLike, encryption: KeySerializationEncryption) -> None:
    backend.path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))


PrivateKeyLike = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | x25519.X25519PrivateKey


class TestSoftwareKey(KeyContract):
    @pytest.fixture(params=["ec-p256", "ec-p384", "ed25519", "rsa-2048", "ml-dsa-65"])
    def backend(self, unopened: SoftwareKey, request: pytest.FixtureRequest) -> KeyBackend:
        unopened.create(request.param)
        return unopened


@pytest.mark.parametrize("kind", ["ec-p256", "ec-p384", "ec-p521", "ed25519", "rsa-3072", *MLDSA_KEY_TYPES])
def test_a_key_of_the_asked_kind_is_created(unopened: SoftwareKey, kind: KeyType) -> None:
    assert public_keys.check(unopened.create(kind).public_key()) == kind


def test_a_created_key_is_encrypted_and_for_its_owner_only(unopened: SoftwareKey) -> None:
    unopened.create("ec-p256")
    assert stat.S_IMODE(unopened.path.stat().st_mode) == 0o600
    assert unopened.path.read_bytes().startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")


def test_a_key_file_is_never_overwritten(unopened: SoftwareKey) -> None:
    unopened.create("ec-p256")
    before = unopened.path.read_bytes()
    with pytest.raises(KeyUnavailableError, match=r"ca\.key exists already"):
        unopened.create("ec-p256")
    assert unopened.path.read_bytes() == before


def test_a_key_in_a_missing_folder_is_not_created(unopened: SoftwareKey, tmp_path: Path) -> None:
    lost = unopened.model_copy(update={"path": tmp_path / "nowhere" / "ca.key"})
    with pytest.raises(KeyUnavailableError, match="cannot be written: No such file"):
        lost.create("ec-p256")


def test_a_short_passphrase_is_refused_for_a_new_key(unopened: SoftwareKey, tmp_path: Path) -> None:
    (tmp_path / "passphrase").write_bytes(b"short")
    with pytest.raises(KeyUnavailableError, match="has 5 bytes, at least 16"):
        unopened.create("ec-p256")
    assert not unopened.path.exists()


def test_a_missing_file_is_named(unopened: SoftwareKey) -> None:
    with pytest.raises(KeyUnavailableError, match=r"ca\.key: No such file"):
        unopened.open()


def test_a_missing_passphrase_is_named(unopened: SoftwareKey, tmp_path: Path) -> None:
    unopened.create("ec-p256")
    (tmp_path / "passphrase").unlink()
    with pytest.raises(KeyUnavailableError, match=r"passphrase of private key .* No such file"):
        unopened.open()


def test_a_wrong_passphrase_is_refused(unopened: SoftwareKey, tmp_path: Path) -> None:
    unopened.create("ec-p256")
    (tmp_path / "passphrase").write_bytes(b"another passphrase, as long")
    with pytest.raises(KeyUnavailableError, match="not under the passphrase of file:"):
        unopened.open()


def test_an_unencrypted_key_is_refused_and_how_to_encrypt_it_said(unopened: SoftwareKey) -> None:
    write(unopened, ec.generate_private_key(ec.SECP256R1()), NoEncryption())
    with pytest.raises(KeyUnavailableError, match="not encrypted; `openssl pkcs8 -topk8"):
        unopened.open()


@pytest.mark.parametrize("content", [b"", b"junk", b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END"])
def test_a_broken_file_is_refused(unopened: SoftwareKey, content: bytes) -> None:
    unopened.path.write_bytes(content)
    with pytest.raises(KeyUnavailableError, match="not an encrypted PKCS#8"):
        unopened.open()


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (x25519.X25519PrivateKey.generate(), "cannot sign"),
        (ec.generate_private_key(ec.SECP256K1()), "secp256k1"),
        (rsa.generate_private_key(65_537, 1024), "1024"),
    ],
    ids=["x25519", "secp256k1", "rsa-1024"],
)
def test_a_key_that_may_not_sign_certificates_is_refused(
    unopened: SoftwareKey, key: PrivateKeyLike, message: str
) -> None:
    write(unopened, key, BestAvailableEncryption(PASSPHRASE))
    with pytest.raises(KeyUnavailableError, match=message):
        unopened.open()


def test_the_configuration_names_a_backend_by_its_type(tmp_path: Path) -> None:
    key = TypeAdapter[AnyKey](AnyKey).validate_python(
        {"type": "software", "path": "ca.key", "passphrase": "env:PASSPHRASE"}, context={"folder": tmp_path}
    )
    assert key == SoftwareKey(path=tmp_path / "ca.key", passphrase=Secret("env", "PASSPHRASE"))
