"""The load generator: its protocol parts, its refusal of all but loopback, and whole runs against real servers."""

import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dns.message
import dns.query
import dns.rcode
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from acme_ca.jose import jwk_from_json, parse, verify
from scripts.benchmark import responder
from scripts.benchmark.clients import mismatch
from scripts.benchmark.daemon import TlsFiles
from scripts.benchmark.flow import OPERATION, Issued
from scripts.benchmark.load import Generator, Result
from scripts.benchmark.measure import Latency, longest_gap, quantile, tree_cpu
from scripts.benchmark.report import as_json, as_text
from scripts.benchmark.signing import AccountKey, CsrTemplate
from scripts.benchmark.wire import BadAnswerError, Connection, NotLoopbackError, Origin, client_context

BENCH = Path(__file__).resolve().parents[2] / "scripts" / "bench"


def bench(*arguments: str | Path, path: str | None = None) -> "subprocess.CompletedProcess[str]":
    environment = os.environ if path is None else {**os.environ, "PATH": path}
    command = [sys.executable, str(BENCH), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=False, env=environment)


@pytest.fixture(scope="module")
def generator() -> Iterator[Generator]:
    with Generator(2) as generator:
        yield generator


class TestOnlyThisMachine:
    @pytest.mark.parametrize("host", ["192.0.2.1", "[2001:db8::1]", "ca.example", "localhost.example", "0.0.0.0"])
    def test_refuses_a_directory_elsewhere(self, host: str, tmp_path: Path) -> None:
        ca = tmp_path / "ca.pem"
        ca.touch()
        answer = bench("--directory", f"https://{host}/directory", "--ca", ca)
        assert answer.returncode == 2
        assert "loopback" in answer.stderr

    def test_refuses_urls_of_another_origin_that_the_server_hands_out(self) -> None:
        origin = Origin.of("https://localhost:8443/directory")
        assert origin.path_of("https://localhost:8443/acme/x?y") == "/acme/x?y"
        for url in (
            "https://localhost:84431/x",
            "https://localhost/x",
            "http://localhost:8443/x",
            "https://192.0.2.1/",
        ):
            with pytest.raises(NotLoopbackError, match="handed out"):
                origin.path_of(url)

    @pytest.mark.parametrize(
        ("url", "authority", "address"),
        [
            ("https://127.8.9.1/d", "127.8.9.1", "127.8.9.1"),
            ("https://[::1]:99/d", "[::1]:99", "::1"),
            ("https://ca.localhost:99/d", "ca.localhost:99", "127.0.0.1"),
        ],
    )
    def test_takes_what_is_on_loopback(self, url: str, authority: str, address: str) -> None:
        origin = Origin.of(url)
        assert (origin.authority, origin.address) == (authority, address)


class TestResponder:
    @pytest.mark.parametrize(("kind", "found"), [("A", ["127.0.0.1"]), ("AAAA", []), ("CAA", []), ("TXT", [])])
    def test_dns_gives_every_name_one_address_and_nothing_else(
        self, generator: Generator, kind: str, found: list[str]
    ) -> None:
        query = dns.message.make_query("c0001-0000001.x.load.test", kind, use_edns=True)
        answer = dns.query.udp(query, "127.0.0.1", port=generator.dns_port, timeout=10)
        assert answer.rcode() == dns.rcode.NOERROR
        assert [str(record) for records in answer.answer for record in records] == found

    def test_http01_answers_with_the_key_of_the_names_client(self, generator: Generator) -> None:
        first, second = (self.fetch(generator, f"c000{client}-0000007.x.load.test")[1] for client in (0, 1))
        assert first.startswith(b"some-token.")
        assert second.startswith(b"some-token.")
        assert first != second

    @pytest.mark.parametrize("host", ["c0009-0000001.load.test", "example.test", "c00x1-1.load.test", ""])
    def test_http01_knows_no_other_names(self, generator: Generator, host: str) -> None:
        assert self.fetch(generator, host) == (404, b"")

    def test_http01_knows_no_other_pages(self, generator: Generator) -> None:
        assert self.fetch(generator, "c0001-0000001.load.test", "/index.html") == (404, b"")

    def fetch(
        self, generator: Generator, host: str, page: str = "/.well-known/acme-challenge/some-token"
    ) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", generator.http_port, timeout=10)
        connection.request("GET", page, headers={"Host": host})
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer.status, body

    @pytest.mark.parametrize(
        "query", [b"", b"\0" * 12, b"\0" * 40, b"\0\0\1\0\0\1" + b"\0" * 6 + b"\x3fab", b"\xff" * 30]
    )
    def test_what_is_no_dns_query_gets_no_answer(self, query: bytes) -> None:
        assert responder.dns_answer(query) is None

    def test_names_tell_their_client(self) -> None:
        name = responder.name_of(37, 123, "a.load.test")
        assert len(name) == len(responder.name_of(1, 1, "a.load.test"))
        assert responder.client_of(name.encode()) == 37


