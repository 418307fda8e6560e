"""revokeCert: by whom, for which reason, and what follows. RFC 8555 §7.6."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from acme_ca.clock import rfc3339
from acme_ca.services import revocations
from tests.support import ari, rows
from tests.support.acme_client import URN, AcmeClient, body_of, certificates, make_csr
from tests.support.ca import RunningCa
from tests.support.issue import authorize, issue
from tests.support.jws import PrivateKey, Signer, b64, shared_key
from tests.support.web import WebServer

NAME, OTHER = "a.test.localhost", "b.test.localhost"


def obtain(
    client: AcmeClient, website: WebServer, names: Sequence[str] = (NAME,), key: PrivateKey | None = None
) -> bytes:
    """Issue a certificate; its DER."""
    _, order = client.order(names)
    authorize(client, website, order)
    finished = body_of(client.finalize(order, make_csr(names, key)))
    return certificates(client.ok(finished["certificate"]).text)[0].public_bytes(Encoding.DER)


def revoke(client: AcmeClient, der: bytes, reason: object = None) -> tuple[str, int]:
    """Ask for revocation; the problem's type, or nothing, and the status."""
    payload: dict[str, object] = {"certificate": b64(der)}
    if reason is not None:
        payload["reason"] = reason
    answer = client.post(client.url("revokeCert"), payload)
    kind = body_of(answer)["type"].removeprefix(URN) if answer.status_code >= 400 else ""
    return kind, answer.status_code


def by_key(client: AcmeClient, key: PrivateKey) -> AcmeClient:
    """A client that signs with a bare key."""
    return AcmeClient(client.app, client.base, Signer(key))


def state(ca: RunningCa, der: bytes) -> tuple[bool, int | None]:
    """Whether the ledger has the certificate as revoked, and why."""
    query = "SELECT revoked_at, revocation_reason FROM certificates WHERE der = :der"
    (line,) = rows.select(ca.authority.database, query, der=der)
    return line.revoked_at is not None, line.revocation_reason


def test_account_revokes_its_certificate(client: AcmeClient, website: WebServer, ca: RunningCa) -> None:
    der = obtain(client, website)
    answer = client.ok(client.url("revokeCert"), {"certificate": b64(der)})
    assert answer.data == b""
    assert state(ca, der) == (True, 0)
    assert revoke(client, der) == ("alreadyRevoked", 400)
    query = "SELECT event FROM audit_events WHERE event = 'certificate.revoked'"
    assert len(rows.select(ca.authority.database, query)) == 1


def test_revocation_works_on_each_database(ca_on_each: RunningCa, website: WebServer) -> None:
    client = ca_on_each.client().register()
    key = ec.generate_private_key(ec.SECP256R1())
    der = obtain(client, website, key=key)
    assert revoke(by_key(client, key), der, 1) == ("", 200)
    assert revoke(client, der, 1) == ("alreadyRevoked", 400)


@pytest.mark.parametrize("reason", [0, 1, 3, 4, 5])
def test_reason_of_a_client_is_kept(client: AcmeClient, website: WebServer, ca: RunningCa, reason: int) -> None:
    der = obtain(client, website)
    assert revoke(client, der, reason) == ("", 200)
    assert state(ca, der) == (True, reason)


@pytest.mark.parametrize("reason", [2, 6, 7, 8, 9, 10, 11, -1, 2**70])
def test_reason_that_no_client_can_give_is_refused(
    client: AcmeClient, website: WebServer, ca: RunningCa, reason: int
) -> None:
    der = obtain(client, website)
    assert revoke(client, der, reason) == ("badRevocationReason", 400)
    assert state(ca, der) == (False, None)


@pytest.mark.parametrize("reason", ["1", 1.5, True, [1]])
def test_reason_that_is_no_number_is_malformed(client: AcmeClient, website: WebServer, reason: object) -> None:
    assert revoke(client, obtain(client, website), reason) == ("malformed", 400)


@pytest.mark.parametrize(
    "key", [ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP384R1()), shared_key("rsa-2048")]
)
def test_certificate_key_revokes(client: AcmeClient, website: WebServer, ca: RunningCa, key: PrivateKey) -> None:
    der = obtain(client, website, key=key)
    assert revoke(by_key(client, Signer.new().key), der) == ("unauthorized", 403)
    assert revoke(by_key(client, client.signer.key), der) == ("unauthorized", 403)
    assert state(ca, der) == (False, None)
    assert revoke(by_key(client, key), der) == ("", 200)
    assert state(ca, der) == (True, 0)


