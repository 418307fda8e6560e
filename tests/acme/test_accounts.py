"""Accounts over HTTP. RFC 8555 §7.3, §7.1.2.1."""

from __future__ import annotations

from base64 import urlsafe_b64decode

import pytest

from acme_ca import clock
from acme_ca.models import base
from acme_ca.models.certificate import BlockedKey
from acme_ca.public_keys import spki_sha256
from acme_ca.services import external_keys
from acme_ca.services.external_keys import Wanted
from tests.acme.conftest import MakeCa
from tests.support.acme_client import AcmeClient, body_of
from tests.support.ca import RunningCa
from tests.support.jws import ACCOUNT_KINDS, Kind, Signer, b64, eab


@pytest.mark.parametrize("kind", ACCOUNT_KINDS)
def test_account_of_each_key_type_is_made_once(ca: RunningCa, kind: Kind) -> None:
    client = ca.client()
    client.signer = Signer.new(kind)
    first = client.ok(client.url("newAccount"), {"termsOfServiceAgreed": True}, status=201)
    again = client.ok(client.url("newAccount"), {"termsOfServiceAgreed": True}, status=200)
    assert first.headers["Location"] == again.headers["Location"]
    assert body_of(first)["status"] == "valid"
    assert body_of(first)["orders"].startswith(first.headers["Location"])


def test_account_is_made_on_each_database(ca_on_each: RunningCa) -> None:
    client = ca_on_each.client().register(contact=["mailto:ops@example.com"])
    assert client.get(str(client.signer.kid))["contact"] == ["mailto:ops@example.com"]


def test_only_return_existing_finds_and_refuses(ca: RunningCa) -> None:
    client = ca.client()
    payload = {"onlyReturnExisting": True, "contact": ["mailto:x@example.com"], "status": "valid"}
    kind, _detail, status = client.refused(client.url("newAccount"), payload)
    assert (kind, status) == ("accountDoesNotExist", 400)
    client.ok(client.url("newAccount"), {}, status=201)
    client.ok(client.url("newAccount"), payload, status=200)


@pytest.mark.parametrize(
    ("contact", "kind"),
    [
        (["tel:+123"], "unsupportedContact"),
        (["nonsense"], "unsupportedContact"),
        (["mailto:"], "invalidContact"),
        (["mailto:nobody"], "invalidContact"),
        (["mailto:a@example.com,b@example.com"], "invalidContact"),
        (["mailto:a@example.com?subject=x"], "invalidContact"),
        (["mailto:a@example.com"] * 11, "invalidContact"),
        ("mailto:a@example.com", "malformed"),
        ([1], "malformed"),
    ],
)
def test_wrong_contact_is_refused(ca: RunningCa, contact: object, kind: str) -> None:
    client = ca.client()
    assert client.refused(client.url("newAccount"), {"contact": contact})[0] == kind
    assert client.refused(client.url("newAccount"), {"onlyReturnExisting": True})[0] == "accountDoesNotExist"


def test_terms_of_service_must_be_agreed_to(make_ca: MakeCa) -> None:
    client = make_ca(terms_of_service="https://ca.example/terms").client()
    response = client.post(client.url("newAccount"), {})
    assert body_of(response)["type"].endswith(":userActionRequired")
    assert '<https://ca.example/terms>;rel="terms-of-service"' in response.headers.getlist("Link")
    client.register()


def test_contact_is_updated(client: AcmeClient) -> None:
    url = str(client.signer.kid)
    assert body_of(client.ok(url, {"contact": ["mailto:new@example.com"]}))["contact"] == ["mailto:new@example.com"]
    assert client.get(url)["contact"] == ["mailto:new@example.com"]
    assert body_of(client.ok(url, {"contact": []}))["contact"] == []
    assert client.refused(url, {"status": "revoked"})[0] == "malformed"


def test_deactivated_account_can_do_nothing_more(client: AcmeClient) -> None:
    url = str(client.signer.kid)
    _, order = client.order(["a.test.localhost"])
    assert body_of(client.ok(url, {"status": "deactivated"}))["status"] == "deactivated"
    order_payload = {"identifiers": [{"type": "dns", "value": "a.test.localhost"}]}
    attempts = [
        (client.url("newOrder"), order_payload),
        (url, None),
        (order["authorizations"][0], None),
        (f"{order['authorizations'][0]}/http-01", {}),
        (order["finalize"], {"csr": "MAA"}),
        (client.url("newAuthz"), {"identifier": order_payload["identifiers"][0]}),
    ]
    for target, payload in attempts[:4] + attempts[5:]:
        assert client.refused(target, payload)[::2] == ("unauthorized", 401), target  # §7.3.6
    bare = Signer(client.signer.key)
    refused = AcmeClient(client.app, client.base, bare).refused(client.url("newAccount"), {})
    assert refused[::2] == ("unauthorized", 401)


