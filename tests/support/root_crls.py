"""Revocation lists of the root that `acme-ca init` made."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from acme_ca.keys import PrivateKey, SoftwareKey
from acme_ca.pki import crl
from acme_ca.pki.crl import CrlRequest, Revoked
from acme_ca.secret import Secret

NAME = "root-1.crl"


def root_key(folder: Path) -> PrivateKey:
    """The key of the root of a CA."""
    passphrase = Secret("file", str(folder / "keys" / "passphrase"))
    return SoftwareKey(path=folder / "keys" / "root.key", passphrase=passphrase).open()


def replace_list(
    folder: Path,
    number: int | None = None,
    revoked: Iterable[int] = (),
    *,
    since: timedelta = timedelta(),
    lasts: timedelta = timedelta(days=365),
) -> bytes:
    """Put another list of the root in its place, and return it in DER."""
    root = x509.load_pem_x509_certificate((folder / "certificates" / "root.pem").read_bytes())
    start = datetime.now(UTC) - since
    lines = [Revoked(serial, start, 4) for serial in revoked]
    number = int(start.timestamp()) + 1 if number is None else number
    der = crl.make(CrlRequest(number, start, start + lasts, lines), root, root_key(folder))
    (folder / "certificates" / NAME).write_bytes(crl.to_pem(der))
    return der
