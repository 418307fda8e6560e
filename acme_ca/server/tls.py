"""The TLS side of the HTTPS listener: one context for a process, made again when the certificate's file changes."""

from __future__ import annotations

import ssl
import threading
from contextlib import suppress
from pathlib import Path

import structlog

from acme_ca.server.connections import BoundedTls

# TLS 1.2 only with forward secrecy and authenticated encryption (RFC 9325 §4.2); TLS 1.3 has nothing else.
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"

log = structlog.get_logger(__name__)


class TlsContexts:
    """Gives each new connection the context of the certificate that is in the file now; the old ones keep theirs.

    Making a context costs more than a handshake, looking at a file's times next to nothing.
    """

    def __init__(self, path: Path, clients: Path | None = None) -> None:
        self._path = path
        self._clients = clients
        self._lock = threading.Lock()
        self._seen: tuple[int, int] | None = None
        self._context: ssl.SSLContext | None = None
        with suppress(OSError):  # there is one to go on with if the file is spoilt before the first connection
            self.current()

    def current(self) -> ssl.SSLContext:
        """Return the context for a connection; raises OSError when there never was a usable certificate."""
        with self._lock:
            try:
                status = self._path.stat()
                seen = (status.st_ino, status.st_mtime_ns)
                if self._context is None or seen != self._seen:
                    self._context, self._seen = context(self._path, self._clients), seen
            except OSError:  # ssl.SSLError is one
                if self._context is None:
                    raise
                log.exception("tls.certificate_unusable", path=str(self._path), serving="the previous one")
            return self._context


def context(path: Path, clients: Path | None = None) -> ssl.SSLContext:
    """Return a server's context with the key and chain in the PEM file `path`; raises OSError.

    Clients may show a certificate of the issuers in the PEM file `clients`; any other ends the handshake.
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    made.set_ciphers(CIPHERS)
    made.set_alpn_protocols(["http/1.1"])
    made.num_tickets = 1  # clients come back one connection at a time
    made.load_cert_chain(path)
    made.sslsocket_class = BoundedTls
    if clients is not None:
        made.load_verify_locations(clients)
        made.verify_mode = ssl.CERT_OPTIONAL
    return made
