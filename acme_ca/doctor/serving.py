"""What clients see: the name, the listener, its chain, the CRLs; and who else can reach the listeners."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Iterator, Sequence
from ipaddress import ip_address
from itertools import pairwise
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509

from acme_ca.doctor import generations
from acme_ca.doctor.findings import Finding, Host

DER = 2  # what the C module _ssl calls ENCODING_DER
MAX_CRL = 64 << 20  # bytes
OK, NOT_FOUND = 200, 404


def listener(host: Host) -> Iterator[Finding]:
    """Resolve the CA's own name, connect as a client does, and look at the chain."""
    url = urlsplit(host.config.external_url)
    name, port = url.hostname or "", url.port or 443
    try:
        socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    except OSError as error:
        yield Finding("TLS001", "external_url", f"{name}: {error.strerror}", "an address")
        return
    try:
        chain = _chain(name, port, host.timeout)
    except OSError as error:
        yield Finding("TLS002", "external_url", f"{name}:{port}: {error}", "a TLS server")
        return
    context = ssl.create_default_context(cafile=str(host.config.service.issuer.root))
    try:
        _connect(context, name, port, host.timeout).close()
    except OSError as error:
        yield Finding("TLS003", "external_url", str(error), f"a certificate for {name} below the CA's root")
    yield from _disorder(chain)


def crls(host: Host) -> Iterator[Finding]:
    """Fetch each issuer's CRL from the status listener, as clients do."""
    for issuer_id, certificate in _publishing(host):
        url = f"{host.config.listener.status.url}/crl/{issuer_id}.crl"
        try:
            status, body = get(url, host.timeout)
        except (OSError, http.client.HTTPException) as error:
            yield Finding("CRL003", url, f"no answer: {error}", "a CRL, where certificates point to one")
            continue
        if status == OK:
            yield from _crl(host, issuer_id, certificate, url, body)
        elif status == NOT_FOUND:
            yield Finding("CRL003", url, "there is none", "a CRL, where certificates point to one")
        else:
            yield Finding("CRL002", url, f"status {status}", "a CRL")


def _publishing(host: Host) -> Iterator[tuple[str, x509.Certificate]]:
    """Yield who publishes lists: each issuer of leafs that is not retired, and those of sub-CAs."""
    for name in host.environments:
        settings = host.config.environment[name]
        yield from ((issuer_id, certificate) for issuer_id, certificate, _ in generations.published(host, name))
        for issuer in settings.all_issuers[len(settings.issuer) :]:
            yield issuer.name, x509.load_pem_x509_certificate(issuer.certificate.read_bytes())


def exposure(host: Host) -> Iterator[Finding]:
    """Look at the addresses that the listeners are bound to."""
    listeners = host.config.listener
    if listeners.admin is not None and not _is_loopback(listeners.admin.bind):
        yield Finding("LSN001", "listener.admin.bind", listeners.admin.bind, "a loopback address")
    name = urlsplit(host.config.external_url).hostname or ""
    if _is_loopback(listeners.acme.bind) and not _is_loopback(f"{name}:0"):
        yield Finding("LSN002", "listener.acme.bind", listeners.acme.bind, f"an address that {name} leads to")


def _crl(host: Host, issuer_id: str, certificate: x509.Certificate, url: str, body: bytes) -> Iterator[Finding]:
    try:
        crl = x509.load_der_x509_crl(body)
        is_signed = crl.is_signature_valid(certificate.public_key())  # type: ignore[arg-type]  # an issuer's key signs
    except (ValueError, TypeError) as error:
        yield Finding("CRL002", url, str(error), "a CRL in DER")
        return
    if not is_signed:
        yield Finding("CRL002", url, "the signature is not the issuer's", f"one by {issuer_id}")
    ends = crl.next_update_utc
    if ends is None or ends <= host.now:
        yield Finding("CRL001", url, f"nextUpdate {ends}", f"later than {host.now:%Y-%m-%d %H:%M:%S} UTC")


def get(url: str, timeout: float) -> tuple[int, bytes]:
    """Return status and body of an answer; raises OSError and HTTPException."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=timeout)
    try:
        connection.request("GET", parts.path)
        answer = connection.getresponse()
        return answer.status, answer.read(MAX_CRL)
    finally:
        connection.close()


def _connect(context: ssl.SSLContext, name: str, port: int, timeout: float) -> ssl.SSLSocket:
    raw = socket.create_connection((name, port), timeout)
    try:
        return context.wrap_socket(raw, server_hostname=name)
    except BaseException:
        raw.close()
        raise


def _chain(name: str, port: int, timeout: float) -> Sequence[x509.Certificate]:
    """Return what the server sends, as it sends it, whether it verifies or not."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # only looked at; `listener` verifies too
    with _connect(context, name, port, timeout) as connection:
        inner: Any = connection._sslobj  # type: ignore[attr-defined]  # noqa: SLF001 - public from Python 3.13 on only
        return [x509.load_der_x509_certificate(one.public_bytes(DER)) for one in inner.get_unverified_chain() or ()]


def _disorder(chain: Sequence[x509.Certificate]) -> Iterator[Finding]:
    for number, certificate in enumerate(chain[1:], 1):
        if certificate.subject == certificate.issuer:
            name = certificate.subject.rfc4514_string()
            yield Finding("TLS004", "external_url", f"certificate {number} is the root {name}", "no root")
    for below, above in pairwise(chain):
        if below.issuer != above.subject:
            seen = f"{above.subject.rfc4514_string()} follows a certificate of {below.issuer.rfc4514_string()}"
            yield Finding("TLS004", "external_url", seen, "each certificate's issuer behind it")


def _is_loopback(bind: str) -> bool:
    host = bind.rpartition(":")[0].strip("[]")
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
