"""A key that cannot be opened here, of which the public half is known: what it signed elsewhere can be published."""

from __future__ import annotations

from acme_ca.keys.base import KeyAway, PrivateKey
from acme_ca.keys.elsewhere import Scheme, Store, private_key
from acme_ca.public_keys import PublicKey


class _Closed(Store):
    def __init__(self, where: str, public_key: PublicKey, reason: str) -> None:
        self.where = where
        self.public_key = public_key
        self._reason = reason

    def sign(self, scheme: Scheme, message: bytes) -> bytes:
        del scheme, message
        raise KeyAway(self.where, self._reason)


def closed(where: str, public_key: PublicKey, reason: str) -> PrivateKey:
    """Return a key that is away whenever it is to sign."""
    return private_key(_Closed(where, public_key, reason))
