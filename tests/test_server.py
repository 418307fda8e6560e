"""`acme-ca serve` as operators see it: processes, signals, connections."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from acme_ca import config
from acme_ca.services import listener
from tests.support import web
from tests.support.acme_client import make_csr
from tests.support.jws import b64
from tests.support.server import PATIENCE, Server, eventually, prepare, serving
from tests.support.web import WebServer

NEW_NONCE = "/acme/test/newNonce"

pytestmark = pytest.mark.timeout(400)  # a server is four Python processes that start at once, beside other tests


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that the tests of this file share; each leaves it serving."""
    with serving(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Server]:
    """A server that the test may end."""
    with serving(tmp_path) as running:
        yield running


def ask(connection: socket.socket, path: str = NEW_NONCE, method: str = "HEAD") -> str:
    """Send a request on an open connection; return the head of the answer."""
    connection.sendall(f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    return answer(connection)[0]


def answer(connection: socket.socket) -> tuple[str, bytes]:
    """Read an answer: its head, and as much of the body as came with it or until its length is there."""
    received = b""
    while b"\r\n\r\n" not in received:
        piece = connection.recv(65_536)
        assert piece, f"the connection ended after {received!r}"
        received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    while len(body) < int(fields.get(b"content-length", 0)):
        body += connection.recv(65_536)
    return head.decode(), body


def signals_config(server: Server, event: str) -> None:
    """Let the supervisor read the configuration again, and wait for what it says."""
    before = len(server.said(event))
    server.signal(signal.SIGHUP)
    eventually(lambda: len(server.said(event)) > before, event)


def order_ready_to_finalize(server: Server, website: WebServer) -> tuple[str, bytes]:
    """Take an order of a name under localhost to where only finalize is missing: its URL, and the signed request."""
    client = server.client().register()
    url, order = client.order(["app.test.localhost"])
    challenge = client.challenge(order["authorizations"][0])
    website.token(challenge["token"], client.key_authorization(challenge["token"]))
    client.ok(challenge["url"], {})
    eventually(lambda: client.get(url)["status"] == "ready", "ready")
    csr = {"csr": b64(make_csr(["app.test.localhost"]))}
    return url, client.signer.sign(order["finalize"], csr, nonce=client.nonce())


class TestSigterm:
    def test_lets_a_finalize_at_hand_complete(self, tmp_path: Path) -> None:
        with web.serve(WebServer()) as website:
            prepared = prepare(tmp_path)
            prepared.edit(f"http_port = {prepared.http_port}", f"http_port = {website.port}")
            with serving(tmp_path, prepared=prepared) as server:
                url, body = order_ready_to_finalize(server, website)
                path = f"{url.split('/', 3)[3]}/finalize"
                head = f"POST /{path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/jose+json\r\n"
                with server.connect() as connection:
                    connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[:100])
                    time.sleep(0.2)  # so that a thread has it; were it late, the test would still be right
                    server.signal(signal.SIGTERM)
                    time.sleep(0.2)
                    connection.sendall(body[100:])
                    status, document = answer(connection)
                assert status.startswith("HTTP/1.1 200")
                assert json.loads(document)["status"] == "valid"
                assert server.process is not None
                assert server.process.wait(PATIENCE) == 0

    def test_ends_every_process(self, own_server: Server) -> None:
        everyone = own_server.processes()
        with own_server.connect_tcp(own_server.acme_port), own_server.connect():  # neither says a word
            assert own_server.stop() == 0
        assert psutil.wait_procs(everyone, timeout=1)[1] == []
        assert own_server.said("worker.stopped")


