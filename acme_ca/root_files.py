"""Roots and their revocation lists in files: made elsewhere, and published here."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from cryptography import x509

from acme_ca import config as configuration
from acme_ca.pki import bundle, crl


def load_anchor(path: Path) -> x509.Certificate:
    """Read a root that is published; raises ValueError, which names the file, or OSError."""
    try:
        return bundle.read_root(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"anchor {path}: {error}") from error


def root_crls(config: configuration.Config) -> dict[str, x509.CertificateRevocationList]:
    """Return the revocation lists of roots by the names they are published under; raises ValueError or OSError."""
    of_anchors = {
        path.name: load_anchor_crl(path, environment.anchors)
        for environment in config.environment.values()
        for path in environment.anchor_crls
    }
    return of_anchors | {
        issuer.root_crl.name: load_root_crl(issuer.root_crl, issuer.root)
        for _, issuer in config.issuers
        if issuer.root_crl is not None
    }


def load_anchor_crl(path: Path, anchors: Iterable[Path]) -> x509.CertificateRevocationList:
    """Read the list of one of some roots; raises ValueError, which names the file, or OSError."""
    data, reasons = path.read_bytes(), []
    for root in map(load_anchor, anchors):
        try:
            return crl.read(data, root)
        except ValueError as error:
            reasons.append(str(error))
    raise ValueError(f"revocation list {path}: {'; '.join(reasons) or 'there are no `anchors` that it could be of'}")


def load_root_crl(path: Path, root: Path) -> x509.CertificateRevocationList:
    """Read the list of a root; raises ValueError, which names the file, or OSError."""
    try:
        return crl.read(path.read_bytes(), x509.load_pem_x509_certificate(root.read_bytes()))
    except ValueError as error:
        raise ValueError(f"revocation list {path} of root {root}: {error}") from error
