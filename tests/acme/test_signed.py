"""What every signed request must be. RFC 8555 §6."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.acme.conftest import MakeCa
from tests.support.acme_client import AcmeClient, body_of
from tests.support.ca import RunningCa
from tests.support.jws import Signer, b64, flattened


def test_nonce_is_good_once(client: AcmeClient) -> None:
    url, nonce = str(client.signer.kid), client.nonce()
    body = client.signer.sign(url, None, nonce=nonce)
    assert client.send(url, body).status_code == 200
    refused = client.send(url, body)
    assert refused.status_code == 400
    assert body_of(refused)["type"].endswith(":badNonce")


def test_nonce_of_a_refusal_is_good(client: AcmeClient) -> None:
    url = str(client.signer.kid)
    refused = client.send(url, client.signer.sign(url, None, nonce="bm9uc2Vuc2U"))
    assert body_of(refused)["type"].endswith(":badNonce")
    assert client.send(url, client.signer.sign(url, None, nonce=refused.headers["Replay-Nonce"])).status_code == 200


def test_nonce_works_in_its_environment_only(ca: RunningCa) -> None:
    client = ca.client("test").register()
    foreign = ca.client("prod").nonce()
    assert client.refused(str(client.signer.kid), None, nonce=foreign)[0] == "badNonce"


def test_nonce_survives_a_restart_and_its_use_too(make_ca: MakeCa) -> None:
    before = make_ca()
    client = before.client().register()
    url, unused, used = str(client.signer.kid), client.nonce(), client.nonce()
    assert client.post(url, None, nonce=used).status_code == 200
    after = AcmeClient(make_ca().app, client.base, client.signer)
    assert after.refused(url, None, nonce=used)[0] == "badNonce"
    assert after.post(url, None, nonce=unused).status_code == 200


def test_nonce_is_refused_twice_on_each_database(ca_on_each: RunningCa) -> None:
    client = ca_on_each.client().register()
    nonce = client.nonce()
    assert client.post(str(client.signer.kid), None, nonce=nonce).status_code == 200
    assert client.refused(str(client.signer.kid), None, nonce=nonce)[0] == "badNonce"


def test_wrong_signature_spends_no_nonce(client: AcmeClient) -> None:
    url, nonce = str(client.signer.kid), client.nonce()
    stranger = Signer(Signer.new().key, client.signer.kid)
    assert client.send(url, stranger.sign(url, None, nonce=nonce)).status_code == 400
    assert client.send(url, client.signer.sign(url, None, nonce=nonce)).status_code == 200


@pytest.mark.parametrize(
    ("wrong", "kind", "status"),
    [
        ({"url": "https://localhost:8443/acme/test/newOrder"}, "unauthorized", 403),
        ({"url": ""}, "unauthorized", 403),
        ({"url": 7}, "malformed", 400),
        ({"nonce": 7}, "malformed", 400),
        ({"nonce": "not base64url!"}, None, 400),
        ({"alg": "none"}, "badSignatureAlgorithm", 400),
        ({"alg": "HS256"}, "badSignatureAlgorithm", 400),
        ({"alg": "ES384"}, "badSignatureAlgorithm", 400),
        ({"alg": 1}, None, 400),
        ({"b64": False}, "malformed", 400),
        ({"crit": ["x"], "x": 1}, "malformed", 400),
        ({"kid": None}, "malformed", 400),
        ({"kid": "https://other.example/acme/test/account/1"}, "unauthorized", 403),
        ({"jwk": {"kty": "EC"}}, "malformed", 400),
    ],
)
def test_wrong_header_is_refused(client: AcmeClient, wrong: dict[str, Any], kind: str | None, status: int) -> None:
    found, _detail, code = client.refused(str(client.signer.kid), None, **wrong)
    assert code == status
    assert kind in (None, found)


def test_bad_algorithm_lists_the_good_ones(client: AcmeClient) -> None:
    body = body_of(client.post(str(client.signer.kid), None, alg="RS512"))
    assert body["algorithms"] == ["ES256", "ES384", "ES512", "RS256", "EdDSA"]


def test_missing_nonce_is_a_bad_nonce(client: AcmeClient) -> None:
    url = str(client.signer.kid)
    response = client.send(url, client.signer.sign(url))
    assert body_of(response)["type"].endswith(":badNonce")


def test_key_and_account_are_taken_where_they_belong(client: AcmeClient) -> None:
    assert client.refused(client.url("newOrder"), {}, use_jwk=True)[0] == "malformed"
    assert client.refused(client.url("newAccount"), {})[0] == "malformed"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"protected":"","payload":"","signature":""}',
        b'{"protected":"e30","payload":"","signature":""}',
        b'{"protected":1,"payload":2,"signature":3}',
        b"[" * 60_000,
        b'{"a":' * 20_000,
    ],
)
def test_anything_that_is_no_jws_is_malformed(client: AcmeClient, body: bytes) -> None:
    response = client.send(client.url("newOrder"), body)
    assert response.status_code == 400
    assert body_of(response)["type"].endswith(":malformed")


def test_general_and_compact_serialization_are_refused(client: AcmeClient) -> None:
    url = str(client.signer.kid)
    jws = client.signer.message(url, None, nonce=client.nonce())
    general = {
        "payload": jws["payload"],
        "signatures": [{"protected": jws["protected"], "signature": jws["signature"]}],
    }
    assert client.send(url, json.dumps(general).encode()).status_code == 400
    assert client.send(url, ".".join((jws["protected"], jws["payload"], jws["signature"])).encode()).status_code == 400
    assert client.send(url, json.dumps(jws | {"header": {"kid": "x"}}).encode()).status_code == 400


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", ""])
def test_other_content_types_are_415(client: AcmeClient, content_type: str) -> None:
    url = str(client.signer.kid)
    response = client.send(url, client.signer.sign(url, None, nonce=client.nonce()), content_type)
    assert response.status_code == 415
    assert "application/jose+json" in body_of(response)["detail"]


def test_large_body_is_413(client: AcmeClient) -> None:
    response = client.send(client.url("newOrder"), b"x" * 200_000)
    assert response.status_code == 413


def test_payload_on_a_resource_that_is_only_read_is_refused(client: AcmeClient) -> None:
    url, order = client.order(["a.test.localhost"])
    for target in (url, f"{client.signer.kid}/orders"):
        assert client.refused(target, {})[0] == "malformed"
    assert order["status"] == "pending"


@pytest.mark.parametrize(
    "payload",
    [None, b"", b"null", b"[]", b"3", b'"x"', b"{", b'{"identifiers":1}', b'{"identifiers":[{"type":"dns"}]}',
     b'{"a":1,"a":2}',
     b'{"identifiers":[{"type":"dns","value":"a.test.localhost"}],"notAfter":1}',
     b'{"identifiers":[{"type":"dns","value":"a.test.localhost"}],"notAfter":"tomorrow"}',
     b'{"identifiers":[{"type":"dns","value":"a.test.localhost"}],"notAfter":"2026-01-31T12:00:00"}',
     b'{"identifiers":[{"type":"dns","value":"a.test.localhost"}],"notBefore":"9999-99-99T00:00:00Z"}',
     b'{"identifiers":[{"type":"dns","value":"a.test.localhost"}],"profile":{}}',
     b'{"identifiers":[{"type":"dns","value":"a.test.localhost"}],"replaces":1}'],
)  # fmt: skip
def test_payload_that_is_no_new_order_is_malformed(client: AcmeClient, payload: bytes | None) -> None:
    assert client.refused(client.url("newOrder"), payload)[::2] == ("malformed", 400)


def test_unknown_members_are_ignored(client: AcmeClient) -> None:
    """Caddy sends an `expires` of the year 1; §7.3 wants unknown members ignored."""
    client.order(["a.test.localhost"], expires="0001-01-01T00:00:00Z", status="valid", unknown={"deep": [1]})


@pytest.mark.parametrize(
    "make_jwk",
    [
        lambda signer: signer.jwk | {"d": "AA"},
        lambda signer: signer.jwk | {"x": signer.jwk["y"]},
        lambda _: {"kty": "oct", "k": "AA"},
        lambda _: {"kty": "RSA", "n": b64(b"\xc1" * 64), "e": "AQAB"},
        lambda _: {"kty": "RSA", "n": b64(b"\xc1" * 256), "e": "AQ"},
        lambda _: {"kty": "EC", "crv": "secp256k1", "x": b64(b"1" * 32), "y": b64(b"2" * 32)},
        lambda _: {"kty": "OKP", "crv": "X25519", "x": b64(b"1" * 32)},
        lambda _: {},
        lambda _: [],
    ],
)
def test_bad_account_key_is_refused(ca: RunningCa, make_jwk: Callable[[Signer], object]) -> None:
    client = ca.client()
    url = client.url("newAccount")
    header = {"alg": "ES256", "url": url, "nonce": client.nonce(), "jwk": make_jwk(client.signer)}
    response = client.send(url, json.dumps(flattened(client.signer.key, header, {})).encode())
    assert response.status_code == 400
    assert body_of(response)["type"].rpartition(":")[2] in ("badPublicKey", "malformed")
