"""Authorizations and challenges over HTTP: every state, every call. RFC 8555 §7.4.1, §7.5, §7.1.6, §8."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.acme.conftest import MakeCa
from tests.support import rows
from tests.support.acme_client import URN, AcmeClient, body_of, make_csr
from tests.support.ca import RunningCa
from tests.support.challenges import NAME, answer, answer_well, ordered, retry, submit
from tests.support.issue import issue
from tests.support.web import WELL_KNOWN, WebServer

IDENTIFIER = {"type": "dns", "value": NAME}


def test_authorization_offers_challenges_that_share_a_token(client: AcmeClient) -> None:
    _, url = ordered(client)
    response = client.ok(url)
    found = body_of(response)
    assert found["status"] == "pending"
    assert found["identifier"] == IDENTIFIER
    assert "wildcard" not in found
    assert {item["type"] for item in found["challenges"]} == {"http-01", "dns-01", "tls-alpn-01"}
    assert {item["status"] for item in found["challenges"]} == {"pending"}
    assert len({item["token"] for item in found["challenges"]}) == 1
    assert not [item for item in found["challenges"] if {"error", "validated", "validationRecord"} & set(item)]
    assert response.headers["Retry-After"].isdigit()


def test_wildcard_is_authorized_by_dns_alone(client: AcmeClient) -> None:
    found = client.get(ordered(client, f"*.{NAME}")[1])
    assert found["wildcard"] is True
    assert found["identifier"] == IDENTIFIER
    assert {item["type"] for item in found["challenges"]} == {"dns-01"}


def test_reading_never_starts_a_validation(client: AcmeClient, website: WebServer) -> None:
    order, url = ordered(client)
    answer_well(client, website, url)
    for target in (url, f"{url}/http-01", f"{url}/http-01", order):
        assert client.get(target)["status"] == "pending"
    assert website.requests == []


@pytest.mark.parametrize("payload", [b"null", b"[]", b'"x"', b"3", b"{", b"[{}]"])
def test_only_an_object_starts_a_validation(client: AcmeClient, website: WebServer, payload: bytes) -> None:
    _, url = ordered(client)
    assert client.refused(f"{url}/http-01", payload)[::2] == ("malformed", 400)
    assert client.get(url)["status"] == "pending"
    assert website.requests == []


def test_members_of_a_submission_are_ignored(client: AcmeClient, website: WebServer, ca: RunningCa) -> None:
    """Older clients send the key authorization and the type along."""
    _, url = ordered(client)
    answer_well(client, website, url)
    payload = {"keyAuthorization": "x", "type": "dns-01", "resource": "challenge", "status": "valid"}
    client.ok(f"{url}/http-01", payload)
    assert submit(ca, client, url)["status"] == "valid"


def test_proof_makes_valid_and_is_told(client: AcmeClient, website: WebServer, ca: RunningCa) -> None:
    order, url = ordered(client)
    answer_well(client, website, url)
    response = client.ok(f"{url}/http-01", {})
    assert f'<{url}>;rel="up"' in response.headers.getlist("Link")
    rows.settle(ca.authority.database)
    proved = client.get(f"{url}/http-01")
    assert proved["status"] == "valid"
    assert proved["validated"].endswith("Z")
    record = proved["validationRecord"][0]
    assert record["hostname"] == NAME
    assert record["port"] == website.port
    assert record["addressUsed"] == "127.0.0.1"
    found = client.get(url)
    assert found["status"] == "valid"
    assert found["challenges"] == [proved], "a valid authorization shows what made it valid and nothing else"
    assert client.get(order)["status"] == "ready"


def test_proof_is_kept_as_evidence(client: AcmeClient, website: WebServer, ca: RunningCa) -> None:
    _, url = ordered(client)
    answer_well(client, website, url)
    submit(ca, client, url)
    query = "SELECT details FROM audit_events WHERE event = 'authorization.valid' AND subject = :id"
    (event,) = rows.select(ca.authority.database, query, id=rows.id_of(url))
    details = json.loads(event.details)
    assert details["identifier"] == f"dns:{NAME}"
    assert details["challenge"] == "http-01"
    assert details["evidence"]["records"][0]["addressUsed"] == "127.0.0.1"
    assert details["evidence"]["summary"]


def test_repeated_submission_looks_once(client: AcmeClient, website: WebServer, ca: RunningCa) -> None:
    _, url = ordered(client)
    answer_well(client, website, url)
    answers = [submit(ca, client, url) for _ in range(3)]
    assert answers[0]["status"] == "valid"
    assert answers[1:] == answers[:1] * 2
    assert len(website.requests) == 1


def test_second_challenge_type_starts_nothing_while_one_is_at_work(
    client: AcmeClient, website: WebServer, ca: RunningCa
) -> None:
    _, url = ordered(client)
    answer(client, website, url, 503)
    assert submit(ca, client, url)["status"] == "processing"
    assert submit(ca, client, url, "tls-alpn-01")["status"] == "pending"
    assert len(website.requests) == 1
    assert {item["type"]: item["status"] for item in client.get(url)["challenges"]} == {
        "http-01": "processing",
        "dns-01": "pending",
        "tls-alpn-01": "pending",
    }


@pytest.mark.parametrize(("status", "body"), [(200, b"something else"), (404, b"no such page"), (200, b"")])
def test_wrong_answer_ends_everything_at_once(
    client: AcmeClient, website: WebServer, status: int, body: bytes, ca: RunningCa
) -> None:
    order_url, url = ordered(client)
    answer(client, website, url, status, body)
    challenge = submit(ca, client, url)
    assert challenge["status"] == "invalid"
    error = challenge["error"]
    assert error["type"] in (f"{URN}incorrectResponse", f"{URN}unauthorized")
    assert "127.0.0.1" in error["detail"]
    found, order = client.get(url), client.get(order_url)
    assert found["status"] == "invalid"
    assert found["challenges"] == [challenge]
    assert order["status"] == "invalid"
    assert order["error"]["detail"] == error["detail"]
    assert body_of(client.finalize(order, make_csr([NAME])))["type"] == f"{URN}orderNotReady"
    assert ordered(client)[1] != url, "an invalid authorization is not given to the next order"


def test_one_wrong_answer_among_many_ends_the_order(client: AcmeClient, website: WebServer, ca: RunningCa) -> None:
    url, order = client.order([NAME, "b.test.localhost", "c.test.localhost"])
    for position, authorization in enumerate(order["authorizations"]):
        if position == 1:
            answer(client, website, authorization, 200, b"wrong")
        else:
            answer_well(client, website, authorization)
        submit(ca, client, authorization)
    statuses = [client.get(authorization)["status"] for authorization in order["authorizations"]]
    assert statuses == ["valid", "invalid", "valid"]
    assert client.get(url)["status"] == "invalid"


def test_silence_is_asked_again_until_there_is_an_answer(client: AcmeClient, website: WebServer, ca: RunningCa) -> None:
    order, url = ordered(client)
    answer(client, website, url, 503)
    assert submit(ca, client, url)["status"] == "processing"
    assert retry(ca) == 1
    assert client.get(f"{url}/http-01")["status"] == "processing"
    assert client.get(url)["status"] == client.get(order)["status"] == "pending"
    answer_well(client, website, url)
    assert retry(ca) == 1
    assert client.get(f"{url}/http-01")["status"] == "valid"
    assert client.get(order)["status"] == "ready"
    assert len(website.requests) == 3
    assert retry(ca) == 0


def test_silence_ends_with_patience_and_tells_every_attempt(
    client: AcmeClient, website: WebServer, ca: RunningCa
) -> None:
    order_url, url = ordered(client)
    answer(client, website, url, 503)
    submit(ca, client, url)
    retry(ca)
    rows.change(ca.authority.database, "UPDATE authorizations SET submitted_at = :then", then=rows.LONG_AGO)
    retry(ca)
    challenge = client.get(f"{url}/http-01")
    assert challenge["status"] == "invalid"
    assert "3 attempts" in challenge["error"]["detail"]
    assert challenge["error"]["detail"].count("503") == 3
    assert client.get(url)["status"] == client.get(order_url)["status"] == "invalid"
    assert client.get(order_url)["error"] == challenge["error"]
    assert retry(ca) == 0


def test_no_patience_means_one_attempt(make_ca: MakeCa, website: WebServer) -> None:
    ca = make_ca(patience=0)
    client = ca.client().register()
    _, url = ordered(client)
    answer(client, website, url, 503)
    assert submit(ca, client, url)["status"] == "invalid"


def test_connection_refused_is_silence(make_ca: MakeCa) -> None:
    ca = make_ca(validation={"http_port": 1})
    client = ca.client().register()
    _, url = ordered(client)
    assert submit(ca, client, url)["status"] == "processing"
    assert client.ok(url).headers["Retry-After"].isdigit()


def test_answer_does_not_wait_for_a_slow_target(make_ca: MakeCa, website: WebServer) -> None:
    client = make_ca(validation={"timeout": 1.0}).client().register()
    _, url = ordered(client)
    website.silent(WELL_KNOWN + client.get(url)["challenges"][0]["token"])
    response = client.ok(f"{url}/http-01", {})
    assert body_of(response)["status"] == "processing"
    assert response.headers["Retry-After"].isdigit()


def test_deactivation_of_a_pending_authorization_ends_its_order(
    client: AcmeClient, website: WebServer, ca: RunningCa
) -> None:
    order, url = ordered(client)
    answer_well(client, website, url)
    assert body_of(client.ok(url, {"status": "deactivated"}))["status"] == "deactivated"
    assert client.get(order)["status"] == "invalid"
    assert submit(ca, client, url)["status"] == "pending"
    assert website.requests == []
    assert client.get(url)["status"] == "deactivated"


def test_deactivated_authorization_is_never_used_again(client: AcmeClient, website: WebServer) -> None:
    issue(client, website, [NAME])
    ready_url, ready = client.order([NAME])
    assert ready["status"] == "ready"
    url = ready["authorizations"][0]
    client.ok(url, {"status": "deactivated"})
    assert client.get(ready_url)["status"] == "invalid"
    assert body_of(client.finalize(ready, make_csr([NAME])))["type"] == f"{URN}orderNotReady"
    _, fresh = client.order([NAME])
    assert fresh["status"] == "pending"
    assert fresh["authorizations"] != ready["authorizations"]
    given = client.ok(client.url("newAuthz"), {"identifier": IDENTIFIER}, status=200)
    assert given.headers["Location"] == fresh["authorizations"][0] != url


def test_deactivation_stops_a_validation(client: AcmeClient, website: WebServer, ca: RunningCa) -> None:
    _, url = ordered(client)
    answer(client, website, url, 503)
    submit(ca, client, url)
    client.ok(url, {"status": "deactivated"})
    answer_well(client, website, url)
    assert retry(ca) == 0
    assert client.get(url)["status"] == "deactivated"
    assert client.get(f"{url}/http-01")["status"] == "invalid"


@pytest.mark.parametrize("payload", [{"status": "valid"}, {"status": "x"}, {"status": None}, {"status": 1}, {}])
def test_no_other_status_can_be_set(client: AcmeClient, payload: dict[str, Any]) -> None:
    _, url = ordered(client)
    assert client.refused(url, payload)[::2] == ("malformed", 400)
    assert client.get(url)["status"] == "pending"


def test_expired_pending_authorization_is_invalid(client: AcmeClient, website: WebServer, ca: RunningCa) -> None:
    order, url = ordered(client)
    answer_well(client, website, url)
    rows.expire(ca.authority.database, "authorizations", url)
    assert submit(ca, client, url)["status"] == "pending"
    assert website.requests == []
    assert client.get(url)["status"] == "invalid"
    assert client.get(order)["status"] == "invalid"


def test_expired_valid_authorization_is_not_used_again(client: AcmeClient, website: WebServer, ca: RunningCa) -> None:
    issue(client, website, [NAME])
    ready_url, ready = client.order([NAME])
    url = ready["authorizations"][0]
    rows.expire(ca.authority.database, "authorizations", url)
    assert client.get(url)["status"] == "expired"
    assert client.get(ready_url)["status"] == "invalid"
    assert client.finalize(ready, make_csr([NAME])).status_code == 403
    assert client.order([NAME])[1]["status"] == "pending"


def test_proof_after_expiry_is_in_vain(client: AcmeClient, website: WebServer, ca: RunningCa) -> None:
    """A client that saw an authorization invalid never sees it valid again."""
    _, url = ordered(client)
    answer(client, website, url, 503)
    submit(ca, client, url)
    rows.expire(ca.authority.database, "authorizations", url)
    assert client.get(url)["status"] == "invalid"
    answer_well(client, website, url)
    assert retry(ca) == 1
    assert client.get(url)["status"] == "invalid"
    assert "expired" in client.get(f"{url}/http-01")["error"]["detail"]


STATES = {
    "pending": ("pending", True),
    "processing": ("pending", True),
    "valid": ("valid", True),
    "invalid": ("invalid", False),
    "deactivated": ("deactivated", False),
    "expired pending": ("invalid", False),
    "expired valid": ("expired", False),
}


def bring(ca: RunningCa, client: AcmeClient, website: WebServer, state: str) -> str:
    """The URL of an authorization in this state."""
    _, url = ordered(client)
    if state in ("valid", "expired valid"):
        answer_well(client, website, url)
    else:
        answer(client, website, url, 503 if state == "processing" else 200, b"wrong")
    if state not in ("pending", "deactivated", "expired pending"):
        submit(ca, client, url)
    if state == "deactivated":
        client.ok(url, {"status": "deactivated"})
    if state.startswith("expired"):
        rows.expire(ca.authority.database, "authorizations", url)
    return url


@pytest.mark.parametrize("state", STATES)
def test_every_call_in_every_state(ca: RunningCa, website: WebServer, state: str) -> None:
    client, stranger = ca.client().register(), ca.client().register()
    status, can_be_deactivated = STATES[state]
    url = bring(ca, client, website, state)
    seen, before = len(website.requests), client.get(url)
    assert before["status"] == status
    for challenge in before["challenges"]:
        assert client.get(challenge["url"]) == challenge
        assert challenge["status"] in ("pending", "processing", "valid", "invalid")
        if state != "pending":
            assert body_of(client.ok(challenge["url"], {})) == challenge
    for target, payload in (
        (url, None),
        (f"{url}/http-01", None),
        (f"{url}/http-01", {}),
        (url, {"status": "deactivated"}),
    ):
        assert stranger.refused(target, payload)[::2] == ("unauthorized", 403)
    assert client.refused(f"{url}/http-02", {})[2] == 404
    assert (client.get(url), len(website.requests)) == (before, seen), "nothing of this changes anything"
    response = client.post(url, {"status": "deactivated"})
    assert response.status_code == (200 if can_be_deactivated else 400)
    assert client.get(url)["status"] == ("deactivated" if can_be_deactivated else status)


def test_valid_authorization_is_not_reused_by_another_account(ca: RunningCa, website: WebServer) -> None:
    alice, bob = ca.client().register(), ca.client().register()
    issue(alice, website, [NAME])
    body_of(bob.ok(bob.url("newAuthz"), {"identifier": IDENTIFIER}, status=201))
    assert bob.order([NAME])[1]["status"] == "pending"


def test_proof_of_another_account_is_no_proof(ca: RunningCa, website: WebServer) -> None:
    """The key authorization binds the answer to the account that asks. §8.1."""
    alice, bob = ca.client().register(), ca.client().register()
    _, url = ordered(bob)
    answer_well(alice, website, ordered(alice)[1])
    token = bob.get(url)["challenges"][0]["token"]
    website.token(token, alice.key_authorization(token))
    assert submit(ca, bob, url)["status"] == "invalid"
