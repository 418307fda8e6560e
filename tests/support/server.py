"""The real server: `acme-ca init` and `acme-ca serve` on free loopback ports, in processes of their own.

`with serving(tmp_path) as server:` makes a CA and waits until it is ready. `server.client("test")` is the protocol
tests' ACME client, over HTTPS.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
from cryptography import x509
from flask import Flask

from tests.support.acme_client import AcmeClient
from tests.support.ca import make_ca_files

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

PATIENCE = 120.0  # seconds; only a server that hangs takes so long
PAUSE = 0.05


def eventually(holds: Callable[[], object], what: str) -> None:
    """Wait until something holds; how long it takes is not judged."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(PAUSE)


def free_ports(count: int) -> list[int]:
    """Find ports that nothing listens on; all are held until all are found, so that they differ."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@dataclass
class Server:
    """A CA in a folder, and the processes that serve it."""

    folder: Path
    acme_port: int
    status_port: int
    http_port: int
    process: subprocess.Popen[bytes] | None = None
    options: Sequence[str] = ()
    _log_start: int = field(default=0)

    @property
    def config(self) -> Path:
        """The configuration file."""
        return self.folder / "acme-ca.toml"

    @property
    def root(self) -> Path:
        """The root certificate."""
        return self.folder / "certificates" / "root.pem"

    @property
    def certificate(self) -> Path:
        """The HTTPS listener's key and certificate."""
        return self.folder / "state" / "tls" / "listener.pem"

    @property
    def url(self) -> str:
        """The external URL."""
        return f"https://localhost:{self.acme_port}"

    @cached_property
    def context(self) -> ssl.SSLContext:
        """What a client trusts."""
        return ssl.create_default_context(cafile=str(self.root))

    @property
    def pid(self) -> int:
        """The supervisor's."""
        assert self.process is not None
        return self.process.pid

    def start(self) -> None:
        """Serve, and wait until it is ready."""
        self._log_start = self._log.stat().st_size if self._log.exists() else 0
        with self._log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "acme_ca", "serve", "--config", self.config, *self.options],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        eventually(lambda: self.said("serve.ready") or self.process is None or self.process.poll() is not None, "ready")
        assert self.process.poll() is None, self._log.read_text()

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End it by a signal; return the exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)

    def signal(self, number: int) -> None:
        """Send the supervisor a signal."""
        os.kill(self.pid, number)

    def edit(self, before: str, after: str) -> None:
        """Change the configuration file."""
        text = self.config.read_text()
        assert before in text, f"acme-ca init no longer writes {before}"
        self.config.write_text(text.replace(before, after))

    def said(self, event: str) -> list[dict[str, Any]]:
        """The log lines of an event since the start."""
        with self._log.open("rb") as log:
            log.seek(self._log_start)
            lines = [json.loads(line) for line in log if line.startswith(b"{") and line.endswith(b"\n")]
        return [line for line in lines if line["event"] == event]

    def children(self, role: str) -> list[psutil.Process]:
        """The processes that run a role; for a listener gunicorn's master, whose children are its workers."""
        found = []
        for child in psutil.Process(self.pid).children():
            with contextlib.suppress(psutil.Error):
                if role in child.cmdline():
                    found.append(child)
        return found

    def processes(self) -> list[psutil.Process]:
        """All processes but the supervisor."""
        return psutil.Process(self.pid).children(recursive=True)

    def connect(self) -> ssl.SSLSocket:
        """A new connection to the HTTPS listener."""
        return self.context.wrap_socket(self.connect_tcp(self.acme_port), server_hostname="localhost")

    def connect_tcp(self, port: int) -> socket.socket:
        """A new connection without TLS."""
        return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)

    def served_serial(self) -> int:
        """The serial number of the certificate that a new connection sees."""
        with self.connect() as connection:
            der = connection.getpeercert(binary_form=True)
        assert der is not None
        return x509.load_der_x509_certificate(der).serial_number

    def get(self, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
        """Ask the status listener: status, header fields in lower case, body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.status_port, timeout=PATIENCE)
        with contextlib.closing(connection):
            connection.request(method, path, headers=headers)
            response = connection.getresponse()
            fields = {name.lower(): value for name, value in response.getheaders()}
            return response.status, fields, response.read()

    def client(self, environment: str = "test") -> AcmeClient:
        """An ACME client of an environment."""
        app = Flask("remote")
        app.wsgi_app = self._forward  # type: ignore[method-assign]  # Flask's own way to wrap an application
        return AcmeClient(app, f"{self.url}/acme/{environment}")

    def _forward(self, environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        connection = http.client.HTTPSConnection("localhost", self.acme_port, timeout=PATIENCE, context=self.context)
        with contextlib.closing(connection):
            body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            headers = {"Content-Type": environ["CONTENT_TYPE"]} if environ.get("CONTENT_TYPE") else {}
            connection.request(environ["REQUEST_METHOD"], environ["PATH_INFO"], body or None, headers)
            response = connection.getresponse()
            start_response(f"{response.status} {response.reason}", response.getheaders())
            return [response.read()]

    @property
    def _log(self) -> Path:
        return self.folder / "serve.log"


def prepare(folder: Path, *options: str) -> Server:
    """Make a CA whose listeners have ports of their own; `options` are those of `acme-ca init`."""
    acme, status, answers = free_ports(3)
    server = Server(folder, acme, status, answers)
    given = {
        "--external-url": server.url,
        "--status-bind": f"127.0.0.1:{status}",
        "--admin-bind": "127.0.0.1:0",
        "--http-port": str(answers),
    }
    make_ca_files(folder, *(word for pair in given.items() for word in pair), *options)
    return server


@contextmanager
def serving(folder: Path, *options: str, prepared: Server | None = None) -> Iterator[Server]:
    """Serve a CA until the block ends."""
    server = prepared or prepare(folder, *options)
    server.start()
    try:
        yield server
    finally:
        if server.process is not None and server.process.poll() is None:
            server.stop()
