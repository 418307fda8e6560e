"""Sweeping and takeovers: what goes, what must never go, and what becomes of what died."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from acme_ca import config
from acme_ca.config import Config
from acme_ca.processes import Processes
from acme_ca.services import issuance, nonces, orders, takeovers, validation
from tests.support import ari, rows, web
from tests.support.acme_client import AcmeClient, body_of, certificates, make_csr
from tests.support.ca import RunningCa, make_ca_files, start_ca, with_environment
from tests.support.issue import authorize, issue
from tests.support.jws import b64
from tests.support.web import WebServer

NAMES = ["a.test.localhost", "b.test.localhost"]


@pytest.fixture(scope="session")
def sweeping_settings(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """What `acme-ca init` makes."""
    return config.load(make_ca_files(tmp_path_factory.mktemp("ca")))


@pytest.fixture
def website() -> Iterator[WebServer]:
    """The host whose names are ordered."""
    with web.serve(WebServer()) as running:
        yield running


@pytest.fixture
def ca(sweeping_settings: Config, tmp_path: Path, sqlite_url: str, website: WebServer) -> Iterator[RunningCa]:
    """A CA on SQLite."""
    network = sweeping_settings.environment["test"].validation.model_copy(update={"http_port": website.port})
    settings = with_environment(sweeping_settings, "test", validation=network)
    running = start_ca(settings, sqlite_url, tmp_path / "state")
    yield running
    running.close()


@pytest.fixture
def client(ca: RunningCa) -> AcmeClient:
    """A client with an account."""
    return ca.client().register()


def ids(ca: RunningCa, table: str) -> set[str]:
    return {row.id for row in rows.select(ca.authority.database, f"SELECT id FROM {table}")}


def leave_processing(ca: RunningCa, url: str, csr: bytes, process: str) -> str:
    """Leave an order as a process does that dies while it signs; the serial that it had claimed."""
    database, serial = ca.authority.database, f"{1:032x}"
    rows.change(
        database,
        "UPDATE orders SET status = 'processing', csr = :csr, claimed_by = :process, due_at = '2999-01-01 00:00:00.0'"
        " WHERE id = :id",
        csr=csr,
        process=process,
        id=rows.id_of(url),
    )
    (order,) = rows.select(database, "SELECT * FROM orders WHERE id = :id", id=rows.id_of(url))
    rows.change(
        database,
        "INSERT INTO certificates (id, serial, environment, account_id, order_id, issuer_id, authority_key_id, status,"
        " profile, policy_version, names, key_sha256, not_before, not_after, created_at)"
        " VALUES ('died', :serial, 'test', :account, :order, 'test-1', 'x', 'claimed', 'server-1h', '', '[]', 'x',"
        " :now, :now, :now)",
        serial=serial,
        account=order.account_id,
        order=order.id,
        now=order.created_at,
    )
    return serial


def ready(client: AcmeClient, website: WebServer) -> str:
    """The URL of an order that can be finalized."""
    url, order = client.order(NAMES)
    authorize(client, website, order)
    return url


def test_only_what_ended_a_day_ago_is_swept(client: AcmeClient, website: WebServer, ca: RunningCa) -> None:
    database = ca.authority.database
    kept_order = issue(client, website, NAMES)
    old = issue(client, website, ["old.test.localhost"])
    young = issue(client, website, ["young.test.localhost"])
    for order in (old, young):
        for table, url in (("orders", order["url"]), ("authorizations", order["authorizations"][0])):
            rows.expire(database, table, url)
    for table in ("orders", "authorizations"):
        rows.change(
            database,
            f"UPDATE {table} SET expires_at = :then WHERE id IN (:order, :authorization)",
            then=rows.hours_ago(23),
            order=rows.id_of(young["url"]),
            authorization=rows.id_of(young["authorizations"][0]),
        )
    assert orders.sweep(ca.authority) == 2
    assert orders.sweep(ca.authority) == 0
    assert ids(ca, "orders") == {rows.id_of(kept_order["url"]), rows.id_of(young["url"])}
    assert rows.id_of(old["authorizations"][0]) not in ids(ca, "authorizations")
    for url in (old["url"], old["authorizations"][0]):
        assert client.refused(url)[2] == 404


def test_certificates_outlive_their_orders(client: AcmeClient, website: WebServer, ca: RunningCa) -> None:
    """The ledger is kept: it can still be downloaded, renewed and revoked, and replaces what it replaced."""
    order = issue(client, website, NAMES)
    leaf = certificates(client.ok(order["certificate"]).text)[0]
    rows.expire(ca.authority.database, "orders", order["url"])
    assert orders.sweep(ca.authority) == 1
    der = leaf.public_bytes(Encoding.DER)
    assert certificates(client.ok(order["certificate"]).text)[0] == leaf
    assert ari.ask(client, ari.identifier(der)).status_code == 200
    client.ok(client.url("revokeCert"), {"certificate": b64(der)})
    orders.sweep(ca.authority)
    assert client.refused(client.url("revokeCert"), {"certificate": b64(der)})[0] == "alreadyRevoked"


def test_work_in_progress_is_not_swept(client: AcmeClient, website: WebServer, ca: RunningCa) -> None:
    database = ca.authority.database
    order = ready(client, website)
    leave_processing(ca, order, make_csr(NAMES), "another host's")
    _, pending = client.order(["c.test.localhost"])
    website.raw(web.WELL_KNOWN + client.challenge(pending["authorizations"][0])["token"], web.reply(503, b""))
    client.ok(f"{pending['authorizations'][0]}/http-01", {})
    rows.settle(database)
    rows.expire(database, "orders", order)
    rows.expire(database, "authorizations", pending["authorizations"][0])
    assert orders.sweep(ca.authority) == 0


def test_accounts_and_the_audit_trail_are_not_swept(client: AcmeClient, website: WebServer, ca: RunningCa) -> None:
    order = issue(client, website, NAMES)
    client.ok(str(client.signer.kid), {"status": "deactivated"})
    before = {table: ids(ca, table) for table in ("accounts", "audit_events", "certificates")}
    for table, url in (("orders", order["url"]), *(("authorizations", url) for url in order["authorizations"])):
        rows.expire(ca.authority.database, table, url)
    assert orders.sweep(ca.authority) == 3
    assert {table: ids(ca, table) for table in before} == before


def test_more_than_a_batch_is_swept(ca: RunningCa) -> None:
    count = 2 * orders.SWEEP_BATCH + 1
    rows.change(
        ca.authority.database,
        "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < :count)"
        " INSERT INTO authorizations (id, environment, account_id, identifier_type, identifier, status, token,"
        " challenges, created_at, expires_at, attempts)"
        " SELECT n, 'test', 'x', 'dns', 'x', 'valid', 'x', '[]', :then, :then, '[]' FROM numbers",
        count=count,
        then=rows.LONG_AGO,
    )
    assert orders.sweep(ca.authority) == count
    assert ids(ca, "authorizations") == set()


def test_order_whose_authorization_was_swept_is_invalid(client: AcmeClient, website: WebServer, ca: RunningCa) -> None:
    """What is left of its authorizations does not make it ready: every name needs one."""
    url = ready(client, website)
    first = client.get(url)["authorizations"][0]
    rows.expire(ca.authority.database, "authorizations", first)
    assert orders.sweep(ca.authority) == 1
    order = client.get(url)
    assert order["status"] == "invalid"
    assert body_of(client.finalize(order, make_csr(NAMES)))["type"].endswith(":orderNotReady")


def test_spent_nonces_are_kept_while_they_are_young_enough_to_come_back(client: AcmeClient, ca: RunningCa) -> None:
    url, nonce = str(client.signer.kid), client.nonce()
    client.post(url, None, nonce=nonce)
    assert nonces.forget(ca.authority) == 0
    assert client.refused(url, None, nonce=nonce)[0] == "badNonce"


def test_old_spent_nonces_are_forgotten(ca: RunningCa) -> None:
    spent, lifetime = ca.authority.spent_nonces, 3600
    now = int(time.time())
    ages = {"old": lifetime + nonces.SKEW + 5, "almost": lifetime, "young": 5}
    for number, age in enumerate(ages.values()):
        assert spent.spend((now - age).to_bytes(4, "big") + bytes((number,)) * 12)
    assert nonces.forget(ca.authority) == 1
    assert spent.spend((now - ages["old"]).to_bytes(4, "big") + bytes(12))
    assert not spent.spend((now - ages["almost"]).to_bytes(4, "big") + b"\1" * 12)


@pytest.fixture
def died(ca: RunningCa) -> str:
    """The name of a process that claimed work and was killed."""
    program = "import sys; from pathlib import Path; from acme_ca.processes import Processes\n"
    program += "print(Processes(Path(sys.argv[1])).own, flush=True); sys.stdin.read()"
    folder = ca.authority.config.state / "processes"
    command = [sys.executable, "-c", program, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        name = process.stdout.readline().strip()
        assert list(Processes(folder).dead()) == [], "it lives"
        process.kill()
    return name


def test_order_of_a_process_that_died_is_issued_under_another_serial(
    client: AcmeClient, website: WebServer, ca: RunningCa, died: str
) -> None:
    url, csr = ready(client, website), make_csr(NAMES)
    serial = leave_processing(ca, url, csr, died)
    assert issuance.resume_due(ca.authority) == 0, "its lease is not over"
    assert client.get(url)["status"] == "processing"
    assert takeovers.release_dead(ca.authority) == 1
    assert takeovers.release_dead(ca.authority) == 0
    assert issuance.resume_due(ca.authority) == 1
    order = client.get(url)
    assert order["status"] == "valid"
    ledger = rows.serials(ca.authority.database, client)
    assert ledger[serial] == "abandoned"
    assert sorted(ledger.values()) == ["abandoned", "issued"]
    assert body_of(client.finalize(order, csr)) == order
    assert client.refused(client.url("certificate/died"))[2] == 404


def test_validation_of_a_process_that_died_is_made_again(
    client: AcmeClient, website: WebServer, ca: RunningCa, died: str
) -> None:
    database = ca.authority.database
    _, order = client.order(NAMES[:1])
    url = order["authorizations"][0]
    token = client.challenge(url)["token"]
    website.token(token, client.key_authorization(token))
    rows.change(
        database,
        "UPDATE authorizations SET status = 'processing', challenge = 'http-01', claimed_by = :process,"
        " submitted_at = created_at, due_at = '2999-01-01 00:00:00.0'",
        process=died,
    )
    assert validation.resume_due(ca.authority) == 0
    assert takeovers.release_dead(ca.authority) == 1
    assert validation.resume_due(ca.authority) == 1
    assert client.get(url)["status"] == "valid"


@pytest.mark.parametrize("reason", ["blocked key", "deactivated account", "expired authorization"])
def test_order_that_may_no_longer_be_is_not_issued_on_takeover(
    client: AcmeClient, website: WebServer, ca: RunningCa, died: str, reason: str
) -> None:
    """What was right when it was claimed is checked again; the refusal is final, and nothing stays due."""
    database, url, csr = ca.authority.database, ready(client, website), make_csr(NAMES)
    leave_processing(ca, url, csr, died)
    if reason == "blocked key":
        other = ca.client().register()
        _, order = other.order(NAMES)
        authorize(other, website, order)
        finished = body_of(other.finalize(order, csr))
        der = certificates(other.ok(finished["certificate"]).text)[0].public_bytes(Encoding.DER)
        other.ok(other.url("revokeCert"), {"certificate": b64(der), "reason": 1})
    elif reason == "deactivated account":
        client.ok(str(client.signer.kid), {"status": "deactivated"})
    else:
        rows.expire(database, "authorizations", client.get(url)["authorizations"][0])
    assert takeovers.release_dead(ca.authority) == 1
    issuance.resume_due(ca.authority)
    (order,) = rows.select(database, "SELECT * FROM orders WHERE id = :id", id=rows.id_of(url))
    assert (order.status, order.due_at) == ("invalid", None)
    assert order.error is not None
    assert set(rows.serials(database, client).values()) == {"abandoned"}


def test_living_and_closed_processes_are_told_apart(tmp_path: Path) -> None:
    one, two = Processes(tmp_path / "processes"), Processes(tmp_path / "processes")
    names = {one.own, two.own}
    assert len(names) == 2
    assert {one.own, two.own} == names, "a process keeps its name"
    assert list(one.dead()) == list(two.dead()) == []
    two_name = two.own
    two.close()
    assert list(one.dead()) == [two_name]
    assert list(one.dead()) == []
    one.close()
    one.close()
