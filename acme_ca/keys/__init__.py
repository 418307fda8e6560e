"""Private keys of issuers: one module for each place where a key can live, and `AnyKey`, the list of them."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import Field

from acme_ca.keys.aws_kms import AwsKmsKey
from acme_ca.keys.azure_key_vault import AzureKeyVaultKey
from acme_ca.keys.base import KeyAway, KeyBackend, KeyUnavailableError, PrivateKey
from acme_ca.keys.google_kms import GoogleKmsKey
from acme_ca.keys.software import SoftwareKey
from acme_ca.keys.transit import TransitKey

AnyKey: TypeAlias = Annotated[
    SoftwareKey | AwsKmsKey | AzureKeyVaultKey | GoogleKmsKey | TransitKey, Field(discriminator="type")
]

__all__ = [
    "AnyKey",
    "AwsKmsKey",
    "AzureKeyVaultKey",
    "GoogleKmsKey",
    "KeyAway",
    "KeyBackend",
    "KeyUnavailableError",
    "PrivateKey",
    "SoftwareKey",
    "TransitKey",
]
