"""Private keys of issuers: one module for each place where a key can live, and `AnyKey`, the list of them."""

from __future__ import annotations

from acme_ca.keys.base import KeyAway, KeyBackend, KeyUnavailableError, PrivateKey
from acme_ca.keys.software import SoftwareKey

AnyKey = SoftwareKey  # the union of all backends, discriminated by `type`, from the second one on

__all__ = ["AnyKey", "KeyAway", "KeyBackend", "KeyUnavailableError", "PrivateKey", "SoftwareKey"]
