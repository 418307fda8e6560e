"""Trust anchors: from the environment's SPIFFE bundle where it has one, otherwise the CA's own root file."""

from __future__ import annotations

from base64 import b64decode
from dataclasses import dataclass

from cryptography import x509

from acme_ca.agent.client import Server
from acme_ca.agent.errors import AgentError
from acme_ca.agent.messages import Bundle

REFRESH = 300.0  # seconds, where the bundle gives no hint
_BOUNDS = (30.0, 3600.0)


@dataclass(frozen=True, slots=True)
class Anchors:
    """Roots, and after how many seconds to look for others."""

    certificates: tuple[x509.Certificate, ...]
    refresh: float


def fetch(server: Server) -> Anchors:
    """Return the trust anchors of an environment; raises AgentError."""
    meta = server.directory.meta.workload_identity
    if meta is None or meta.bundle is None:
        return Anchors(_of_file(server), REFRESH)
    server.require_own(meta.bundle, "meta.workloadIdentity.bundle")
    return anchors_of(server.transport.get(meta.bundle, "the bundle").read(Bundle), meta.bundle)


def anchors_of(bundle: Bundle, url: str) -> Anchors:
    """Return the trust anchors in a bundle; raises AgentError, naming the bundle's URL."""
    hint = REFRESH if bundle.spiffe_refresh_hint is None else float(bundle.spiffe_refresh_hint)
    try:
        found = tuple(
            x509.load_der_x509_certificate(b64decode(text, validate=True))
            for key in bundle.keys
            if key.use == "x509-svid"
            for text in key.x5c
        )
    except ValueError as error:
        raise AgentError(f"the bundle {url} has an x5c that is no certificate: {error}") from error
    if not found:
        raise AgentError(f"the bundle {url} has no key with the use x509-svid")
    return Anchors(found, min(max(hint, _BOUNDS[0]), _BOUNDS[1]))


def _of_file(server: Server) -> tuple[x509.Certificate, ...]:
    file = server.transport.ca_file
    if file is None:
        raise AgentError(f"{server.url} names no bundle, so the trust anchors are to be given with --ca-file")
    try:
        return tuple(x509.load_pem_x509_certificates(file.read_bytes()))
    except OSError as error:
        raise AgentError(f"{file} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise AgentError(f"{file} has no certificates in PEM: {error}") from error
