"""Every private key that the configuration names, and whether it is the one that is known in public."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.serialization import load_pem_public_key
from cryptography.x509 import load_pem_x509_certificate

from acme_ca import public_keys
from acme_ca.config import Config
from acme_ca.keys import AnyKey, KeyAway, KeyUnavailableError
from acme_ca.problems import BadPublicKey
from acme_ca.secret import SecretUnavailableError
from acme_ca.vocabulary import AUTHORITY_KEY_TYPES, LISTENER_KEY_TYPES, KeyType


class KeyFaultError(Exception):
    """A key cannot be used, or is another one. The message says what was seen."""


@dataclass(frozen=True, slots=True)
class ConfiguredKey:
    """A key. `name` is its issuer's, or what it is for; `public` has its certificate or its public half, in PEM."""

    name: str
    place: str
    key: AnyKey
    public: Path
    kinds: tuple[KeyType, ...] = AUTHORITY_KEY_TYPES
    """Which kinds of key do what it is for."""

    def require_kind(self, kind: KeyType) -> None:
        """Raise KeyFaultError for a kind that does not do."""
        if kind not in self.kinds:
            raise KeyFaultError(f"{kind} is no kind of key for {self.name}; expected {', '.join(self.kinds)}")

    def check(self) -> tuple[KeyType, bytes]:
        """Open it, and return its kind and the SHA-256 of its SPKI (32 bytes). Raises KeyFaultError."""
        try:
            found = self.key.open().public_key()
            kind = public_keys.check(found)
        except BadPublicKey as error:
            raise KeyFaultError(error.detail) from error
        except (KeyUnavailableError, KeyAway, SecretUnavailableError) as error:
            raise KeyFaultError(str(error)) from error
        try:
            pem = self.public.read_bytes()
            known = load_pem_public_key(pem) if b"PUBLIC KEY" in pem else load_pem_x509_certificate(pem).public_key()
        except (OSError, ValueError) as error:
            raise KeyFaultError(f"{self.public} cannot be read: {error}") from error
        if found != known:
            raise KeyFaultError(f"{self.public} is of another key than {self.key}")
        self.require_kind(kind)
        return kind, public_keys.spki_sha256(found)


def configured_keys(config: Config) -> Iterator[ConfiguredKey]:
    """Yield the keys of issuers, of operators' certificates and of the audit trail."""
    service = config.service.issuer
    yield ConfiguredKey(service.name, "service.issuer", service.key, service.certificate, LISTENER_KEY_TYPES)
    for name, environment in config.environment.items():
        table = f"environment.{name}"
        places = {issuer.name: f"{table}.issuer[{number}]" for number, issuer in enumerate(environment.issuer)}
        for issuer in environment.all_issuers:
            place = places.get(issuer.name, f"{table}.sub_ca")
            yield ConfiguredKey(issuer.name, place, issuer.key, issuer.certificate)
    if config.listener.admin is not None:
        admin = config.listener.admin.issuer
        yield ConfiguredKey("admin", "listener.admin.issuer", admin.key, admin.certificate, LISTENER_KEY_TYPES)
    if config.audit.key is not None:
        yield ConfiguredKey("audit", "audit.key", config.audit.key, config.audit_public_key, ("ec-p256",))
