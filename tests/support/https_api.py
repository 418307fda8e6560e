"""An HTTPS server on loopback whose answers are a function: for issuers and APIs that are asked. Keeps connections.

`with serve(folder, answer) as server:`; `server.fault` makes it fail in the ways that servers do.
"""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal

from tests.support.pop import tls_server

Fault = Literal[
    "500", "redirect", "garbage", "array", "deep", "huge", "empty", "silent", "drip", "continue", "cut", "gzip"
]


@dataclass(frozen=True)
class Request:
    """A request that arrived. The names of fields are in lower case."""

    method: str
    path: str
    fields: Mapping[str, str]
    body: bytes
    connection: int
    """Tells one connection from another."""

    def json(self) -> Any:  # noqa: ANN401 - whatever the client sent
        return json.loads(self.body)


Answer = Callable[[Request], tuple[int, object]]
"""The status, and what becomes JSON; bytes stand for themselves."""


@dataclass
class HttpsApi:
    """A running server. `paths` are those that were asked, in order."""

    answer: Answer
    port: int = 0
    ca_file: Path = Path()
    fault: Fault | None = None
    requests: list[Request] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)
    plain: bool = False
    fields: dict[str, str] = field(default_factory=dict)
    """Added to the header of each answer."""

    @property
    def url(self) -> str:
        return f"{'http' if self.plain else 'https'}://127.0.0.1:{self.port}"

    @property
    def paths(self) -> list[str]:
        return [request.path for request in self.requests]


@contextmanager
def serve(folder: Path, answer: Answer, *, plain: bool = False) -> Iterator[HttpsApi]:
    """Run a server on a free port; a plain one has no TLS."""
    api = HttpsApi(answer, plain=plain)
    context = None
    if not plain:
        context, api.ca_file = tls_server(folder)
    server = _Server(api, context)
    api.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield api
    finally:
        api.ended.set()
        server.shutdown()
        server.hang_up()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    block_on_close = True

    def __init__(self, api: HttpsApi, context: ssl.SSLContext | None) -> None:
        self.api = api
        self.context = context
        self.open: dict[int, socket.socket] = {}
        self.opened = 0
        super().__init__(("127.0.0.1", 0), _Handler)

    def finish_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - as socketserver has it
        """Speak TLS in the connection's own thread, so that a client that stalls keeps nobody waiting."""
        self.opened += 1
        number = self.opened
        with request if self.context is None else self.context.wrap_socket(request, server_side=True) as secured:
            self.open[number] = secured
            try:
                _Handler(secured, client_address, self)
            finally:
                del self.open[number]

    def hang_up(self) -> None:
        for sock in list(self.open.values()):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients that give up are what some tests are about."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        fields = {name.lower(): value for name, value in self.headers.items()}
        number = next(number for number, sock in self.server.open.items() if sock is self.connection)
        request = Request(self.command, self.path, fields, body, number)
        api = self.server.api
        api.requests.append(request)
        if api.fault is None:
            status, content = api.answer(request)
            self._send(status, content if isinstance(content, bytes) else json.dumps(content).encode())
        else:
            self._fail(api.fault, api.ended)

    do_POST = do_GET  # noqa: N815 - the name that http.server calls

    def _fail(self, fault: Fault, ended: threading.Event) -> None:
        bodies = {
            "500": (500, b"{}"),
            "redirect": (302, b""),
            "garbage": (200, b"<html>a proxy says</html>"),
            "array": (200, b"[1]"),
            "deep": (200, b"[" * 100_000),
            "huge": (200, b'"' + b"x" * (1 << 20) + b'"'),
            "empty": (200, b""),
            "gzip": (200, b"\x1f\x8b\x08"),
        }
        if fault in bodies:
            self._send(*bodies[fault])
        elif fault == "drip":  # each octet comes in time, the whole never
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
            while not ended.wait(0.02):
                self.wfile.write(b" ")
        elif fault == "continue":
            while not ended.is_set():
                self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)
        elif fault == "cut":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n{")
            self.close_connection = True
        else:
            ended.wait()

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        for name, value in self.server.api.fields.items():
            self.send_header(name, value)
        if status == 302:
            self.send_header("Location", "/elsewhere")
        if self.server.api.fault == "gzip":
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""
