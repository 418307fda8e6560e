"""Private keys of issuers: one module for each place where a key can live, and `AnyKey`, the list of them."""

from __future__ import annotations

import sys
from typing import Annotated

from pydantic import BeforeValidator, Field

from acme_ca.keys.base import KeyAway, KeyBackend, KeyUnavailableError, PrivateKey
from acme_ca.keys.pkcs11 import Pkcs11Key
from acme_ca.keys.software import SoftwareKey


def _of_a_type(value: object) -> object:
    return {"type": "software", **value} if isinstance(value, dict) else value


AnyKey = Annotated[SoftwareKey | Pkcs11Key, Field(discriminator="type"), BeforeValidator(_of_a_type)]
"""A key of any type; without one it is in a file."""

__all__ = ["AnyKey", "KeyAway", "KeyBackend", "KeyUnavailableError", "Pkcs11Key", "PrivateKey", "SoftwareKey", "let_go"]


def let_go() -> None:
    """Close what this process holds open of keys; those that are used again are opened again."""
    for name in ("elsewhere", "pkcs11_library"):  # which are loaded where keys are elsewhere, and not before
        module = sys.modules.get(f"{__name__}.{name}")
        if module is not None:
            module.let_go()