def test_certificate_key_revokes_after_its_account_is_gone(client: AcmeClient, website: WebServer) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    der = obtain(client, website, key=key)
    client.ok(str(client.signer.kid), {"status": "deactivated"})
    assert revoke(client, der) == ("unauthorized", 401)
    assert revoke(by_key(client, key), der) == ("", 200)


def test_account_with_authorizations_for_all_names_revokes(ca: RunningCa, website: WebServer) -> None:
    owner, heir = ca.client().register(), ca.client().register()
    der = obtain(owner, website, [NAME, OTHER])
    assert revoke(heir, der) == ("unauthorized", 403)
    _, order = heir.order([NAME])
    authorize(heir, website, order)
    kind, detail, _ = heir.refused(heir.url("revokeCert"), {"certificate": b64(der)})
    assert kind == "unauthorized"
    assert OTHER in detail
    assert NAME not in detail
    _, order = heir.order([OTHER])
    authorize(heir, website, order)
    assert revoke(heir, der, 1) == ("badRevocationReason", 400)
    assert revoke(heir, der, 4) == ("", 200)
    assert state(ca, der) == (True, 4)


@pytest.mark.parametrize("loss", ["deactivated", "expired"])
def test_authorization_that_is_no_longer_valid_does_not_count(ca: RunningCa, website: WebServer, loss: str) -> None:
    owner, heir = ca.client().register(), ca.client().register()
    der = obtain(owner, website, [NAME, OTHER])
    _, order = heir.order([NAME, OTHER])
    authorize(heir, website, order)
    if loss == "deactivated":
        heir.ok(order["authorizations"][1], {"status": "deactivated"})
    else:
        rows.expire(ca.authority.database, "authorizations", order["authorizations"][1])
    assert revoke(heir, der) == ("unauthorized", 403)


def test_pending_authorizations_do_not_count(ca: RunningCa, website: WebServer) -> None:
    owner, heir = ca.client().register(), ca.client().register()
    der = obtain(owner, website)
    heir.order([NAME])
    assert revoke(heir, der) == ("unauthorized", 403)


def test_other_environment_does_not_revoke(ca: RunningCa, website: WebServer) -> None:
    client, foreign = ca.client().register(), ca.client("prod").register()
    key = ec.generate_private_key(ec.SECP256R1())
    der = obtain(client, website, key=key)
    for revoker in (foreign, by_key(foreign, key)):
        assert revoke(revoker, der) == ("malformed", 404)
    assert state(ca, der) == (False, None)


@pytest.mark.parametrize(
    "certificate", ["", "AA", "MAA", "not base64url!", None, 3, b64(b"\x30\x82\xff\xff"), "A" * 90000]
)
def test_garbage_is_no_certificate(client: AcmeClient, certificate: object) -> None:
    answer = client.post(client.url("revokeCert"), {"certificate": certificate})
    assert answer.status_code == 400
    assert body_of(answer)["type"] == f"{URN}malformed"


def test_certificate_that_the_ledger_does_not_know_is_not_found(
    client: AcmeClient, website: WebServer, ca: RunningCa
) -> None:
    """The same serial is not enough: it must be this very certificate."""
    der = obtain(client, website)
    assert revoke(client, der[:-1] + bytes((der[-1] ^ 1,)))[1] in (400, 404)
    assert revoke(client, ca.root.public_bytes(Encoding.DER)) == ("malformed", 404)
    assert state(ca, der) == (False, None)


def test_compromised_key_is_blocked_for_everybody(client: AcmeClient, website: WebServer, ca: RunningCa) -> None:
    key = rsa.generate_private_key(65537, 2048)
    der = obtain(client, website, key=key)
    assert revoke(client, der, 1) == ("", 200)
    other = ca.client().register()
    for who in (client, other):
        url, order = who.order([NAME])
        authorize(who, website, order)
        refused = who.finalize(order, make_csr([NAME], key))
        assert body_of(refused)["type"] == f"{URN}badCSR"
        assert "compromised" in body_of(refused)["detail"]
        assert who.get(url)["status"] == "ready", "the order waits for a CSR with another key"
        assert body_of(who.finalize(order, make_csr([NAME])))["status"] == "valid"


