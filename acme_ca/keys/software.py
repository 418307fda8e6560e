"""Keys in files: PKCS#8 PEM (RFC 7468 §11), encrypted under a passphrase that is kept elsewhere."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Literal, Self

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from acme_ca import public_keys
from acme_ca.keys.base import KeyBackend, KeyUnavailableError, MldsaPrivateKey, PrivateKey, numbered
from acme_ca.paths import AnchoredPath
from acme_ca.problems import BadPublicKey
from acme_ca.secret import Secret, SecretUnavailableError
from acme_ca.vocabulary import KeyType

SHORTEST_PASSPHRASE = 16  # bytes; PKCS#8 files are written with 2048 rounds of PBKDF2, too few for a short one

CURVES: dict[str, ec.EllipticCurve] = {
    "ec-p256": ec.SECP256R1(),
    "ec-p384": ec.SECP384R1(),
    "ec-p521": ec.SECP521R1(),
}

MLDSA: dict[str, type[MldsaPrivateKey]] = {
    "ml-dsa-44": mldsa.MLDSA44PrivateKey,
    "ml-dsa-65": mldsa.MLDSA65PrivateKey,
    "ml-dsa-87": mldsa.MLDSA87PrivateKey,
}


class SoftwareKey(KeyBackend):
    """A key in an encrypted file, held in memory while it is used."""

    type: Literal["software"] = "software"
    path: AnchoredPath
    """The file."""
    passphrase: Secret
    """Decrypts it: `file:`, `env:` or `credential:`."""

    @property
    def file(self) -> Path:
        """The file that the key is in."""
        return self.path

    @property
    def stem(self) -> str:
        """The name of the file without its ending."""
        return self.path.stem

    def __str__(self) -> str:
        """Name the file."""
        return f"private key {self.path}"

    def exists(self) -> bool:
        """Whether the file is there."""
        return self.path.exists()

    def open(self) -> PrivateKey:
        """Decrypt the file; raises KeyUnavailableError for a missing, unencrypted, broken or too weak key."""
        try:
            key = load_pem_private_key(self.path.read_bytes(), self._passphrase())
        except OSError as error:
            raise KeyUnavailableError(f"{self}: {error.strerror}") from error
        except TypeError as error:
            raise KeyUnavailableError(
                f"{self} is not encrypted; `openssl pkcs8 -topk8 -v2 aes-256-cbc -in {self.path}` encrypts it"
            ) from error
        except (ValueError, UnsupportedAlgorithm) as error:
            raise KeyUnavailableError(
                f"{self}: not an encrypted PKCS#8 PEM file, or not under the passphrase of {self.passphrase}"
            ) from error
        return self._accepted(key)

    def create(self, kind: KeyType) -> PrivateKey:
        """Make a new key and write its file, mode 0600; never replaces one. Raises KeyUnavailableError."""
        passphrase = self._passphrase()
        if len(passphrase) < SHORTEST_PASSPHRASE:
            raise KeyUnavailableError(
                f"the passphrase of {self.passphrase} has {len(passphrase)} bytes, at least {SHORTEST_PASSPHRASE} are "
                "needed; `openssl rand -base64 32` makes a good one"
            )
        try:
            key = _generate(kind)
        except UnsupportedAlgorithm as error:
            raise KeyUnavailableError(f"{self}: {error}; cryptography has to be one with its own OpenSSL") from error
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(passphrase))
        try:
            self._write(pem)
        except FileExistsError as error:
            raise KeyUnavailableError(f"{self} exists already; it is never overwritten") from error
        except OSError as error:
            raise KeyUnavailableError(f"{self} cannot be written: {error.strerror}") from error
        return key

    def beside(self, number: int) -> Self:
        """Return the key in a file of the same folder, under the same passphrase."""
        return self.model_copy(update={"path": self.path.with_stem(numbered(self.path.stem, number))})

    def _passphrase(self) -> bytes:
        try:
            return self.passphrase.reveal()
        except SecretUnavailableError as error:
            raise KeyUnavailableError(f"the passphrase of {self}: {error}") from error

    def _accepted(self, key: object) -> PrivateKey:
        """Return `key` if it is of a kind and strength that may sign certificates."""
        if not isinstance(key, PrivateKey):
            raise KeyUnavailableError(f"{self} is a {type(key).__name__}, which cannot sign here")
        try:
            public_keys.check(key.public_key())
        except BadPublicKey as error:
            raise KeyUnavailableError(f"{self}: {error.detail}") from error
        return key

    def _write(self, pem: bytes) -> None:
        """Write the new file so that it is whole and on disk, or not there."""
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with open(descriptor, "wb") as file:  # noqa: PTH123 - pathlib cannot open a descriptor
                file.write(pem)
                file.flush()
                os.fsync(descriptor)
        except OSError:
            with suppress(OSError):
                self.path.unlink()
            raise
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)  # the name has to survive a crash too: certificates will depend on this key
        finally:
            os.close(folder)


def _generate(kind: KeyType) -> PrivateKey:
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    if kind in CURVES:
        return ec.generate_private_key(CURVES[kind])
    if kind in MLDSA:
        return MLDSA[kind].generate()
    return rsa.generate_private_key(public_exponent=65_537, key_size=int(kind.removeprefix("rsa-")))
