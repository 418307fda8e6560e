"""Two requests at once under READ COMMITTED: one is held up where another transaction, the test's own, has a lock."""

from __future__ import annotations

import time
from base64 import urlsafe_b64decode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import Connection
from werkzeug.test import TestResponse

from acme_ca import clock
from acme_ca.db import Database
from acme_ca.jose import jwk_from_public_key
from acme_ca.models import base
from acme_ca.models.account import Account
from acme_ca.models.certificate import BlockedKey
from acme_ca.models.external_key import ExternalKey
from acme_ca.public_keys import spki_sha256
from acme_ca.services import external_keys
from tests.acme.conftest import MakeCa
from tests.support import rows
from tests.support.acme_client import certificates
from tests.support.ca import RunningCa
from tests.support.issue import issue
from tests.support.jws import b64, eab
from tests.support.web import WebServer

NAME = "raced.test.localhost"
WAITING = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
Answer = TypeVar("Answer")


@pytest.fixture
def ca_on_postgres(make_ca: MakeCa, postgres_url: str) -> RunningCa:
    return make_ca(database_url=postgres_url)


@contextmanager
def first(database: Database, request: Callable[[], Answer], answers: list[Answer]) -> Iterator[Connection]:
    """Commit the block while the request waits for one of its locks; what it answers then goes into `answers`."""
    with ThreadPoolExecutor(1) as pool:
        with database.write() as connection:
            yield connection
            future = pool.submit(request)
            while not rows.select(database, WAITING):
                assert not future.done(), future.result()
                time.sleep(0.005)
        answers.append(future.result())


def test_account_that_is_made_twice_at_once_is_one_although_its_binding_is_spent(ca_on_postgres: RunningCa) -> None:
    database = ca_on_postgres.authority.database
    key = external_keys.create(database, "test")
    client = ca_on_postgres.client()
    url = client.url("newAccount")
    secret = urlsafe_b64decode(key.mac_key + "=")
    payload = {"externalAccountBinding": eab(key.kid, secret, client.signer.key, url)}
    jwk = jwk_from_public_key(client.signer.key.public_key())
    made = Account(
        environment="test", thumbprint=jwk.thumbprint, jwk=dict(jwk.json), contact=[], created_at=clock.now()
    )
    answers: list[TestResponse] = []
    with first(database, lambda: client.post(url, payload), answers) as connection:
        row = base.get_one(connection, ExternalKey, key.kid, lock=True)
        row.use(clock.now())
        base.update(connection, row)
        base.insert(connection, made)
    assert answers[0].status_code == 200, answers[0].text
    assert answers[0].headers["Location"] == client.url(f"account/{made.id}")


def test_key_that_is_reported_compromised_twice_at_once_is_blocked(
    ca_on_postgres: RunningCa, website: WebServer
) -> None:
    """By two certificates with that key."""
    database = ca_on_postgres.authority.database
    client = ca_on_postgres.client().register()
    leaf = certificates(client.ok(issue(client, website, [NAME])["certificate"]).text)[0]
    key_sha256 = spki_sha256(leaf.public_key())  # type: ignore[arg-type]  # the tests' keys are of accepted kinds
    payload = {"certificate": b64(leaf.public_bytes(Encoding.DER)), "reason": 1}
    answers: list[TestResponse] = []
    with first(database, lambda: client.post(client.url("revokeCert"), payload), answers) as connection:
        base.insert(connection, BlockedKey(key_sha256=key_sha256, serial="another", blocked_at=clock.now()))
    assert answers[0].status_code == 200, answers[0].text
