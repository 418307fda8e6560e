"""The names and web pages that the server under test validates: a small DNS and an http-01 responder.

Every name has the address 127.0.0.1 and no other record. The http-01 answers (RFC 8555 §8.3) need no table of
tokens: a name begins with the number of its client (see `name_of`), whose key's thumbprint is known beforehand.
"""

import selectors
import signal
import socket
import struct
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection as Pipe

_PREFIX = b"/.well-known/acme-challenge/"
_MAX_REQUEST = 16 * 1024
_TYPE_A = 1
_NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_LOOPBACK_RECORD = struct.pack(">HHHIH4s", 0xC00C, _TYPE_A, 1, 60, 4, socket.inet_aton("127.0.0.1"))


def name_of(client: int, order: int, tail: str) -> str:
    """Return the DNS name of a client's order; all names of one tail are equally long."""
    return f"c{client:04d}-{order:07d}.{tail}"


def client_of(name: bytes) -> int:
    """Return the client of a name of `name_of`; raises ValueError for another name."""
    if name[:1] != b"c" or name[5:6] != b"-":
        raise ValueError("not a name of the generator")
    return int(name[1:5])


def dns_answer(query: bytes) -> bytes | None:
    """Answer a DNS query: an A record for every A question, else no record; None if it is no query. RFC 1035 §4."""
    if len(query) < 17 or query[2] & 0xF8 or query[4:6] != b"\0\1":  # noqa: PLR2004 - header, root name, type and class
        return None
    end = 12
    while end < len(query) and query[end]:
        end += query[end] + 1
    question = query[12 : end + 5]
    if len(question) != end - 7:
        return None
    kind = int.from_bytes(question[-4:-2], "big")
    found = kind == _TYPE_A
    flags = 0x8480 | (query[2] & 1) << 8  # QR, AA, RA; RD as asked
    return query[:2] + struct.pack(">HHHHH", flags, 1, found, 0, 0) + question + (_LOOPBACK_RECORD if found else b"")


def http_answer(request: bytes, thumbprints: Mapping[int, str]) -> bytes:
    """Return the key authorization that one request's token and host stand for. RFC 8555 §8.1, §8.3."""
    first, _, head = request.partition(b"\r\n")
    method, _, rest = first.partition(b" ")
    target = rest.partition(b" ")[0]
    at = head.lower().find(b"host:")
    host = head[at + 5 : head.find(b"\r\n", at)].strip()
    try:
        thumbprint = thumbprints[client_of(host)]
    except (ValueError, KeyError):
        return _NOT_FOUND
    if method != b"GET" or at < 0 or not target.startswith(_PREFIX):
        return _NOT_FOUND
    body = target.removeprefix(_PREFIX) + b"." + thumbprint.encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n%b" % (
        len(body),
        body,
    )


class Responder:
    """Both responders in one loop; it ends when the other end of `control` is closed."""

    def __init__(
        self,
        sockets: tuple[socket.socket, socket.socket],
        control: "Pipe[object, object]",
        thumbprints: Mapping[int, str],
    ) -> None:
        self._http, self._dns = sockets
        self._thumbprints = thumbprints
        self._running = True
        self._selector = selectors.DefaultSelector()
        self._watch(self._http, self._accept)
        self._watch(self._dns, self._answer_dns)
        self._selector.register(control, selectors.EVENT_READ, self._stop)

    def run(self) -> None:
        """Answer until told to stop."""
        while self._running:
            for key, _ in self._selector.select():
                key.data()

    def _watch(self, source: socket.socket, act: Callable[[], None]) -> None:
        source.setblocking(False)  # noqa: FBT003 - the standard library's signature
        self._selector.register(source, selectors.EVENT_READ, act)

    def _stop(self) -> None:
        self._running = False

    def _answer_dns(self) -> None:
        try:
            query, sender = self._dns.recvfrom(4096)
            if answer := dns_answer(query):
                self._dns.sendto(answer, sender)
        except OSError:
            return  # nothing there after all, or the asker is gone

    def _accept(self) -> None:
        try:
            peer, _ = self._http.accept()
        except OSError:
            return
        received = bytearray()
        self._watch(peer, lambda: self._answer_http(peer, received))

    def _answer_http(self, peer: socket.socket, received: bytearray) -> None:
        try:
            data = peer.recv(4096)
            received += data
            while (end := received.find(b"\r\n\r\n")) >= 0:
                peer.sendall(http_answer(bytes(received[: end + 2]), self._thumbprints))
                del received[: end + 4]
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data or len(received) > _MAX_REQUEST:
            self._selector.unregister(peer)
            peer.close()


def listen(http_port: int, dns_port: int) -> tuple[socket.socket, socket.socket]:
    """Bind the responder's sockets on 127.0.0.1 (TCP for http-01, UDP for DNS); port 0 takes a free one."""
    http = socket.create_server(("127.0.0.1", http_port), backlog=512)
    dns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        dns.bind(("127.0.0.1", dns_port))
    except OSError:
        http.close()
        dns.close()
        raise
    return http, dns


def run(
    sockets: tuple[socket.socket, socket.socket], control: "Pipe[object, object]", thumbprints: Mapping[int, str]
) -> None:
    """Be the responder's process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends its children
    Responder(sockets, control, thumbprints).run()
