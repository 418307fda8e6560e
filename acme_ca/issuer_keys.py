"""The one place where issuers' keys are opened: where they are kept, or with the signer, where there is one."""

from __future__ import annotations

from cryptography import x509

from acme_ca.config import Config
from acme_ca.keys import AnyKey, KeyUnavailableError, PrivateKey, signer
from acme_ca.public_keys import PublicKey

OPERATORS = "listener.admin"  # what the signer calls the issuer of operators' certificates; no issuer can have a dot


def open_key(config: Config, key: AnyKey, issuer: str, certificate: x509.Certificate) -> PrivateKey:
    """Return the key of an issuer and its certificate; raises KeyUnavailableError, KeyAway and KeyRefused."""
    if config.signer is None:
        return key.open()
    public_key = certificate.public_key()
    if not isinstance(public_key, PublicKey):
        raise KeyUnavailableError(f"issuer {issuer} has a {type(public_key).__name__}, which cannot sign here")
    return signer.opened(config.signer_socket, issuer, public_key, config.signer.timeout)


def holding(config: Config) -> Config:
    """Return the same configuration for a process that holds the keys itself: the signer."""
    return config.model_copy(update={"signer": None})


def beforehand(config: Config) -> Config:
    """Return the same configuration for who tries keys while no signer runs yet: whoever starts it has them anyway."""
    return holding(config) if config.signer is not None and config.signer.start else config
