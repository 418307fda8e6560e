"""SPIFFE bundles: the keys that verify an environment's workloads, as a JWK set. SPIFFE Trust Domain and Bundle."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from acme_ca.jose import members_of

REFRESH_HINT = 300  # seconds after which verifiers look again; new issuers are published several times that before use


def authorities(certificates: Iterable[x509.Certificate]) -> dict[str, Any]:
    """Return the bundle of these CA certificates, without its sequence number. §4.1, §4.2.2.

    They are the environment's own issuers and not the root above them: it may be above other environments too.
    """
    return {"keys": [_key(certificate) for certificate in certificates], "spiffe_refresh_hint": REFRESH_HINT}


def _key(certificate: x509.Certificate) -> dict[str, Any]:
    public = members_of(certificate.public_key())  # type: ignore[arg-type]  # issuers have keys of known kinds
    der = b64encode(certificate.public_bytes(Encoding.DER)).decode()
    return {**public, "use": "x509-svid", "x5c": [der]}
