"""tls-alpn-01: prove control of a TLS server by a certificate made for the purpose. RFC 8737, RFC 8738 §6."""

from __future__ import annotations

import ssl
from ipaddress import ip_address
from typing import ClassVar, Literal

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from pydantic.dataclasses import dataclass

from acme_ca.challenges import outbound
from acme_ca.challenges.base import EXTENSION, Attempt, Challenge, Evidence, Unanswered, excerpt
from acme_ca.challenges.deadline import Deadline
from acme_ca.challenges.outbound import Connection
from acme_ca.identifiers import Identifier, IdentifierType, reverse_name
from acme_ca.problems import ConnectionFailed, IncorrectResponse, TlsFailed

PROTOCOL = "acme-tls/1"
ACME_IDENTIFIER = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31")  # id-pe-acmeIdentifier, RFC 8737 §6.1
_OCTET_STRING_OF_32 = b"\x04\x20"  # DER header of a SHA-256 digest


@dataclass(frozen=True, config=EXTENSION)
class TlsAlpn01(Challenge):
    """Look at the certificate that the host shows for the protocol acme-tls/1. RFC 8737 §3."""

    type: Literal["tls-alpn-01"] = "tls-alpn-01"
    identifier_types: ClassVar[frozenset[IdentifierType]] = frozenset({"dns", "ip"})

    def validate(self, attempt: Attempt) -> Evidence:
        """Return the connection that showed the right certificate; raises IncorrectResponse and others, Unanswered."""
        network, identifier = attempt.network, attempt.identifier
        deadline = Deadline.after(network.timeout)
        with outbound.connect(network, identifier.value, network.tls_port, deadline) as connection:
            where = f"{identifier.value} port {network.tls_port} ({connection.used})"
            octets = _shown_certificate(connection, _server_name(identifier), where, deadline)
            record = connection.record()
        if mistake := _mistake(octets, identifier, attempt.digest_bytes):
            raise IncorrectResponse(f"the certificate of {where} {mistake}")
        return Evidence(f"acme-tls/1 certificate of {where}", (record,))


def _server_name(identifier: Identifier) -> str:
    """Return the SNI: the name, or for an address the name that the reverse DNS has for it. RFC 8738 §6."""
    return identifier.value if identifier.type == "dns" else reverse_name(identifier.value)


def _shown_certificate(connection: Connection, server_name: str, where: str, deadline: Deadline) -> bytes:
    """Return the DER certificate of a handshake in which acme-tls/1 was agreed on; nothing else is sent. §4."""
    try:
        connection.sock.settimeout(deadline.left())
        with _CONTEXT.wrap_socket(connection.sock, server_hostname=server_name) as tls:
            protocol, octets = tls.selected_alpn_protocol(), tls.getpeercert(binary_form=True)
    except (TimeoutError, ConnectionError, *outbound.BROKEN_TLS) as error:
        text = f"{where} accepted the connection but {outbound.describe(error)} (TLS handshake)"
        raise Unanswered(ConnectionFailed(text)) from error
    except (OSError, ValueError) as error:  # an alert, for one, as servers send that do not know acme-tls/1
        reason = getattr(error, "reason", None) or str(error)
        raise TlsFailed(f"{where} failed in TLS: {excerpt(reason)}; expected {PROTOCOL}") from error
    if protocol != PROTOCOL or octets is None:
        raise IncorrectResponse(f"{where} did not agree to {PROTOCOL} (ALPN); its choice is {protocol or 'none'}")
    return octets


def _mistake(octets: bytes, identifier: Identifier, digest: bytes) -> str | None:
    """Say what is wrong with the certificate, or return None. RFC 8737 §3, in full: lax servers were fooled."""
    try:
        certificate = x509.load_der_x509_certificate(octets)
        extensions = certificate.extensions
    except (ValueError, TypeError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        return f"cannot be read: {excerpt(str(error))}"
    san = [found.value for found in extensions if isinstance(found.value, x509.SubjectAlternativeName)]
    names = [name for value in san for name in value]
    proofs = [found for found in extensions if found.oid == ACME_IDENTIFIER]
    if mistake := _names_mistake(names, identifier) or _self_signature_mistake(certificate):
        return mistake
    if not proofs:
        return "has no acmeIdentifier extension (1.3.6.1.5.5.7.1.31)"
    value = proofs[0].value
    if not proofs[0].critical:
        return "has an acmeIdentifier extension that is not critical"
    if not isinstance(value, x509.UnrecognizedExtension) or value.value != _OCTET_STRING_OF_32 + digest:
        return f"has another acmeIdentifier; expected an OCTET STRING of {digest.hex()}"
    return None


def _names_mistake(names: list[x509.GeneralName], identifier: Identifier) -> str | None:
    expected: x509.GeneralName
    if identifier.type == "ip":
        expected = x509.IPAddress(ip_address(identifier.value))
    else:
        expected = x509.DNSName(identifier.value)
        names = [x509.DNSName(name.value.lower()) if isinstance(name, x509.DNSName) else name for name in names]
    if names == [expected]:
        return None
    shown = ", ".join(excerpt(str(name.value)) for name in names[:5]) or "no names"
    return f"is for {shown}; expected a subjectAltName of {identifier.value} alone"


def _self_signature_mistake(certificate: x509.Certificate) -> str | None:
    try:
        certificate.verify_directly_issued_by(certificate)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return "is not self-signed"
    return None


def _context() -> ssl.SSLContext:
    """Return the context: TLS 1.2 or later (RFC 8737 §4), acme-tls/1 alone, and no verification but the one above."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols([PROTOCOL])
    return context


_CONTEXT = _context()  # made once: a context is expensive
