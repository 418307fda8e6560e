"""A web server on loopback that answers http-01 as tests tell it to, well or badly."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

WELL_KNOWN = "/.well-known/acme-challenge/"

Behaviour = Callable[[socket.socket, threading.Event], None]
"""What to do with a connection after its request was read; the event is set when the server is to end."""


@dataclass
class WebServer:
    """The server's answers by path. Ports are known once it runs."""

    answers: dict[str, Behaviour] = field(default_factory=dict)
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    """(path, header fields in lower case) of every request, in order."""
    port: int = 0

    def token(self, token: str, body: str) -> None:
        """Answer the challenge with the body."""
        self.raw(WELL_KNOWN + token, reply(200, body.encode()))

    def redirect(self, path: str, location: str, status: int = 302) -> None:
        self.raw(path, reply(status, b"", Location=location))

    def raw(self, path: str, octets: bytes) -> None:
        """Answer with these very octets."""
        self.answers[path] = lambda sock, _: sock.sendall(octets)

    def huge(self, path: str, octets: int) -> None:
        self.raw(path, reply(200, b"x" * octets))

    def endless(self, path: str, head: bytes, piece: bytes) -> None:
        """Send the head, then the piece again and again until the client leaves."""

        def send(sock: socket.socket, stop: threading.Event) -> None:
            sock.sendall(head)
            while not stop.is_set():
                sock.sendall(piece)

        self.answers[path] = send

    def slow(self, path: str, body: bytes, pause: float = 0.05) -> None:
        """Send the answer octet by octet."""

        def send(sock: socket.socket, stop: threading.Event) -> None:
            for octet in reply(200, body):
                sock.sendall(bytes((octet,)))
                if stop.wait(pause):
                    return

        self.answers[path] = send

    def silent(self, path: str) -> None:
        """Read the request and never answer."""
        self.answers[path] = lambda _, stop: (stop.wait(), None)[1]

    def hang_up(self, path: str) -> None:
        """Read the request and close the connection."""
        self.answers[path] = lambda _sock, _stop: None


def reply(status: int, body: bytes, **fields: str) -> bytes:
    """Return the octets of an ordinary answer."""
    lines = [f"HTTP/1.1 {status} As Told", *(f"{name}: {value}" for name, value in fields.items())]
    head = "\r\n".join([*lines, f"Content-Length: {len(body)}", "Connection: close", "", ""])
    return head.encode("latin-1") + body


@contextmanager
def serve(web: WebServer, tls: ssl.SSLContext | None = None, address: str = "127.0.0.1") -> Iterator[WebServer]:
    """Run the server on a free port; with a context it speaks https."""
    server = _Server(web, tls, address)
    web.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield web
    finally:
        server.stop.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, web: WebServer, tls: ssl.SSLContext | None, address: str) -> None:
        self.web = web
        self.tls = tls
        self.stop = threading.Event()
        super().__init__((address, 0), _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients that give up are what these tests are about."""


class _Handler(socketserver.BaseRequestHandler):
    server: _Server

    def handle(self) -> None:
        sock: socket.socket = self.request
        sock.settimeout(5)
        if self.server.tls is not None:
            sock = self.server.tls.wrap_socket(sock, server_side=True)
        with contextlib.closing(sock), contextlib.suppress(OSError):
            path, fields = _read_request(sock)
            self.server.web.requests.append((path, fields))
            behaviour = self.server.web.answers.get(path)
            if behaviour is None:
                sock.sendall(reply(404, b"no such page"))
            else:
                behaviour(sock, self.server.stop)


def _read_request(sock: socket.socket) -> tuple[str, dict[str, str]]:
    octets = b""
    while b"\r\n\r\n" not in octets:
        piece = sock.recv(4096)
        if not piece:
            raise ConnectionError("the client left")
        octets += piece
    first, *lines = octets.split(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    fields = dict(line.split(": ", 1) for line in lines)
    return first.split(" ")[1], {name.lower(): value for name, value in fields.items()}