class TestSighup:
    def test_serves_the_new_configuration_without_refusing_a_connection(self, server: Server) -> None:
        old = {process.pid for process in server.processes()}
        server.edit('level = "info"', 'level = "debug"')
        try:
            with server.connect() as kept:
                before = len(server.said("serve.ready"))
                server.signal(signal.SIGHUP)
                while len(server.said("serve.ready")) == before:
                    with server.connect() as connection:
                        assert ask(connection).startswith("HTTP/1.1 200")
                assert ask(kept).startswith("HTTP/1.1 200")
            eventually(lambda: not old & {process.pid for process in server.processes()}, "the old ones are gone")
        finally:
            server.edit('level = "debug"', 'level = "info"')
        with server.connect() as connection:
            assert ask(connection).startswith("HTTP/1.1 200")
        assert b"acme_ca_config_last_reload_successful 1.0" in server.get("/metrics")[2]

    def test_keeps_the_old_configuration_when_the_new_one_is_wrong(self, server: Server) -> None:
        """Also a child that is started later gets the old one."""
        before = {process.pid for process in server.processes()}
        server.edit("external_url", "external_ulr")
        try:
            signals_config(server, "config.refused")
            assert "external_ulr" in server.said("config.refused")[-1]["reason"]
            assert {process.pid for process in server.processes()} == before
            assert b"acme_ca_config_last_reload_successful 0.0" in server.get("/metrics")[2]
            (worker,) = server.children("worker")
            worker.kill()
            eventually(lambda: [child for child in server.children("worker") if child.pid != worker.pid], "another")
        finally:
            server.edit("external_ulr", "external_url")
        assert server.get("/readyz")[0] == 200

    def test_refuses_a_configuration_whose_files_do_not_fit(self, server: Server) -> None:
        key = server.folder / "keys" / "test-1.key"
        secret = key.read_bytes()
        key.write_bytes(b"no key")
        try:
            signals_config(server, "config.refused")
        finally:
            key.write_bytes(secret)
        assert server.get("/readyz")[0] == 200


class TestCertificate:
    def test_is_replaced_in_place_while_old_connections_go_on(self, server: Server) -> None:
        settings = config.load(server.config)
        before = server.served_serial()
        with server.connect() as old:
            assert ask(old).startswith("HTTP/1.1 200")
            server.certificate.unlink()
            listener.ensure(settings)
            assert server.served_serial() != before
            assert ask(old).startswith("HTTP/1.1 200")

    def test_an_unusable_file_does_not_stop_new_connections(self, server: Server) -> None:
        """Each process goes on with the last certificate that it could use, which need not be the same in all."""
        good = server.certificate.read_bytes()
        server.certificate.write_bytes(good[:200])
        try:
            assert all(server.served_serial() for _ in range(8))  # of both processes, most likely
        finally:
            server.certificate.write_bytes(good)

    def test_is_private_and_chains_to_the_root(self, server: Server) -> None:
        assert server.certificate.stat().st_mode & 0o777 == 0o600
        with server.connect() as connection:
            assert connection.version() == "TLSv1.3"

    def test_tls_below_1_2_is_refused(self, server: Server) -> None:
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
        old.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
        with server.connect_tcp(server.acme_port) as raw, pytest.raises(ssl.SSLError):
            old.wrap_socket(raw)


class TestProcesses:
    @pytest.mark.parametrize("role", ["acme", "status", "worker"])
    def test_a_killed_child_is_started_again(self, server: Server, role: str) -> None:
        (child,) = server.children(role)
        workers = child.children()
        child.kill()

        def is_back() -> bool:
            """A listener counts with its workers: those of the one that was killed serve on for a moment."""
            others = [other for other in server.children(role) if other.pid != child.pid]
            return any(len(other.children()) == len(workers) for other in others)

        eventually(is_back, role)
        assert psutil.wait_procs(workers, timeout=PATIENCE)[1] == []
        eventually(lambda: server.get("/readyz")[0] == 200, "ready")
        with server.connect() as connection:
            assert ask(connection).startswith("HTTP/1.1 200")

    def test_a_killed_worker_of_a_listener_is_replaced(self, server: Server) -> None:
        (master,) = server.children("acme")
        eventually(lambda: len(master.children()) == 2, "two workers")
        victim = master.children()[0]
        victim.kill()
        with server.connect() as connection:
            assert ask(connection).startswith("HTTP/1.1 200")
        eventually(lambda: len({other.pid for other in master.children()} - {victim.pid}) == 2, "two again")

    def test_no_process_survives_a_killed_supervisor(self, own_server: Server) -> None:
        everyone = own_server.processes()
        assert len(everyone) == 8  # three listeners of gunicorn, their four workers, and the worker
        own_server.stop(signal.SIGKILL)
        assert psutil.wait_procs(everyone, timeout=PATIENCE)[1] == []

    def test_a_taken_port_is_said_at_the_start(self, tmp_path: Path) -> None:
        prepared = prepare(tmp_path)
        with socket.create_server(("127.0.0.1", prepared.acme_port)), pytest.raises(AssertionError) as failure:
            prepared.start()
        assert f"cannot listen on 127.0.0.1:{prepared.acme_port} (acme)" in str(failure.value)
        assert "Traceback" not in str(failure.value)

    def test_one_role_can_be_served_alone(self, tmp_path: Path) -> None:
        prepared = prepare(tmp_path)
        prepared.options = ["--only", "acme"]
        with serving(tmp_path, prepared=prepared) as server:
            assert [len(server.children(role)) for role in ("acme", "status", "worker")] == [1, 0, 0]
            with server.connect() as connection:
                assert ask(connection).startswith("HTTP/1.1 200")


