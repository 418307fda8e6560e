"""Renewal information: the certificate identifier and the window in which to renew. RFC 9773 §4.1, §4.2."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from hashlib import sha256

from acme_ca.jose import b64url_decode, b64url_encode
from acme_ca.problems import Malformed

WINDOW_OPENS, WINDOW_CLOSES = 0.50, 0.67  # as fractions of the lifetime
OPENING_SPREAD = 0.05  # of the lifetime: how much the serial moves the opening, so that renewals spread
PAST_WINDOW = timedelta(minutes=1)  # Caddy takes one of a second for invalid, as no second can be chosen within it
MIN_RETRY_AFTER = 60  # seconds
MAX_RETRY_AFTER = 6 * 3600  # seconds
MAX_SERIAL = 21  # octets of a positive DER INTEGER of 20 octets


@dataclass(frozen=True, slots=True)
class CertificateIdentifier:
    """What names a certificate in ARI: its authority key identifier and serial number."""

    authority_key_id: bytes
    serial: int

    def __str__(self) -> str:
        octets = self.serial.to_bytes(self.serial.bit_length() // 8 + 1, "big")  # a signed DER INTEGER's contents
        return f"{b64url_encode(self.authority_key_id)}.{b64url_encode(octets)}"


@dataclass(frozen=True, slots=True)
class Window:
    """When to renew (`start` before `end`), after how many seconds to ask again, and a page that says why. §4.2."""

    start: datetime
    end: datetime
    retry_after: int
    explanation_url: str | None = None


def parse(text: str) -> CertificateIdentifier:
    """Return the identifier behind its text form; raises Malformed. §4.1."""
    key_id, dot, serial = text.partition(".")
    if not dot or not key_id or not serial:
        raise Malformed("the certificate identifier is not base64url(keyIdentifier).base64url(serial)")
    octets = b64url_decode(serial)
    if len(octets) > MAX_SERIAL or octets[0] >= 0x80:  # noqa: PLR2004 - the sign bit
        raise Malformed("the serial in the certificate identifier is not a positive DER INTEGER of at most 20 octets")
    return CertificateIdentifier(b64url_decode(key_id), int.from_bytes(octets, "big"))


def window(not_before: datetime, not_after: datetime, serial: int) -> Window:
    """Return the suggested window of a certificate in good standing. §4.2."""
    lifetime = not_after - not_before
    jitter = int.from_bytes(sha256(serial.to_bytes(20, "big")).digest()[:4], "big") / 2**32
    start = not_before + lifetime * (WINDOW_OPENS + OPENING_SPREAD * jitter)
    return Window(start, not_before + lifetime * WINDOW_CLOSES, retry_after(lifetime))


def window_now(not_before: datetime, not_after: datetime) -> Window:
    """Return a window in the past: replace the certificate at once (it is revoked). §4.2."""
    return Window(not_before - PAST_WINDOW, not_before, retry_after(not_after - not_before))


def window_at(usual: Window, moment: datetime, now: datetime, explanation_url: str | None) -> Window:
    """Return the window of a certificate that is to be replaced at a moment, if that is before its usual window ends.

    From that moment on it lies in the past; until then the client is asked to come back for it. §4.2, §4.3.
    """
    if usual.end <= moment:
        return replace(usual, explanation_url=explanation_url)
    left = max(MIN_RETRY_AFTER, int((moment - now).total_seconds()))
    return Window(moment - PAST_WINDOW, moment, min(usual.retry_after, left), explanation_url)


def retry_after(lifetime: timedelta) -> int:
    """Return after how many seconds to ask again: a tenth of the lifetime, six hours at most, a minute at least."""
    return max(MIN_RETRY_AFTER, min(int(lifetime.total_seconds() / 10), MAX_RETRY_AFTER))
