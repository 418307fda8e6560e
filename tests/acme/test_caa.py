"""CAA and wildcards, with a real resolver. RFC 8659, RFC 8555 §7.1.3."""

from __future__ import annotations

import hashlib

import pytest

from tests.acme.conftest import MakeCa
from tests.support import dns
from tests.support.acme_client import URN
from tests.support.ca import RunningCa
from tests.support.challenges import answer_well, ordered, retry, submit
from tests.support.jws import b64
from tests.support.web import WebServer

CORP = {"zones": ("corp.example",), "policy": [{"name": "corp", "dns": [".corp.example"], "wildcards": True}]}


@pytest.fixture
def corp(make_ca: MakeCa, nameserver: dns.Running) -> RunningCa:
    """A CA for corp.example that asks the test's name server."""
    return make_ca(**CORP, validation={"resolvers": [f"127.0.0.1:{nameserver.port}"]})


def test_caa_refuses_what_was_proved(corp: RunningCa, website: WebServer, nameserver: dns.Running) -> None:
    nameserver.server.caa("corp.example", '0 issue "other.example"')
    client = corp.client().register()
    order, url = ordered(client, "www.corp.example")
    answer_well(client, website, url)
    challenge = submit(corp, client, url)
    assert challenge["status"] == "invalid"
    assert challenge["error"]["type"] == f"{URN}caa"
    assert "other.example" in challenge["error"]["detail"]
    assert client.get(order)["status"] == "invalid"
    assert client.get(order)["error"]["type"] == f"{URN}caa"


def test_caa_that_cannot_be_looked_up_is_silence(corp: RunningCa, website: WebServer, nameserver: dns.Running) -> None:
    nameserver.server.fail("servfail", "www.corp.example", "CAA")
    client = corp.client().register()
    _, url = ordered(client, "www.corp.example")
    answer_well(client, website, url)
    assert submit(corp, client, url)["status"] == "processing"
    nameserver.server.faults.clear()
    retry(corp)
    assert client.get(url)["status"] == "valid"


def test_wildcard_and_its_base_are_two_proofs(corp: RunningCa, nameserver: dns.Running) -> None:
    """Both have their TXT record at the same name."""
    client = corp.client().register()
    url, order = client.order(["*.corp.example", "corp.example"])
    assert len(order["authorizations"]) == 2
    keys = [client.key_authorization(client.challenge(each, "dns-01")["token"]) for each in order["authorizations"]]
    digests = [b64(hashlib.sha256(key.encode()).digest()) for key in keys]
    nameserver.server.txt("_acme-challenge.corp.example", *digests)
    assert submit(corp, client, order["authorizations"][0], "dns-01")["status"] == "valid"
    assert client.get(url)["status"] == "pending"
    assert submit(corp, client, order["authorizations"][1], "dns-01")["status"] == "valid"
    assert client.get(url)["status"] == "ready"
    assert client.order(["corp.example"])[1]["status"] == "ready"
    assert client.order(["*.corp.example"])[1]["status"] == "ready"
    assert client.order(["www.corp.example"])[1]["status"] == "pending", "a wildcard's proof is for the wildcard"
