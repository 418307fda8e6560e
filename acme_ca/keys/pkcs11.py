"""Keys in HSMs and tokens, by PKCS#11. OASIS PKCS #11 v3.0; the key is named by a URI of RFC 7512.

The key never leaves the token. It must be made so that it cannot: sensitive, not extractable, for signing.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from acme_ca.keys.base import KeyBackend, PrivateKey, numbered
from acme_ca.keys.pkcs11_uri import Pkcs11Uri
from acme_ca.paths import AnchoredPath
from acme_ca.secret import Secret
from acme_ca.vocabulary import KEY_TYPES, MLDSA_KEY_TYPES, KeyType

if TYPE_CHECKING:
    from acme_ca.keys.pkcs11_library import Door, Library


class Pkcs11Key(KeyBackend):
    """A key in an HSM or another token."""

    kinds: ClassVar[Collection[KeyType]] = tuple(kind for kind in KEY_TYPES if kind not in MLDSA_KEY_TYPES)
    type: Literal["pkcs11"]
    uri: Pkcs11Uri
    """Names token and key: `pkcs11:token=LABEL;object=LABEL`, RFC 7512."""
    module: AnchoredPath | None = None
    """The vendor's PKCS#11 library, if the URI has no `module-path`."""
    pin: Secret | None = None
    """The user's PIN, if the URI has no `pin-source` and the token wants one."""
    extractable: bool = False
    """Whether a key is accepted that can be taken out of the token."""
    keep_alive: Annotated[float, Field(ge=0, le=3600)] = 60
    """Seconds without a signature after which one is made, to find out early that a session is lost; 0: off."""

    @model_validator(mode="after")
    def _once(self) -> Self:
        if (self.module is None) == (self.uri.module_path is None):
            raise ValueError("expected the library once: `module`, or module-path in the URI")
        if self.pin is not None and self.uri.pin_source is not None:
            raise ValueError("expected the PIN once: `pin`, or pin-source in the URI")
        return self

    @property
    def stem(self) -> str:
        """The label of the key."""
        return self.uri.label or (self.uri.id or b"").hex()

    def __str__(self) -> str:
        """Return the URI."""
        return str(self.uri)

    def exists(self) -> bool:
        """Look for the private key; raises KeyUnavailableError and KeyAway."""
        from acme_ca.keys.pkcs11_objects import private_keys

        door, library = self._ways()
        with library.turn(str(self)):
            return library.with_session(door, lambda session: bool(private_keys(session, self.uri)))

    def open(self) -> PrivateKey:
        """Find the key, see that it is what it should be, and let it sign once. Raises KeyUnavailableError, KeyAway."""
        from acme_ca.keys import elsewhere
        from acme_ca.keys.pkcs11_store import Pkcs11Store

        store = Pkcs11Store(*self._ways(), extractable=self.extractable)
        store.look()
        return elsewhere.opened(store, self.keep_alive)

    def create(self, kind: KeyType) -> PrivateKey:
        """Make a key pair in the token, which the private key cannot leave. Raises KeyUnavailableError, KeyAway."""
        from acme_ca.keys.pkcs11_objects import generate

        self.require_kind(kind)
        door, library = self._ways()
        with library.turn(str(self)):
            library.write(door, lambda session: generate(session, self.uri, kind))
        return self.open()

    def beside(self, number: int) -> Self:
        """Return the key of another label in the same token; that of a key without one is made of its id."""
        return self.model_copy(update={"uri": replace(self.uri, label=numbered(self.stem, number), id=None)})

    def _ways(self) -> tuple[Door, Library]:
        """Return how to get to the token. The vendor's code is loaded where a key of it is used, and nowhere else."""
        from acme_ca.keys.pkcs11_library import Door, library

        path = self.uri.module_path
        pin = self.pin if self.uri.pin_source is None else Secret("file", self.uri.pin_file)
        return Door(self.uri, pin), library(self.module if path is None else Path(path))  # type: ignore[arg-type]  # one is there: see _once
