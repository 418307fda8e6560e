"""What every kind of key storage promises: its configuration, and a key to sign with."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TypeAlias

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from pydantic import BaseModel, ConfigDict

PrivateKey: TypeAlias = EllipticCurvePrivateKey | RSAPrivateKey | Ed25519PrivateKey
"""A key that signs: one of cryptography's own, or a subclass of its interfaces that signs elsewhere."""


class KeyUnavailableError(Exception):
    """A key cannot be had. The message says where it was looked for, why it failed, and what to do."""


class KeyBackend(BaseModel, ABC):
    """Where a private key is kept. Subclasses add `type`, a literal that names them in the configuration."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @abstractmethod
    def open(self) -> PrivateKey:
        """Return the key, usable from several threads and after a fork; raises KeyUnavailableError."""
