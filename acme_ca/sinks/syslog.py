"""Syslog over TLS: RFC 5424 messages, RFC 5425 transport with octet counting.

The protocol has no acknowledgement. Each batch has a connection of its own, which is closed in good order by both
sides: only then has the server read everything.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from acme_ca.paths import ExistingFile
from acme_ca.sinks.base import DeliveryFailedError, SealedEvent, Sink
from acme_ca.sinks.formats import FORMATS, FormatName

PORT = 6514  # RFC 5425 §4.1
LOG_AUDIT = 13  # the facility, RFC 5424 §6.2.1
NOTICE, WARNING = 5, 4  # severities
MAX_SEQUENCE = 2_147_483_647  # RFC 5424 §7.3.1: it starts again at 1
PIECE = 4096


class Syslog(Sink):
    """A syslog server that is reached over TLS."""

    type: Literal["syslog"] = "syslog"
    host: Annotated[str, StringConstraints(min_length=1, max_length=253)]
    """The server's name or address; its certificate has to have it."""
    port: int = Field(default=PORT, ge=1, le=65_535)
    """Its port."""
    ca_file: ExistingFile | None = None
    """A PEM file of roots that the server's certificate may come from; the system's by default."""
    certificate: ExistingFile | None = None
    """A PEM file with a client certificate and its key, for a server that asks for one."""
    timeout: float = Field(default=10.0, gt=0, le=25)
    """Seconds for each step of a delivery."""
    format: FormatName = "native"
    """How an event is written in the message."""

    def deliver(self, events: Sequence[SealedEvent]) -> None:
        """Send the events; return once the server closed the connection in good order."""
        hostname = socket.gethostname()
        try:
            data = b"".join(framed(event, hostname, self.format) for event in events)
            with (
                socket.create_connection((self.host, self.port), self.timeout) as plain,
                self._context().wrap_socket(plain, server_hostname=self.host) as connection,
            ):
                connection.sendall(data)
                _finish(connection)
        except (OSError, ValueError) as error:  # ValueError: a name that no certificate can have
            reason = "it took too long" if isinstance(error, TimeoutError) else str(error)
            raise DeliveryFailedError(f"syslog server {self.host}:{self.port}: {reason}") from error

    def _context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.ca_file)
        if self.certificate is not None:
            context.load_cert_chain(self.certificate)
        return context


def framed(event: SealedEvent, hostname: str, name: FormatName) -> bytes:
    """Return the event as a message with its length before it. RFC 5424 §6, RFC 5425 §4.3."""
    severity = WARNING if event.failed else NOTICE
    time = event.at.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
    sequence = (event.seq - 1) % MAX_SEQUENCE + 1
    head = (
        f"<{LOG_AUDIT * 8 + severity}>1 {time} {_word(hostname, 255)} acme-ca - {_word(event.event, 32)} "
        f'[meta sequenceId="{sequence}"] '
    )
    message = head.encode() + b"\xef\xbb\xbf" + FORMATS[name](event).encode()  # MSG-UTF8 begins with a BOM
    return b"%d %s" % (len(message), message)


def _word(text: str, limit: int) -> str:
    """Return printable US-ASCII without spaces, or the nil value. RFC 5424 §6."""
    return "".join(letter for letter in text if "!" <= letter <= "~")[:limit] or "-"


def _finish(connection: ssl.SSLSocket) -> None:
    """Say that this was all, and wait until the server says the same."""
    try:
        plain = connection.unwrap()
    except ssl.SSLEOFError:
        return  # it closed without TLS's own goodbye, as some servers do
    plain.shutdown(socket.SHUT_WR)
    while plain.recv(PIECE):
        pass
