"""Syslog over TLS: RFC 5424 messages, RFC 5425 transport with octet counting.

The protocol has no acknowledgement. Each batch has a connection of its own, which is closed in good order by both
sides: only then has the server read everything. One that breaks off may have lost what it was sent.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from acme_ca.paths import ExistingFile
from acme_ca.sinks.base import DeliveryFailedError, SealedEvent, Sink
from acme_ca.sinks.formats import FORMATS
from acme_ca.vocabulary import FormatName

PORT = 6514  # RFC 5425 §4.1
LOG_AUDIT = 13  # the facility, RFC 5424 §6.2.1
NOTICE, WARNING = 5, 4  # severities
MAX_SEQUENCE = 2_147_483_647  # RFC 5424 §7.3.1: it starts again at 1
PIECE = 16_384  # octets of a TLS record, RFC 8446 §5.1


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
    """Seconds for a delivery, from the connection to its end."""
    close_notify: bool = True
    """Whether the server ends TLS in good order. With false one that just hangs up counts as having taken everything:
    only for servers that never do otherwise, as events that get lost on the way are then not sent again."""
    format: FormatName = "native"
    """How an event is written in the message."""

    def deliver(self, events: Sequence[SealedEvent]) -> None:
        """Send the events; return once the server closed the connection in good order."""
        hostname, deadline = socket.gethostname(), time.monotonic() + self.timeout
        try:
            data = b"".join(framed(event, hostname, self.format) for event in events)
            with (
                socket.create_connection((self.host, self.port), self.timeout) as plain,
                self._context().wrap_socket(plain, server_hostname=self.host) as connection,
            ):
                _send(connection, data, deadline)
                self._finish(connection, deadline)
        except (OSError, ValueError) as error:  # ValueError: a name that no certificate can have, or a bad end
            reason = "it took too long" if isinstance(error, TimeoutError) else str(error)
            raise DeliveryFailedError(f"syslog server {self.host}:{self.port}: {reason}") from error

    def _finish(self, connection: ssl.SSLSocket, deadline: float) -> None:
        """Say that this was all, and wait until the server says the same."""
        connection.settimeout(_left(deadline))
        try:
            plain = connection.unwrap()
        except ssl.SSLError as error:
            if self.close_notify:
                raise ValueError(f"it did not end TLS in good order (close_notify): {error}") from error
            return
        if not self.close_notify:
            return  # there may be nobody any more
        plain.shutdown(socket.SHUT_WR)
        plain.settimeout(_left(deadline))
        while plain.recv(PIECE):
            plain.settimeout(_left(deadline))

    def _context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.ca_file)
        if self.close_notify:  # Python sets this option: what was cut off would have ended well
            context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
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


def _send(connection: ssl.SSLSocket, data: bytes, deadline: float) -> None:
    """Send everything; the timeout of `sendall` starts again with every octet that a slow server takes."""
    rest = memoryview(data)
    while rest:
        connection.settimeout(_left(deadline))
        rest = rest[connection.send(rest[:PIECE]) :]


def _left(deadline: float) -> float:
    """Return the seconds that are left; raises TimeoutError when there are none."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
