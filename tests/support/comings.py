"""Clients that get certificates while what signs comes and goes."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Any

from tests.support.acme_client import AcmeClient, body_of, make_csr
from tests.support.server import Server, eventually
from tests.support.web import WebServer


def patient(server: Server) -> AcmeClient:
    return replace(server.client(), waits=True).register()


def ready(client: AcmeClient, website: WebServer, name: str) -> tuple[str, dict[str, Any]]:
    """Return an order whose name is proved: its URL, and what it is."""
    url, order = client.order([name])
    if order["status"] == "pending":
        challenge = client.challenge(order["authorizations"][0])
        website.token(challenge["token"], client.key_authorization(challenge["token"]))
        client.ok(challenge["url"], {})
        eventually(lambda: client.get(url)["status"] == "ready", "the order is ready")
        order = client.get(url)
    return url, order


@dataclass
class Load:
    """Clients that get one certificate after the other."""

    website: WebServer
    over: threading.Event = field(default_factory=threading.Event)
    issued: int = 0
    delayed: int = 0

    def await_more(self, what: str, working: list[Future[list[str]]]) -> None:
        before = getattr(self, what)
        eventually(lambda: getattr(self, what) > before or any(work.done() for work in working), f"more is {what}")

    def go_on(self, client: AcmeClient, number: int) -> list[str]:
        """Bring orders to their end, one after the other; return their certificates' URLs."""
        name, done = f"n{number}.test.localhost", []
        while not self.over.is_set():
            url, order = ready(client, self.website, name)
            csr = make_csr([name])
            while (answer := client.finalize(order, csr)).status_code != 200:
                problem = body_of(answer)
                assert answer.status_code == 503, problem
                self.delayed += 1
                assert client.get(url)["status"] == "ready"
                threading.Event().wait(0.1)
            order = client.get(url)
            assert order["status"] == "valid"
            done.append(order["certificate"])
            self.issued += 1
        return done
