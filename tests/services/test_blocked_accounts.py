"""Accounts whose key is blocked: they end at once, in all environments."""

from __future__ import annotations

from alembic import command
from cryptography.hazmat.primitives.asymmetric import ec

from acme_ca import clock
from acme_ca.migrations import upgrade as migrations
from acme_ca.models import base
from acme_ca.models.certificate import BlockedKey
from acme_ca.public_keys import spki_sha256
from acme_ca.services import blocked_keys
from tests.support import rows
from tests.support.acme_client import AcmeClient, body_of, make_csr
from tests.support.ca import RunningCa
from tests.support.issue import authorize
from tests.support.jws import Signer, b64
from tests.support.web import WebServer

NAME = "a.test.localhost"


def order(client: AcmeClient) -> tuple[int, str]:
    answer = client.post(client.url("newOrder"), {"identifiers": [{"type": "dns", "value": NAME}]})
    return answer.status_code, str(body_of(answer).get("detail", ""))


def hash_of(client: AcmeClient) -> bytes:
    return spki_sha256(client.signer.key.public_key())


def with_key_of(ca: RunningCa, client: AcmeClient, environment: str) -> AcmeClient:
    other = ca.client(environment)
    other.signer = Signer(client.signer.key)
    return other.register()


def test_an_operator_who_blocks_a_key_ends_its_accounts(ca: RunningCa) -> None:
    client, bystander = ca.client().register(), ca.client().register()
    elsewhere = with_key_of(ca, client, "prod")
    blocked_keys.block(ca.authority, hash_of(client), "leaked", by="admin:alice")
    for one in (client, elsewhere):
        status, detail = order(one)
        assert (status, "this account is revoked" in detail) == (401, True), detail
    assert order(bystander)[0] == 201
    found = rows.select(
        ca.authority.database, "SELECT actor, environment FROM audit_events WHERE event = 'account.revoked'"
    )
    assert sorted(map(tuple, found)) == [("admin:alice", "prod"), ("admin:alice", "test")]


def test_a_key_that_an_account_changed_to_is_its_key(ca: RunningCa) -> None:
    client = ca.client().register()
    old, new, url = hash_of(client), Signer.new(), client.url("keyChange")
    client.ok(url, client.signer.key_change(new, url))
    client.signer = Signer(new.key, client.signer.kid)
    blocked_keys.block(ca.authority, old, "leaked", by="admin:alice")
    assert order(client)[0] == 201
    blocked_keys.block(ca.authority, hash_of(client), "leaked", by="admin:alice")
    assert order(client)[0] == 401


def test_who_reports_a_certificates_key_ends_the_accounts_that_have_it(ca: RunningCa, website: WebServer) -> None:
    client, thief = ca.client().register(), ca.client()
    key = ec.generate_private_key(ec.SECP256R1())
    thief.signer = Signer(key)
    thief.register()
    _, made = client.order([NAME])
    authorize(client, website, made)
    done = body_of(client.finalize(made, make_csr([NAME], key)))
    (line,) = rows.select(ca.authority.database, "SELECT der FROM certificates WHERE der IS NOT NULL")
    assert done["status"] == "valid"
    client.ok(client.url("revokeCert"), {"certificate": b64(line.der), "reason": 1})
    assert (order(thief)[0], order(client)[0]) == (401, 201)


def test_a_database_of_before_learns_the_keys_of_its_accounts(ca: RunningCa) -> None:
    client, bystander = ca.client().register(), ca.client().register()
    database = ca.authority.database
    with database.write(durable=True) as connection:
        base.insert(connection, BlockedKey(key_sha256=hash_of(client), serial=None, blocked_at=clock.now()))
    with database.reshape() as connection:
        config = migrations._config()
        config.attributes["connection"] = connection
        command.downgrade(config, "0008")
    migrations.upgrade(database)
    assert (order(client)[0], order(bystander)[0]) == (401, 201)
    found = rows.select(database, "SELECT details FROM audit_events WHERE event = 'account.revoked'")
    assert hash_of(client).hex() in str(found)
    blocked_keys.block(ca.authority, hash_of(bystander), "leaked", by="admin:alice")
    assert order(bystander)[0] == 401
