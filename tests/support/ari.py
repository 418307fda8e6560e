"""Renewal information as a client asks for it, made from the certificate alone. RFC 9773 §4.1."""

from __future__ import annotations

from cryptography import x509
from werkzeug.test import TestResponse

from tests.support.acme_client import AcmeClient
from tests.support.jws import b64


def identifier(der: bytes) -> str:
    """The identifier of a certificate."""
    certificate = x509.load_der_x509_certificate(der)
    authority = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    assert authority is not None
    serial = certificate.serial_number
    return f"{b64(authority)}.{b64(serial.to_bytes(serial.bit_length() // 8 + 1, 'big'))}"


def ask(client: AcmeClient, certificate: str) -> TestResponse:
    """GET the renewal information; anybody may."""
    return client.app.test_client().get(client.path(client.url(f"renewalInfo/{certificate}")))