class TestConnections:
    def test_silent_and_slow_clients_take_no_threads(self, server: Server) -> None:
        """There are 16 threads; gunicorn gives each silent connection one for five seconds."""
        with contextlib.ExitStack() as stack:
            for _ in range(20):
                stack.enter_context(server.connect_tcp(server.acme_port))
            idle = [stack.enter_context(server.connect()) for _ in range(20)]
            for connection in idle:
                assert ask(connection).startswith("HTTP/1.1 200")
            assert ask(stack.enter_context(server.connect())).startswith("HTTP/1.1 200")

    def test_requests_in_one_write_are_all_answered(self, server: Server) -> None:
        with server.connect() as connection:
            connection.sendall(f"HEAD {NEW_NONCE} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode() * 3)
            received = b""
            while received.count(b"\r\n\r\n") < 3:
                received += connection.recv(65_536)
        assert received.count(b"HTTP/1.1 200 OK") == 3

    @pytest.mark.parametrize(
        ("request_", "status"),
        [
            (b"NONSENSE\r\n\r\n", 400),
            (b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\n\r\n", 414),
            (b"GET / HTTP/1.1\r\n" + b"X-Filler: x\r\n" * 60 + b"\r\n", 431),
            (b"POST / HTTP/1.1\r\nTransfer-Encoding: strange\r\n\r\n", 501),
            (b"GET / HTTP/1.1\r\nExpect: a miracle\r\n\r\n", 417),
            (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        ],
    )
    def test_what_is_no_http_gets_a_problem_document(self, server: Server, request_: bytes, status: int) -> None:
        with server.connect() as connection:
            connection.sendall(request_)
            head, body = answer(connection)
        assert head.startswith(f"HTTP/1.1 {status} ")
        assert "application/problem+json" in head
        document = json.loads(body)
        assert (document["type"], document["status"]) == ("urn:ietf:params:acme:error:malformed", status)

    def test_a_broken_chunk_is_the_clients_mistake(self, server: Server) -> None:
        head = b"POST /acme/test/newOrder HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/jose+json\r\n"
        with server.connect() as connection:
            connection.sendall(head + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n")
            assert answer(connection)[0].startswith("HTTP/1.1 400 ")

    def test_plain_http_at_the_https_port_harms_nobody(self, server: Server) -> None:
        with server.connect_tcp(server.acme_port) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            with contextlib.suppress(ConnectionResetError):
                while connection.recv(1024):
                    pass
        with server.connect() as connection:
            assert ask(connection).startswith("HTTP/1.1 200")

    def test_forwarding_headers_are_not_believed(self, server: Server) -> None:
        with server.connect_tcp(server.status_port) as connection:
            lines = b"X-Forwarded-Proto: https\r\nX-Forwarded-For: 192.0.2.1\r\nSCRIPT_NAME: /livez\r\n"
            connection.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n" + lines + b"\r\n")
            assert answer(connection)[0].startswith("HTTP/1.1 200")
        assert all(line["remote"] == "127.0.0.1" for line in server.said("request"))


def test_metrics_of_dead_processes_are_forgotten(tmp_path: Path) -> None:
    prepared = prepare(tmp_path)
    folder = tmp_path / "state" / "metrics"
    folder.mkdir(parents=True)
    stale, alive = folder / "counter_999999999.db", folder / f"counter_{os.getpid()}.db"
    for path in (stale, alive):
        path.write_bytes(b"")
    with serving(tmp_path, prepared=prepared):
        assert [stale.exists(), alive.exists()] == [False, True]