def test_another_account_is_never_shown(ca: RunningCa) -> None:
    alice, bob = ca.client().register(), ca.client().register()
    assert alice.refused(str(bob.signer.kid))[::2] == ("unauthorized", 403)
    assert alice.refused(f"{bob.signer.kid}/orders")[::2] == ("unauthorized", 403)
    _, order = bob.order(["b.test.localhost"])
    for url in (order["authorizations"][0], order["finalize"].removesuffix("/finalize")):
        assert alice.refused(url)[::2] == ("unauthorized", 403)


def test_unknown_account_is_said_so(ca: RunningCa) -> None:
    client = ca.client()
    client.signer = Signer(client.signer.key, client.url("account/unknown"))
    assert client.refused(client.url("newOrder"), {})[::2] == ("accountDoesNotExist", 400)


def test_account_is_good_in_its_environment_only(ca: RunningCa) -> None:
    client = ca.client("test").register()
    other = ca.client("prod")
    other.signer = client.signer
    assert other.refused(other.url("newOrder"), {})[::2] == ("unauthorized", 403)
    other.signer = Signer(client.signer.key, str(client.signer.kid).replace("/test/", "/prod/"))
    assert other.refused(other.url("newOrder"), {})[::2] == ("accountDoesNotExist", 400)


def test_key_change_moves_the_account(client: AcmeClient) -> None:
    url, new = client.url("keyChange"), Signer.new("ec-p384")
    old = client.signer
    client.ok(url, client.signer.key_change(new, url))
    assert client.refused(str(old.kid))[0] in ("malformed", "badSignatureAlgorithm", "unauthorized")
    client.signer = Signer(new.key, old.kid)
    assert client.get(str(old.kid))["status"] == "valid"
    client.order(["a.test.localhost"])


def test_key_change_of_the_same_type_refuses_the_old_key(client: AcmeClient) -> None:
    url, new = client.url("keyChange"), Signer.new()
    old = client.signer
    client.ok(url, client.signer.key_change(new, url))
    assert client.refused(str(old.kid))[2] in (400, 403)


def test_key_change_to_a_taken_key_is_a_conflict(ca: RunningCa) -> None:
    alice, bob = ca.client().register(), ca.client().register()
    url = alice.url("keyChange")
    response = alice.post(url, alice.signer.key_change(Signer(bob.signer.key), url))
    assert response.status_code == 409
    assert response.headers["Location"] == bob.signer.kid


def test_key_change_checks_what_the_inner_jws_says(ca: RunningCa) -> None:
    alice, bob = ca.client().register(), ca.client().register()
    url, new = alice.url("keyChange"), Signer.new()
    inner = {"account": bob.signer.kid, "oldKey": alice.signer.jwk}
    assert alice.refused(url, new.message(url, inner, use_jwk=True))[0] == "unauthorized"
    inner = {"account": alice.signer.kid, "oldKey": bob.signer.jwk}
    assert alice.refused(url, new.message(url, inner, use_jwk=True))[0] == "unauthorized"
    inner = {"account": alice.signer.kid, "oldKey": alice.signer.jwk}
    assert alice.refused(url, new.message(alice.url("newOrder"), inner, use_jwk=True))[2] in (400, 403)
    assert alice.refused(url, {"payload": "x"})[0] == "malformed"
    assert alice.get(str(alice.signer.kid))["status"] == "valid"


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
def test_external_account_binding_is_needed_and_reflected(make_ca: MakeCa, algorithm: str) -> None:
    ca = make_ca(external_account_required=True)
    client = ca.client()
    url = client.url("newAccount")
    assert client.refused(url, {})[::2] == ("externalAccountRequired", 403)
    key = external_keys.create(ca.authority.database, "test", Wanted(label="team-a"))
    binding = eab(key.kid, _secret(key), client.signer.key, url, algorithm)
    body = body_of(client.ok(url, {"externalAccountBinding": binding}, status=201))
    assert body["externalAccountBinding"] == binding
    client.ok(url, {"externalAccountBinding": binding}, status=200)


def test_external_account_key_is_good_for_one_account(make_ca: MakeCa) -> None:
    ca = make_ca(external_account_required=True)
    key = external_keys.create(ca.authority.database, "test")
    first, second = ca.client(), ca.client()
    for client, status in ((first, 201), (second, 403)):
        url = client.url("newAccount")
        payload = {"externalAccountBinding": eab(key.kid, _secret(key), client.signer.key, url)}
        assert client.post(url, payload).status_code == status


