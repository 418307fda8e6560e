"""What happens over ACME is in the audit trail, and what is refused is there in bounds."""

from __future__ import annotations

import json
from datetime import timedelta
from hashlib import sha256
from typing import Any

from acme_ca import clock
from acme_ca.services import refusals
from tests.acme.conftest import MakeCa
from tests.support import rows
from tests.support.acme_client import AcmeClient, body_of, certificates, make_csr
from tests.support.ca import RunningCa
from tests.support.issue import authorize, issue
from tests.support.server import eventually
from tests.support.web import WebServer

NAME = "a.test.localhost"


def events(ca: RunningCa, event: str) -> list[tuple[str, str, str, dict[str, Any]]]:
    """Actor, account, subject and details of the events of a kind."""
    query = "SELECT actor, account_id, subject, details FROM audit_events WHERE event = :event ORDER BY id"
    found = rows.select(ca.authority.database, query, event=event)
    return [(*row[:3], json.loads(row[3]) if isinstance(row[3], str) else row[3]) for row in found]


def test_an_issuance_is_told_from_order_to_certificate(client: AcmeClient, website: WebServer, ca: RunningCa) -> None:
    account = rows.id_of(str(client.signer.kid))
    order = issue(client, website, [NAME])
    ((actor, about, subject, details),) = events(ca, "order.created")
    assert (actor, about, subject) == (account, account, rows.id_of(order["url"]))
    assert (details["names"], details["profile"]) == ([f"dns:{NAME}"], "server-1h")
    ((_, _, _, details),) = events(ca, "certificate.issued")
    leaf, issuer = certificates(client.ok(order["certificate"]).text)[:2]
    assert details["tbs_sha256"] == sha256(leaf.tbs_certificate_bytes).hexdigest()
    assert details["serial"] == f"{leaf.serial_number:034x}"
    assert details["issuer_key"] == ca.authority.environments["test"].issuers[0].key_id.hex()
    leaf.verify_directly_issued_by(issuer)


def test_refusals_are_told_with_their_reason_and_only_so_many(client: AcmeClient, ca: RunningCa) -> None:
    account = rows.id_of(str(client.signer.kid))
    body = {"identifiers": [{"type": "dns", "value": "www.elsewhere.example"}]}
    details = {client.refused(client.url("newOrder"), body)[1] for _ in range(refusals.TOLD + 5)}
    found = events(ca, "order.refused")
    assert len(found) == refusals.TOLD
    assert found[0][:3] == (account, account, account)
    assert found[0][3]["names"] == ["dns:www.elsewhere.example"]
    assert {event[3]["error"]["detail"] for event in found} == details
    assert refusals.close_hours(ca.authority) == 0, "the hour is not over"
    hour = (clock.now() - timedelta(hours=1)).strftime("%Y-%m-%d %H:00:00.000000")
    rows.change(ca.authority.database, "UPDATE refusal_counts SET hour = :hour", hour=hour)
    assert refusals.close_hours(ca.authority) == 1
    ((actor, about, _, counted),) = events(ca, "account.refusals_counted")
    assert (actor, about) == ("system", account)
    assert (counted["refused"], counted["told"]) == (refusals.TOLD + 5, refusals.TOLD)
    assert refusals.close_hours(ca.authority) == 0


def test_a_refused_csr_is_told(client: AcmeClient, website: WebServer, ca: RunningCa) -> None:
    url, order = client.order([NAME])
    authorize(client, website, order)
    assert client.finalize(order, make_csr(["b.test.localhost"])).status_code == 400
    ((_, _, subject, details),) = events(ca, "certificate.refused")
    assert subject == rows.id_of(url)
    assert details["error"]["type"].endswith("badCSR")


def test_mistakes_in_form_are_not_told(client: AcmeClient, ca: RunningCa) -> None:
    assert client.refused(client.url("newOrder"), {"identifiers": []})[0] == "malformed"
    assert events(ca, "order.refused") == []


def test_refusals_are_counted_on_each_database(make_ca: MakeCa, postgres_url: str) -> None:
    ca = make_ca(database_url=postgres_url)
    client = ca.client().register()
    for _ in range(2):
        body = {
            "identifiers": [{"type": "dns", "value": "\u0000.example\ud800"}, {"type": "dns", "value": "x.example"}]
        }
        client.refused(client.url("newOrder"), body)
        client.refused(client.url("newOrder"), {"identifiers": [{"type": "dns", "value": "x.example"}]})
    assert rows.select(ca.authority.database, "SELECT count FROM refusal_counts") == [(2,)]


def test_a_ca_that_fails_closed_answers_503(make_ca: MakeCa) -> None:
    ca = make_ca()
    client = ca.client().register()
    object.__setattr__(ca.authority.config, "audit", ca.authority.config.audit.model_copy(update={"fail_closed": 1}))
    client.url("newAccount")
    rows.change(
        ca.authority.database,
        "INSERT INTO audit_events (at, environment, event, subject, details) "
        "SELECT at, environment, event, subject, details FROM audit_events",
    )
    answer = client.app.test_client().post(
        client.path(client.url("newOrder")),
        data=client.signer.sign(
            client.url("newOrder"), {"identifiers": [{"type": "dns", "value": NAME}]}, nonce=client.nonce()
        ),
        content_type="application/jose+json",
    )
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "30"
    assert "audit trail" in body_of(answer)["detail"]


def test_tokens_are_in_no_event(client: AcmeClient, website: WebServer, ca: RunningCa) -> None:
    issue(client, website, [NAME])
    _, order = client.order(["b.test.localhost"])
    challenge = client.challenge(order["authorizations"][0])
    website.token(challenge["token"], "something else")
    client.ok(challenge["url"], {})
    eventually(lambda: len(events(ca, "authorization.invalid")) == 1, "decided")
    told = [*events(ca, "authorization.valid"), *events(ca, "authorization.invalid")]
    assert len(told) == 2
    tokens = [row[0] for row in rows.select(ca.authority.database, "SELECT token FROM authorizations")]
    assert len(tokens) == 2
    for event in told:
        assert "/.well-known/acme-challenge/TOKEN" in json.dumps(event[3])
        assert not [token for token in tokens if token in json.dumps(event[3])]
