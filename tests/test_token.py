"""A CA whose keys are in a token: the token goes away and comes back, and no order is lost."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support import web
from tests.support.acme_client import body_of, certificates, make_csr
from tests.support.comings import Load, patient, ready
from tests.support.server import PATIENCE, Server, eventually, serving
from tests.support.softhsm import CONFIGURATION, SoftHsm, Token
from tests.support.web import WebServer

LOSSES = 50
CLIENTS = 8


@pytest.fixture(scope="module")
def website() -> Iterator[WebServer]:
    """The host whose names are ordered."""
    with web.serve(WebServer()) as running:
        yield running


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Token]:
    softhsm = SoftHsm(tmp_path_factory.mktemp("softhsm"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CONFIGURATION, str(softhsm.configuration))
        yield softhsm.token("acme-ca")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, website: WebServer, token: Token) -> Iterator[Server]:
    """A server with two worker processes."""
    with serving(tmp_path_factory.mktemp("server"), *token.options, "--http-port", str(website.port)) as running:
        yield running


def test_while_the_token_is_away_orders_stay_ready(server: Server, website: WebServer, token: Token) -> None:
    client = patient(server)
    url, order = ready(client, website, "app.test.localhost")
    csr = make_csr(["app.test.localhost"])
    token.take_out()
    try:
        for _ in range(3):
            answer = client.finalize(order, csr)
            assert answer.status_code == 503
            assert int(answer.headers["Retry-After"]) >= 1
            problem = body_of(answer)
            assert problem["detail"] == "a signing key cannot be reached; repeat the request"
            assert client.get(url)["status"] == "ready"
        assert b"acme_ca_key_up{" in server.get("/metrics")[2]
    finally:
        token.put_back()
    eventually(lambda: client.finalize(order, csr).status_code == 200, "it is issued")
    order = client.get(url)
    assert order["status"] == "valid"
    assert certificates(client.ok(order["certificate"]).text)


@pytest.mark.timeout(600)
def test_a_token_that_comes_and_goes_loses_no_order(server: Server, website: WebServer, token: Token) -> None:
    load = Load(website)
    clients = [patient(server) for _ in range(CLIENTS)]
    with ThreadPoolExecutor(CLIENTS) as pool:
        working = [pool.submit(load.go_on, client, number) for number, client in enumerate(clients)]
        try:
            for _ in range(LOSSES):
                token.take_out()
                load.await_more("delayed", working)
                token.put_back()
                load.await_more("issued", working)
        finally:
            load.over.set()
        made = [work.result(PATIENCE) for work in working]
    assert load.delayed
    for client, urls in zip(clients, made, strict=True):
        for url in urls:
            leaf, issuer, *_ = certificates(client.ok(url).text)
            leaf.verify_directly_issued_by(issuer)
    assert server.said("child.died") == []