def test_reusable_external_account_key_is_good_until_revoked(make_ca: MakeCa) -> None:
    ca = make_ca(external_account_required=True)
    key = external_keys.create(ca.authority.database, "test", Wanted(reusable=True))
    for revoked, status in ((False, 201), (False, 201), (True, 403)):
        if revoked:
            external_keys.revoke(ca.authority, "test", key.kid, by="uid:0")
        client = ca.client()
        url = client.url("newAccount")
        payload = {"externalAccountBinding": eab(key.kid, _secret(key), client.signer.key, url)}
        assert client.post(url, payload).status_code == status


def test_wrong_external_account_binding_spends_nothing(make_ca: MakeCa) -> None:
    ca = make_ca(external_account_required=True)
    key = external_keys.create(ca.authority.database, "test")
    client = ca.client()
    url = client.url("newAccount")
    good = eab(key.kid, _secret(key), client.signer.key, url)
    wrong = [
        eab(key.kid, b"x" * 32, client.signer.key, url),
        eab("unknown", _secret(key), client.signer.key, url),
        eab(key.kid, _secret(key), Signer.new().key, url),
        eab(key.kid, _secret(key), client.signer.key, url + "x"),
        eab(key.kid, _secret(key), client.signer.key, url, nonce="abc"),
        good | {"signature": b64(b"0" * 32)},
        {"protected": "e30", "payload": "", "signature": ""},
        {},
    ]
    for binding in wrong:
        assert client.refused(url, {"externalAccountBinding": binding})[2] in (400, 403)
    client.ok(url, {"externalAccountBinding": good}, status=201)


def test_external_account_key_of_another_environment_is_refused(make_ca: MakeCa) -> None:
    ca = make_ca(external_account_required=True)
    key = external_keys.create(ca.authority.database, "prod")
    client = ca.client()
    url = client.url("newAccount")
    binding = eab(key.kid, _secret(key), client.signer.key, url)
    assert client.refused(url, {"externalAccountBinding": binding})[0] == "unauthorized"


def test_orders_are_listed_newest_first_and_paged(client: AcmeClient) -> None:
    made = [client.order([f"n{number}.test.localhost"])[0] for number in range(103)]
    response = client.ok(f"{client.signer.kid}/orders")
    first = body_of(response)["orders"]
    links = [link for link in response.headers.getlist("Link") if 'rel="next"' in link]
    assert first == made[::-1][:100]
    second = client.ok(links[0].partition(">")[0].removeprefix("<"))
    assert body_of(second)["orders"] == made[::-1][100:]
    assert not [link for link in second.headers.getlist("Link") if 'rel="next"' in link]


def _secret(key: external_keys.NewKey) -> bytes:
    return urlsafe_b64decode(key.mac_key + "=")


def test_account_ends_with_the_external_account_key_it_was_made_with(make_ca: MakeCa) -> None:
    ca = make_ca()
    database = ca.authority.database
    revoked, other = (external_keys.create(database, "test", Wanted(reusable=True)) for _ in range(2))
    clients = []
    for key in (revoked, revoked, other):
        client = ca.client()
        client.register(externalAccountBinding=eab(key.kid, _secret(key), client.signer.key, client.url("newAccount")))
        clients.append(client)
    free = ca.client().register()
    assert external_keys.revoke(ca.authority, "test", revoked.kid, keep_accounts=True, by="uid:0")[0] == 0
    clients[0].order(["a.test.localhost"])
    assert external_keys.revoke(ca.authority, "test", revoked.kid, by="uid:0")[0] == 2
    payload = {"identifiers": [{"type": "dns", "value": "a.test.localhost"}]}
    for client in clients[:2]:
        assert client.refused(client.url("newOrder"), payload)[::2] == ("unauthorized", 401)
    for client in (clients[2], free):
        client.order(["a.test.localhost"])
    assert external_keys.revoke(ca.authority, "test", revoked.kid, by="uid:0")[0] == 0


def test_key_that_was_reported_compromised_gets_no_account(client: AcmeClient, ca: RunningCa) -> None:
    bad = Signer.new()
    key_sha256 = spki_sha256(bad.key.public_key())
    with ca.authority.database.write() as connection:
        base.insert(connection, BlockedKey(key_sha256=key_sha256, serial="1", blocked_at=clock.now()))
    other = AcmeClient(client.app, client.base, bad)
    assert other.refused(other.url("newAccount"), {})[::2] == ("badPublicKey", 400)
    url = client.url("keyChange")
    assert client.refused(url, client.signer.key_change(bad, url))[::2] == ("badPublicKey", 400)
