"""Two worker processes, eight clients at once: nothing is lost, nothing is done twice, no database is locked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pytest

from acme_ca.config import load
from acme_ca.db import Database
from acme_ca.migrations.upgrade import upgrade
from tests.support import rows, web
from tests.support.acme_client import AcmeClient, body_of, certificates, make_csr
from tests.support.issue import authorize, issue
from tests.support.jws import Signer
from tests.support.postgres import Postgres
from tests.support.server import Server, prepare, serving
from tests.support.web import WebServer

CLIENTS, ORDERS = 8, 4
Result = TypeVar("Result")


@pytest.fixture(scope="module")
def website() -> Iterator[WebServer]:
    """The host whose names are ordered."""
    with web.serve(WebServer()) as running:
        yield running


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, website: WebServer
) -> Iterator[Server]:
    """A server with two worker processes, on each kind of database."""
    prepared = prepare(tmp_path_factory.mktemp("server"), "--http-port", str(website.port))
    if request.param == "postgresql":
        postgres: Postgres = request.getfixturevalue("postgres")
        prepared.edit("sqlite:///acme-ca.db", postgres.new_database())
        database = database_of(prepared)
        upgrade(database)
        database.close()
    with serving(prepared.folder, prepared=prepared) as running:
        yield running
        assert running.said("database.failed") == []
        assert [line for line in running.said("request") if line["status"] >= 500] == []


def database_of(server: Server) -> Database:
    settings = load(server.config).database
    return Database(settings.url, settings.reveal_password())


def issued(server: Server, order_url: str) -> list[int]:
    """The serials that the ledger has as issued for an order."""
    database = database_of(server)
    query = "SELECT serial FROM certificates WHERE status = 'issued' AND order_id = :id"
    found = [int(row.serial, 16) for row in rows.select(database, query, id=rows.id_of(order_url))]
    database.close()
    return found


def at_once(work: Callable[[int], Result]) -> list[Result]:
    """Do the work in eight threads at the same time."""
    with ThreadPoolExecutor(CLIENTS) as pool:
        return list(pool.map(work, range(CLIENTS)))


def ready(client: AcmeClient, website: WebServer, names: Sequence[str]) -> tuple[str, dict[str, object]]:
    """An order that can be finalized."""
    url, order = client.order(names)
    authorize(client, website, order)
    return url, order


@pytest.mark.timeout(240)
def test_no_order_is_lost(server: Server, website: WebServer) -> None:
    def flows(number: int) -> list[tuple[str, int]]:
        client = server.client().register()
        done = []
        for count in range(ORDERS):
            order = issue(client, website, [f"c{number}-{count}.test.localhost", f"c{number}.test.localhost"])
            done.append((order["url"], certificates(client.ok(order["certificate"]).text)[0].serial_number))
        assert client.get(f"{client.signer.kid}/orders")["orders"] == [url for url, _ in reversed(done)]
        return done

    done = [order for flow in at_once(flows) for order in flow]
    assert len({serial for _, serial in done}) == CLIENTS * ORDERS
    for url, serial in done:
        assert issued(server, url) == [serial]


@pytest.mark.parametrize("same", [True, False], ids=["one CSR", "eight CSRs"])
def test_finalize_fired_at_once_gives_one_certificate(server: Server, website: WebServer, same: bool) -> None:  # noqa: FBT001 - a parameter of the test
    client = server.client().register()
    names = ["once.test.localhost"]
    url, order = ready(client, website, names)
    csrs = [make_csr(names)] * CLIENTS if same else [make_csr(names) for _ in range(CLIENTS)]
    answers = at_once(lambda number: client.finalize(order, csrs[number]))
    accepted = [body_of(answer) for answer in answers if answer.status_code == 200]
    assert len(accepted) == (CLIENTS if same else 1)
    assert {answer.status_code for answer in answers} <= {200, 403}
    assert {body["status"] for body in accepted} <= {"processing", "valid"}
    finished = client.get(url)
    assert finished["status"] == "valid"
    leaf = certificates(client.ok(finished["certificate"]).text)[0]
    assert issued(server, url) == [leaf.serial_number]


def test_nonce_is_accepted_once_over_all_processes(server: Server) -> None:
    client = server.client().register()
    url = str(client.signer.kid)
    for _ in range(5):
        body = client.signer.sign(url, None, nonce=client.nonce())
        answers = at_once(lambda _, body=body: client.send(url, body))  # type: ignore[misc]  # the default binds the loop's value
        assert sorted(answer.status_code for answer in answers) == [200, *[400] * (CLIENTS - 1)]
        refused = {body_of(answer)["type"] for answer in answers if answer.status_code == 400}
        assert {kind.rpartition(":")[2] for kind in refused} == {"badNonce"}


def test_key_gets_one_account(server: Server) -> None:
    signer = Signer.new()

    def register(_: int) -> str:
        client = server.client()
        client.signer = signer
        answer = client.post(client.url("newAccount"), {})
        assert answer.status_code in (200, 201)
        return answer.headers["Location"]

    assert len(set(at_once(register))) == 1


def test_challenge_submitted_at_once_is_looked_at_once(server: Server, website: WebServer) -> None:
    client = server.client().register()
    _, order = client.order(["challenge.test.localhost"])
    challenge = client.challenge(order["authorizations"][0])
    website.token(challenge["token"], client.key_authorization(challenge["token"]))
    before = len(website.requests)
    at_once(lambda _: client.ok(challenge["url"], {}))
    authorize(client, website, order)
    assert len(website.requests) == before + 1


def test_deactivation_races_with_finalize(server: Server, website: WebServer) -> None:
    """Whichever is first: there is a certificate exactly if the order says so."""
    client = server.client().register()
    names = ["race.test.localhost"]
    url, order = ready(client, website, names)
    authorization = client.get(url)["authorizations"][0]

    def either(number: int) -> int:
        if number % 2:
            return client.post(authorization, {"status": "deactivated"}).status_code
        return client.finalize(order, csr).status_code

    csr = make_csr(names)
    assert set(at_once(either)) <= {200, 400, 403}
    assert client.get(authorization)["status"] == "deactivated"
    assert len(issued(server, url)) == (client.get(url)["status"] == "valid")
