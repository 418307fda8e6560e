"""What stands beside a client and answers the CA: a web root, TLS for tls-alpn-01, and a door to the DNS zone.

Clients are programs of their own; their hooks reach the test's DNS server through `DnsDoor`.
"""

from __future__ import annotations

import json
import ssl
import threading
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from http.server import HTTPServer
    from pathlib import Path


class Quiet(SimpleHTTPRequestHandler):
    """Serve files without a line on stderr for each."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the base class names it so)
        """Say nothing."""


@contextmanager
def running(server: HTTPServer) -> Iterator[HTTPServer]:
    """Serve in a thread until the block ends."""
    thread = threading.Thread(target=partial(server.serve_forever, poll_interval=0.02), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def web_root(folder: Path, port: int) -> Iterator[Path]:
    """Serve `folder` over HTTP; yields the folder into which http-01 answers are written. RFC 8555 §8.3."""
    challenges = folder / ".well-known" / "acme-challenge"
    challenges.mkdir(parents=True, exist_ok=True)
    with running(ThreadingHTTPServer(("127.0.0.1", port), partial(Quiet, directory=str(folder)))):
        yield challenges


class DnsDoor:
    """An HTTP server for hooks: `POST /present` and `POST /cleanup` with `{"fqdn", "value"}` change TXT records.

    The two paths and their members are those of lego's provider `httpreq`, so lego needs no hook of ours.
    """

    def __init__(self, add: Callable[[str, str], None], remove: Callable[[str, str], None]) -> None:
        acts = {"/present": add, "/cleanup": remove}

        class Door(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body: dict[str, Any] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                acts[self.path](body["fqdn"].rstrip("."), body["value"])
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the base class names it so)
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Door)

    @property
    def url(self) -> str:
        """Where hooks send their requests."""
        return f"http://127.0.0.1:{self.server.server_address[1]}"


@contextmanager
def alpn_certificates(folder: Path, port: int) -> Iterator[Path]:
    """Answer tls-alpn-01 with what a client writes there: `NAME.crt.pem` and `NAME.key.pem`. RFC 8737 §3."""
    folder.mkdir(parents=True, exist_ok=True)

    def choose(tls: ssl.SSLObject | ssl.SSLSocket, name: str | None, _: ssl.SSLContext) -> int | None:
        certificate = folder / f"{name}.crt.pem"
        if not certificate.is_file():
            return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
        tls.context = context(certificate, folder / f"{name}.key.pem")
        return None

    def context(certificate: Path | None = None, key: Path | None = None) -> ssl.SSLContext:
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.set_alpn_protocols(["acme-tls/1"])
        if certificate:
            made.load_cert_chain(certificate, key)
        return made

    outer = context()
    outer.sni_callback = choose
    server = TlsServer(("127.0.0.1", port), BaseHTTPRequestHandler)
    server.context = outer
    with running(server):
        yield folder


class TlsServer(ThreadingHTTPServer):
    """Shakes hands, and closes: the handshake is the whole answer to tls-alpn-01."""

    context: ssl.SSLContext

    def finish_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401  (as in socketserver)
        """Shake hands in the connection's own thread."""
        del client_address
        try:
            self.context.wrap_socket(request, server_side=True).close()
        except (ssl.SSLError, ConnectionError):
            return  # the CA hung up, or asked for a name that no client prepared; the client sees the outcome
