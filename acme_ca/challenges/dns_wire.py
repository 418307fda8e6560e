"""One question to one resolver, and the octets of its answer. RFC 1035 §4, RFC 6891, RFC 7766, RFC 7858.

Questions are written and empty answers recognised by hand: most answers of a validation are empty (AAAA, CAA at each
label), and dnspython's message objects would cost more than all the rest of it.
"""

from __future__ import annotations

import re
import secrets
import select
import socket
import ssl
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from dns.rcode import Rcode
from dns.rdatatype import RdataType

from acme_ca.challenges.deadline import Deadline
from acme_ca.challenges.network import Resolver

MAX_NAME = 253  # octets in text without the final dot, RFC 1035 §2.3.4
MAX_RECORDS = 500  # of all sections; nobody's validation needs more, and parsing them costs time
TYPICAL_UDP_PAYLOAD = 1232  # avoids fragments on all paths, RFC 9715 §3.1

_HEADER = 12
_NAME = re.compile(r"(?:[a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}")
_OPT = b"\0\0\x29" + TYPICAL_UDP_PAYLOAD.to_bytes(2, "big") + b"\0\0\0\0\0\0"
_IN = b"\0\1"
_MAX_PACKETS = 64  # wrong packets that are put up with before a UDP question is given up


class BadName(ValueError):
    """The name cannot be asked for: too long, or with characters that no host or validation name has."""


class BadReply(OSError):
    """The resolver sent something that is no answer to the question."""


