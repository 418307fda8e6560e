"""Renewal information as the clients read it. RFC 9773 §4."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from acme_ca import clock
from acme_ca.jose import b64url_encode
from acme_ca.pki import ari
from acme_ca.pki.signing import new_serial
from acme_ca.problems import Malformed

BEFORE = datetime.fromisoformat("2026-01-01T00:00:00Z")
AFTER = BEFORE + timedelta(hours=1)


def test_window_of_good_certificate_lies_in_the_second_half_of_its_life() -> None:
    window = ari.window(BEFORE, AFTER, new_serial())
    assert BEFORE + timedelta(minutes=30) <= window.start < window.end < BEFORE + timedelta(minutes=41)


def test_window_of_revoked_certificate_is_past_even_right_after_issuance() -> None:
    now = clock.now()
    window = ari.window_now(now, now + timedelta(hours=1))
    assert window.end <= now


def test_no_window_is_too_narrow_to_choose_a_second_in_it() -> None:
    """Caddy takes a window of a second or less for an invalid answer, and goes by its own schedule."""
    for window in (ari.window_now(BEFORE, AFTER), ari.window(BEFORE, BEFORE + timedelta(minutes=1), new_serial())):
        assert window.end - window.start > timedelta(seconds=2)


def test_identifier_is_read_back() -> None:
    identifier = ari.CertificateIdentifier(b"\x01" * 20, new_serial())
    assert ari.parse(str(identifier)) == identifier


def test_identifier_is_the_same_without_the_octet_for_the_sign() -> None:
    """mod_md writes a serial without the zero octet that DER puts before a set top bit: no serial here has one set."""
    for _ in range(100):
        serial = new_serial()
        octets = serial.to_bytes((serial.bit_length() + 7) // 8, "big")
        assert octets[0] < 0x80
        assert str(ari.CertificateIdentifier(b"\x01", serial)).endswith(b64url_encode(octets))


@pytest.mark.parametrize("text", ["", ".", "AQ", "AQ.", ".AQ", "AQ.gA", "AQ." + "AQ" * 15, "AQ.A=", "A Q.AQ"])
def test_refuses_what_is_no_identifier(text: str) -> None:
    with pytest.raises(Malformed):
        ari.parse(text)