class TestSigning:
    def test_the_server_takes_its_messages(self) -> None:
        key = AccountKey.load(AccountKey.generate().dump())
        envelope = parse(key.jws({"nonce": "n", "url": "https://localhost/x", "jwk": key.jwk}, b"{}"))
        jwk = jwk_from_json(key.jwk)
        verify(envelope, jwk.key)
        assert envelope.payload == b"{}"
        assert key.thumbprint == jwk.thumbprint

    def test_requests_are_valid_and_have_the_name(self) -> None:
        template = CsrTemplate(len("abc.load.test"))
        request = x509.load_der_x509_csr(template.der("xyz.load.test"))
        assert request.is_signature_valid
        assert request.public_key() == template.public_key
        names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.DNSName) == ["xyz.load.test"]
        with pytest.raises(ValueError, match="13"):
            template.der("longer.load.test")

    def test_a_chain_is_compared_with_the_order(self, tmp_path: Path) -> None:
        files = TlsFiles.make(tmp_path)
        chain = files.certificate.read_bytes() + files.ca.read_bytes()
        key = x509.load_pem_x509_certificate(chain).public_key()
        other = ec.generate_private_key(ec.SECP256R1()).public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        assert mismatch(Issued("localhost", chain), key) is None
        assert "names" in (mismatch(Issued("example.test", chain), key) or "")
        assert "public key" in (mismatch(Issued("localhost", chain), other) or "")
        assert "issuer" in (mismatch(Issued("localhost", files.certificate.read_bytes()), key) or "")


@contextmanager
def https_server(folder: Path, *answers: bytes) -> Iterator[Connection]:
    """Give a connection to a server that sends one of these for each request; b"" closes the connection instead."""
    files = TlsFiles.make(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)
    left = list(answers)

    def serve() -> None:
        while left:
            with context.wrap_socket(listener.accept()[0], server_side=True) as peer:
                while left and peer.recv(4096) and (answer := left.pop(0)):
                    peer.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=serve, daemon=True)
        server.start()
        origin = Origin.of(f"https://localhost:{listener.getsockname()[1]}/")
        connection = Connection(origin, client_context(files.ca), 10)
        yield connection
        connection.close()
        server.join(10)


