"""Judge a certificate from outside: openssl's verifier, a TLS handshake, and the CA's own word on revocation."""

from __future__ import annotations

import ipaddress
import socket
import sqlite3
import ssl
import threading
from contextlib import closing
from typing import TYPE_CHECKING

from acme import messages
from acme.client import ClientNetwork, ClientV2
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from josepy.jwa import ES256, ES384, RS256, JWASignature
from josepy.jwk import JWK, JWKEC, JWKRSA

from tests.e2e.scenario import run

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tests.e2e.scenario import Issued


def is_ip(name: str) -> bool:
    """Tell whether an identifier is an IP address."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def chain_verifies(issued: Issued, root: Path, names: Iterable[str], folder: Path, purpose: str = "sslserver") -> None:
    """Let openssl build the path to the root under its strict rules, for each name."""
    leaf, *above = issued.certificates()
    leaf_file, above_file = folder / "leaf.pem", folder / "above.pem"
    leaf_file.write_bytes(leaf.public_bytes(Encoding.PEM))
    above_file.write_bytes(b"".join(certificate.public_bytes(Encoding.PEM) for certificate in above))
    rules = ("-x509_strict", "-purpose", purpose)
    for name in names:
        about = ("-verify_ip", name) if is_ip(name) else ("-verify_hostname", name.replace("*", "any"))
        run("openssl", "verify", *rules, "-CAfile", root, "-untrusted", above_file, *about, leaf_file)


def names_are(issued: Issued, names: Iterable[str]) -> None:
    """Compare the names in the leaf with those that were asked for: no more and no fewer."""
    san = issued.leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    found = {str(name) for kind in (x509.DNSName, x509.IPAddress) for name in san.get_values_for_type(kind)}
    assert found == set(names)
    assert len(list(san)) == len(found)


def shakes_hands(issued: Issued, root: Path, names: Iterable[str]) -> None:
    """Serve TLS with the certificate, and connect as a client that trusts the root alone."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(issued.chain, issued.key)
    client = ssl.create_default_context(cafile=str(root))
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    for name in names:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            thread = threading.Thread(target=serve_once, args=(server, theirs))
            thread.start()
            with client.wrap_socket(ours, server_hostname=name.replace("*", "any")) as tls:
                greeting = tls.recv(16)
            thread.join()
            assert greeting == b"hello"


def serve_once(context: ssl.SSLContext, connection: socket.socket) -> None:
    """Shake hands, greet, and close."""
    try:
        with context.wrap_socket(connection, server_side=True) as tls:
            tls.sendall(b"hello")
    except ssl.SSLError:
        return  # the client refused the certificate: it says why


def revoke_by_key(directory: str, root: Path, leaf: x509.Certificate, key_file: Path) -> str | None:
    """Revoke with the certificate's own key, the way that no account has to know of. RFC 8555 §7.6.

    Returns None when that was done, otherwise the type of the problem without its URN.
    """
    key, algorithm = signing_key(key_file.read_bytes())
    network = ClientNetwork(key, alg=algorithm, verify_ssl=str(root))  # type: ignore[arg-type]  # requests takes a path too
    client = ClientV2(ClientV2.get_directory(directory, network), network)
    try:
        client.revoke(leaf, rsn=4)  # superseded
    except messages.Error as error:
        return error.code
    return None


def signing_key(pem: bytes) -> tuple[JWK, JWASignature]:
    """Choose how a certificate's key signs."""
    key = load_pem_private_key(pem, None)
    if isinstance(key, rsa.RSAPrivateKey):
        return JWKRSA(key=key), RS256
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return JWKEC(key=key), {256: ES256, 384: ES384}[key.key_size]


def audited(database: Path, event: str) -> int:
    """Count what the CA put on record under this name."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        count: int = connection.execute("SELECT count(*) FROM audit_events WHERE event = ?", (event,)).fetchone()[0]
        return count
