"""The admin listener of a served CA: TLS with client certificates, tokens, and the Unix socket."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from acme_ca.cli import cli
from acme_ca.server.connections import REQUEST_TIME, SLOW
from tests.support.server import Server, eventually, prepare, serving
from tests.support.tools import require_tool

pytestmark = pytest.mark.timeout(300)  # a server is several Python processes that start at once, beside other tests


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that the tests share."""
    folder = tmp_path_factory.mktemp("server")
    with serving(folder, prepared=prepare(folder)) as running:
        yield running


def port(server: Server) -> int:
    """The port of the admin API, which the system chose."""
    sockets = [found for master in server.children("admin") for found in master.net_connections("tcp")]
    return next(int(found.laddr.port) for found in sockets if found.status == "LISTEN")


def address(server: Server) -> str:
    """The URL of the admin API."""
    return f"https://localhost:{port(server)}"


def run(server: Server, *arguments: str, code: int = 0) -> Result:
    """Run a command beside the server."""
    result = CliRunner().invoke(cli, [*arguments, "--config", str(server.config)])
    assert result.exit_code == code, result.output
    return result


def curl(server: Server, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["curl", "--silent", "--show-error", "--cacert", str(server.root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def enroll(server: Server, folder: Path, name: str, role: str = "operator") -> tuple[str, str]:
    document = json.loads(run(server, "admin", "enroll", name, "--role", role, "--out", str(folder), "--json").stdout)
    return document["certificate"], document["key"]


def test_the_command_line_asks_over_the_socket(server: Server) -> None:
    made = json.loads(run(server, "eab", "create", "--environment", "prod", "--json").stdout)
    assert made["directory"] == f"{server.url}/acme/prod/directory"
    assert [line["path"] for line in server.said("request") if line["path"].startswith("/admin")]
    assert server.folder.joinpath("state/admin.sock").stat().st_mode & 0o777 == 0o600


def test_curl_signs_in_by_a_certificate(server: Server, tmp_path: Path) -> None:
    require_tool("curl")
    certificate, key = enroll(server, tmp_path, "alice")
    assert Path(key).stat().st_mode & 0o777 == 0o600
    answer = curl(server, "--cert", certificate, "--key", key, f"{address(server)}/admin/v1/me")
    assert json.loads(answer.stdout)["by"] == "admin:alice", answer.stderr
    run(server, "admin", "change", "alice", "--disable")
    answer = curl(server, "--cert", certificate, "--key", key, f"{address(server)}/admin/v1/me")
    assert json.loads(answer.stdout)["status"] == 401


def test_the_command_line_signs_in_by_certificate_and_by_token(server: Server, tmp_path: Path) -> None:
    certificate, key = enroll(server, tmp_path, "bob", "ca-admin")
    signed = ("--api", address(server), "--ca-file", str(server.root), "--cert", certificate, "--key", key)
    assert "bob" in run(server, "admin", "list", *signed).stdout
    made = json.loads(run(server, "admin", "token", "bob", "ci", "--role", "viewer", "--json", *signed).stdout)
    (tmp_path / "token").write_text(made["token"])
    by_token = ("--api", address(server), "--ca-file", str(server.root), "--token-file", str(tmp_path / "token"))
    run(server, "eab", "list", "--environment", "prod", *by_token)
    refused = run(server, "eab", "create", "--environment", "prod", *by_token, code=1)
    assert "viewer, which may not operate" in refused.stderr


def test_nobody_is_told_anything_without_a_certificate_or_token(server: Server) -> None:
    require_tool("curl")
    answer = curl(server, f"{address(server)}/admin/v1/environments/prod/eab")
    assert json.loads(answer.stdout)["type"] == "urn:acme-ca:admin:error:unauthenticated"
    assert "openapi" in json.loads(curl(server, f"{address(server)}/admin/v1/openapi.json").stdout)


def test_a_certificate_of_another_issuer_ends_the_handshake(server: Server) -> None:
    require_tool("curl")
    listener = str(server.certificate)  # a certificate of this very CA, with its key
    answer = curl(server, "--cert", listener, "--key", listener, f"{address(server)}/admin/v1/me")
    assert answer.returncode != 0
    assert answer.stdout == ""


def test_the_other_listeners_know_nothing_of_it(server: Server) -> None:
    assert server.get("/admin/v1/me")[0] == 404


HALF_A_REQUEST = b"POST /admin/v1/admins HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{"


class TestStrangers:
    """There are four threads, and what a client begins has ten seconds to arrive."""

    def test_a_handshake_that_was_begun_takes_no_thread(self, server: Server) -> None:
        with ExitStack() as stack:
            for _ in range(8):
                stranger = stack.enter_context(server.connect_tcp(port(server)))
                stranger.sendall(b"\x16")
            begun = time.monotonic()
            run(server, "admin", "list")
            assert json.loads(curl(server, f"{address(server)}/admin/v1/me").stdout)["status"] == 401
            assert time.monotonic() - begun < REQUEST_TIME * 0.9

    def test_requests_that_were_begun_leave_operators_of_this_host_their_threads(self, server: Server) -> None:
        with ExitStack() as stack:
            for _ in range(8):
                opened = stack.enter_context(server.connect_tcp(port(server)))
                stranger = stack.enter_context(server.context.wrap_socket(opened, server_hostname="localhost"))
                stranger.sendall(HALF_A_REQUEST)
            begun = time.monotonic()
            run(server, "admin", "list")
            assert time.monotonic() - begun < REQUEST_TIME * 0.9
            assert json.loads(curl(server, f"{address(server)}/admin/v1/me").stdout)["status"] == 401
            assert time.monotonic() - begun < REQUEST_TIME * 1.5  # two rounds of them would take as long again

    def test_one_slow_client_has_its_time(self, server: Server) -> None:
        opened = server.connect_tcp(port(server))
        with opened, server.context.wrap_socket(opened, server_hostname="localhost") as client:
            client.sendall(b"GET /admin/v1/me HTTP/1.1\r\n")
            time.sleep(SLOW * 1.5)
            client.sendall(b"Host: localhost\r\n\r\n")
            assert client.recv(1000).startswith(b"HTTP/1.1 401")


def test_a_reload_keeps_the_socket(server: Server) -> None:
    before = len(server.said("serve.ready"))
    server.signal(signal.SIGHUP)
    eventually(lambda: len(server.said("serve.ready")) > before, "the reload")
    run(server, "admin", "list")