@dataclass(frozen=True, slots=True)
class Question:
    """A name in lower case without the final dot, and a type. The class is always IN."""

    name: str
    rdtype: RdataType

    def encode(self) -> bytes:
        """Return the question section; raises BadName."""
        if len(self.name) > MAX_NAME or not _NAME.fullmatch(self.name):
            raise BadName(f"{self.name[:MAX_NAME]!a} cannot be asked for in the DNS")
        labels = b"".join(bytes((len(label),)) + label.encode() for label in self.name.split("."))
        return labels + b"\0" + self.rdtype.value.to_bytes(2, "big") + _IN

    def __str__(self) -> str:
        return f"{self.rdtype.name} {self.name}"


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that fits its question; `octets` is the whole message."""

    octets: bytes

    @property
    def rcode(self) -> int:
        """The response code of the header, without its extension in OPT."""
        return self.octets[3] & 0x0F

    @property
    def decides(self) -> bool:
        """Whether this is an answer, be it that there is nothing, and not an error of the resolver."""
        return self.rcode in (Rcode.NOERROR, Rcode.NXDOMAIN)

    @property
    def truncated(self) -> bool:
        """Whether the answer must be asked for again over TCP."""
        return bool(self.octets[2] & 0x02)

    @property
    def recursive(self) -> bool:
        """Whether the server follows aliases by itself (RA)."""
        return bool(self.octets[3] & 0x80)

    @property
    def answers(self) -> int:
        """The number of records in the answer section."""
        return self._count(6)

    @property
    def oversized(self) -> bool:
        """Whether there are more records than are worth parsing."""
        return self._count(6) + self._count(8) + self._count(10) > MAX_RECORDS

    def _count(self, offset: int) -> int:
        return int.from_bytes(self.octets[offset : offset + 2], "big")


def ask(resolver: Resolver, question: Question, deadline: Deadline) -> Reply:
    """Put the question to the resolver; raises OSError (TimeoutError, BadReply, ssl.SSLError, …) or BadName."""
    section = question.encode()
    query = _query(section)
    if resolver.protocol == "udp":
        reply = _ask_udp(resolver, query, section, deadline)
        if not reply.truncated:
            return reply
    return _ask_stream(resolver, query, section, deadline)


def ask_together(asked: Iterable[tuple[Resolver, Question]], deadline: Deadline) -> dict[Question, Reply]:
    """Put questions over UDP all at once; return the whole answers that came in time. Raises BadName.

    Each has a socket of its own. What is missing in the end is to be asked again, with more patience.
    """
    waiting: dict[int, tuple[socket.socket, Question, bytes, bytes]] = {}
    found: dict[Question, Reply] = {}
    poller = select.poll()
    with ExitStack() as sockets, suppress(TimeoutError):
        for resolver, question in asked:
            section = question.encode()
            query = _query(section)
            sock = sockets.enter_context(socket.socket(_family(resolver), socket.SOCK_DGRAM))
            with suppress(OSError):
                sock.connect((str(resolver.address), resolver.port))
                sock.send(query)
                waiting[sock.fileno()] = sock, question, query, section
                poller.register(sock, select.POLLIN)
        while waiting:
            for descriptor, _ in poller.poll(deadline.left() * 1000):
                poller.unregister(descriptor)
                sock, question, query, section = waiting.pop(descriptor)
                if reply := _arrived(sock, query, section):
                    found[question] = reply
    return found


def _arrived(sock: socket.socket, query: bytes, section: bytes) -> Reply | None:
    """Return the answer that lies in a socket, or None for what is none, or none that is whole."""
    try:
        octets = sock.recv(0xFFFF, socket.MSG_DONTWAIT)
    except OSError:
        return None
    reply = Reply(octets)
    return reply if _fits(octets, query, section) and not reply.truncated else None


def _query(section: bytes) -> bytes:
    # RD: resolvers are asked to recurse. The random identifier and a new source port for each question are what
    # makes forging an answer hard, RFC 5452 §9.
    return secrets.token_bytes(2) + b"\x01\0\0\1\0\0\0\0\0\1" + section + _OPT


def _ask_udp(resolver: Resolver, query: bytes, section: bytes, deadline: Deadline) -> Reply:
    with socket.socket(_family(resolver), socket.SOCK_DGRAM) as sock:
        sock.connect((str(resolver.address), resolver.port))
        sock.send(query)
        try:
            return _receive_udp(sock, query, section, deadline.within(deadline.left() / 3))
        except TimeoutError:
            sock.send(query)  # a datagram may get lost; the first answer to either will do
            return _receive_udp(sock, query, section, deadline)


def _receive_udp(sock: socket.socket, query: bytes, section: bytes, deadline: Deadline) -> Reply:
    for _ in range(_MAX_PACKETS):
        sock.settimeout(deadline.left())
        reply = sock.recv(0xFFFF)
        if _fits(reply, query, section):
            return Reply(reply)
        # Not the answer to this question, so perhaps a forgery: wait on for the real one.
    raise BadReply("too many packets that do not answer the question")


def _ask_stream(resolver: Resolver, query: bytes, section: bytes, deadline: Deadline) -> Reply:
    with socket.socket(_family(resolver), socket.SOCK_STREAM) as plain:
        plain.settimeout(deadline.left())
        plain.connect((str(resolver.address), resolver.port))
        if resolver.protocol != "tls":
            return _exchange(plain, query, section, deadline)
        name = resolver.tls_name or str(resolver.address)
        with _tls_context(resolver.ca_file).wrap_socket(plain, server_hostname=name) as sock:
            return _exchange(sock, query, section, deadline)


def _exchange(sock: socket.socket, query: bytes, section: bytes, deadline: Deadline) -> Reply:
    sock.settimeout(deadline.left())
    sock.sendall(len(query).to_bytes(2, "big") + query)
    reply = _read(sock, int.from_bytes(_read(sock, 2, deadline), "big"), deadline)
    if not _fits(reply, query, section):
        raise BadReply("the reply does not answer the question")
    return Reply(reply)


def _read(sock: socket.socket, size: int, deadline: Deadline) -> bytes:
    octets = bytearray()
    while len(octets) < size:
        sock.settimeout(deadline.left())
        piece = sock.recv(size - len(octets))
        if not piece:
            raise BadReply("the resolver closed the connection")
        octets += piece
    return bytes(octets)


def _fits(reply: bytes, query: bytes, section: bytes) -> bool:
    """Tell whether the message is a response (QR, opcode 0) to this very question."""
    if len(reply) < _HEADER or reply[:2] != query[:2] or reply[2] & 0xF8 != 0x80:  # noqa: PLR2004 - header bits
        return False
    if reply[4:6] == b"\0\0":  # servers that cannot read a question do not repeat it in their error
        return reply[3] & 0x0F != 0
    # Length octets are below 64, so lower() touches nothing but the letters.
    return reply[4:6] == b"\0\1" and reply[_HEADER : _HEADER + len(section)].lower() == section


def _family(resolver: Resolver) -> socket.AddressFamily:
    return socket.AF_INET if resolver.address.version == 4 else socket.AF_INET6  # noqa: PLR2004 - IP version


@cache  # reading all roots of the system takes 40 ms
def _tls_context(ca_file: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca_file)
    context.set_alpn_protocols(["dot"])
    return context