def test_compromised_key_is_blocked_in_every_environment(website: WebServer, ca: RunningCa) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    client, other = ca.client("test").register(), ca.client("dev").register()
    assert revoke(client, obtain(client, website, key=key), 1) == ("", 200)
    _, order = other.order(["a.dev.localhost"])
    authorize(other, website, order)
    assert body_of(other.finalize(order, make_csr(["a.dev.localhost"], key)))["type"] == f"{URN}badCSR"


@pytest.mark.parametrize("reason", [0, 3, 4, 5])
def test_other_reasons_leave_the_key_usable(client: AcmeClient, website: WebServer, reason: int) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    assert revoke(client, obtain(client, website, key=key), reason) == ("", 200)
    obtain(client, website, key=key)


def test_key_compromised_twice_stays_blocked(client: AcmeClient, website: WebServer) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    first, second = obtain(client, website, key=key), obtain(client, website, key=key)
    assert revoke(by_key(client, key), first, 1) == ("", 200)
    assert revoke(by_key(client, key), second, 1) == ("", 200)


def test_key_of_a_certificate_that_was_revoked_before_can_still_be_reported(
    client: AcmeClient, website: WebServer, ca: RunningCa
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    der = obtain(client, website, key=key)
    assert revoke(client, der, 4) == ("", 200)
    _, order = client.order([NAME])
    assert revoke(by_key(client, key), der, 1) == ("alreadyRevoked", 400)
    assert state(ca, der) == (True, 4)
    assert body_of(client.finalize(order, make_csr([NAME], key)))["type"] == f"{URN}badCSR"
    assert revoke(by_key(client, key), der, 1) == ("alreadyRevoked", 400)
    query = "SELECT event FROM audit_events WHERE event IN ('key.blocked', 'revocation.started')"
    assert [row.event for row in rows.select(ca.authority.database, query)] == ["key.blocked"]


def test_whatever_has_a_compromised_key_is_revoked_in_every_environment(website: WebServer, ca: RunningCa) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    client, other = ca.client("test").register(), ca.client("dev").register()
    first, second = (obtain(client, website, key=key) for _ in range(2))
    elsewhere, unconcerned = obtain(other, website, ["a.dev.localhost"], key), obtain(client, website)
    assert revoke(client, first, 1) == ("", 200)
    assert revoke(client, first, 1) == ("alreadyRevoked", 400)
    begun = "SELECT environment, total, ordered_by FROM revocations ORDER BY environment"
    by = rows.id_of(str(client.signer.kid))
    assert [tuple(row) for row in rows.select(ca.authority.database, begun)] == [("dev", 1, by), ("test", 1, by)]
    revocations.resume(ca.authority)
    assert [state(ca, der) for der in (first, second, elsewhere)] == [(True, 1)] * 3
    assert state(ca, unconcerned) == (False, None)
    assert len(rows.select(ca.authority.database, begun)) == 2


def test_revoked_certificate_is_to_be_renewed_at_once(client: AcmeClient, website: WebServer) -> None:
    der = obtain(client, website)
    assert revoke(client, der) == ("", 200)
    window = body_of(ari.ask(client, ari.identifier(der)))["suggestedWindow"]
    now = rfc3339(datetime.now(UTC))
    assert window["start"] < window["end"] <= now


def test_revocation_does_not_undo_what_was_authorized(client: AcmeClient, website: WebServer) -> None:
    order = issue(client, website, [NAME])
    der = certificates(client.ok(order["certificate"]).text)[0].public_bytes(Encoding.DER)
    assert revoke(client, der, 4) == ("", 200)
    assert client.get(order["url"])["status"] == "valid"
    assert len(certificates(client.ok(order["certificate"]).text)) == 2
    assert client.order([NAME])[1]["status"] == "ready"


def test_a_sub_ca_is_revoked_by_its_key_and_by_no_account_whatever_that_holds(
    client: AcmeClient, website: WebServer, ca: RunningCa
) -> None:
    """Its names are those below which it may certify: to have one of them is not to have the CA."""
    der, key = obtain(client, website), shared_key("ec-p256", 7)
    public = x509.load_der_x509_certificate(obtain(client, website, key=key)).public_bytes(Encoding.DER)
    for one in (der, public):
        rows.change(ca.authority.database, "UPDATE certificates SET account_id = 'sub-ca' WHERE der = :der", der=one)
    assert revoke(client, der) == ("unauthorized", 403)
    assert state(ca, der) == (False, None)
    assert revoke(by_key(client, key), public, 1) == ("", 200)
    assert state(ca, public) == (True, 1)
