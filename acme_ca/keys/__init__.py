"""Private keys of issuers: one module for each place where a key can live, and `AnyKey`, the list of them."""

from __future__ import annotations

import sys
from typing import Annotated, TypeAlias

from pydantic import BeforeValidator, Field

from acme_ca.keys.aws_kms import AwsKmsKey
from acme_ca.keys.azure_key_vault import AzureKeyVaultKey
from acme_ca.keys.base import KeyAway, KeyBackend, KeyRefused, KeyUnavailableError, PrivateKey, numbered
from acme_ca.keys.google_kms import GoogleKmsKey
from acme_ca.keys.pkcs11 import Pkcs11Key
from acme_ca.keys.software import SoftwareKey
from acme_ca.keys.transit import TransitKey

__all__ = [
    "AnyKey",
    "AwsKmsKey",
    "AzureKeyVaultKey",
    "GoogleKmsKey",
    "KeyAway",
    "KeyBackend",
    "KeyRefused",
    "KeyUnavailableError",
    "Pkcs11Key",
    "PrivateKey",
    "SoftwareKey",
    "TransitKey",
    "let_go",
    "numbered",
]


def _of_a_type(value: object) -> object:
    return {"type": "software", **value} if isinstance(value, dict) else value


AnyKey: TypeAlias = Annotated[
    SoftwareKey | Pkcs11Key | AwsKmsKey | AzureKeyVaultKey | GoogleKmsKey | TransitKey,
    Field(discriminator="type"),
    BeforeValidator(_of_a_type),
]
"""A key of any type; without one it is in a file."""


def let_go() -> None:
    """Close what this process holds open of keys; those that are used again are opened again."""
    for name in ("keeper", "pkcs11_library"):  # which are loaded where keys are elsewhere, and not before
        module = sys.modules.get(f"{__name__}.{name}")
        if module is not None:
            module.let_go()
