"""What every kind of key storage promises: its configuration, and a key to sign with."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Collection
from pathlib import Path
from typing import ClassVar, Self, TypeAlias

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey, MLDSA65PrivateKey, MLDSA87PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from pydantic import BaseModel, ConfigDict

from acme_ca.problems import ServiceUnavailable
from acme_ca.vocabulary import KEY_TYPES, KeyType

MldsaPrivateKey: TypeAlias = MLDSA44PrivateKey | MLDSA65PrivateKey | MLDSA87PrivateKey
PrivateKey: TypeAlias = EllipticCurvePrivateKey | RSAPrivateKey | Ed25519PrivateKey | MldsaPrivateKey
"""A key that signs: one of cryptography's own, or a subclass of its interfaces that signs elsewhere."""


class KeyUnavailableError(Exception):
    """A key cannot be had until somebody acts. The message says where it was looked for, why, and what to do."""


class KeyAway(ServiceUnavailable):
    """What keeps a key does not answer now; it may again, without anybody's help. `reason` is for operators alone."""

    def __init__(self, where: str, reason: str, *, retry_after: int = 5) -> None:
        super().__init__("a signing key cannot be reached; repeat the request", retry_after=retry_after)
        self.where = where
        self.reason = reason

    def __str__(self) -> str:
        """Return what operators need to know."""
        return f"{self.where}: {self.reason}"


class KeyRefused(ServiceUnavailable):
    """What keeps a key answers that it will not sign this. `reason`, for operators alone, has what was expected.

    It is no client's fault: what was to be signed is the CA's own work, so that the client may come again.
    """

    def __init__(self, where: str, reason: str) -> None:
        super().__init__("the issuer could not sign; the operators find the reason in the log", retry_after=60)
        self.where = where
        self.reason = reason

    def __str__(self) -> str:
        """Return what operators need to know."""
        return f"{self.where} refused to sign: {self.reason}"


class KeyBackend(BaseModel, ABC):
    """Where a private key is kept. Subclasses add `type`, a literal that names them in the configuration."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    kinds: ClassVar[Collection[KeyType]] = KEY_TYPES
    """The kinds of key that can be made there."""

    @property
    def file(self) -> Path | None:
        """The file of this host that the key is in, if it is in one."""
        return None

    @property
    @abstractmethod
    def stem(self) -> str:
        """A name for files about the key."""

    @abstractmethod
    def __str__(self) -> str:
        """Say where it is, as messages, logs and metrics do. Never a secret."""

    @abstractmethod
    def exists(self) -> bool:
        """Whether there is such a key. Raises KeyUnavailableError and KeyAway when that cannot be told."""

    @abstractmethod
    def open(self) -> PrivateKey:
        """Return the key, usable from several threads and after a fork; raises KeyUnavailableError and KeyAway."""

    @abstractmethod
    def beside(self, number: int) -> Self:
        """Return where the key of a later generation is: in the same store, under a name with another number."""

    def create(self, kind: KeyType) -> PrivateKey:
        """Make a new key of a kind where it is kept, never in the place of one. Raises as `open` does."""
        raise KeyUnavailableError(
            f"{self}: a key of kind {kind} cannot be made from here; make it with the tools of its store"
        )

    def require_kind(self, kind: KeyType) -> None:
        """Raise KeyUnavailableError for a kind that cannot be made there."""
        if kind not in self.kinds:
            raise KeyUnavailableError(
                f"{self}: no key of kind {kind} can be made there, expected one of {', '.join(self.kinds)}; "
                'a file (type = "software") holds any kind'
            )


def numbered(name: str, number: int) -> str:
    """Return the name of a later generation: `prod` and `prod-1` are followed by `prod-2`, and `prod-7` by `prod-8`."""
    found = re.fullmatch(r"(.+)-([0-9]{1,6})", name, re.ASCII)
    stem, first = (found[1], int(found[2])) if found else (name, 1)
    return f"{stem}-{first + number - 1}"
