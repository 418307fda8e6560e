"""Worker processes are killed in the middle of validation and finalize: every order ends well, the ledger knows all."""

from __future__ import annotations

import contextlib
import http.client
import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import psutil
import pytest

from acme_ca.config import load
from acme_ca.db import Database
from tests.support import rows, web
from tests.support.acme_client import AcmeClient, certificates, make_csr
from tests.support.jws import b64
from tests.support.server import PATIENCE, Server, eventually, serving
from tests.support.web import WELL_KNOWN, WebServer

KILLS = 50
CLIENTS = 6
STRIKE = 0.03  # seconds after a request was begun within which its process is killed
LOST = (OSError, http.client.HTTPException)  # what a client sees of a killed server


@pytest.fixture(scope="module")
def website() -> Iterator[WebServer]:
    """The host whose names are ordered."""
    with web.serve(WebServer()) as running:
        yield running


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory, website: WebServer) -> Iterator[Server]:
    """A server with two worker processes."""
    with serving(tmp_path_factory.mktemp("server"), "--http-port", str(website.port)) as running:
        yield running


@dataclass
class Battle:
    """What clients and the killer tell each other."""

    website: WebServer
    over: threading.Event = field(default_factory=threading.Event)
    begun: threading.Event = field(default_factory=threading.Event)  # a challenge or finalize is on its way
    answered: threading.Event = field(default_factory=threading.Event)
    lost: int = 0

    def order_again_and_again(self, client: AcmeClient, number: int) -> list[str]:
        """Bring orders to their end, one after the other; return their URLs."""
        done: list[str] = []
        while not self.over.is_set():
            name = f"n{len(done)}.c{number}.test.localhost"
            with contextlib.suppress(*LOST):  # if this is lost, the order is found at the end
                url, _ = client.order([name])
                self.finish(client, url)
                done.append(url)
        return done

    def finish(self, client: AcmeClient, url: str) -> None:
        """Do what clients do until the order is valid, whatever is lost on the way; the CSR stays the same."""
        csr: bytes | None = None
        while True:
            try:
                order = client.get(url)
                self.answered.set()
                assert order["status"] in ("pending", "ready", "processing", "valid"), order
                if order["status"] == "valid":
                    return
                csr = csr or make_csr([identifier["value"] for identifier in order["identifiers"]])
                self._step(client, order, csr)
            except LOST:
                self.lost += 1

    def _step(self, client: AcmeClient, order: dict[str, Any], csr: bytes) -> None:
        if order["status"] == "ready":
            self._begin(client, order["finalize"], {"csr": b64(csr)})
        elif order["status"] == "processing":
            time.sleep(0.05)
        else:
            challenge = client.challenge(order["authorizations"][0])
            path, body = WELL_KNOWN + challenge["token"], client.key_authorization(challenge["token"]).encode()
            self.website.slow(path, body, pause=0.0001)  # so that a validation takes about as long as STRIKE
            if challenge["status"] == "processing":
                time.sleep(0.05)
            else:
                self._begin(client, challenge["url"], {})

    def _begin(self, client: AcmeClient, url: str, payload: object) -> None:
        nonce = client.nonce()
        self.begun.set()
        client.post(url, payload, nonce=nonce)

    def kill(self, server: Server) -> None:
        """Kill worker processes, all of them at a time, while they validate or issue."""
        (master,) = server.children("acme")
        kills = 0
        while kills < KILLS:
            for event in (self.answered, self.begun):  # the server works again, and has something to do
                event.clear()
                assert event.wait(PATIENCE)
            time.sleep(random.uniform(0, STRIKE))
            for process in master.children():
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
                    kills += 1


@pytest.mark.timeout(400)
def test_killing_workers_loses_nothing(server: Server, website: WebServer) -> None:
    battle = Battle(website)
    clients = [server.client().register() for _ in range(CLIENTS)]
    with ThreadPoolExecutor(CLIENTS) as pool:
        working = [pool.submit(battle.order_again_and_again, client, number) for number, client in enumerate(clients)]
        try:
            battle.kill(server)
        finally:
            battle.over.set()
        finished = [work.result() for work in working]
    assert battle.lost, "nobody was at work when the processes were killed"
    database = Database(load(server.config).database.url)
    for client, urls in zip(clients, finished, strict=True):
        made = orders_of(client, database)
        assert set(urls) <= set(made)
        for url in made:
            battle.finish(client, url)
    eventually(lambda: not rows.select(database, "SELECT id FROM certificates WHERE status = 'claimed'"), "all decided")
    for client in clients:
        check_ledger(client, database)
    database.close()


def orders_of(client: AcmeClient, database: Database) -> list[str]:
    """The URLs of all orders of a client, those too whose answer was lost."""
    query = "SELECT id FROM orders WHERE account_id = :account"
    found = rows.select(database, query, account=rows.id_of(str(client.signer.kid)))
    return [client.url(f"order/{row.id}") for row in found]


def check_ledger(client: AcmeClient, database: Database) -> None:
    """Each order has one certificate that can be had, and the ledger and the audit trail know just that one."""
    query = "SELECT id, order_id, serial, status, der FROM certificates WHERE account_id = :account"
    lines = rows.select(database, query, account=rows.id_of(str(client.signer.kid)))
    orders = orders_of(client, database)
    issued = {line.order_id: line for line in lines if line.status == "issued"}
    assert len([line for line in lines if line.status == "issued"]) == len(orders) == len(issued)
    for url in orders:
        order, line = client.get(url), issued[rows.id_of(url)]
        assert rows.id_of(order["certificate"]) == line.id
        leaf = certificates(client.ok(order["certificate"]).text)[0]
        assert leaf.serial_number == int(line.serial, 16)
    for line in lines:
        query = "SELECT event FROM audit_events WHERE subject = :id"
        assert [row.event for row in rows.select(database, query, id=line.id)] == [f"certificate.{line.status}"]
        if line.status == "abandoned":
            assert line.der is None
            assert client.refused(client.url(f"certificate/{line.id}"))[2] == 404
