"""The signer as a process: below `acme-ca serve`, or apart from it; killed, stopped, reloaded."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support import web
from tests.support.acme_client import certificates, make_csr
from tests.support.comings import Load, patient, ready
from tests.support.server import PATIENCE, Server, eventually, prepare, serving
from tests.support.web import WebServer

KILLS = 4
CLIENTS = 4
ACME_WORKERS = 2


@pytest.fixture(scope="module")
def website() -> Iterator[WebServer]:
    """The host whose names are ordered."""
    with web.serve(WebServer()) as running:
        yield running


def prepared(folder: Path, website: WebServer, signer: str = "") -> Server:
    """Make a CA that has a signer."""
    server = prepare(folder, "--http-port", str(website.port))
    with server.config.open("a") as file:
        file.write(f"\n[signer]\n{signer}\n")
    return server


@contextmanager
def apart(server: Server) -> Iterator[subprocess.Popen[str]]:
    """Run `acme-ca signer`, with its log in `signer.log`."""
    log = server.folder / "signer.log"
    words = [sys.executable, "-m", "acme_ca", "signer", "--config", str(server.config)]
    with log.open("a") as output, subprocess.Popen(words, stdout=output, stderr=output, text=True) as process:
        try:
            eventually(lambda: "signer.ready" in log.read_text() or process.poll() is not None, "the signer is ready")
            yield process
        finally:
            process.terminate()
            process.wait(PATIENCE)


def kill_signer(server: Server) -> None:
    """Kill it, and wait until another one is there."""
    deaths, starts = len(server.said("child.died")), len(server.said("signer.ready"))
    for child in server.children("signer"):
        child.kill()
    eventually(lambda: len(server.said("child.died")) > deaths, "it is missed")
    eventually(lambda: len(server.said("signer.ready")) > starts, "another one is there")


def assembled(server: Server) -> list[dict[str, Any]]:
    """The workers of the ACME listener that have put the CA together after they had none."""
    return [line for line in server.said("ca.assembled") if line["face"] == "acme"]


def issue(server: Server, website: WebServer, name: str) -> None:
    client = patient(server)
    url, order = ready(client, website, name)
    assert client.finalize(order, make_csr([name])).status_code == 200
    leaf, issuer, *_ = certificates(client.ok(client.get(url)["certificate"]).text)
    leaf.verify_directly_issued_by(issuer)


@pytest.mark.timeout(400)
def test_a_signer_that_is_killed_again_and_again_loses_no_order(tmp_path: Path, website: WebServer) -> None:
    with serving(tmp_path, prepared=prepared(tmp_path, website)) as server:
        load = Load(website)
        clients = [patient(server) for _ in range(CLIENTS)]
        with ThreadPoolExecutor(CLIENTS) as pool:
            working = [pool.submit(load.go_on, client, number) for number, client in enumerate(clients)]
            try:
                for _ in range(KILLS):
                    load.await_more("issued", working)
                    kill_signer(server)
                load.await_more("issued", working)
            finally:
                load.over.set()
            made = [work.result(PATIENCE) for work in working]
        for client, urls in zip(clients, made, strict=True):
            for url in urls:
                leaf, issuer, *_ = certificates(client.ok(url).text)
                leaf.verify_directly_issued_by(issuer)
        assert [line["role"] for line in server.said("child.died")] == ["signer"] * KILLS
        assert not server.said("request.crashed")


@pytest.mark.timeout(300)
def test_reloads_and_restarts_go_by_without_a_failure(tmp_path: Path, website: WebServer) -> None:
    with serving(tmp_path, prepared=prepared(tmp_path, website)) as server:
        issue(server, website, "a.test.localhost")
        before = {child.pid for child in server.children("signer")}
        server.signal(signal.SIGHUP)
        eventually(lambda: len(server.said("serve.ready")) == 2, "it has reloaded")
        eventually(lambda: not before & {child.pid for child in server.children("signer")}, "the signer is a new one")
        issue(server, website, "b.test.localhost")
        assert server.stop() == 0
        server.start()
        issue(server, website, "c.test.localhost")
        assert not server.said("key.refused")


@pytest.mark.timeout(300)
def test_who_serves_needs_no_keys_where_the_signer_is_apart(tmp_path: Path, website: WebServer) -> None:
    server = prepared(tmp_path, website, "start = false")
    keys = server.folder / "keys"
    with apart(server) as process:
        for path in keys.iterdir():
            if path.name not in {"audit.key", "passphrase"}:
                path.write_bytes(b"nothing")  # for the configuration, it is there
        with serving(tmp_path, prepared=server):
            assert not server.children("signer")
            issue(server, website, "a.test.localhost")
            process.send_signal(signal.SIGHUP)
            eventually(lambda: "config.refused" in (tmp_path / "signer.log").read_text(), "it refuses to lose its keys")
            issue(server, website, "b.test.localhost")


@pytest.mark.timeout(300)
def test_while_a_signer_that_is_apart_is_away_orders_stay_ready(tmp_path: Path, website: WebServer) -> None:
    server = prepared(tmp_path, website, "start = false")
    with apart(server) as process, serving(tmp_path, prepared=server):
        client = patient(server)
        url, order = ready(client, website, "a.test.localhost")
        csr = make_csr(["a.test.localhost"])
        process.kill()
        process.wait(PATIENCE)
        for _ in range(3):
            answer = client.finalize(order, csr)
            assert answer.status_code == 503
            assert int(answer.headers["Retry-After"]) >= 1
            assert client.get(url)["status"] == "ready"
        with apart(server):
            eventually(lambda: client.finalize(order, csr).status_code == 200, "it goes on")
        assert server.stop() == 0
        server.start()
        assert server.said("serve.starts_without")
        eventually(lambda: server.said("ca.not_assembled"), "it waits")
        with apart(server):
            eventually(lambda: len(assembled(server)) == ACME_WORKERS, "it goes on")
            issue(server, website, "b.test.localhost")


def test_a_signer_without_a_table_or_keys_does_not_start(tmp_path: Path, website: WebServer) -> None:
    server = prepare(tmp_path)
    words = [sys.executable, "-m", "acme_ca", "signer", "--config", str(server.config)]

    def refused() -> str:
        done = subprocess.run(words, check=False, capture_output=True, text=True, timeout=PATIENCE)
        assert done.returncode == 1
        return done.stderr

    assert "there is no [signer] in the configuration" in refused()
    serve = [*words[:3], "serve", "--config", str(server.config), "--only", "signer"]
    done = subprocess.run(serve, check=False, capture_output=True, text=True, timeout=PATIENCE)
    assert (done.returncode, "there is no [signer] in the configuration" in done.stderr) == (1, True)
    shutil.rmtree(tmp_path)
    tmp_path.mkdir()
    prepared(tmp_path, website)
    (tmp_path / "keys" / "passphrase").write_text("another passphrase than this\n")
    assert "not an encrypted PKCS#8 PEM file, or not under the passphrase" in refused()