class TestConnection:
    def test_reads_every_form_of_body_on_one_connection(self, tmp_path: Path) -> None:
        answers = (
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nReplay-Nonce:  n1\r\n\r\nab",
            b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n3;x=y\r\ncde\r\n0\r\nT: t\r\n\r\n",
            b"HTTP/1.1 204 No Content\r\nreplay-nonce: n2\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        )
        with https_server(tmp_path, *answers) as connection:
            first = connection.request("POST", "/x", b"{}")
            assert (first.status, first.body, first.header(b"replay-nonce")) == (200, b"ab", "n1")
            assert connection.request("POST", "/x", b"{}").body == b"abcde"
            assert connection.request("GET", "/x").header(b"replay-nonce") == "n2"
            assert connection.request("HEAD", "/x").body == b""
            assert connection.request("GET", "/x").status == 200
            assert connection.opened == 1

    def test_opens_a_kept_connection_afresh_once_when_the_server_has_closed_it(self, tmp_path: Path) -> None:
        empty = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
        with https_server(tmp_path, empty, b"", empty, b"", b"") as connection:
            assert connection.request("GET", "/").status == 200
            assert connection.request("GET", "/").status == 200
            assert connection.opened == 2
            with pytest.raises(ConnectionError):
                connection.request("GET", "/")

    @pytest.mark.parametrize(
        ("answer", "reason"),
        [
            (b"SSH-2.0-x\r\n\r\n", "not a status line"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n", "a body of"),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\n", "a body of"),
            (b"x" * 70_000, "within"),
        ],
    )
    def test_gives_up_on_what_is_no_bounded_answer(self, tmp_path: Path, answer: bytes, reason: str) -> None:
        with https_server(tmp_path, answer) as connection, pytest.raises(BadAnswerError, match=reason):
            connection.request("GET", "/")


def result(server: str, per_s: float, cpu: float | None = 2.0, **other: object) -> Result:
    values: dict[str, object] = {
        "server": server,
        "mode": "full",
        "clients": 8,
        "window_s": 8.0,
        "longest_gap_s": 0.1,
        "operations": 100,
        "per_s": per_s,
        "requests": 500,
        "requests_per_s": 500.0,
        "server_cpu_ms": cpu,
        "generator_cpu_ms": 1.0,
        "disturbed": 0.0,
        "latency": {OPERATION: Latency.of([0.002, 0.001, 0.010])},
        "counters": {},
        "errors": {},
    }
    return Result(**(values | other))  # type: ignore[arg-type]  # the values have the types of the fields


class TestFigures:
    def test_quantiles_are_values_that_were_measured(self) -> None:
        assert quantile([1, 2, 3, 4], 0.5) == 2
        assert quantile([1, 2, 3, 4], 0.99) == 4
        assert Latency.of([0.002, 0.001, 0.010]) == Latency(3, 2.0, 10.0, 10.0)

    def test_processor_time_counts_children_that_have_ended(self) -> None:
        burn = "import time\nwhile time.process_time() < 0.3: pass"
        script = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {burn!r}]); print(); input()"
        command = [sys.executable, "-c", script]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdout
            process.stdout.readline()  # the child has ended
            used = tree_cpu([process.pid])
            process.communicate(b"\n")
        assert used > 0.25  # the parent's own start takes a tenth of it
        assert tree_cpu([process.pid]) == 0

    def test_medians_and_ratios_to_the_first_server(self) -> None:
        runs = [result("a", 10), result("b", 5, 4.0), result("a", 30), result("b", 5, 4.0), result("a", 20)]
        told = json.loads(as_json(runs, {"c": "no such package"}))
        assert [(summary["server"], summary["per_s"], summary["rounds"]) for summary in told["summary"]] == [
            ("a", 20, 3),
            ("b", 5, 2),
        ]
        assert told["ratios"] == [{"mode": "full", "server": "a", "peer": "b", "rate": 4.0, "server_cpu": 0.5}]
        text = as_text(runs, {"c": "no such package"})
        assert "a does 4.00 x the work of b in a second, 0.50 x the CPU time of one" in text
        assert "c: not measured: no such package" in text

    def test_what_is_not_known_is_null_and_errors_are_told(self) -> None:
        run = result("a", 0, None, latency={}, errors={"newOrder: 500": 3}, error_examples={"newOrder: 500": "broken"})
        assert json.loads(as_json([run, result("b", 0)], {}))["summary"][0]["p50_ms"] is None
        assert "3 x newOrder: 500: broken" in as_text([run], {})

    def test_runs_in_which_a_server_locked_up_count_only_when_there_is_no_other(self) -> None:
        runs = [result("a", 10), result("a", 1, longest_gap_s=5.0), result("b", 1, longest_gap_s=5.0)]
        summaries = json.loads(as_json(runs, {}))["summary"]
        assert [(summary["per_s"], summary["rounds"], summary["stalled"]) for summary in summaries] == [
            (10, 1, 1),
            (1, 1, 1),
        ]
        assert "locked up in 1 runs" in as_text(runs, {})

    def test_the_longest_gap_reaches_to_the_ends_of_the_window(self) -> None:
        assert longest_gap([13.0, 11.0], 10.0, 13.5) == 2.0
        assert longest_gap([], 10.0, 13.5) == 3.5

    def test_noise_is_pointed_out(self) -> None:
        assert "distrust" in as_text([result("a", 1, disturbed=0.4)], {})


class TestWholeRuns:
    def test_a_peer_that_cannot_be_had_is_said_so(self, tmp_path: Path) -> None:
        answer = bench("--without-us", "--peers", "pebble", "--cache", tmp_path, path="/nowhere")
        assert answer.returncode == 1
        assert "pebble: not measured: the command apt-get is missing" in answer.stdout

    def test_told_to_end_it_ends_its_servers(self, tmp_path: Path) -> None:
        """The temporary folder of a server goes only after its processes."""
        environment = {**os.environ, "TMPDIR": str(tmp_path)}
        command = [sys.executable, str(BENCH), "--duration", "60", "--clients", "1"]
        with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
            while not (logs := list(tmp_path.glob("acme-bench-*/serve.log"))) or not logs[0].stat().st_size:
                assert process.poll() is None
                time.sleep(0.1)
            process.terminate()
            assert process.wait(60) == 128 + signal.SIGTERM
        assert list(tmp_path.glob("acme-bench-*")) == []

    def test_every_mode_runs_against_our_server_without_an_error(self) -> None:
        modes = ("nonce", "new-order", "full", "reuse")
        chosen = [part for mode in modes for part in ("--mode", mode)]
        for _ in range(3):  # a test beside this one may take a port between its choice and its use
            answer = bench(*chosen, "--clients", "2", "--count", "4", "--json")
            if answer.stdout:
                break
        assert answer.stdout, answer.stderr
        told = json.loads(answer.stdout)
        assert answer.returncode == 0, told
        assert [(run["mode"], run["operations"], run["errors"]) for run in told["runs"]] == [
            (mode, 4, {}) for mode in modes
        ]
        full, reuse = told["runs"][2:]
        assert full["counters"]["certificates_checked"] == 2  # the first of each client
        assert reuse["counters"]["ready_at_once"] == 4
        assert sum(run["server_cpu_ms"] for run in told["runs"]) > 0  # the kernel counts in steps of 10 ms
