"""A tls-alpn-01 responder on loopback, with the right certificate and each kind of wrong one. RFC 8737 §3."""

from __future__ import annotations

import contextlib
import datetime as dt
import socket
import ssl
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

ACME_IDENTIFIER = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31")
PROTOCOL = "acme-tls/1"


@dataclass(frozen=True)
class Recipe:
    """A certificate's contents; the defaults are right except for the digest."""

    names: tuple[str, ...]
    digest: bytes = b""
    extension: x509.ObjectIdentifier = ACME_IDENTIFIER
    critical: bool = True
    twice: bool = False
    der: bytes | None = None
    """The extension's value, in place of the OCTET STRING of the digest."""
    self_signed: bool = True
    forged_signature: bool = False
    more_names: tuple[x509.GeneralName, ...] = ()

    def names_extension(self) -> x509.SubjectAlternativeName:
        return x509.SubjectAlternativeName([*(_general_name(name) for name in self.names), *self.more_names])

    def value(self) -> bytes:
        return self.der if self.der is not None else bytes((4, len(self.digest))) + self.digest


def certificate(recipe: Recipe) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """Return a certificate to the recipe, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "acme")])
    issuer = subject if recipe.self_signed else x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "other")])
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
    )
    if recipe.names or recipe.more_names:
        builder = builder.add_extension(recipe.names_extension(), critical=False)
    if recipe.digest or recipe.der is not None:
        value = x509.UnrecognizedExtension(recipe.extension, recipe.value())
        builder = builder.add_extension(value, critical=recipe.critical)
    signer = ec.generate_private_key(ec.SECP256R1()) if recipe.forged_signature else key
    return builder.sign(signer, hashes.SHA256()), key


def context(recipe: Recipe, protocols: Sequence[str] = (PROTOCOL,)) -> ssl.SSLContext:
    """Return a server's context with a certificate to the recipe."""
    made, key = certificate(recipe)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + made.public_bytes(Encoding.PEM)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if protocols:
        server.set_alpn_protocols(list(protocols))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "chain.pem")
        path.write_bytes(pem)
        server.load_cert_chain(path)
    return server


def server_context(*names: str) -> ssl.SSLContext:
    """Return the context of an ordinary https server."""
    return context(Recipe(names), protocols=())


@dataclass
class Responder:
    """A running responder. Without a context it accepts connections and stays silent."""

    port: int
    context: ssl.SSLContext | None = None
    server_names: list[str | None] = field(default_factory=list)
    """The SNI of each handshake."""

    def show(self, recipe: Recipe, protocols: Sequence[str] = (PROTOCOL,)) -> None:
        """Answer from now on with a certificate to the recipe."""
        self.context = context(recipe, protocols)
        self.context.sni_callback = lambda _sock, name, _context: self.server_names.append(name)


@contextmanager
def serve() -> Iterator[Responder]:
    """Run a responder on a free port of 127.0.0.1."""
    listener = socket.create_server(("127.0.0.1", 0))
    responder = Responder(listener.getsockname()[1])
    held: list[socket.socket] = []
    thread = threading.Thread(target=_accept, args=(listener, responder, held), daemon=True)
    thread.start()
    try:
        yield responder
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
        for sock in held:
            sock.close()


def _accept(listener: socket.socket, responder: Responder, held: list[socket.socket]) -> None:
    while True:
        try:
            sock, _ = listener.accept()
        except OSError:  # the listener was closed
            return
        if responder.context is None:
            held.append(sock)
            continue
        with sock, contextlib.suppress(OSError):
            sock.settimeout(5)
            with responder.context.wrap_socket(sock, server_side=True) as secured:
                secured.recv(1)  # until the client leaves


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def verifiable_context(ca_file: Path, *names: str) -> ssl.SSLContext:
    """Return a server's context whose self-signed certificate is written to a file, for clients that verify."""
    made, key = certificate(Recipe(names))
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + made.public_bytes(Encoding.PEM)
    ca_file.write_bytes(made.public_bytes(Encoding.PEM))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    chain = ca_file.with_suffix(".chain.pem")
    chain.write_bytes(pem)
    server.load_cert_chain(chain)
    return server
