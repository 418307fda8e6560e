"""How commands ask the admin API."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import UnixStreamServer
from threading import Thread

import pytest
from click import ClickException
from click.testing import CliRunner

from acme_ca.cli import cli
from acme_ca.cli.client import Api, Reply
from acme_ca.config import load
from acme_ca.paths import within
from tests.support.ca import make_ca_files

INSIDE = ("flask", "sqlalchemy", "acme_ca.authority")
PROGRAM = f"""
import sys
from acme_ca.cli import cli
try:
    cli()
finally:
    print([name for name in {INSIDE!r} if name in sys.modules])
"""


@pytest.mark.parametrize(
    "url",
    ["https://ca.example:x", "ca.example:8444", "http://ca.example", "https://", "https://[::1", "", "https://:1"],
)
def test_what_is_no_url_of_an_api_is_refused(url: str) -> None:
    result = CliRunner().invoke(cli, ["admin", "list", "--api", url])
    assert result.exit_code == 1
    assert "expected a URL such as https://ca.example:8444" in result.stderr


@dataclass
class Breaking:
    """A way to ask that breaks for some time."""

    breaks: int
    asked: list[tuple[str, str | None]] = field(default_factory=list)

    def ask(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Reply:
        assert path.startswith("/admin/v1/")
        assert body is None or headers["Content-Type"] == "application/json"
        self.asked.append((method, headers.get("Idempotency-Key")))
        if len(self.asked) <= self.breaks:
            raise ConnectionResetError("it broke")
        return Reply(200, {}, b"{}")


def test_what_acts_is_asked_once_more_with_the_same_key() -> None:
    transport = Breaking(1)
    assert Api(transport).call("POST", "/admins", body={}).document == {}
    (first, again) = transport.asked
    assert first == again
    assert first[1]
    other = Breaking(0)
    Api(other).call("POST", "/admins", body={})
    assert other.asked[0][1] not in (None, first[1])


@pytest.mark.parametrize(("method", "times"), [("POST", 2), ("DELETE", 1)])
def test_a_connection_that_stays_broken_ends_the_command(method: str, times: int) -> None:
    transport = Breaking(9)
    with pytest.raises(ClickException, match="it broke"):
        Api(transport).call(method, "/admins")
    assert len(transport.asked) == times


class Nothing(BaseHTTPRequestHandler):
    """Answers every list with an empty one."""

    def do_GET(self) -> None:
        body = b'{"items": [], "next": null}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


@contextmanager
def listening(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with within(path.parent) as folder, UnixStreamServer(f"{folder}/{path.name}", Nothing) as server:
        thread = Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield
        server.shutdown()
        thread.join()


def run_apart(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", PROGRAM, *arguments], check=False, capture_output=True, text=True)


def test_who_asks_a_server_over_its_socket_loads_nothing_of_the_ca(tmp_path: Path) -> None:
    config = make_ca_files(tmp_path)
    with listening(load(config).admin_socket):
        asked = run_apart("crl", "list", "--config", config)
    assert asked.returncode == 0, asked.stderr
    assert asked.stdout.splitlines() == ["There are no revocation lists yet; the worker makes them.", "[]"]


def test_who_asks_over_https_loads_nothing_of_the_ca(tmp_path: Path) -> None:
    """Not even for the hash of a key in a file."""
    pem = make_ca_files(tmp_path).parent / "certificates" / "root.pem"
    asked = run_apart("cert", "block", pem, "--reason", "lost", "--api", "https://127.0.0.1:1")
    assert asked.returncode == 1
    assert "the admin API cannot be asked" in asked.stderr
    assert asked.stdout.splitlines() == ["[]"]
