"""What people name certificates and keys by: a serial or a hash in hexadecimal, or PEM."""

from __future__ import annotations

import re

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from acme_ca.problems import Malformed
from acme_ca.public_keys import spki_sha256

_SERIAL = re.compile(r"[0-9a-f]{1,40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def serial_of(text: str) -> str:
    """Return the serial that a person wrote in hexadecimal, colons or not, as the ledger has it; raises Malformed."""
    return _digits(text, _SERIAL, "serial").zfill(34)


def key_sha256_of(text: str) -> str:
    """Return the SHA-256 of a key that a person wrote in hexadecimal, colons or not; raises Malformed."""
    return _digits(text, _SHA256, "key_sha256")


def key_hash_of(text: str) -> bytes:
    """Return the SHA-256 of the SubjectPublicKeyInfo that a person named; raises Malformed.

    The text is that hash in hexadecimal, a public key in PEM, or a certificate in PEM.
    """
    if "-----BEGIN" not in text:
        return bytes.fromhex(key_sha256_of(text))
    try:
        if "CERTIFICATE-----" in text:
            return spki_sha256(x509.load_pem_x509_certificate(text.encode()).public_key())  # type: ignore[arg-type]  # a key of any kind has such an encoding
        return spki_sha256(load_pem_public_key(text.encode()))  # type: ignore[arg-type]  # as above
    except (ValueError, TypeError, x509.InvalidVersion, UnsupportedAlgorithm) as error:
        raise Malformed("key: expected a public key or a certificate in PEM, or a SHA-256 in hexadecimal") from error


def _digits(text: str, pattern: re.Pattern[str], what: str) -> str:
    digits = text.replace(":", "").strip().lower()
    if not pattern.fullmatch(digits):
        raise Malformed(f"{what}: expected hexadecimal digits, at most 40 of a serial and 64 of a key's SHA-256")
    return digits.lstrip("0") if pattern is _SERIAL else digits
