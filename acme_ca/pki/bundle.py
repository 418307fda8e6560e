"""What verifies an environment's certificates: its roots, and the keys of its workloads' issuers in SPIFFE bundles.

A bundle is a JWK set. SPIFFE Trust Domain and Bundle.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding

from acme_ca.jose import members_of

REFRESH_HINT = 300  # seconds after which verifiers look again; new issuers are published several times that before use


def authorities(certificates: Iterable[x509.Certificate]) -> dict[str, Any]:
    """Return the bundle of these CA certificates, without its sequence number. §4.1, §4.2.2.

    They are the environment's own issuers and not the root above them: it may be above other environments too.
    """
    return {"keys": [_key(certificate) for certificate in certificates], "spiffe_refresh_hint": REFRESH_HINT}


def roots(certificates: Iterable[x509.Certificate]) -> dict[str, Any]:
    """Return the document of these roots: what relying parties shall trust, in PEM."""
    return {"roots": [certificate.public_bytes(Encoding.PEM).decode() for certificate in certificates]}


def read_root(data: bytes) -> x509.Certificate:
    """Return the one root that a file in PEM has; raises ValueError saying why it is none."""
    certificates = x509.load_pem_x509_certificates(data)
    if len(certificates) != 1:
        raise ValueError(f"it has {len(certificates)} certificates; expected one root")
    (certificate,) = certificates
    name = certificate.subject.rfc4514_string()
    try:
        is_ca = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        certificate.verify_directly_issued_by(certificate)
    except x509.ExtensionNotFound:
        is_ca = False
    except (InvalidSignature, TypeError, ValueError) as error:
        raise ValueError(f"{name} is not self-signed; expected a root, not what is below one") from error
    if not is_ca:
        raise ValueError(f"{name} is no CA certificate")
    return certificate


def _key(certificate: x509.Certificate) -> dict[str, Any]:
    public = members_of(certificate.public_key())  # type: ignore[arg-type]  # issuers have keys of known kinds
    der = b64encode(certificate.public_bytes(Encoding.DER)).decode()
    return {**public, "use": "x509-svid", "x5c": [der]}
